"""Turning events into database arguments, without a database."""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.pq import Format

from pipelines.store import InvalidEvent, InvalidPayload, NewEvent, PayloadTooLarge, StreamBatch, encode
from pipelines.store.encode import TextArray, append_arguments, json_text

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


def test_times_are_sent_as_instants() -> None:
    """Naive times are UTC, aware ones are the same instant in UTC, None is left to the database."""
    local = datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    times = [datetime(2026, 1, 1), local, datetime(1, 1, 1, tzinfo=UTC), None]  # noqa: DTZ001 - naive is UTC
    batch = StreamBatch(UUID(int=1), "c", [NewEvent("a.b.v1", {}, {}, at) for at in times])
    sent = append_arguments(batch)[-1]
    assert sent is not None
    assert struct.unpack(">iiIii", sent[:20]) == (1, 1, 1184, 4, 1)
    assert struct.unpack(">iqiqiqi", sent[20:]) == (
        8,
        820_540_800_000_000,
        8,
        820_540_800_000_000,
        8,
        -63_082_281_600_000_000,
        -1,
    )


def test_no_time_at_all_is_one_null() -> None:
    """Where no event has a time the database is told so once."""
    batch = StreamBatch(UUID(int=1), "c", [NewEvent("a.b.v1", {})] * 3)
    assert append_arguments(batch)[-1] is None


@given(st.lists(TEXT, min_size=1))
def test_psycopg_reads_the_binary_arrays(texts: list[str]) -> None:
    """An array in binary form is read back by psycopg's own loader."""
    array = TextArray.of([text.encode() for text in texts])
    loaded = psycopg.adapters.get_loader(1009, Format.BINARY)
    assert loaded is not None
    assert loaded(1009, None).load(array) == texts


def holding_itself() -> dict[str, object]:
    value: dict[str, object] = {}
    value["again"] = [value]
    return value


def nested(levels: int) -> object:
    value: object = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [holding_itself(), {"a": nested(100_000)}, {"a": nested(encode.MAX_LEVELS + 1)}])
def test_what_is_nested_too_deeply_is_refused(value: dict[str, object]) -> None:
    """Deeper than every reader goes, or without end: one error of the value, none of the stack."""
    with pytest.raises(InvalidPayload, match="nested"):
        json_text(value, "payload")


def test_a_key_that_is_no_text_is_named() -> None:
    """JSON would write it as another one; the place is that of the object."""
    with pytest.raises(InvalidPayload, match="key \\(1, 2\\) is not a string") as caught:
        json_text({"a": {(1, 2): "x"}}, "payload")
    assert caught.value.path == "/a"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"events": []}, "has no events; give at least one"),
        ({"aggregate_id": "no id"}, "aggregate_id is 'no id'; give a UUID"),
        ({"aggregate_type": 7}, "aggregate_type is 7; give a text"),
        ({"aggregate_type": "a\x00"}, "aggregate_type is 'a\\x00': "),
        ({"expected_version": -1}, "expected_version is -1; give 'any', 'exists', 'no_stream' or the last version"),
        ({"expected_version": True}, "expected_version is True; give"),
        ({"expected_version": "some"}, "expected_version is 'some'; give"),
    ],
)
def test_what_is_no_batch_is_told_with_the_value(changes: dict[str, object], told: str) -> None:
    """Nothing of it reaches the database; the error names what was given and what may be."""
    batch = StreamBatch(UUID(int=1), "conversation", [NewEvent("user.utterance.v1", {"text": "x"})], "any")
    with pytest.raises(InvalidEvent, match=re.escape(told)):
        append_arguments(replace(batch, **changes))  # type: ignore[arg-type]  # what is wrong is the point
