#!/bin/sh
# Pin what each framework's environment holds: the newest that can stand beside Refold's own requirements, without these.
set -eu
cd "$(dirname "$0")"
for each in *.in; do
    together=$(mktemp)
    ../../../.ci/uv pip compile --quiet --universal --python-version 3.11 --no-header "$each" ../../../pyproject.toml -o "$together"
    ../../../.ci/uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header -c "$together" "$each" -o "${each%.in}.txt"
    rm "$together"
done
