"""What is hidden is cut out of rows of comparisons, whatever column it stands in; all else of the rows stays as it was."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from pipelines.lake.datasets import AB_TOOL_CALLS, AB_UNITS, REPLAYS, VERSIONS
from pipelines.redaction.copies import Copies
from pipelines.redaction.hidden import Hidden
from pipelines.redaction.value import Value

NAMED, OTHER, COARSE = "s-named", "s-other", "s-coarse"
COPIES = Copies({NAMED: Hidden((Value("Joe Müller"), Value("4711"))), COARSE: Hidden((), is_coarse=True)}, Hidden())


def rows(dataset: Any, *given: dict[str, Any]) -> pa.Table:
    """Rows of a dataset, null where nothing is given."""
    schema = dataset.data_schema()
    return pa.Table.from_pylist([{field.name: row.get(field.name) for field in schema} for row in given], schema=schema)


def test_only_rows_of_the_conversation_change() -> None:
    """The value is cut out of the texts and segments of its own conversation, in any spelling; another conversation's stay."""
    given = {"text_a": "JOE MÜLLER, hello", "text_b": "caf\u00e9", "task": "call Joe Mu\u0308ller", "sim_tok": 0.5}
    table = rows(AB_UNITS, {"aggregate_id": NAMED, **given}, {"aggregate_id": OTHER, **given})
    changed = COPIES.change(AB_UNITS, table).to_pylist()
    assert changed[0]["text_a"] == "[redacted], hello"
    assert (changed[0]["task"], changed[0]["text_b"], changed[0]["sim_tok"]) == ("call [redacted]", "caf\u00e9", 0.5)
    assert changed[1] == table.to_pylist()[1]


def test_rows_without_it_are_the_same_object() -> None:
    """So that who asks whether anything stands there need not compare; and again nothing changes."""
    table = rows(AB_UNITS, {"aggregate_id": NAMED, "text_a": "hello"}, {"aggregate_id": OTHER, "text_a": "Joe Müller"})
    assert COPIES.change(AB_UNITS, table) is table
    table = rows(
        AB_UNITS, {"aggregate_id": NAMED, "text_a": "hello Joe Müller"}, {"aggregate_id": COARSE, "text_b": "x"}
    )
    once = COPIES.change(AB_UNITS, table)
    assert once is not table
    assert COPIES.change(AB_UNITS, once) is once


def test_arguments_stay_json() -> None:
    """A number is hidden as a text, a name within JSON within JSON by its span, and the name of a member too."""
    arguments = json.dumps({"id": 4711, "Joe Müller": 1, "by": json.dumps(["joe müller", True]), "n": 2.5})
    ops = [{"op": "replace", "path": "/id", "old": "4711", "new": "5"}]
    table = rows(AB_TOOL_CALLS, {"aggregate_id": NAMED, "arguments_a": arguments, "arg_ops": ops, "name_a": "find"})
    (row,) = COPIES.change(AB_TOOL_CALLS, table).to_pylist()
    assert json.loads(row["arguments_a"]) == {
        "id": "[redacted]",
        "[redacted]": 1,
        "by": '["[redacted]", true]',
        "n": 2.5,
    }
    assert row["arg_ops"] == [{"op": "replace", "path": "/id", "old": '"[redacted]"', "new": "5"}]
    assert row["name_a"] == "find"


def test_of_something_coarse_all_words_go() -> None:
    """Texts and arguments of both sides; names of tools, numbers and segments stay."""
    calls = [
        {"block": 0, "name": "pay", "arguments": '{"to": "x"}', "recorded": '{"to": "x"}', "is_invalid_json": False}
    ]
    table = rows(REPLAYS, {"aggregate_id": COARSE, "text": "well", "tool_calls": calls, "call_count": 1, "model": "m"})
    (row,) = COPIES.change(REPLAYS, table).to_pylist()
    assert (row["text"], row["call_count"], row["model"]) == ("[redacted]", 1, "m")
    (call,) = row["tool_calls"]
    assert (call["name"], json.loads(call["arguments"])) == ("pay", "[redacted]")


def test_a_plan_loses_it_and_keeps_its_ids() -> None:
    """Segments of its conversations are cut, and ids, heads and settings stay."""
    stream = {"aggregate_id": "4711", "task": "for 4711", "last_hash": "4711", "last_version": 4}
    table = rows(VERSIONS, {"streams": [stream], "definition": "{}"})
    (row,) = COPIES.change(VERSIONS, table).to_pylist()
    assert (row["streams"][0]["aggregate_id"], row["streams"][0]["last_hash"]) == ("4711", "4711")
    assert row["streams"][0]["task"] == "for [redacted]"
