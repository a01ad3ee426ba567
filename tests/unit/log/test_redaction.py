"""Redaction: what is named is gone, what cannot be found is hidden generously, the rest stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.log.context import Context
from pipelines.log.redaction import HIDDEN, Redaction, redact, redact_text
from tests.support.log_strategies import PAYLOADS, json_values, paths, spans

redactions = st.lists(
    st.builds(Redaction, paths) | spans.map(lambda s: Redaction(s["path"], s["start"], s["end"])),
    min_size=1,
    max_size=4,
)


def show(payload: dict[str, Any], *applied: Redaction) -> dict[str, Any]:
    """The payload after redactions that are all exact."""
    redacted = redact(payload, applied)
    assert redacted.inexact == 0
    return redacted.payload


def test_a_path_hides_its_value_whatever_it_is() -> None:
    """The value at a JSON Pointer becomes [redacted]; escapes and list indexes count."""
    payload = {"arguments": {"a/b": {"~": [1, 2]}, "c": 3}, "name": "n"}
    assert show(payload, Redaction("/arguments/a~1b/~0/1")) == {
        "arguments": {"a/b": {"~": [1, HIDDEN]}, "c": 3},
        "name": "n",
    }
    assert show(payload, Redaction("/arguments")) == {"arguments": HIDDEN, "name": "n"}


def test_spans_are_code_points_of_the_recorded_string() -> None:
    """Several spans count from the recorded text; overlapping and touching ones leave one mark."""
    text = "😀 Anna Berg, Bonn"
    assert show({"text": text}, Redaction("/text", 2, 6))["text"] == "😀 [redacted] Berg, Bonn"
    both = (Redaction("/text", 13, 17), Redaction("/text", 2, 6))
    assert show({"text": text}, *both)["text"] == "😀 [redacted] Berg, [redacted]"
    overlapping = (Redaction("/text", 2, 8), Redaction("/text", 5, 11), Redaction("/text", 11, 12))
    assert show({"text": text}, *overlapping)["text"] == "😀 [redacted] Bonn"


@pytest.mark.parametrize(
    ("redaction", "expected"),
    [
        (Redaction("/arguments/mail"), {"call_id": "c", "name": "n", "arguments": HIDDEN}),
        (Redaction("/nothing/here"), {"call_id": "c", "name": HIDDEN, "arguments": HIDDEN}),
        (Redaction("name"), {"call_id": "c", "name": HIDDEN, "arguments": HIDDEN}),
        (Redaction("/name", 1, 1), {"call_id": "c", "name": HIDDEN, "arguments": {"id": 1}}),
        (Redaction("/name", 7, 9), {"call_id": "c", "name": HIDDEN, "arguments": {"id": 1}}),
        (Redaction("/arguments", 0, 1), {"call_id": "c", "name": "n", "arguments": HIDDEN}),
    ],
)
def test_what_cannot_be_followed_hides_more_and_is_counted(redaction: Redaction, expected: dict[str, Any]) -> None:
    """A path that leads nowhere hides the nearest value above it, a span of nothing its whole value."""
    redacted = redact({"call_id": "c", "name": "n", "arguments": {"id": 1}}, [redaction])
    assert (redacted.payload, redacted.inexact) == (expected, 1)


@pytest.mark.parametrize("path", ["/text", "/content", "/content/0/text"])
def test_text_and_verbatim_content_hide_together(path: str) -> None:
    """What was said twice is hidden twice, whichever of the two is named."""
    payload = {"text": "Anna", "content": [{"type": "text", "text": "Anna"}]}
    assert "Anna" not in json.dumps(redact(payload, [Redaction(path)]).payload)
    assert "Ann" not in json.dumps(redact(payload, [Redaction("/text", 0, 4)]).payload)


def test_null_and_empty_strings_stay() -> None:
    """Nothing is hidden where nothing is: an error that was null does not become an error."""
    payload = {"output": "secret", "error": None, "call_id": ""}
    assert show(payload, Redaction("")) == {"output": HIDDEN, "error": None, "call_id": ""}


@settings(max_examples=200, deadline=None)
@given(payload=st.one_of(*PAYLOADS.values()), applied=redactions)
def test_the_order_of_redactions_is_no_matter(payload: dict[str, Any], applied: list[Redaction]) -> None:
    """Any order leaves the same payload, and the payload given stays untouched."""
    before = json.dumps(payload)
    assert redact(payload, applied) == redact(payload, applied[::-1])
    assert json.dumps(payload) == before


@settings(max_examples=200, deadline=None)
@given(
    data=st.data(),
    kind=st.sampled_from(
        [k for k in PAYLOADS if k.split(".")[0] in ("user", "agent", "tool", "context", "conversation")]
    ),
)
def test_redacted_events_still_make_a_context(data: st.DataObject, kind: str) -> None:
    """Whatever is hidden, the payload keeps the shape that a rebuilt context reads."""
    payload = data.draw(PAYLOADS[kind])
    context = Context()
    context.apply(kind, redact(payload, data.draw(redactions)).payload, {})
    json.dumps(context.messages)


@settings(max_examples=200, deadline=None)
@given(payload=st.dictionaries(st.sampled_from(["text", "x"]), json_values), path=st.sampled_from(["/text", "/x", ""]))
def test_what_a_path_names_is_nowhere_in_what_is_shown(payload: dict[str, Any], path: str) -> None:
    """After a path is hidden, only [redacted], null and empty strings are found there."""
    shown, _ = redact_text(json.dumps(payload), [Redaction(path)])
    names = payload if path == "" else [path[1:]]
    for name in names:
        assert json.loads(shown).get(name) in (HIDDEN, None, "")


@pytest.mark.parametrize("payload", [{}, {"span": {"path": "/a"}}, {"path": 3}, {"span": {"start": 1, "end": 2}}])
def test_an_unreadable_redaction_hides_everything_it_may_mean(payload: dict[str, Any]) -> None:
    """A redaction that does not say what it hides never hides less than its path."""
    redaction = Redaction.from_payload(payload)
    assert redaction.start is None
    assert HIDDEN in json.dumps(redact({"a": {"b": 1}}, [redaction]).payload)
