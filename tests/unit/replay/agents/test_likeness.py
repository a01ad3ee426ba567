"""A recorded result is in an agent's request in whatever form its framework hands it on, and another result is not."""

from __future__ import annotations

import json

import pytest

from pipelines.replay.agents.likeness import find_missing


def text(said):
    return {"type": "text", "text": said}


PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
ADDRESS = {"type": "image_url", "image_url": {"url": "https://pictures.test/1.png"}}
RECORDED = {
    "text": "plain",
    "object": '{"result": 1.0, "é": [2.50]}',
    "list": "[1, 2.50]",
    "empty": "",
    "parts": [text("See:"), PICTURE],
    "texts": [text("a"), text('{"x": 1}')],
    "address": [text("See:"), ADDRESS],
}
HANDED_ON = {
    "OpenAI Agents": {
        "text": [text("plain")],
        "object": [text('{"result": 1.0, "é": [2.50]}')],
        "list": [text("[1, 2.50]")],
        "empty": [text("")],
        "parts": [text("See:")],
        "texts": [text("a"), text('{"x": 1}')],
        "address": [text("See:"), text(json.dumps(ADDRESS))],
    },
    "PydanticAI": {
        "text": "plain",
        "object": '{"result":1.0,"é":[2.5]}',
        "list": "[1,2.5]",
        "empty": "",
        "parts": '["See:","See file 4caece."]',
        "texts": '["a",{"x":1}]',
        "address": json.dumps(["See:", ADDRESS]),
    },
}
"""What the frameworks' next requests hold where the result came over MCP, as they were seen."""


def is_found(recorded, asked):
    return find_missing([{"role": "tool", "content": recorded}], [{"role": "tool", "content": asked}]) is None


@pytest.mark.parametrize("framework", HANDED_ON)
@pytest.mark.parametrize("kind", RECORDED)
def test_a_result_is_found_in_the_form_of_its_framework(framework, kind):
    """As parts, as JSON written anew, without its pictures; and no other result of these is taken for it."""
    asked = HANDED_ON[framework][kind]
    assert is_found(RECORDED[kind], asked)
    same = {"parts", "address"}  # they differ in a picture alone
    for other, recorded in RECORDED.items():
        if other != kind and not {other, kind} <= same:
            assert not is_found(recorded, asked), other


def test_an_empty_list_is_found_where_nothing_is_handed_on():
    """PydanticAI makes an empty text of the empty list that it reads in a result; of no other value."""
    assert is_found("[]", "")
    assert is_found("[]", "[]")
    assert not any(is_found(recorded, "") for recorded in ("{}", "null", "0", "[[]]", "none"))


@pytest.mark.parametrize(
    ("recorded", "asked"), [('[{"type": "order"}]', '[{"type": "refund"}]'), ("[]", '[{"type": "a"}]')]
)
def test_values_that_only_look_like_parts_are_values(recorded, asked):
    """A member named `type` makes no picture of a value."""
    assert not is_found(recorded, asked)
