"""The fold by itself, on columns: against the plain left fold, from the first event and from anywhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.fold.batch import Batch, make_batch
from pipelines.fold.carry import Carry
from pipelines.fold.columns import take
from pipelines.fold.fold import Folded, fold, place
from pipelines.fold.lists import add_lists
from pipelines.fold.messages import continuing
from pipelines.fold.pieces import Pieces, cut, whole
from pipelines.fold.rows import RELATIONS
from pipelines.fold.shapes import STATE_LISTS
from pipelines.fold.snapshots import build_snapshots
from pipelines.fold.states import build_states, count_states, shown
from tests.oracles import left_fold
from tests.oracles.left_fold_streams import StreamFold
from tests.support.equality import comparable
from tests.support.event_columns import fold_columns
from tests.support.log_strategies import exchanges, logs, months_of

Log = list[dict[str, Any]]
Rows = list[dict[str, Any]]
MONTH = "2026-01"
many = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
cuts = st.lists(st.integers(min_value=0, max_value=14), min_size=16, max_size=16)


def in_order(log: Log) -> Log:
    return sorted(log, key=lambda event: (event["aggregate_id"], event["stream_version"]))


def states_of(folded: Folded, pieces: Pieces) -> pa.Table:
    """The states after a batch, of streams of any type, with their type."""
    return build_states(folded, pieces, count_states(folded, pieces))


def fold_states(batch: Batch) -> dict[str, dict[str, Any]]:
    """The state of each stream of a batch, by id."""
    folded = fold(batch)
    return {row["aggregate_id"]: row for row in shown(states_of(folded, whole(batch))).to_pylist()}


def left_states(log: Log) -> dict[str, dict[str, Any]]:
    """The same from the plain left fold."""
    streams: dict[str, StreamFold] = {}
    for event, seen in left_fold.show(in_order(log)):
        streams.setdefault(event["aggregate_id"], StreamFold()).apply(event, seen)
    return {stream: found.state() for stream, found in streams.items()}


def comparable_states(states: dict[str, dict[str, Any]]) -> Any:
    return {stream: comparable(state) for stream, state in states.items()}


def carried(folded: Folded, pieces: Pieces) -> tuple[pa.Table, pa.Table]:
    """Where streams stand after a batch, and the lists of their states there."""
    standing = build_snapshots(folded, pieces, count_states(folded, pieces)).take(pieces.finals())
    return standing, states_of(folded, pieces).select(["aggregate_id", *STATE_LISTS])


def go_on(columns: pa.Table, rest: pa.Table, standing: pa.Table, lists: pa.Table) -> Batch:
    """The events `rest` of streams that stood so; those whose open message goes on have all their events of `columns`."""
    batch = make_batch(rest, 1)
    batch = batch.going_on_from(lambda ids: Carry.of(ids, standing, lists))
    again = continuing(place(batch)[0])
    if not len(again):
        return batch
    ids = take(batch.ids(), again)
    is_again, is_carried = (pa.compute.is_in(table["aggregate_id"], value_set=ids) for table in (columns, standing))
    others = batch.events.filter(pa.compute.invert(pa.compute.is_in(batch.events["aggregate_id"], value_set=ids)))
    events = pa.concat_tables([others, columns.filter(is_again)])
    standing = standing.filter(pa.compute.invert(is_carried))
    return make_batch(events, 1).going_on_from(lambda every: Carry.of(every, standing, lists))


@many
@given(folded=months_of(logs()))
def test_states_and_rows_equal_the_left_fold(folded: tuple[Log, str]) -> None:
    """Of any log: the state of every stream; and of any month what was said, called and decided in it."""
    log, month = folded
    columns = fold_columns(log, month)
    assert comparable_states(fold_states(make_batch(columns, 1))) == comparable_states(left_states(log))
    batch = make_batch(columns.filter(pa.array([event["month"] <= month for event in log], pa.bool_())), 1)
    expected = left_fold.fold_month(log, month)
    folded_month = fold(batch)
    made = {name: RELATIONS[name](folded_month).to_pylist() for name in ("events", "tool_calls", "messages")}
    compare(
        expected["utterances"], (row for row in made["events"] if row["event_name"] in SPOKEN and row["is_in_month"])
    )
    compare(expected["tool_calls"], (row for row in made["tool_calls"] if row["is_in_month"]))
    written = [row for row in made["messages"] if row["is_in_month"]]
    assert [row["context_messages"] for row in expected["decisions"]] == [
        None if row["is_context_erased"] else row["decision"] - 1 + row["inputs_before"] for row in written
    ]
    compare(expected["decisions"], written)


SPOKEN = ("user.utterance", "agent.utterance")


def compare(expected: Rows, found: Iterable[dict[str, Any]]) -> None:
    """Rows in order, by the columns that both have."""
    rows = list(found)
    assert len(rows) == len(expected)
    for wanted, row in zip(expected, rows, strict=True):
        shared = wanted.keys() & row.keys() - {"role"}
        assert comparable({name: row[name] for name in shared}) == comparable({name: wanted[name] for name in shared})


@many
@given(log=exchanges(min_streams=4, max_streams=8))
def test_results_find_their_calls(log: Log) -> None:
    """Calls and results with next to no ids, of users and agents: each result answers the call that the left fold gives it."""
    assert comparable_states(fold_states(make_batch(fold_columns(log, MONTH), 1))) == comparable_states(
        left_states(log)
    )


@many
@given(log=logs() | exchanges(min_streams=4, max_streams=8), at=cuts)
def test_where_streams_stood_and_the_rest_are_the_whole(log: Log, at: list[int]) -> None:
    """fold(events ≤ v) = fold(standing at s, events s+1 … v), wherever each stream is cut, in the middle of messages too."""
    cut_at = dict(zip(sorted({event["aggregate_id"] for event in log}), at * 2, strict=False))
    columns = fold_columns(log, MONTH)
    is_before = pa.array([event["stream_version"] <= cut_at[event["aggregate_id"]] for event in log], pa.bool_())
    before = make_batch(columns.filter(is_before), 1)
    standing, lists = carried(fold(before), whole(before))
    batch = go_on(columns, columns.filter(pa.compute.invert(is_before)), standing, lists)
    went_on = set(batch.ids().to_pylist())
    expected = {stream: state for stream, state in left_states(log).items() if stream in went_on}
    assert comparable_states(fold_states(batch)) == comparable_states(expected)


@many
@given(
    log=logs(max_streams=3, max_events=16) | exchanges(min_streams=2, max_streams=4),
    every=st.integers(min_value=1, max_value=6),
)
def test_a_snapshot_and_the_rest_are_the_whole(log: Log, every: int) -> None:
    """At the end of every piece of a long stream: the lists up to there are those of the pieces, and the rest goes on."""
    log = [{**event, "month": MONTH} for event in log]
    columns = fold_columns(log, MONTH)
    folded = fold(make_batch(columns, 1))
    pieces = cut(folded, every)
    snapshots = add_lists(folded, pieces, build_snapshots(folded, pieces, count_states(folded, pieces)), every)
    expected = left_states(log)
    for standing in by_rank(snapshots):
        at = dict(zip(standing["aggregate_id"].to_pylist(), standing["stream_version"].to_pylist(), strict=True))
        rest = columns.filter(
            pa.array([e["stream_version"] > at.get(e["aggregate_id"], e["stream_version"]) for e in log], pa.bool_())
        )
        if not rest.num_rows:
            continue
        found = fold_states(go_on(columns, rest, standing, lists_up_to(snapshots, at)))
        assert comparable_states(found) == comparable_states({stream: expected[stream] for stream in found})
        assert found.keys() == set(rest["aggregate_id"].to_pylist())


def by_rank(snapshots: pa.Table) -> Iterator[pa.Table]:
    """The first snapshot of every stream, then the second of every stream that has one, and so on.

    Without those of short streams, whose lists are in their states.
    """
    ranks: dict[int, list[int]] = {}
    made: Counter[str] = Counter()
    for row, (stream, since) in enumerate(
        zip(snapshots["aggregate_id"].to_pylist(), snapshots["lists_since"].to_pylist(), strict=True)
    ):
        ranks.setdefault(made[stream], [])
        if since is not None:
            ranks[made[stream]].append(row)
        made[stream] += 1
    return (snapshots.take(rows) for rows in ranks.values() if rows)


def lists_up_to(snapshots: pa.Table, at: dict[str, int]) -> pa.Table:
    """The lists of streams up to a version of each: those of their pieces, put together."""
    stated: dict[str, dict[str, dict[int, Any]]] = {stream: {name: {} for name in STATE_LISTS} for stream in at}
    for row in snapshots.select(["aggregate_id", "stream_version", *STATE_LISTS]).to_pylist():
        if row["stream_version"] <= at.get(row["aggregate_id"], 0):
            for name in STATE_LISTS:
                stated[row["aggregate_id"]][name] |= {each["stream_version"]: each for each in row[name] or ()}
    rows = [
        {"aggregate_id": stream} | {name: [each for _, each in sorted(found[name].items())] for name in STATE_LISTS}
        for stream, found in stated.items()
    ]
    return pa.Table.from_pylist(
        rows, schema=pa.schema([snapshots.schema.field(name) for name in ("aggregate_id", *STATE_LISTS)])
    )
