"""Put something odd anywhere into real files of every form, and import what comes of it: all of it is accounted for, or refused.

    python tests/acceptance/changed_files.py [--shared ../shared] [--changes 20000] [--seed 0] [--forms NAME…] [--kept FOLDER]

Each change is one to four odd values (other types, texts that look like JSON, numbers beyond any size, nothing at all) at random places
of a file's first records. What is read is one of two things: an error that begins with the name of the file, before anything is
written; or run lines of which every scalar of the file is counted and each of which is events, or is refused by name. Prints the
figures of each form, and of what went otherwise the file, the seed and the error; 1 where anything did. `--kept` keeps these files.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipelines.errors import BadInputError
from pipelines.ingest.convert import Place, convert
from pipelines.ingest.faults import BadLineError
from tests.support.changed import changed
from tests.support.foreign import lines_of, written
from tests.support.formats import Sample, samples

SHARED = Path(__file__).parents[3] / "shared"
_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
_MOST_BYTES = 60_000
"""Of the records of a file that are changed, as JSON: the first of these, at least one."""


@dataclass
class Figures:
    """What became of the changed files of one form.

    Attributes:
        read: Files of which lines were made, each of which is events.
        refused: Files that were refused by name.
        lines_refused: Files of which a line was.
        other: What went otherwise: the file, the seed, the error.
    """

    read: int = 0
    refused: int = 0
    lines_refused: int = 0
    other: list[tuple[str, int, BaseException]] = field(default_factory=list)


def records_of(sample: Sample) -> list[Any] | None:
    """The first records of a file of JSON or of JSON lines; None of another, as a database."""
    data = sample.path.read_bytes()
    data = gzip.decompress(data) if sample.path.suffix == ".gz" else data
    try:
        found = [json.loads(data)]
    except ValueError:
        try:
            found = [json.loads(line) for line in data.splitlines() if line.strip()]
        except ValueError:
            return None
    if len(found) == 1 and isinstance(found[0], list):
        found = found[0]
    kept, size = [], 0
    for record in found:
        size += len(json.dumps(record))
        if kept and size > _MOST_BYTES:
            break
        kept.append(record)
    return kept if size <= 8 * _MOST_BYTES else None


def try_change(sample: Sample, records: list[Any], seed: int, folder: Path, figures: Figures) -> Path:
    """Change a file, read it, and say what became of it; the changed file."""
    chance = random.Random(seed)
    path = written(
        folder / f"{sample.name.split('.')[0]}.jsonl", changed(records, seed, chance.choice((1, 1, 1, 2, 4)))
    )
    try:
        lines, tally = lines_of(sample.importer, [path])
        assert tally.mapped >= 0, tally
        assert tally.mapped + tally.kept + tally.repeated == tally.leaves, tally
        for number, line in enumerate(lines, start=1):
            convert(json.loads(json.dumps(line)), place=Place("lines", number), at=_AT)
    except BadLineError:
        figures.lines_refused += 1
    except BadInputError as error:
        if str(error).startswith(path.stem):
            figures.refused += 1
        else:
            figures.other.append((sample.name, seed, error))
    except Exception as error:  # noqa: BLE001  # whatever it is, it was not foreseen
        figures.other.append((sample.name, seed, error))
    else:
        figures.read += 1
    return path


def try_changes(
    shared: Path, changes: int, seed: int = 0, forms: Sequence[str] = (), kept: Path | None = None
) -> dict[str, Figures]:
    """Change the files of each form as often as those of any other; what became of them, by form."""
    by_form: dict[str, list[tuple[Sample, list[Any]]]] = {}
    for sample in samples(shared):
        if (not forms or sample.importer in forms) and (records := records_of(sample)):
            by_form.setdefault(sample.importer, []).append((sample, records))
    made = {name: Figures() for name in by_form}
    with tempfile.TemporaryDirectory(prefix="refold-changed-") as name:
        for number, (form, (sample, records)) in zip(range(changes), _turns(by_form), strict=False):
            before = len(made[form].other)
            path = try_change(sample, records, seed + number, Path(name), made[form])
            if kept is not None and len(made[form].other) > before:
                path.rename(kept / f"{seed + number}-{path.name}")
    return made


def _turns(by_form: dict[str, list[tuple[Sample, list[Any]]]]) -> Iterator[tuple[str, tuple[Sample, list[Any]]]]:
    """Each form in turn, and of each its files in turn, without end."""
    number = 0
    while by_form:
        for form, files in by_form.items():
            yield form, files[number % len(files)]
        number += 1


def told(made: dict[str, Figures]) -> Iterable[str]:
    """What is printed: a row a form, then each kind of error with one file that shows it."""
    yield f"{'form':14}{'read':>8}{'refused':>9}{'line refused':>14}{'other':>7}"
    for form, each in made.items():
        yield f"{form:14}{each.read:>8}{each.refused:>9}{each.lines_refused:>14}{len(each.other):>7}"
    kinds: Counter[str] = Counter()
    for form, each in made.items():
        for name, seed, error in each.other:
            kind = f"{form}: {type(error).__name__}: {error}"[:200]
            kinds[kind] += 1
            if kinds[kind] == 1:
                yield f"{kind}   ({name}, seed {seed})"


def main() -> int:
    """Change files, and print what became of them; 1 where something was neither read nor refused by name."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--changes", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--forms", nargs="*", default=())
    parser.add_argument("--kept", type=Path)
    given = parser.parse_args()
    made = try_changes(given.shared / "data", given.changes, given.seed, given.forms, given.kept)
    sys.stdout.write("\n".join(told(made)) + "\n")
    return int(any(each.other for each in made.values()))


if __name__ == "__main__":
    sys.exit(main())
