"""What a verb imports: Python's start is most of what a small answer costs, so each imports what it uses, and pandas never."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND_LINE = {"click", "pipelines"}
MODELS = {"annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection"}
"""What an experiment file is read with."""
LAKE = {"_duckdb", "arro3", "deltalake", "duckdb", "pytz", "typing_extensions"}
"""DuckDB and Delta, and what these import."""
ARROW = {"dateutil", "numpy", "pyarrow", "six"}
"""Arrow, and what it imports."""
STORE = {"jsonschema_rs", "psycopg", "psycopg_binary", "typing_extensions"}
"""PostgreSQL's client and the schemas of events, and what these import."""
MAY_IMPORT: dict[str, tuple[list[str], set[str]]] = {
    "--help": (["--help"], COMMAND_LINE),
    "sql": (["sql", "SELECT 1"], COMMAND_LINE | LAKE),
    "fold": (["fold"], COMMAND_LINE | LAKE | {"assets"}),
    "doctor": (["doctor"], COMMAND_LINE | STORE | LAKE | {"msgspec", "packaging"}),
    "diffs": (["diffs"], COMMAND_LINE | LAKE),
    "lines": (["lines", "-o", "{typo}"], COMMAND_LINE | STORE | {"msgspec"}),
    "state": (["state", "00000000-0000-0000-0000-000000000000"], COMMAND_LINE | LAKE | ARROW | {"msgspec", "rfc8785"}),
    "show": (["show", "00000000-0000-0000-0000-000000000000"], COMMAND_LINE | LAKE | ARROW | {"msgspec", "rfc8785"}),
    "import": (
        ["import", "otlp", "{spans}", "--dry-run"],
        COMMAND_LINE | STORE | LAKE | ARROW | {"msgspec", "rfc8785"},
    ),
    "ab with a typo": (["ab", "{typo}"], COMMAND_LINE | MODELS | {"msgspec", "yaml"}),
}
_RUN = """
import json, sys
from pipelines.cli import main
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names))), file=sys.stderr)
"""


@pytest.mark.parametrize("verb", MAY_IMPORT)
def test_a_verb_imports_what_it_uses(verb, tmp_path):
    """The packages that are loaded when the verb has ended are those listed, whatever else is installed."""
    arguments, allowed = MAY_IMPORT[verb]
    typo = tmp_path / "typo.yaml"
    typo.write_text("experiment: typo\ncandidate: {recorded: {}}\nmetircs: {}\n", encoding="utf-8")
    spans = tmp_path / "spans.jsonl"
    spans.write_text('{"resourceSpans": []}\n', encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
    environment |= {"REFOLD_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", _RUN, *(each.format(typo=typo, spans=spans) for each in arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    said = done.stderr.splitlines()
    loaded = {name for name in json.loads(said[-1]) if not name.startswith(("__", "_cython_", "_sysconfigdata"))}
    assert loaded - {"_distutils_hack", "cython_runtime"} <= allowed
    assert (verb == "ab with a typo") == any("did you mean metrics?" in line for line in said)


def test_templates_are_loaded_where_a_page_is_made():
    """What a verb prints of a version needs no template engine."""
    code = """
import sys
import pipelines.cli.replay, pipelines.demo.page, pipelines.review.files, pipelines.review.report
import assets.verbs.compare
assert "jinja2" not in sys.modules
import pipelines.review.report_html
assert "jinja2" in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)


ASKING = (
    {"psycopg", "psycopg_binary", "psycopg_c"}
    | COMMAND_LINE
    | LAKE
    | MODELS
    | {"assets", "jsonschema_rs", "msgspec", "rfc8785", "yaml"}
)
"""What tells whether there is anything to do: the lake, the store and what is written in files."""
WORK = {"aiohttp", "alembic", "cryptography", "numpy", "polars", "psycopg", "pyarrow", "scipy"}
"""Packages of single steps: not of what defines them. (Dagster's storage imports alembic.)"""


@pytest.mark.parametrize(
    "modules",
    [
        ["pipelines.export.result", "assets.verbs.months"],
        ["pipelines.export.sealed", "assets.verbs.months"],
        ["assets.verbs.unchanged", "pipelines.review.page", "pipelines.diff.gating"],
    ],
)
def test_what_finds_nothing_to_do_imports_none_of_what_does_it(modules):
    """Export, seal and ab that find nothing to do need neither Dagster nor Arrow, nor what proves, asks and compares."""
    assert _loaded(modules) <= ASKING


def test_definitions_import_none_of_what_their_steps_do():
    """A run of any step has all definitions; each step imports what it uses."""
    assert _loaded(["assets.runs"]) & WORK == {"alembic"}


def _loaded(modules):
    """Top names of the packages that these modules bring, ours among them."""
    code = f"import json, sys, {', '.join(modules)}\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    names = set(json.loads(done.stdout)) - set(sys.stdlib_module_names) - {"cython_runtime"}
    return {name for name in names if not name.startswith("_")}


def test_a_users_series_is_an_array_without_its_missing_values():
    """Pandas is left out of arrays made of lists; once a user's function has imported it, Arrow knows a Series again."""
    code = """
import sys
import pipelines.lake.dataset
import pyarrow as pa
from pipelines.arrow import let_pandas_in
pa.array(["a"])
assert "pandas" not in sys.modules
import pandas
let_pandas_in()
assert pa.array(pandas.Series([1.0, float("nan")])).null_count == 1
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True)
