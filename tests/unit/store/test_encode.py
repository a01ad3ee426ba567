"""Turning events into database arguments, without a database."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.store import InvalidPayload, NewEvent, PayloadTooLarge, StreamBatch, encode
from pipelines.store.encode import append_arguments, json_text

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXT, children, max_size=4),
    max_leaves=20,
)
BAD = st.sampled_from(["\x00", "a\ud800", math.nan, math.inf, -math.inf, 10**4400, b"x", object(), {1}])


@given(st.dictionaries(TEXT, JSON))
def test_what_json_can_say_is_unchanged(value: dict[str, object]) -> None:
    """Every JSON object without U+0000 and surrogates is encoded to text that means the same."""
    assert json.loads(json_text(value, "payload")) == value


@given(JSON, BAD, st.integers(0, 3))
def test_what_jsonb_cannot_say_is_named_by_its_place(good: object, bad: object, depth: int) -> None:
    """One bad value anywhere is refused with the JSON Pointer to it."""
    value, path = bad, ""
    for level in range(depth):
        value, path = ([good, value], f"/1{path}") if level % 2 else ({"a/b": good, "c~": value}, f"/c~0{path}")
    with pytest.raises(InvalidPayload) as caught:
        json_text({"good": good, "bad": value}, "payload")
    assert caught.value.path == f"/bad{path}"


@pytest.mark.parametrize("value", ["\\u0000", "\\\\u0000", "a\\", '"', "{}", "NULL"])
def test_text_that_only_looks_like_nul_is_stored(value: str) -> None:
    """A backslash before `u0000` is text, not U+0000."""
    assert json.loads(json_text({"x": value, value: 1}, "payload")) == {"x": value, value: 1}


def test_mappings_are_objects() -> None:
    """Any Mapping is a JSON object, at any depth."""
    assert json_text(MappingProxyType({"a": MappingProxyType({"b": 1})}), "payload") == '{"a":{"b":1}}'


def test_the_size_limit_counts_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is in UTF-8 bytes, not in characters."""
    monkeypatch.setattr(encode, "MAX_EVENT_BYTES", 11)
    assert json_text({"a": "xyz"}, "payload")
    with pytest.raises(PayloadTooLarge):
        json_text({"a": "äöü"}, "payload")


def test_times_are_sent_with_their_zone() -> None:
    """Naive times are UTC, aware ones are the same instant in UTC, None is left to the database."""
    local = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    times = [datetime(2026, 1, 1), local, datetime(1, 1, 1, tzinfo=UTC), None]  # noqa: DTZ001 - naive is UTC
    batch = StreamBatch(UUID(int=1), "c", [NewEvent("a.b.v1", {}, {}, at) for at in times])
    assert append_arguments(batch)[-1] == (
        "{2026-01-01T00:00:00+00:00,2026-01-01T00:00:00+00:00,0001-01-01T00:00:00+00:00,NULL}"
    )
