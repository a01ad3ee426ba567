"""Datasets of conversations with tools: each shape's way to say calls and what came back, and what is of no shape."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BadInputError
from tests.support.foreign_lines import foreign_lines, written
from tests.support.formats import streams_of

CALL = {"name": "look", "arguments": {"at": "x"}}


def lines_of(folder: Path, *rows: Any, **options: Any) -> list[dict[str, Any]]:
    return foreign_lines("dataset", [written(folder / "set.jsonl", *rows)], folder, **options)


def turns(*said: tuple[str, Any], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": value} for role, value in said], **more}


def test_sharegpt(tmp_path: Path) -> None:
    """A call is a turn of its own, one or several at once; what comes back is of the calls in their order."""
    two = json.dumps([CALL, {"name": "look", "arguments": '{"at": "y"}'}])
    row = turns(
        ("human", "Look."), ("function_call", json.dumps(CALL)), ("observation", "A"), ("function_call", two), ("observation", "B"),
        ("observation", "C"), ("gpt", "Done."), system="Be brief.", tools=json.dumps([{"name": "look"}]), id=7,
    )  # fmt: skip
    (line,) = lines_of(tmp_path, row)
    assert streams_of([line]) == [
        [
            ["system", "Be brief.", []],
            ["user", "Look.", []],
            ["assistant", "", [["look", '{"at":"x"}']]],
            ["tool", "A", []],
            ["assistant", "", [["look", '{"at":"x"}'], ["look", '{"at":"y"}']]],
            ["tool", "B", []],
            ["tool", "C", []],
            ["assistant", "Done.", []],
        ]
    ]
    calls = [call["id"] for each in line["messages"] for call in each.get("tool_calls", [])]
    assert [each["tool_call_id"] for each in line["messages"] if each["role"] == "tool"] == calls
    assert line["conversation_id"] == "7"
    assert line["tools"] == [{"type": "function", "function": {"name": "look"}}]


def test_hermes(tmp_path: Path) -> None:
    """Calls in the agent's text are calls, and the text around them is what it said; results come one or several a turn."""
    tag = f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>"
    answers = "<tool_response>\nA\n</tool_response>\n<tool_response>\nB\n</tool_response>"
    system = f"You have <tools>\n{json.dumps([{'name': 'look'}])}\n</tools>"
    (line,) = lines_of(
        tmp_path, turns(("system", system), ("human", "Look."), ("gpt", f"I look.\n{tag}\n{tag}"), ("tool", answers))
    )
    assert line["messages"][0]["content"] == system
    assert line["tools"][0]["function"] == {"name": "look"}
    assert (line["messages"][2]["content"], len(line["messages"][2]["tool_calls"])) == ("I look.", 2)
    assert [(each["tool_call_id"], each["content"]) for each in line["messages"][3:]] == [
        ("call-1", "A"),
        ("call-2", "B"),
    ]


def test_toolace_and_xlam(tmp_path: Path) -> None:
    """Calls that are written in Python, and rows of one decision; what only looks like a call is text."""
    python = turns(
        ("user", "Look."),
        ("assistant", '[look(at="x"), map.look(n=[1, 2])]'),
        ("tool", "[1]"),
        ("assistant", "[maybe]"),
    )
    xlam = {"id": 3, "query": "Look.", "tools": "[]", "answers": json.dumps([CALL, CALL])}
    first, second = streams_of(lines_of(tmp_path, python, xlam))
    assert first[1] == ["assistant", "", [["look", '{"at":"x"}'], ["map.look", '{"n":[1,2]}']]]
    assert first[3] == ["assistant", "[maybe]", []]
    assert second == [["user", "Look.", []], ["assistant", "", [["look", '{"at":"x"}']] * 2]]


def test_parts(tmp_path: Path) -> None:
    """Parts of text, reasoning and calls; a part of another kind, and a call that is none, stay as they are."""
    content = [
        {"type": "reasoning", "value": "Hm."}, {"type": "text", "value": "I look."}, {"type": "tool_call", "value": json.dumps(CALL)},
        {"type": "image", "value": "a.png"},
    ]  # fmt: skip
    broken = [{"type": "tool_call", "value": "look at x"}]
    row = {"messages": [{"role": "assistant", "content": content}, {"role": "assistant", "content": broken}]}
    (line,) = lines_of(tmp_path, row)
    said, other = line["messages"]
    assert (said["content"], said["reasoning"], said["tool_calls"][0]["function"]) == (
        "I look.",
        [{"text": "Hm."}],
        CALL,
    )
    assert (said["parts_read"], other["parts_read"]) == ([content[3]], broken)


def test_names_of_rows(tmp_path: Path) -> None:
    """Rows without an id have the file's name and their number, which stay when the file grows."""
    rows = [turns(("human", f"{n}")) for n in range(3)]
    whole = lines_of(tmp_path, *rows)
    assert [line["conversation_id"] for line in whole] == ["set/1", "set/2", "set/3"]
    assert lines_of(tmp_path, *rows[:2]) == whole[:2]
    keyed = lines_of(tmp_path, rows[0] | {"meta": {"key": "k"}}, conversation_key="meta.key")
    assert keyed[0]["conversation_id"] == "k"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"text": "Hi"}, "set.jsonl:1: is of no shape that is read here; it has text"),
        (turns(("narrator", "Once.")), "$.conversations[0].from: is 'narrator'"),
        (
            {"messages": [{"role": "narrator", "content": [{"type": "text", "value": "a"}]}]},
            "$.messages[0].role: is 'narrator'",
        ),
    ],
)
def test_rows_of_no_shape(row: Any, told: str, tmp_path: Path) -> None:
    """What is of no shape is refused with its place."""
    with pytest.raises(BadInputError) as caught:
        lines_of(tmp_path, row)
    assert told in str(caught.value)
