"""Where something stands in the log: a text, a member's value, a tool's calls, a person; and the decision that caused it.

Searched is what the log says today: payloads as recorded with redactions applied, and the envelope of events of which nothing is
redacted. A scan leaves out what cannot hold it (`needles`), the rest is read and compared (`values`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.evidence.needles import narrows, narrows_number, small
from pipelines.evidence.values import Value, as_number, values_of
from pipelines.lake.lake import Lake
from pipelines.lake.locked import locked_session
from pipelines.log.readable import SHOWN

_AROUND = 60
"""Characters that are shown before and after what was found."""
_BATCH_ROWS = 10_000
_READS = "FROM events, redacted_events, decisions, tool_calls"
_EVENTS = f"""
SELECT
    said.aggregate_id, said.aggregate_type, said.stream_version, said.event_type, said.payload,
    CASE WHEN hidden.aggregate_id IS NULL THEN said.metadata ELSE '{{{{}}}}' END AS metadata, said.created_at
FROM ({SHOWN}) AS said
LEFT JOIN redacted_events AS hidden ON said.aggregate_id = hidden.aggregate_id AND said.stream_version = hidden.stream_version
WHERE said.payload IS NULL OR ({{condition}})
"""
_ABOUT = """
WITH about AS (
    SELECT aggregate_id, list(stream_version) AS versions
    FROM events
    WHERE {condition} AND metadata ->> '$.subject_id' = $customer
    GROUP BY aggregate_id
)

SELECT
    about.aggregate_id,
    CASE WHEN bool_or(coalesce(events.metadata ->> '$.subject_id' <> $customer, false)) THEN any_value(about.versions) END AS versions
FROM about
INNER JOIN events ON about.aggregate_id = events.aggregate_id
GROUP BY about.aggregate_id
"""
_STREAMS = """
SELECT
    events.aggregate_id, any_value(aggregate_type) AS aggregate_type, min(stream_version) AS stream_version,
    arg_min(event_type, stream_version) AS event_type, arg_min(created_at, stream_version) AS created_at,
    max(stream_version) AS last_version, count(*) AS events
FROM events
INNER JOIN about ON events.aggregate_id = about.aggregate_id
WHERE about.versions IS NULL OR list_contains(about.versions, events.stream_version)
GROUP BY events.aggregate_id
"""
_CALLS = """
SELECT calls.*, events.event_type
FROM tool_calls AS calls
INNER JOIN events ON calls.aggregate_id = events.aggregate_id AND calls.stream_version = events.stream_version
WHERE calls.name = $tool
"""
_CAUSES = """
SELECT hits.aggregate_id, hits.stream_version, any_value(told.decision), any_value(told.first_version)
FROM hits
LEFT JOIN tool_calls AS calls ON hits.aggregate_id = calls.aggregate_id AND hits.stream_version = calls.result_version
INNER JOIN decisions AS told
    ON hits.aggregate_id = told.aggregate_id
    AND coalesce(calls.stream_version, hits.stream_version) BETWEEN told.first_version AND told.last_version
GROUP BY hits.aggregate_id, hits.stream_version
"""
_NAMES = """
SELECT hits.aggregate_id, any_value(events.metadata ->> '$.source'), any_value(events.metadata ->> '$.source_id')
FROM hits
INNER JOIN events ON hits.aggregate_id = events.aggregate_id
WHERE events.metadata ->> '$.source_id' IS NOT NULL
GROUP BY hits.aggregate_id
"""


@dataclass(frozen=True, slots=True)
class Question:
    """What is looked for: one of text, member and tool, and whom it is about; or a person alone.

    Attributes:
        text: A text that stands in a value.
        ignore_case: Whether in any case of letters.
        member: Name and value of a member, of the payload or of JSON that a string of it holds.
        tool: Name of a tool: its calls.
        where: SQL over the columns of `tool_calls`: only those calls.
        customer: Only what is about this person (`subject_id`): their streams, and single events about them in others'.
    """

    text: str | None = None
    ignore_case: bool = False
    member: tuple[str, str] | None = None
    tool: str | None = None
    where: str | None = None
    customer: str | None = None

    def __post_init__(self) -> None:
        given = [
            name
            for name, value in (("TEXT", self.text), ("--field", self.member), ("--tool", self.tool))
            if value is not None
        ]
        if len(given) > 1:
            raise BadInputError(f"{' and '.join(given)} are different questions; give one of them")
        if not given and self.customer is None:
            raise BadInputError("say what to find: TEXT, --field NAME=VALUE, --tool NAME or --customer ID")
        name, value = self.member or (None, None)
        texts = {"TEXT": self.text, "--tool": self.tool, "--customer": self.customer, "the NAME of --field": name}
        for what, text in texts.items():
            if text is not None and not text.strip():
                raise BadInputError(f"{what} is empty, which would be found everywhere")
        for what, text in {**texts, "the VALUE of --field": value}.items():
            if text is not None and any("\ud800" <= each <= "\udfff" for each in text):
                raise BadInputError(f"{what} is no text: {text!r}")
        if self.where is not None and self.tool is None:
            raise BadInputError("--where narrows the calls of --tool; it is of no use without it")
        if self.ignore_case and self.text is None:
            raise BadInputError("--ignore-case is for TEXT; values, tools and persons are compared as they are")


@dataclass(frozen=True, slots=True)
class Hit:
    """One place.

    Attributes:
        stream: The stream's id.
        stream_type: conversation, call, customer, …
        version: The event's place in the stream.
        at: When it happened, UTC.
        kind: The event's type.
        path: JSON Pointer in the payload, going on in JSON that a string holds; `metadata` and a pointer in the envelope; None
            where a whole stream is meant.
        text: What stands there, shortened.
        source: Where the stream was recorded; None when the writer did not say.
        conversation_id: Its id there; None likewise.
        decision: Number of the decision that said or did it, or whose call it answers; None for what no decision caused, and
            while it is not folded.
        decision_version: First event of that decision; None likewise.
    """

    stream: str
    stream_type: str
    version: int
    at: datetime
    kind: str
    path: str | None
    text: str
    source: str | None = None
    conversation_id: str | None = None
    decision: int | None = None
    decision_version: int | None = None

    @property
    def name(self) -> str:
        """The stream as a person names it: `source/conversation_id`, else its id."""
        return f"{self.source}/{self.conversation_id}" if self.source and self.conversation_id else self.stream


@dataclass(slots=True)
class Found:
    """What was found.

    Attributes:
        hits: The first of them, by time, stream, version and place in the event.
        places: How many there are.
        events: In how many events.
        streams: In how many streams.
        withheld: Events that were not searched, since a redaction of them waits for its fold.
    """

    hits: list[Hit] = field(default_factory=list)
    places: int = 0
    events: int = 0
    streams: int = 0
    withheld: int = 0


def find(lake: Lake, question: Question, limit: int = 20) -> Found:
    """Find something in the lake.

    Args:
        lake: Where to look.
        question: What for.
        limit: Most places that are shown; all are counted.

    Raises:
        BadInputError: `where` is not one expression, or fails.
        StoppedError: It took too long or too much.
    """
    with lake.reading(_READS), lake.connect() as connection:
        about = None if question.customer is None else _about(connection, question.customer)
        hits: Iterator[Hit | None]
        if question.tool is not None:
            hits = _calls(lake, connection, question.tool, question.where)
        elif question.text is not None or question.member is not None:
            hits = _standing(connection, question)
        else:
            hits = _streams(connection, about or {})
        found = _gather(hits, about, limit)
        found.hits = _told(connection, found.hits)
    return found


def _gather(hits: Iterable[Hit | None], about: Mapping[str, set[int] | None] | None, limit: int) -> Found:
    """Count what is found of some streams or of all, and keep the first of it; None among the hits is an event that is withheld."""
    found = Found()
    streams: set[str] = set()
    last: tuple[str, int] | None = None
    for hit in hits:
        if hit is None:
            found.withheld += 1
            continue
        if about is not None and (hit.stream not in about or hit.version not in (about[hit.stream] or {hit.version})):
            continue
        found.places += 1
        found.events += last != (hit.stream, hit.version)
        last = (hit.stream, hit.version)
        streams.add(hit.stream)
        found.hits.append(hit)
        if len(found.hits) > 2 * limit + _BATCH_ROWS:
            found.hits = _first(found.hits, limit)
    found.streams = len(streams)
    found.hits = _first(found.hits, limit)
    return found


def _first(hits: list[Hit], limit: int) -> list[Hit]:
    return sorted(hits, key=attrgetter("at", "stream", "version"))[:limit]


def _standing(connection: duckdb.DuckDBPyConnection, question: Question) -> Iterator[Hit | None]:
    """Where a text or a member stands."""
    if question.member is not None:
        name, value = question.member
        number = as_number(value)
        condition = narrows(("said.payload",), [name] if number is not None else [name, value])
        condition += "" if number is None else f" AND {narrows_number('said.payload', number)}"
        look = _member(name, value)
    else:
        assert question.text is not None
        columns = ("said.payload", "said.metadata")
        condition = narrows(columns, [question.text], ignore_case=question.ignore_case)
        look = _text(question.text, ignore_case=question.ignore_case)
    reader = connection.sql(_EVENTS.format(condition=condition)).to_arrow_reader(_BATCH_ROWS)
    for row in (row for batch in reader for row in batch.to_pylist()):
        if row["payload"] is None:
            yield None
            continue
        yield from _hits(row, "payload", look)
        if question.member is None:
            yield from _hits(row, "metadata", look)


def _hits(row: Mapping[str, Any], column: str, look: Callable[[Value], str | None]) -> Iterator[Hit]:
    before = "" if column == "payload" else column
    for value in values_of(row[column]):
        if (text := look(value)) is not None:
            yield _hit(row, before + value.path, text)


def _hit(row: Mapping[str, Any], path: str | None, text: str) -> Hit:
    names = ("aggregate_id", "aggregate_type", "stream_version", "created_at", "event_type")
    stream, stream_type, version, at, kind = (row[name] for name in names)
    return Hit(stream, stream_type, version, at, kind, path, text)


def _text(wanted: str, *, ignore_case: bool) -> Callable[[Value], str | None]:
    """What of a value to show, where a text stands in it."""
    sought = small(wanted) if ignore_case else wanted

    def look(value: Value) -> str | None:
        text = value.text
        at = -1 if text is None else (small(text) if ignore_case else text).find(sought)
        return None if text is None or at < 0 else _shortened(text, at, at + len(wanted))

    return look


def _member(name: str, wanted: str) -> Callable[[Value], str | None]:
    def look(value: Value) -> str | None:
        if value.name != name or not value.equals(wanted):
            return None
        return _shortened(wanted if value.text is None else value.text, 0, 0)

    return look


def _shortened(text: str, first: int, last: int) -> str:
    """What stands around a part of a text, on one line."""
    start, end = max(first - _AROUND, 0), min(last + _AROUND, len(text))
    shown = " ".join(text[start:end].encode("utf-8", "replace").decode().split())
    return f"{'…' if start else ''}{shown}{'…' if end < len(text) else ''}"


def _about(connection: duckdb.DuckDBPyConnection, customer: str) -> dict[str, set[int] | None]:
    """What is about a person: streams, and of those that are about others too the versions; None for all of a stream."""
    query = _ABOUT.format(condition=narrows(("metadata",), [customer]))
    rows = connection.sql(query, params={"customer": customer}).fetchall()
    return {stream: None if versions is None else set(versions) for stream, versions in rows}


def _streams(connection: duckdb.DuckDBPyConnection, about: Mapping[str, set[int] | None]) -> Iterator[Hit]:
    """One hit for each stream, with the first event about the person."""
    versions = [None if each is None else sorted(each) for each in about.values()]
    schema = pa.schema([("aggregate_id", pa.string()), ("versions", pa.list_(pa.int32()))])
    connection.register("about", pa.table([list(about), versions], schema=schema))
    relation = connection.sql(_STREAMS)
    for row in (dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()):
        first, last = row["stream_version"], row["last_version"]
        yield _hit(row, None, f"{row['events']:,} events about this person, versions {first} to {last}")
    connection.unregister("about")


def _calls(lake: Lake, connection: duckdb.DuckDBPyConnection, tool: str, where: str | None) -> Iterator[Hit]:
    """The calls of a tool that a condition holds for."""
    rows = connection.sql(_CALLS, params={"tool": tool}).to_arrow_table()
    if where is not None:
        bounds = {"memory_bytes": lake.memory_bytes // 2, "seconds": lake.sql_seconds}
        with locked_session({"tool_calls": rows}, **bounds) as locked:  # type: ignore[arg-type]
            query = f"SELECT * FROM tool_calls WHERE (\n{where}\n)"
            rows = locked.select(query, "where", where, rows.num_rows)
    for row in (row for batch in rows.to_batches(_BATCH_ROWS) for row in batch.to_pylist()):
        yield _hit(row, None, _shortened(row["arguments"] or "", 0, 0))


def _told(connection: duckdb.DuckDBPyConnection, hits: list[Hit]) -> list[Hit]:
    """The hits, with the names of their streams and the decisions that caused them."""
    if not hits:
        return hits
    columns = {"aggregate_id": [each.stream for each in hits], "stream_version": [each.version for each in hits]}
    connection.register("hits", pa.table(columns))
    causes = {(stream, version): told for stream, version, *told in connection.sql(_CAUSES).fetchall()}
    names = {stream: told for stream, *told in connection.sql(_NAMES).fetchall()}
    connection.unregister("hits")
    return [_completed(each, names.get(each.stream), causes.get((each.stream, each.version))) for each in hits]


def _completed(hit: Hit, name: list[Any] | None, cause: list[Any] | None) -> Hit:
    source, conversation_id = name or (None, None)
    decision, version = cause or (None, None)
    return replace(hit, source=source, conversation_id=conversation_id, decision=decision, decision_version=version)
