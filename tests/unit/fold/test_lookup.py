"""A state from a snapshot is the state from the first event; a snapshot that is not today's is not used."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.fold.batch import Batch, make_batch
from pipelines.fold.carry import Carry
from pipelines.fold.fold import fold, place
from pipelines.fold.identity import code_hash
from pipelines.fold.lookup import Snapshot, find_snapshot
from pipelines.fold.messages import continuing
from pipelines.fold.pieces import whole
from pipelines.fold.states import build_states, count_states, shown
from pipelines.folds.state import MessageGoesOnError, carry_of, fold_stream
from pipelines.lake.datasets import EVENTS
from pipelines.log.redaction import target_version
from tests.oracles import left_fold
from tests.oracles.left_fold_streams import StreamFold
from tests.support.equality import comparable
from tests.support.event_columns import fold_columns
from tests.support.kernel import snapshots_of
from tests.support.log_strategies import exchanges, logs

Log = list[dict[str, Any]]
many = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
few = settings(many, max_examples=8)
Tails = Sequence[tuple[Snapshot, int]]
States = list[dict[str, Any] | None]
From = Callable[[Tails], States]
"""The states of a stream, each from a snapshot and the events since up to a version; None where its message goes on."""


def find(rows: list[dict[str, Any]], events: Log, until: int, code: str) -> Snapshot | None:
    """The newest snapshot of a stream that can be gone on from."""
    redactions = [
        {**event, "target_version": target_version(event["payload"])}
        for event in events
        if event["event_type"].startswith("redaction.applied.")
    ]
    links = {event["stream_version"]: event["hash"] for event in events}
    return find_snapshot(rows, until, links, redactions, code)


def stored(events: Log, shown: list[Any], after: int, until: int) -> pa.Table:
    """Events after a version up to another as a lake keeps them, redactions applied."""
    payloads = {event["stream_version"]: payload for event, payload in shown}
    rows = [
        {**event, "payload": json.dumps(payloads[event["stream_version"]]), "metadata": json.dumps(event["metadata"])}
        for event in events[after:until]
    ]
    return pa.Table.from_pylist(rows, schema=EVENTS.arrow_schema())


def by_columns(events: Log) -> From:
    """The states of a stream from snapshots and the events since, as columns; each tail is a stream of one batch."""
    columns = fold_columns(events, "")

    def batch_of(tails: Tails) -> Batch:
        tables = []
        for number, (snapshot, until) in enumerate(tails):
            after = snapshot.row["stream_version"]
            tail = columns.slice(after, until - after)
            tables.append(tail.set_column(0, "aggregate_id", pa.repeat(f"{number:03}", tail.num_rows)))
        carries = [carry_of(snapshot) for snapshot, _ in tails]
        carry = Carry(*(pa.concat_tables(getattr(each, name) for each in carries) for name in ("columns", "lists")))
        return make_batch(pa.concat_tables(tables), 1).going_on_from(lambda _: carry)

    def states(tails: Tails) -> States:
        batch = batch_of(tails)
        going_on = set(continuing(place(batch)[0]).tolist())
        ended = [number for number in range(len(tails)) if number not in going_on]
        found: States = [None] * len(tails)
        if ended:
            batch = batch_of([tails[number] for number in ended]) if going_on else batch
            folded = fold(batch)
            rows = build_states(folded, whole(batch), count_states(folded, whole(batch)))
            named = zip(rows["aggregate_type"].to_pylist(), shown(rows).to_pylist(), strict=True)
            for number, (kind, row) in zip(ended, named, strict=True):
                found[number] = {"aggregate_type": kind, **row, "aggregate_id": events[0]["aggregate_id"]}
        return found

    return states


def by_events(events: Log) -> From:
    """The same from events as they are stored."""
    redacted = list(left_fold.redact_all(events))

    def state(snapshot: Snapshot, until: int) -> dict[str, Any] | None:
        try:
            return fold_stream(stored(events, redacted, snapshot.row["stream_version"], until), carry_of(snapshot))
        except MessageGoesOnError:
            return None

    return lambda tails: [state(*tail) for tail in tails]


def assert_same_states(log: Log, folded: Log, every: int, of_stream: Callable[[Log], From] = by_columns) -> int:
    """Every state of every stream of the log, from the snapshots of what was folded of it; how many went on from one."""
    snapshots: dict[str, list[dict[str, Any]]] = {}
    for row in snapshots_of(folded, every):
        snapshots.setdefault(row["aggregate_id"], []).append(row)
    used = 0
    streams: dict[str, Log] = {}
    for event in sorted(log, key=lambda e: e["stream_version"]):
        streams.setdefault(event["aggregate_id"], []).append(event)
    for stream, events in streams.items():
        states_from = of_stream(events)
        left, expected = StreamFold(), {}
        for number, (event, seen) in enumerate(left_fold.show(events), start=1):
            left.apply(event, seen)
            expected[number] = {"aggregate_type": left.aggregate_type, **comparable(left.state())}
        until = {number: number - 1 for number in expected}
        while tails := {
            number: snapshot
            for number, up_to in until.items()
            if (snapshot := find(snapshots.get(stream, []), events, up_to, code_hash(every))) is not None
        }:
            until = {}
            found = states_from([(snapshot, number) for number, snapshot in tails.items()])
            for (number, snapshot), state in zip(tails.items(), found, strict=True):
                version = snapshot.row["stream_version"]
                if state is None:
                    until[number] = version - 1
                    continue
                assert comparable(state) == expected[number], (stream, version, number)
                used += 1
    return used


@many
@given(log=logs(max_streams=2, max_events=18), every=st.integers(min_value=1, max_value=6))
def test_a_snapshot_and_the_tail_are_the_state(log: Log, every: int) -> None:
    """For every stream and version: redactions, upcast payloads, months that end, messages that go on."""
    assert_same_states(log, log, every)


@few
@given(log=logs(max_events=24), every=st.integers(min_value=1, max_value=6))
def test_a_snapshot_and_the_tail_as_stored_are_the_state(log: Log, every: int) -> None:
    """The same with events as the lake has them."""
    assert_same_states(log, log, every, by_events)


@many
@given(log=exchanges(min_streams=2, max_streams=3), every=st.integers(min_value=1, max_value=3))
def test_calls_are_answered_after_a_snapshot(log: Log, every: int) -> None:
    """What waits at the snapshot is answered by the tail, and by nothing else."""
    assert_same_states(log, log, every)


@few
@given(log=exchanges(), every=st.integers(min_value=1, max_value=3))
def test_there_are_snapshots_to_go_on_from(log: Log, every: int) -> None:
    """Of so many streams, some state is not folded from the first event."""
    assert assert_same_states(log, log, every) > 0


@many
@given(
    log=logs(max_streams=2, max_events=16, kinds=("user.utterance.v1", "tool.call.v1", *["redaction.applied.v1"] * 2)),
    cut=st.integers(min_value=1, max_value=16),
)
def test_a_snapshot_of_before_a_redaction_is_not_used(log: Log, cut: int) -> None:
    """Events and redactions came after the fold: states hide what they hide, snapshots that do not are left alone."""
    assert_same_states(log, [event for event in log if event["stream_version"] <= cut], 2)


def test_any_doubt_is_no_snapshot() -> None:
    """Other code, another link, a gap in the lists: the older snapshot is taken, or none."""
    row = {"last_hash": b"h", "redactions_hash": None, "erased_events": 0, "code_hash": "now"}
    row |= {"transcript": [], "tool_calls": None}
    rows = [
        {**row, "redactions": [], "stream_version": version, "lists_since": version - 5} for version in (5, 10, 15, 20)
    ]
    links = dict.fromkeys((5, 10, 15, 20), b"h")

    def version(
        changed: dict[int, dict[str, Any]],
        until: int = 99,
        links: dict[int, bytes] = links,
        erased: Sequence[int] = (),
    ) -> int | None:
        found = [{**each, **changed.get(each["stream_version"], {})} for each in rows]
        snapshot = find_snapshot(found, until, links, [], "now", erased)
        return snapshot.row["stream_version"] if snapshot else None

    assert (version({}), version({}, until=14), version({}, until=4)) == (20, 10, None)
    assert version({20: {"code_hash": "then"}}) == 15
    assert version({10: {"code_hash": "then"}}) == 5
    assert version({15: {"redactions_hash": "1"}}) == 10
    assert version({10: {"lists_since": None}}) == 5
    assert version({}, links={**links, 20: b"g"}) == 15
    assert version({5: {"lists_since": 5}}) is None
    assert version({}, erased=[12, 13]) == 10
    assert version({15: {"erased_events": 2}, 20: {"erased_events": 1}}, erased=[12, 13]) == 15
    unclear = [{"stream_version": 7, "hash": b"r", "target_version": None}]
    assert find_snapshot(rows, 99, links, unclear, "now") is None
