"""Polars functions as projections: what they take and yield, and what is said of a file that is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipelines.projections.projection import BrokenProjection, find_projections, read_projection
from pipelines.projections.relations import RELATIONS
from tests.unit.projections.faults import fault

HEADER = """# purpose: Calls by tool.
# parameters: {parameters}
# grain: one tool
# key: name
import polars as pl
"""
FUNCTION = """
def fold(tool_calls: pl.LazyFrame) -> pl.LazyFrame:
    return tool_calls.group_by("name").agg(calls=pl.len())
"""
YIELDS = """
def fold(events):
    return events.select(name="aggregate_id", given={})
"""


def write(folder: Path, text: str = FUNCTION, *, name: str = "tools", parameters: str = "none") -> Path:
    """A file with a whole header; the first line of `text` is line 6."""
    path = folder / f"{name}.py"
    path.write_text(HEADER.format(parameters=parameters) + text, encoding="utf-8")
    return path


def test_columns_and_types_are_those_of_the_frame(tmp_path: Path):
    """As for SQL: columns from the frame, key and grain from the header, descriptions from `# column` lines."""
    path = write(tmp_path)
    path.write_text("# column calls: How often,\n#   over the month.\n" + path.read_text(), encoding="utf-8")
    projection = read_projection(path)
    assert projection.reads == ("tool_calls",)
    dataset = projection.dataset
    assert [(c.name, c.type, c.is_personal) for c in dataset.columns] == [
        ("month", "VARCHAR", False),
        ("name", "VARCHAR", True),
        ("calls", "BIGINT", False),
    ]
    assert dataset.columns[2].description == "How often, over the month."
    assert (dataset.grain, dataset.key, dataset.sort_by) == ("one tool", ("name", "month"), ("name",))


@pytest.mark.parametrize(
    ("expression", "stored"),
    [
        ("pl.lit(1, pl.UInt8)", "SMALLINT"),
        ("pl.lit(1, pl.UInt32)", "BIGINT"),
        ("pl.lit('a', pl.Categorical)", "VARCHAR"),
        ("pl.lit('a', pl.Enum(['a']))", "VARCHAR"),
        ("pl.lit(1).cast(pl.Decimal(18, 2))", "DECIMAL(18,2)"),
        ("pl.col('created_at')", "TIMESTAMP WITH TIME ZONE"),
        ("pl.col('created_at').dt.replace_time_zone(None)", "TIMESTAMP WITH TIME ZONE"),
        ("pl.col('created_at').dt.date()", "DATE"),
        ("pl.struct(a=pl.lit(1.5), b=pl.lit(None, pl.List(pl.Int64)))", 'STRUCT("a" DOUBLE, "b" BIGINT[])'),
        ("pl.lit(b'a')", "BLOB"),
    ],
)
def test_types_of_frames_are_kept_as_the_nearest(tmp_path: Path, expression: str, stored: str):
    """What a frame has and no table, is kept as its next of kin."""
    column = read_projection(write(tmp_path, YIELDS.format(expression))).dataset.columns[-1]
    assert (column.name, column.type.replace("(a ", '("a" ').replace(", b ", ', "b" ')) == ("given", stored)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("def fold(events)\n    pass", 6, "SyntaxError: expected ':'"),
        ("raise ValueError('told, no row is there')", 6, "ValueError: told, no row is there"),
        ("import sys\nsys.exit(3)", 7, "SystemExit: 3"),
        ("import refolded", 6, "ModuleNotFoundError: No module named 'refolded'"),
        ("def folds(events): return events", 1, "there is no `def fold(events)` in it"),
        ("async def fold(events): return events", 1, "there is no `def fold(events)` in it"),
        ("\ndef fold(event): return event", 7, "parameter 'event' of fold is not to be had; there are events, utterances"),
        ("def fold(*events): return events", 6, "parameter '*events' of fold is not to be had"),
        ("def fold(events): return events.collect()", 6, "fold gives a DataFrame; let it give a LazyFrame"),
        ("def fold(events):\n    return events.select('nonsense')", 6, 'ColumnNotFoundError: unable to find column "nonsense"'),
        ("def fold(events):\n    return events.nonsense()", 7, "AttributeError: 'LazyFrame' object has no attribute 'nonsense'"),
        ("def fold(events):\n    1 / 0", 7, "ZeroDivisionError: division by zero"),
        (YIELDS.format("pl.lit(None)"), 7, "column 'given' is \"NULL\", which no table holds; cast it"),
        (YIELDS.format("pl.duration(days=1)"), 7, "column 'given' is INTERVAL, which no table holds; cast it"),
        ("def fold(events): return events.select(calls='position')", 4, "key 'name' is not a column; there are calls"),
        ("def fold(events): return events.select(name='event_name', month=1)", 6, "column 'month': the month is added"),
        ("def fold(events, month): return events.select(name=pl.lit(month))", 2, "parameters 'none', the function takes $month"),
        ("import os\nos._exit(0)", 1, "the function: its process ended with code 0"),
    ],
)  # fmt: skip
def test_a_fault_has_its_file_and_line(tmp_path: Path, text: str, line: int, reason: str):
    """Whatever is wrong with a file is said with file, line and reason; while there is no row, the reason is whole."""
    said = fault(write(tmp_path, text))
    assert said.startswith(f"tools.py:{line}: ")
    assert reason in said


@pytest.mark.parametrize("missing", ["purpose", "parameters", "grain", "key"])
def test_a_header_is_whole(tmp_path: Path, missing: str):
    """The same header as in SQL, in Python's comments."""
    path = write(tmp_path)
    lines = [line for line in path.read_text().splitlines() if not line.startswith(f"# {missing}:")]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert fault(path) == f"tools.py:1: the header needs `# {missing}: …`; it needs purpose, parameters, grain, key"


def test_a_month_is_given_to_who_asks_for_it(tmp_path: Path):
    """A parameter `month` is what `$month` is in SQL."""
    text = "def fold(tool_calls, month):\n    return tool_calls.select('name', of=pl.lit(month)).unique()"
    projection = read_projection(write(tmp_path, text, parameters="$month, YYYY-MM"))
    assert projection.body.takes_month
    assert projection.reads == ("tool_calls",)


def test_every_relation_can_be_read(tmp_path: Path):
    """All relations that are promised are there, with the columns that are promised."""
    for name, relation in RELATIONS.items():
        columns = [column.name for column in relation.columns]
        text = f"def fold({name}):\n    assert {name}.collect_schema().names() == {columns}\n    return {name}.select(name=pl.lit('x'))"
        assert read_projection(write(tmp_path, text)).reads == (name,)


def test_a_broken_file_leaves_the_others_and_a_name_is_had_once(tmp_path: Path):
    """SQL and Polars lie side by side; two of one name are a fault of the second."""
    folder = tmp_path / "folds"
    folder.mkdir()
    write(folder)
    write(folder, "def fold(events): nonsense", name="broken")
    write(folder, name="both")
    sql = "-- purpose: p\n-- parameters: none\n-- grain: g\n-- key: name\nSELECT 'x' AS name"
    (folder / "both.sql").write_text(sql, encoding="utf-8")
    found = {each.name: each for each in find_projections(tmp_path)}
    broken = {name: each.fault for name, each in found.items() if isinstance(each, BrokenProjection)}
    assert set(found) == {"both", "broken", "broken_both", "tools"}
    assert broken["broken"] == f"{folder}/broken.py:6: NameError: name 'nonsense' is not defined"
    assert broken["broken_both"].endswith("both.py has the same name; rename one of them")


def test_a_function_finds_no_secret_and_nothing_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its process has not the environment of the one that folds, and the file stands alone: its text is its identity."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    (tmp_path / "beside.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    text = "import os\nassert 'OPENAI_API_KEY' not in os.environ\n" + FUNCTION
    assert read_projection(write(tmp_path, text)).name == "tools"
    assert os.environ["OPENAI_API_KEY"] == "sk-planted"
    assert "No module named 'beside'" in fault(write(tmp_path, "import beside"))


def test_another_kind_of_file_is_refused(tmp_path: Path):
    """A file is a projection by its name."""
    path = tmp_path / "tools.txt"
    path.write_text("", encoding="utf-8")
    assert fault(path) == "tools.txt:1: it is no projection by its name; let that end in .sql or .py"
