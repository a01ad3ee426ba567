"""Projections of one's own: what is read of a file, what is refused, and where the fault is said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.lake.datasets import DATASETS
from pipelines.projections.projection import (
    BrokenProjection,
    Projection,
    find_projections,
    read_projection,
)
from pipelines.projections.relations import RELATIONS
from tests.unit.projections.faults import fault

HEADER = """-- purpose: Tool calls per tool.
-- parameters: {parameters}
-- grain: one tool
-- key: name
"""
QUERY = """SELECT
    name,
    count(*) AS calls
FROM tool_calls
GROUP BY name
"""


def write(folder: Path, query: str = QUERY, *, name: str = "tools", parameters: str = "none") -> Path:
    """A file with a whole header and this query; its first line is line 5."""
    path = folder / f"{name}.sql"
    path.write_text(HEADER.format(parameters=parameters) + query, encoding="utf-8")
    return path


def test_columns_and_types_are_those_of_the_query(tmp_path: Path):
    """Names and types come from the query, key and grain from the header, descriptions from `-- column` lines."""
    path = write(tmp_path, "-- column calls: How often,\n--   over the month.\n" + QUERY)
    projection = read_projection(path)
    dataset = projection.dataset
    assert [(c.name, c.type, c.is_personal) for c in dataset.columns] == [
        ("month", "VARCHAR", False),
        ("name", "VARCHAR", True),
        ("calls", "BIGINT", False),
    ]
    assert dataset.columns[2].description == "How often, over the month."
    assert (dataset.name, dataset.grain, dataset.key, dataset.sort_by) == (
        "tools",
        "one tool",
        ("name", "month"),
        ("name",),
    )
    assert projection.reads == ("tool_calls",)


@pytest.mark.parametrize(
    ("expression", "stored"),
    [
        ("sum(1)", "BIGINT"),
        ("1::UTINYINT", "SMALLINT"),
        ("1.5::DECIMAL(9, 2)", "DECIMAL(9,2)"),
        ("created_at::TIMESTAMP", "TIMESTAMP WITH TIME ZONE"),
        ("uuid_value", "VARCHAR"),
        ("'{}'::JSON", "VARCHAR"),
        ("[{'a b': 1::UBIGINT, 'at': created_at}]", 'STRUCT("a b" BIGINT, "at" TIMESTAMP WITH TIME ZONE)[]'),
        ("MAP {'a': 1::HUGEINT}", "MAP(VARCHAR, BIGINT)"),
        ("array_value(1, 2)", "INTEGER[]"),
    ],
)
def test_types_that_no_table_has_are_kept_as_the_nearest(tmp_path: Path, expression: str, stored: str):
    """A column is kept under the type that a Delta table has for it, nested ones too."""
    source = "(SELECT any_value(created_at) AS created_at, max(aggregate_id)::UUID AS uuid_value FROM tool_calls)"
    path = write(
        tmp_path, f"SELECT 'x' AS name, any_value(value) AS value FROM (SELECT {expression} AS value FROM {source})"
    )
    if "sum" in expression:
        path = write(tmp_path, f"SELECT 'x' AS name, {expression} AS value FROM tool_calls")
    assert read_projection(path).dataset.columns[2].type == stored


@pytest.mark.parametrize(
    ("query", "line", "reason"),
    [
        ("SELECT\n    name,\n    count(*) AS n,,\nFROM tool_calls", 7, "syntax error"),
        ("SELECT\n    name,\n    nothing\nFROM tool_calls", 7, 'Referenced column "nothing" not found'),
        ("SELECT name\nFROM\n    tool_cals", 7, "tool_cals does not exist"),
        ("SELECT table_name AS name\nFROM duckdb_tables()", 6, "duckdb_tables reads something else"),
        (
            "SELECT table_name AS name\nFROM information_schema.tables",
            6,
            "'tables' is not to be read; there are events",
        ),
        ("SELECT 'x' AS name,\n    now() AS at", 6, "now gives another result each time"),
        ("SELECT 'x' AS name,\n    current_date AS at", 6, "current_date gives another result each time"),
        ("SELECT name\nFROM tool_calls\nORDER BY random()", 7, "random gives another result each time"),
        ("SELECT name\nFROM tool_calls USING SAMPLE 10 ROWS", 5, "a sample gives another result each time"),
        ("SELECT name\nFROM read_csv('/etc/passwd')", 6, "file system operations are disabled"),
        ("CREATE TABLE x AS SELECT 1", 5, "must hold one SELECT"),
        ("SELECT 1 AS name;\nSELECT 2 AS name", 5, "must hold one SELECT"),
        ("", 5, "must hold one SELECT"),
        ("SELECT name, $day AS day FROM tool_calls", 5, "unknown parameter $day; there is $month"),
        ("SELECT name, INTERVAL 1 DAY AS d FROM tool_calls", 5, "column 'd' is INTERVAL, which no table holds"),
        ("SELECT name, NULL AS d FROM tool_calls", 5, "column 'd' is \"NULL\""),
        ("SELECT name, name AS month FROM tool_calls", 5, "column 'month': the month is added by itself"),
        ("SELECT name, 1 AS NAME FROM tool_calls", 5, "column 'NAME': there is another of that name"),
        ("SELECT name, 1 + 1 FROM tool_calls", 5, "column '(1 + 1)': give it a name"),
        ("SELECT count(*) AS calls FROM tool_calls", 4, "key 'name' is not a column; there are calls"),
        (
            "SELECT name FROM tool_calls WHERE $month = 'x'",
            2,
            "the header says parameters 'none', the query takes $month",
        ),
        ("-- column cals: How often.\nSELECT name FROM tool_calls", 5, "'cals' is not a column of the query"),
    ],
)
def test_a_fault_has_its_file_and_line(tmp_path: Path, query: str, line: int, reason: str):
    """Whatever is wrong is said with the file, the line and the reason."""
    found = fault(write(tmp_path, query))
    assert found.startswith(f"tools.sql:{line}: "), found
    assert reason in found


@pytest.mark.parametrize("missing", ["purpose", "parameters", "grain", "key"])
def test_a_header_is_whole(tmp_path: Path, missing: str):
    """A file says what it is for, what it takes, what one row is, and what identifies it."""
    path = write(tmp_path)
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith(f"-- {missing}:")]
    path.write_text("\n".join(lines), encoding="utf-8")
    assert f"tools.sql:1: the header needs `-- {missing}: …`" in fault(path)


@pytest.mark.parametrize("name", [*DATASETS, "conversations", "tool_calls_history", "customers"])
def test_a_built_in_name_is_refused(tmp_path: Path, name: str):
    """No file takes the name of a table, relation or view that every lake has."""
    assert f"{name!r} is the name of a built-in table or view" in fault(write(tmp_path, name=name))


@pytest.mark.parametrize("name", ["Tools", "my-tools", "1st", "a b"])
def test_a_name_that_no_table_has_is_refused(tmp_path: Path, name: str):
    """Names are small letters, digits and underscores."""
    assert "cannot be the name of a table" in fault(write(tmp_path, name=name))


def test_a_broken_file_leaves_the_others(tmp_path: Path):
    """Every file is found; one that is broken says why, under a name that is nobody else's."""
    folder = tmp_path / "folds"
    folder.mkdir()
    write(folder)
    write(folder, "SELEC 1", name="broken")
    write(folder, name="conversations")
    (folder / "bytes.sql").write_bytes(b"\xff\xfe")
    (folder / "notes.txt").write_text("not SQL", encoding="utf-8")
    found = {each.name: each for each in find_projections(tmp_path)}
    assert {name: type(each) for name, each in found.items()} == {
        "broken": BrokenProjection,
        "broken_conversations": BrokenProjection,
        "bytes": BrokenProjection,
        "tools": Projection,
    }
    faults = {name: each.fault for name, each in found.items() if isinstance(each, BrokenProjection)}
    assert "broken.sql:5: Parser Error" in faults["broken"]
    assert "bytes.sql:1: cannot be read: it is not UTF-8 text" in faults["bytes"]
    assert find_projections(tmp_path / "nowhere") == []


def test_a_function_of_the_same_name_as_a_relation_or_column_is_no_clock(tmp_path: Path):
    """Only the clock itself is refused: a CTE or a column may be called as it likes."""
    query = "WITH today AS (SELECT name FROM tool_calls) SELECT today.name AS name FROM today, unnest([1]) AS u (x)"
    assert read_projection(write(tmp_path, query)).reads == ("tool_calls",)


def test_every_relation_can_be_read(tmp_path: Path):
    """All relations that are promised are there, with the columns that are promised."""
    for name, relation in RELATIONS.items():
        names = ", ".join(f'"{column.name}"' for column in relation.columns)
        path = write(tmp_path, f"SELECT 'x' AS name, count(*) AS n FROM (SELECT {names} FROM {name})")
        assert read_projection(path).reads == (name,)
