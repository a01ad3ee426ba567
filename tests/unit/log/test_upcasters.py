"""Upcasters: what is shipped, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.log.upcasters import Upcasters, build_upcasters, load_upcasters
from tests.oracles import left_fold
from tests.support.log_strategies import PAYLOADS

TO_V2 = "-- purpose: test\nSELECT json_merge_patch(payload, '{\"two\": true}')"
TO_V3 = "SELECT json_merge_patch(payload, '{\"three\": true}');\n"


def lift(upcasters: Upcasters, *events: tuple[str, str], digest: bytes = b"") -> list[tuple[str | None, str, int, str]]:
    """(event_name, event_type, event_version, payload) in the upcast view of events given as (event_type, payload)."""
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE stored (place INTEGER, event_type VARCHAR, event_version INTEGER, payload VARCHAR, digest BLOB)"
        )
        rows = [(place, event_type, 1, payload, digest) for place, (event_type, payload) in enumerate(events)]
        connection.executemany("INSERT INTO stored VALUES (?, ?, ?, ?, ?)", rows)
        return connection.sql(
            f"SELECT event_name, event_type, event_version, payload FROM ({upcasters.query('stored')}) ORDER BY place"
        ).fetchall()


def test_steps_compose_up_to_the_latest_version() -> None:
    """A v1 payload climbs every step, a v2 payload those above it, a v3 payload none."""
    upcasters = build_upcasters(["a.b.v1", "a.b.v2", "a.b.v3"], [("a.b.v2", TO_V3), ("a.b.v1", TO_V2)])
    for version, expected in ((1, {"two": True, "three": True}), (2, {"three": True}), (3, {})):
        [(name, event_type, event_version, payload)] = lift(upcasters, (f"a.b.v{version}", "{}"))
        assert (name, event_type, event_version, json.loads(payload)) == ("a.b", "a.b.v3", 3, expected)


def test_no_step_runs_on_an_erased_event() -> None:
    """It has a name and its type, and says nothing, whatever a step would make of that."""
    upcasters = build_upcasters(["a.b.v1", "a.b.v2"], [("a.b.v1", TO_V2)])
    assert lift(upcasters, ("a.b.v1", "{}"), digest=bytes(32)) == [("a.b", "a.b.v2", 2, "{}")]


@pytest.mark.parametrize("event_type", ["a.b.v2", "a.c.v1", "a.b", "b.v1", ""])
def test_what_is_not_known_stays_as_it_is_without_a_name(event_type: str) -> None:
    """A type or version outside the upcasters is neither lifted nor named, so that folds count it as skipped."""
    assert lift(build_upcasters(["a.b.v1"], []), (event_type, '{"x": 1}')) == [(None, event_type, 1, '{"x": 1}')]


@pytest.mark.parametrize(
    ("registered", "upcasters", "message"),
    [
        (["a.b.v1", "a.b.v2"], [], "a.b.v1 cannot be lifted to v2: write sql/upcasters/a.b.v1.sql"),
        (["a.b.v1", "a.b.v3"], [("a.b.v1", TO_V2)], "it would make a.b.v2, which is not registered"),
        (["a.b.v1"], [("a.b.v1", TO_V2)], "it would make a.b.v2"),
        (["a.b.v3"], [], "a.b.v1 cannot be lifted"),
        (["a.b"], [], "write noun.verb.vN"),
        (["a.b.v1", "a.b.v2"], [("a.b.v1", "DELETE FROM events")], "must be SELECT and one expression"),
        (["a.b.v1", "a.b.v2"], [("a.b.v1", "SELECT payload, payload")], r"it gives TUPLE\(VARCHAR, VARCHAR\)"),
        (["a.b.v1", "a.b.v2"], [("a.b.v1", "SELECT nothing_like_it")], "DuckDB refuses it"),
        (["a.b.v1", "a.b.v2"], [("a.b.v1", "SELECT 1")], "it gives INTEGER"),
    ],
)
def test_upcasters_with_a_fault_are_refused(
    registered: list[str], upcasters: list[tuple[str, str]], message: str
) -> None:
    """Gaps, steps that lead nowhere, and files that are not one expression stop before anything is folded."""
    with pytest.raises(BadInputError, match=message):
        build_upcasters(registered, upcasters)


def test_the_fingerprint_changes_with_any_step() -> None:
    """Another expression is another upcasters; the order of files is none."""
    types = ["a.b.v1", "a.b.v2", "a.c.v1", "a.c.v2"]
    one = build_upcasters(types, [("a.b.v1", TO_V2), ("a.c.v1", TO_V2)])
    assert build_upcasters(types[::-1], [("a.c.v1", TO_V2), ("a.b.v1", TO_V2)]).fingerprint() == one.fingerprint()
    assert build_upcasters(types, [("a.b.v1", TO_V3), ("a.c.v1", TO_V2)]).fingerprint() != one.fingerprint()


STORED = [stored for stored, _, _ in load_upcasters().known_types()]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from([*STORED, "a.b.v1", "model.decision.v9", ""]), min_size=1, max_size=8))
def test_upcasters_of_the_types_that_there_are_say_what_all_say(types: list[str]) -> None:
    """Whatever events there are, known or not, one or none: each is named and lifted as by all upcasters."""
    events = [(each, '{"usage": {"prompt_tokens": 1}}') for each in types]
    among = load_upcasters().among(set(types))
    assert lift(among, *events) == lift(load_upcasters(), *events)
    assert len(among.latest) <= len(set(types)) or not set(types) & set(STORED)


def test_no_step_is_planned_that_no_event_needs() -> None:
    """A step is kept from the lowest version on that there is."""
    upcasters = build_upcasters(["a.b.v1", "a.b.v2", "a.b.v3", "a.c.v1"], [("a.b.v2", TO_V3), ("a.b.v1", TO_V2)])
    assert [step.version for step in upcasters.among({"a.b.v2"}).steps] == [2]
    assert upcasters.among({"a.c.v1"}) == build_upcasters(["a.c.v1"], [])
    assert upcasters.among({"a.d.v1"}) is upcasters


@settings(max_examples=15, deadline=None)
@given(payloads=st.lists(PAYLOADS["model.decision.v1"], min_size=1, max_size=40))
def test_the_shipped_upcaster_renames_two_counters_and_keeps_the_rest(payloads: list[dict[str, Any]]) -> None:
    """model.decision v1 → v2 is the renaming that the left fold does, for every member of every payload."""
    odd = ({}, None, "text", {"a/b~c": [1], "$.x": None, 'q"': {"prompt_tokens": 1}, "completion_tokens": None})
    recorded = [
        *payloads,
        {},
        *({"usage": usage} for usage in odd),
        *({**payloads[0], "usage": usage} for usage in odd),
    ]
    lifted = lift(load_upcasters(), *(("model.decision.v1", json.dumps(each, ensure_ascii=False)) for each in recorded))
    for each, (_, _, _, payload) in zip(recorded, lifted, strict=True):
        expected = left_fold.upcast("model.decision.v1", each)
        assert expected is not None
        assert json.loads(payload) == expected["payload"]
