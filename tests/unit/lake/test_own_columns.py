"""`columns.yaml` and the macros: values of tool calls as typed columns, wherever people read the views, and nowhere else."""

from __future__ import annotations

import json
from functools import partial

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import refold
from pipelines.documents import DocumentError
from pipelines.folds.as_of import connect_at, read_point
from pipelines.lake.catalog import describe, publish_catalog
from pipelines.lake.lake import Lake
from pipelines.lake.own_columns import TYPES
from pipelines.lake.query import query_result, run_query
from pipelines.lake.views import list_macros
from tests.support.history import LONG, ONE, START, copy_lake, event, write_log
from tests.support.own_projections import fold_built_in

COLUMNS = """
- name: refund_usd
  tool: [repay, refund]
  path: $.usd
  type: double
  relations: [tool_calls, decisions, conversations]
  description: US dollars asked to be paid.
- {name: whole, tool: refund, path: /usd, type: VARCHAR}
- {name: no_date, tool: refund, path: usd, type: date}
- {name: another, tool: "ref'und", path: "us'd", type: BIGINT}
- {name: answer_text, tool: refund, path: $, type: VARCHAR, from: result, relations: [conversations]}
"""


@pytest.fixture(scope="module")
def lake(tmp_path_factory, folded_history) -> Lake:
    """A home with one call `refund {"usd": 5}`, answered "ok" three weeks later."""
    home = tmp_path_factory.mktemp("home")
    (home / "columns.yaml").write_text(COLUMNS, encoding="utf-8")
    return Lake(copy_lake(folded_history, home / "lake").root, home=home)


def test_a_value_is_a_column_of_its_type(lake):
    """By any path that DuckDB takes; what is not of the type, not there or of another tool is null; names and paths are only that."""
    (row,) = query_result(
        lake, "SELECT refund_usd, whole, no_date, another, typeof(no_date) AS kind FROM tool_calls"
    ).to_pylist()
    assert row == {"refund_usd": 5.0, "whole": "5", "no_date": None, "another": None, "kind": "DATE"}
    assert query_result(lake, "SELECT refund_usd FROM decisions").schema.types == [pa.float64()]
    assert query_result(lake, "SELECT refund_usd AS u, answer_text AS t FROM conversations").to_pylist() == [
        {"u": 5.0, "t": None}
    ]


def test_it_is_told_and_published_and_read_by_programs(lake, tmp_path):
    """In descriptions, in `lake.duckdb` with its comment, attached too, and by `refold.Lake`; again nothing is written."""
    told = {column.name: column for column in describe(lake)["tool_calls"][1]}
    assert told["refund_usd"].type == "DOUBLE"
    assert told["refund_usd"].is_personal
    path = tmp_path / "lake.duckdb"
    assert publish_catalog(lake, path)
    assert not publish_catalog(lake, path)
    comment = "SELECT comment FROM duckdb_columns() WHERE table_name = 'tool_calls' AND column_name = 'refund_usd'"
    with duckdb.connect(str(path), read_only=True) as reader:
        assert reader.sql(
            "SELECT sum(refund_usd), arg(any_value(tool_calls), 'refund', 'usd') FROM conversations"
        ).fetchall() == [(5.0, "5")]
        assert (
            reader.sql(comment)
            .fetchall()[0][0]
            .startswith("US dollars asked to be paid. argument $.usd of repay or refund")
        )
    with duckdb.connect() as reader:
        reader.execute(f"ATTACH '{path}' AS published (READ_ONLY)")
        assert reader.sql("SELECT refund_usd FROM published.tool_calls").fetchall() == [(5.0,)]
    assert refold.Lake.open(lake.home).sql("SELECT refund_usd FROM tool_calls")["refund_usd"].to_list() == [5.0]
    columns = lake.home / "columns.yaml"
    try:
        columns.write_text(COLUMNS.replace("refund_usd", "paid_usd"))
        assert publish_catalog(lake, path)
        with duckdb.connect(str(path), read_only=True) as reader:
            assert reader.sql("SELECT paid_usd FROM tool_calls").fetchall() == [(5.0,)]
            assert reader.sql(comment).fetchall() == []
    finally:
        columns.write_text(COLUMNS)


def test_what_is_hidden_stays_hidden(tmp_path):
    """A redaction of the argument, and of the whole call: what is typed is null, and a text is the mark that the views show."""
    for path, mark in (("/arguments/usd", "[redacted]"), ("/arguments", None)):
        hidden = event(
            "redaction.applied", 46, {"target": {"stream_version": 3}, "path": path, "method": "drop", "reason": "r"}
        )
        home = tmp_path / str(path.count("/"))
        lake = fold_built_in(write_log(home / "lake", [(ONE, "conversation", [*LONG, hidden])]))
        (home / "columns.yaml").write_text(COLUMNS, encoding="utf-8")
        query = "SELECT refund_usd AS u, at_path(arguments, 'usd') AS m FROM tool_calls"
        assert query_result(Lake(lake.root, home=home), query).to_pylist() == [{"u": None, "m": mark}]
        query = "SELECT refund_usd AS u, arg(tool_calls, 'refund', 'usd') AS m FROM conversations"
        assert query_result(Lake(lake.root, home=home), query).to_pylist() == [{"u": None, "m": mark}]


def test_it_is_there_as_of_a_time_and_where_nothing_else_reads(lake, capsys):
    """A state of before the call has no value; the lake's own connections, with which everything is computed, do not have the column."""
    query = "SELECT refund_usd AS u FROM conversations"
    run_query(lake, query, "json", None, connect=partial(connect_at, lake, read_point(START, None)))
    assert json.loads(capsys.readouterr().out)["rows"] == [{"u": None}]
    with lake.connect() as connection, pytest.raises(duckdb.BinderException):
        connection.sql(query)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("columns: []", "write a list of at most 200 columns"),
        ("- refund_usd", r"line 1: .*'refund_usd' is no column; write name, tool, path, type"),
        ("- {name: a, tool: t, path: p}", r"line 1: .*'a' has no type; add it"),
        ("- {name: a, tool: t, path: p, typ: DATE}", r"line 1: .*'typ' is no key of a column; there are name, tool"),
        (
            "\n- {name: A b, tool: t, path: p, type: DATE}",
            r"line 2: .*'A b' is no name of a column; write small letters",
        ),
        (
            "- {name: source, tool: t, path: p, type: DATE}",
            r"'source' is a column of tool_calls already; choose another",
        ),
        (
            "- {name: a, tool: t, path: p, type: MONEY}",
            rf"'MONEY' is no type that a column may have; there are {TYPES[0]}",
        ),
        ("- {name: a, tool: 7, path: p, type: DATE}", r"line 1: .*7 is no text of 1 to 300 characters"),
        ("- {name: a, tool: [], path: p, type: DATE}", r"\[\] names no tool"),
        ("- {name: a, tool: t, path: '$.b[*]', type: DATE}", r"'\$\.b\[\*\]' is no path to one value; write a key"),
        ("- {name: a, tool: t, path: '$.', type: DATE}", r"'\$\.' is no path to one value"),
        (
            "- {name: a, tool: t, path: p, type: DATE, from: [x]}",
            r"\['x'\] is not where a value stands; write argument",
        ),
        (
            "- {name: a, tool: t, path: p, type: DATE, relations: [events]}",
            r"\['events'\] is no list of views that have",
        ),
        (
            "- {name: a, tool: t, path: p, type: DATE, from: result, relations: [decisions]}",
            "decisions hold no results; leave it out",
        ),
        (
            "- {name: a, tool: t, path: p, type: DATE}\n- {name: a, tool: u, path: p, type: DATE}",
            r"line 2: .*'a' is named in line 1 too; choose another, or list both tools in one",
        ),
        ("- {name: a", r"line \d: not valid YAML"),
    ],
)
def test_a_wrong_file_is_one_error(tmp_path, text, told):
    """It names file, line, value and what to write, before anything is asked."""
    (tmp_path / "columns.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DocumentError, match=rf"(?s)columns\.yaml: .*{told}"):
        query_result(Lake(tmp_path / "lake", home=tmp_path), "SELECT 1")


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "ü"]), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def macros():
    """A connection with the macros."""
    with duckdb.connect() as connection:
        for macro in list_macros():
            connection.execute(macro.statement)
        yield connection


@settings(max_examples=60)
@given(VALUES, st.sampled_from(["a", "b", "ü"]), st.sampled_from(["json", "string", "broken"]))
def test_macros_read_json_as_python_does(macros, value, key, form):
    """A value, a string that holds one, and what is no JSON: the text at a key is what Python finds there."""
    text = {"json": json.dumps(value), "string": json.dumps(json.dumps(value)), "broken": json.dumps(value) + "{"}[form]
    held = value
    if form == "json" and isinstance(value, str):  # a string is looked into
        try:
            held = json.loads(value)
        except ValueError:
            held = None
    there = held.get(key) if isinstance(held, dict) and form != "broken" else None
    calls = [{"name": "t", "arguments": text, "output": text}, {"name": "u", "arguments": "{", "output": None}]
    (found,) = macros.execute(
        "SELECT {p: at_path($text, $key), a: arg($calls, 't', $key), r: answer($calls, 't', $key), every: args($calls, 't', $key), "
        "n: called($calls, 't'), none: called(NULL, 't'), other: arg($calls, 'v', $key)}",
        {"text": text, "key": key, "calls": calls},
    ).fetchall()[0]
    expected = there if isinstance(there, str) else None if there is None else json.dumps(there)
    if isinstance(there, list | dict):
        assert json.loads(found["p"]) == there
        expected = found["p"]
    assert found == {"p": expected, "a": expected, "r": expected, "every": [expected], "n": 1, "none": 0, "other": None}
