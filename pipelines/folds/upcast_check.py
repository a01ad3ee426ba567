"""Run every stored payload of a type through its upcasters, and hold what comes out to the newest registered schema.

What a failure says is where the event is, which step failed and how; never what stands in the payload. Payloads of which
redactions hide a part are tried as well, since folds lift those: a step must not fail on them. Erased events are not lifted. Steps may be a user's own, so
they run in a process where they can do nothing else, and are stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.lake.locked import Locked, locked_session
from pipelines.lake.locked_child import batches
from pipelines.lake.own_upcasters import load_own_upcasters
from pipelines.lake.sql_errors import without_values
from pipelines.log.erased import IS_ERASED
from pipelines.log.upcasters import Step, Upcasters
from pipelines.settings import MIN_MEMORY_BYTES
from pipelines.store import InvalidPayload, Registry

_BATCH = 10_000  # payloads; bounds what is in Python at once
FAILURES_KEPT = 1_000
"""Failures told one by one; the rest is counted."""

_STORED = f"""
SELECT position, aggregate_id, stream_version, event_type, FALSE AS is_redacted, payload
FROM events WHERE list_contains($types, event_type) AND NOT {IS_ERASED.format("")}
UNION ALL
SELECT events.position, events.aggregate_id, events.stream_version, events.event_type, TRUE, hidden.payload
FROM redacted_events AS hidden
INNER JOIN events ON hidden.aggregate_id = events.aggregate_id AND hidden.stream_version = events.stream_version
WHERE list_contains($types, events.event_type)
"""


@dataclass(frozen=True, slots=True)
class UpcastFailure:
    """One event whose payload cannot be lifted, or does not fit the schema when it is.

    Attributes:
        position: Of the event in the store.
        aggregate_id: Its stream.
        stream_version: Its place there.
        event_type: As recorded.
        is_redacted: Whether it was tried with redactions applied.
        reason: Which step failed and how, or where the lifted payload does not fit.
    """

    position: int
    aggregate_id: str
    stream_version: int
    event_type: str
    is_redacted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class UpcastCheck:
    """What the check found.

    Attributes:
        lifted: Recorded type → type that its payloads were lifted to.
        events: Recorded type → payloads tried, as recorded.
        redacted: Payloads tried with redactions applied.
        failed: Recorded type → failures.
        failures: The first of them, by position.
    """

    lifted: dict[str, str]
    events: dict[str, int]
    redacted: int
    failed: dict[str, int]
    failures: list[UpcastFailure]


def types_to_lift(lake: Lake, event_type: str | None) -> tuple[Upcasters, list[str]]:
    """The upcasters in force, and the names (`noun.verb`) with steps; or only that of `event_type`, with or without `.vN`.

    Raises:
        BadInputError: `event_type` is not known, or has one version alone.
    """
    upcasters = load_own_upcasters(lake.home)
    climbing = sorted({step.name for step in upcasters.steps})
    if event_type is None:
        return upcasters, climbing
    name = event_type.rpartition(".v")[0] if event_type.rpartition(".v")[2].isdecimal() else event_type
    if name not in climbing:
        why = "has one version, there is nothing to lift" if name in upcasters.latest else "is not known"
        raise BadInputError(f"{event_type} {why}; upcasters are there for {', '.join(climbing) or 'no type'}")
    return upcasters, [name]


def check_upcasters(
    lake: Lake,
    upcasters: Upcasters,
    names: list[str],
    registry: Registry,
    on_progress: Callable[[int], Any] | None = None,
) -> UpcastCheck:
    """Lift every payload of these types that the lake holds; nothing is written.

    Args:
        lake: Holds `events`.
        upcasters: The steps.
        names: `noun.verb` of the types.
        registry: Has the newest version of each, with its schema.
        on_progress: Told how many payloads are done, now and then.

    Raises:
        UnknownEventType: The registry lacks the newest version of a type that has events.
        StoppedError: A step takes too long or too much memory; the type is named.
    """
    events: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    failures: list[UpcastFailure] = []
    lifted: dict[str, str] = {}
    redacted = 0
    for name in names:
        newest = f"{name}.v{upcasters.latest[name]}"
        types = [f"{name}.v{version}" for version in range(1, upcasters.latest[name])]
        lifted |= dict.fromkeys(types, newest)
        steps = [step for step in upcasters.steps if step.name == name]
        unexplained: list[tuple[_Place, int | None]] = []
        with _session(lake, _STORED, {"types": types}) as locked:
            for place, payload, failed_step in _lift(locked, steps):
                redacted += place.is_redacted
                events[place.event_type] += not place.is_redacted
                reason = _judge(place, payload, failed_step, newest, registry)
                if reason is not None:
                    failed[place.event_type] += 1
                    if len(failures) + len(unexplained) < FAILURES_KEPT:
                        if reason:
                            failures.append(_failure(place, reason))
                        else:
                            unexplained.append((place, failed_step))
                if on_progress is not None:
                    on_progress(events.total() + redacted)
        failures += _explain_all(lake, steps, types, unexplained)
    failures.sort(key=lambda failure: failure.position)
    return UpcastCheck(lifted, dict(events), redacted, dict(failed), failures)


@dataclass(frozen=True, slots=True)
class _Place:
    position: int
    aggregate_id: str
    stream_version: int
    event_type: str
    is_redacted: bool


@contextmanager
def _session(lake: Lake, query: str, params: Mapping[str, Any]) -> Iterator[Locked]:
    """Where a user's steps are bounded: a session that sees the rows of `query` as `stored`."""
    with lake.connect() as connection:
        tables: Mapping[str, Callable[[], pa.RecordBatchReader]] = {
            "stored": lambda: connection.sql(query, params=dict(params)).to_arrow_reader(_BATCH)
        }
        memory = max(lake.memory_bytes // 4, MIN_MEMORY_BYTES // 4)
        with locked_session(tables, memory_bytes=memory, seconds=lake.sql_seconds, spill=lake.spill) as locked:
            yield locked


def _lift(locked: Locked, steps: list[Step]) -> Iterator[tuple[_Place, str | None, int | None]]:
    """(event, payload lifted or None, step that failed or None), in no order."""
    query = (
        "SELECT *, NULL::INTEGER AS failed_step, regexp_extract(event_type, '[0-9]+$')::INTEGER AS recorded FROM stored"
    )
    for step in sorted(steps, key=lambda each: each.version):
        # TRY makes null of an error, so that one payload's fault does not end the check
        tried = (
            f"CASE WHEN recorded <= {step.version} AND failed_step IS NULL THEN TRY({step.expression}) ELSE payload END"
        )
        query = f"SELECT *, {tried} AS tried FROM ({query})"
        query = (
            f"SELECT * EXCLUDE (tried) REPLACE (tried AS payload, CASE WHEN tried IS NULL AND failed_step IS NULL "
            f"THEN {step.version} ELSE failed_step END AS failed_step) FROM ({query})"
        )
    columns = (
        "position, aggregate_id, stream_version, event_type, is_redacted, payload::VARCHAR AS payload, failed_step"
    )
    what = f"upcaster {' or '.join(f'{step.name}.v{step.version}' for step in steps)}"
    rows = locked.each(what, batches, f"SELECT {columns} FROM ({query})", _BATCH)
    next(rows)  # the schema
    for batch in rows:
        for *place, payload, failed_step in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield _Place(*place), payload, failed_step


def _judge(place: _Place, payload: str | None, failed_step: int | None, newest: str, registry: Registry) -> str | None:
    """None when all is well; else why not, or an empty text when the failing step is to be asked."""
    if failed_step is not None or payload is None:
        return ""
    try:
        document = json.loads(payload)
    except ValueError:
        return "what comes out is not JSON"
    if not isinstance(document, dict):
        return "what comes out is not a JSON object"
    if place.is_redacted:
        return None  # a hidden value is text, whatever the schema says of it
    try:
        registry.validate(newest, document)
    except InvalidPayload as error:
        return f"does not fit {newest} at {error.path or 'its root'}"
    return None


def _explain_all(
    lake: Lake, steps: list[Step], types: list[str], places: list[tuple[_Place, int | None]]
) -> list[UpcastFailure]:
    """What the failing steps say of payloads when they are not kept from failing."""
    if not places:
        return []
    positions = sorted({place.position for place, _ in places})
    query = f"SELECT * FROM ({_STORED}) AS stored WHERE list_contains($positions, position)"
    with _session(lake, query, {"types": types, "positions": positions}) as locked:
        return [_failure(place, _explain(locked, place, steps, failed_step)) for place, failed_step in places]


def _explain(locked: Locked, place: _Place, steps: list[Step], failed_step: int | None) -> str:
    """What the failing step says, without what it quotes."""
    name, _, recorded = place.event_type.rpartition(".v")
    told = f"{name}.v{failed_step} → v{(failed_step or 0) + 1}"
    query = f"SELECT payload FROM stored WHERE position = {place.position} AND is_redacted = {place.is_redacted}"
    for step in sorted(steps, key=lambda each: each.version):
        if int(recorded) <= step.version <= (failed_step or 0):
            query = f"SELECT ({step.expression}) AS payload FROM ({query}) AS event"
    return f"{told}: {locked.call(f'upcaster {name}.v{failed_step}', explain, query) or 'gives null'}"


def explain(connection: duckdb.DuckDBPyConnection, query: str) -> str | None:
    """What may be told of a query's failure, None when it does not fail; asked of the child."""
    try:
        connection.execute(query).fetchall()
    except duckdb.Error as error:
        return without_values(error)
    return None


def _failure(place: _Place, reason: str) -> UpcastFailure:
    return UpcastFailure(
        place.position, place.aggregate_id, place.stream_version, place.event_type, place.is_redacted, reason
    )
