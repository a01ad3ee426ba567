"""Make the relations that projections read, for a month of the log, on one DuckDB connection.

Needs nothing but a relation `events` with the columns of the dataset of that name. Streams are folded in batches, in the
order of their ids, so that memory is bounded by the batch and not by the month. A projection whose header says
`-- batch: streams` can run on every batch by itself; what others need is gathered for the whole month. Where the rows go
is `run`'s matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.fold.fold import Folded, fold
from pipelines.fold.identity import code_hash
from pipelines.fold.lists import NO_LINKS, add_lists, shown
from pipelines.fold.pieces import cut, whole
from pipelines.fold.rows import RELATIONS
from pipelines.fold.snapshots import build_snapshots
from pipelines.fold.states import as_shown, build_states, count_states
from pipelines.folds.aside import Reached, refuse_too_large
from pipelines.folds.batches import Batches
from pipelines.folds.customers import create_customers
from pipelines.folds.hashes import create_call_hashes
from pipelines.folds.parts import LongStream
from pipelines.folds.plan import ALL, APPLIED, EVENT_HEADS, Plan, RangeSize, hash_redactions
from pipelines.folds.reading import AHEAD, Reader
from pipelines.folds.resume import plan_resume, plan_within
from pipelines.folds.shipped import PROJECTIONS, steps_of
from pipelines.folds.verification import Verifier
from pipelines.lake.memory import give_back
from pipelines.log.erased import IS_ERASED
from pipelines.log.readable import create_readable
from pipelines.log.upcasters import Upcasters, load_upcasters
from pipelines.settings import SNAPSHOT_EVENTS
from pipelines.sqlfiles import read_sql

_STATES = {"conversation_months": "conversation", "call_months": "call"}
"""Steps that are states, whole: the relations `fold_<step>`, and the type of their streams."""
_COMPUTED = ("call_hashes", "verification")
"""Steps that are made when a projection asks for them, after those of the batch."""
_BATCH_STEPS = (*RELATIONS, *_STATES, "snapshots", *_COMPUTED)
"""Steps that every batch makes: the relations `fold_<step>`."""
_STEPS = (*_BATCH_STEPS, "customers")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a month holds.

    Attributes:
        plan: Of the month.
        streams: Streams that the month touches.
        events: Events of the month.
        erased_events: Events up to the month's end that are erased.
        skipped_events: Events of the month whose type or version is not known, erased ones left out.
        redacted_events: Events up to the month's end that redactions, of whatever month, hide in part.
        redactions: Redactions of those.
        inexact_redactions: Redactions of those that had to hide more than they named.
    """

    plan: Plan
    streams: int
    events: int
    erased_events: int
    skipped_events: int
    redacted_events: int
    redactions: int
    inexact_redactions: int


def prepare_month(
    connection: duckdb.DuckDBPyConnection,
    month: str,
    names: Iterable[str] = PROJECTIONS,
    upcasters: Upcasters | None = None,
    *,
    heads: str = EVENT_HEADS,
    size: RangeSize = ALL,
    resumable: Iterable[str] = (),
    customers_go_on: bool = False,
    snapshot_events: int = SNAPSHOT_EVENTS,
) -> Prepared:
    """Create the temporary relations that the projections `names` read for `month`; older ones are replaced.

    Args:
        connection: Has a relation `events` with the columns of that dataset, `month` included.
        month: YYYY-MM.
        names: Projections.
        upcasters: Known types and upcasters; default: those shipped.
        heads: A SELECT of `aggregate_id, month, first_version, last_version, event_count, last_hash, erased_events` of the log.
        size: Of a batch; by default all streams are one.
        resumable: Earlier months whose snapshots and states streams may go on from.
        customers_go_on: Whether customers go on from the months before.
        snapshot_events: Events between two snapshots of a stream.

    Raises:
        BadInputError: A name is not a projection's, or the month is not written YYYY-MM.
    """
    names = tuple(names)
    relations = _relations_of(names)
    prepared = start_month(connection, month, names, upcasters, heads, customers_go_on=customers_go_on)
    batches = fold_batches(
        prepared.plan,
        names,
        upcasters,
        size=size,
        resumable=resumable,
        snapshot_events=snapshot_events,
    )
    for number, _ in enumerate(batches):
        for relation in relations:
            into = f"INSERT INTO month_{relation}" if number else f"CREATE OR REPLACE TEMP TABLE month_{relation} AS"
            connection.execute(f"{into} SELECT * FROM {relation}")
    _drop(connection, relations)
    for relation in relations:
        connection.execute(f"CREATE TEMP VIEW {relation} AS SELECT * FROM month_{relation}")
    return prepared


def start_month(
    connection: duckdb.DuckDBPyConnection,
    month: str,
    names: Iterable[str],
    upcasters: Upcasters | None = None,
    heads: str = EVENT_HEADS,
    *,
    customers_go_on: bool = False,
    log: str = "events",
    kept: Mapping[str, int] | None = None,
) -> Prepared:
    """Create what batches read, the readable events and which streams the month touches; and fold the customers.

    Args:
        connection: Has a relation `events` with the columns of that dataset, `month` included.
        month: YYYY-MM.
        names: Projections.
        upcasters: Known types and upcasters; default: those shipped.
        heads: A SELECT of `aggregate_id, month, first_version, last_version, event_count, last_hash, erased_events` of the log.
        customers_go_on: Whether customers go on from the months before.
        log: The relation that has all redactions, if `events` is a part of the log.
        kept: Months of `redacted_events` that are up to date, see `create_readable`.
    """
    if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) is None:
        raise BadInputError(f"month {month!r}: write YYYY-MM, for example 2026-01")
    needed = _needed(names)
    _drop(connection, [f"fold_{step}" for step in (*_BATCH_STEPS, "links")])
    upcasters = load_upcasters() if upcasters is None else upcasters
    hidden = create_readable(connection, month, upcasters, log, kept)
    plan = Plan(connection, month, heads, log)
    skipped = connection.execute(
        "SELECT count(*) FROM events WHERE month = $month AND NOT list_contains($known, event_type) "
        f"AND NOT {IS_ERASED.format('')}",
        {"month": month, "known": [stored for stored, _, _ in upcasters.known_types()]},
    ).fetchall()[0][0]
    if "customers" in needed:
        create_customers(connection, month, upcasters, goes_on=customers_go_on)
    return Prepared(plan, plan.streams, plan.events, plan.erased_events, int(skipped), *hidden)


def fold_batches(
    plan: Plan,
    names: Iterable[str],
    upcasters: Upcasters | None = None,
    *,
    size: RangeSize = ALL,
    cuts: Sequence[str] = (),
    resumable: Iterable[str] = (),
    is_partial: bool = False,
    snapshot_events: int = SNAPSHOT_EVENTS,
    left_out: Sequence[str] = (),
    reached: Reached | None = None,
    readers: int = AHEAD,
    memory_bytes: int = 2**62,
) -> Iterator[Mapping[str, pa.Table]]:
    """Make the relations of one batch of streams after the other; those of the batch before are replaced.

    Args:
        plan: As `start_month` made it.
        names: Projections; what none of them reads is not made.
        upcasters: Known types and upcasters; default: those shipped.
        size: Of a batch; by default all streams are one.
        cuts: Stream ids before which a batch had best begin.
        resumable: Earlier months whose snapshots and states streams may go on from.
        is_partial: Whether only some of the month's streams are planned.
        snapshot_events: Events between two snapshots of a stream.
        left_out: Streams that were taken out of the plan.
        readers: Ranges that are read at a time.
        reached: Told which range is folded.
        memory_bytes: Bound on the memory of the process; a stream of which a state would pass it is refused.

    Yields:
        The rows of the projections that are whole without a query, by name; the others' relations are there.
    """
    needed = _needed(names)
    with_lists = not needed.isdisjoint((*_STATES, "snapshots"))
    connection, month = plan.connection, plan.month
    resumes = plan_resume(plan, resumable)
    if is_partial:
        resumes |= plan_within(plan, code_hash(snapshot_events))
    planned = plan.spans(size, cuts)
    if size.bytes:
        refuse_too_large(plan, memory_bytes, snapshot_events)
        give_back(connection)
    reader = Reader(
        connection,
        month,
        load_upcasters() if upcasters is None else upcasters,
        is_partial=is_partial,
        with_states=with_lists or any(span.stream for span in planned),
        with_models=not needed.isdisjoint(("messages", "verification")),
        left_out=left_out,
        readers=readers,
    )
    batches = Batches(
        plan,
        reader,
        size=size,
        resumes=resumes,
        with_lists=with_lists,
        memory_bytes=memory_bytes,
    )
    verifier = Verifier(connection, month)
    for span, batch, long in batches.read(planned if reached is None else reached.through(planned)):
        states = _register(connection, month, fold(batch), long, needed, snapshot_events)
        if "call_hashes" in needed:
            create_call_hashes(connection)
        if "verification" in needed:
            verifier.create(span)
        yield states


def _register(
    connection: duckdb.DuckDBPyConnection,
    month: str,
    folded: Folded,
    long: LongStream | None,
    needed: set[str],
    every: int,
) -> dict[str, pa.Table]:
    """Make the relations that are needed; the states among them."""
    for name in needed.intersection(RELATIONS).difference(["tool_calls"] if long else ()):
        connection.register(f"fold_{name}", RELATIONS[name](folded))
    if long is None and needed.isdisjoint((*_STATES, "snapshots")):
        return {}
    pieces = cut(folded, every) if "snapshots" in needed else whole(folded.batch)
    counted = count_states(folded, pieces)
    ends = build_snapshots(folded, pieces, counted) if long or "snapshots" in needed else counted
    if "snapshots" in needed:
        ends = add_lists(folded, pieces, ends, every)
        snapshots = ends.take(shown(pieces))
        code = pa.repeat(code_hash(every), snapshots.num_rows)
        connection.register("fold_snapshots", snapshots.append_column("code_hash", code))
        links = NO_LINKS
        if long or not pieces.is_whole:
            query = read_sql("folds/steps/links.sql").replace("$listed", APPLIED)
            links = hash_redactions(connection.sql(query, params={"month": month}).to_arrow_table())
        connection.register("fold_links", links)
    types = [_STATES[name] for name in needed.intersection(_STATES)]
    if long is None:
        states = build_states(folded, pieces, counted) if types else counted
    else:
        states = long.carry(folded, pieces, counted, ends, types)
        if "tool_calls" in needed:
            connection.register("fold_tool_calls", long.released)
    rows = {name: as_shown(states, _STATES[name]) for name in needed.intersection(_STATES)}
    for name, made in rows.items():
        connection.register(f"fold_{name}", made)
    return rows


def _drop(connection: duckdb.DuckDBPyConnection, relations: Iterable[str]) -> None:
    """Drop relations of a batch or of a month, whatever they are made of."""
    names = list(relations)
    for name in names:
        connection.unregister(name)
    query = "SELECT table_name FROM duckdb_tables() WHERE database_name = 'temp' AND list_contains($names, table_name)"
    tables = {name for (name,) in connection.execute(query, {"names": names}).fetchall()}
    # views are dropped unseen: to list them, DuckDB makes all its own: 7 ms
    drops = [f"DROP {'TABLE' if name in tables else 'VIEW'} IF EXISTS temp.{name}" for name in names]
    connection.execute("; ".join(drops))


def _needed(names: Iterable[str]) -> set[str]:
    """The steps that projections read, all of which must exist."""
    needed = {step for name in names for step in steps_of(name)}
    if needed.difference(_STEPS):
        raise BadInputError(f"no steps {sorted(needed.difference(_STEPS))}; there are: {', '.join(_STEPS)}")
    return needed


def _relations_of(names: Iterable[str]) -> list[str]:
    """The relations, made batch by batch, that the projections read."""
    needed = _needed(names) - {"customers"}
    links = ["fold_links"] if "snapshots" in needed else []
    return sorted([*(f"fold_{step}" for step in needed), *links])
