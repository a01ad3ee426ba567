"""Events as they may be read: redactions applied, payloads lifted to the latest version of their type.

Redactions apply to payloads as recorded, before they are lifted, and once: what is left of a payload that was redacted before
is not what is left of the recorded one. So `redact_events` is the one way from a recorded payload to what may be shown; what it
gave is kept in the table `redacted_events`, and read there by whoever knows that a month of it is up to date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from pipelines.duck import create_table, create_view, quote_literal, unless_none
from pipelines.log.erased import IS_ERASED
from pipelines.log.redaction import IS_REDACTION, TARGET_VERSION, Redaction, redact_text
from pipelines.log.upcasters import Upcasters, load_upcasters

if TYPE_CHECKING:
    import pyarrow as pa

_EVENT = """
    target.aggregate_id, target.aggregate_type, target.stream_version, target.month, target.event_type, target.event_version,
    target.metadata, target.created_at, target.position, target.digest
""".strip()
_KEPT = f"""
SELECT {_EVENT}, hidden.payload, hidden.redaction_versions
FROM redacted_events AS hidden
INNER JOIN events AS target ON hidden.aggregate_id = target.aggregate_id AND hidden.stream_version = target.stream_version
WHERE {{kept}} AND {{condition}}
"""
_NAMED = f"""
SELECT
    {_EVENT}, target.payload, applied.redaction_versions, applied.redactions, applied.hashes
FROM events AS target
INNER JOIN (
    SELECT
        aggregate_id, {TARGET_VERSION} AS target_version,
        list(stream_version ORDER BY stream_version) AS redaction_versions,
        list(payload ORDER BY stream_version) AS redactions,
        string_agg(hex(hash), ' ' ORDER BY stream_version) AS hashes
    FROM {{log}}
    WHERE {IS_REDACTION}
    GROUP BY ALL
) AS applied
    ON target.aggregate_id = applied.aggregate_id AND target.stream_version = applied.target_version
WHERE NOT {IS_ERASED.format("target.")} AND {{condition}}
ORDER BY target.aggregate_id, target.stream_version
"""
SHOWN = f"""
SELECT
    events.* REPLACE (
        CASE WHEN named.aggregate_id IS NULL OR {IS_ERASED.format("events.")} THEN events.payload ELSE named.payload END AS payload
    )
FROM events
LEFT JOIN (
    SELECT
        applied.aggregate_id, applied.stream_version,
        any_value(hidden.payload) FILTER (WHERE len(hidden.redaction_versions) = applied.redactions) AS payload
    FROM (
        SELECT
            aggregate_id, {TARGET_VERSION} AS stream_version,
            count(*) AS redactions
        FROM events
        WHERE {IS_REDACTION}
        GROUP BY ALL
    ) AS applied
    LEFT JOIN redacted_events AS hidden
        ON applied.aggregate_id = hidden.aggregate_id AND applied.stream_version = hidden.stream_version
    GROUP BY applied.aggregate_id, applied.stream_version
) AS named
    ON events.aggregate_id = named.aggregate_id AND events.stream_version = named.stream_version
"""
"""Every event as stored, redactions applied; of an erased one nothing is left to hide."""


def readable_query(upcasters: Upcasters) -> str:
    """What a view of the lake shows of every event, as one statement over `events` and `redacted_events`.

    An event that a redaction names is shown as the table `redacted_events` has it. While that table does not know all of the
    event's redactions yet, because a fold is still to come, the payload is withheld: the view never shows what is hidden.
    """
    return upcasters.query(f"({SHOWN})")


def create_readable_events(connection: duckdb.DuckDBPyConnection, upcasters: Upcasters | None = None) -> None:
    """Create the view `upcast_events`: every event, redactions applied, payloads at their latest version.

    Args:
        connection: Has a relation `events` with the columns of that dataset, `month` included.
        upcasters: Known types and upcasters; default: those shipped.
    """
    create_readable(connection, "9999-12", load_upcasters() if upcasters is None else upcasters)


def create_readable(
    connection: duckdb.DuckDBPyConnection,
    month: str,
    upcasters: Upcasters,
    log: str = "events",
    kept: Mapping[str, int] | None = None,
) -> tuple[int, int, int]:
    """Create `upcast_events` and, without redactions, `upcast_recorded_events`.

    Args:
        connection: Has a relation `events` with the columns of that dataset, `month` included.
        month: YYYY-MM; redactions of events of later months are left out.
        upcasters: Known types and upcasters.
        log: The relation that has all redactions, if `events` is a part of the log.
        kept: Months of which the relation `redacted_events` is what redactions leave today, of the whole log, and how many
            redactions of each are inexact; the events of others are redacted here.

    Returns:
        (Events redacted, redactions of them, inexact ones among these).
    """
    redacted = _redact(connection, f"target.month <= {quote_literal(month)}", log, kept or {})
    rows = redacted.rows.drop_columns(["redaction_versions"])
    create_table(connection, "fold_redacted", rows)
    masked = (
        "SELECT events.* REPLACE (coalesce(hidden.payload, events.payload) AS payload) "
        "FROM events LEFT JOIN fold_redacted AS hidden "
        "ON events.aggregate_id = hidden.aggregate_id AND events.stream_version = hidden.stream_version"
    )
    create_view(connection, "masked_events", masked)
    views = {"upcast_events": "masked_events", "upcast_recorded_events": "events", "fold_hidden": "fold_redacted"}
    for view, source in views.items():
        create_view(connection, view, upcasters.query(source))
    return rows.num_rows, redacted.redactions, redacted.inexact


def _redact(connection: duckdb.DuckDBPyConnection, condition: str, log: str, kept: Mapping[str, int]) -> RedactedEvents:
    """The events that redactions name, from the months of `redacted_events` that are kept and, of others, from the log."""
    import pyarrow as pa  # noqa: PLC0415 - not for those who only read the view

    months = ", ".join(map(quote_literal, kept)) or "NULL"
    is_kept = f"hidden.month IN ({months})"
    if (
        not kept
        or not connection.execute(f"SELECT count(*) FROM redacted_events AS hidden WHERE {is_kept}").fetchall()[0][0]
    ):
        return redact_events(connection, condition, log)
    known = connection.sql(_KEPT.format(kept=is_kept, condition=condition)).to_arrow_table()
    redactions, inexact = sum(map(len, known["redaction_versions"].to_pylist())), sum(kept.values())
    condition = f"{condition} AND target.month NOT IN ({months})"
    if not connection.execute(f"SELECT count(*) FROM events AS target WHERE {condition}").fetchall()[0][0]:
        return RedactedEvents(known, redactions, inexact)
    others = redact_events(connection, condition, log)
    rows = others.rows.select(known.column_names).cast(known.schema)
    return RedactedEvents(pa.concat_tables([known, rows]), others.redactions + redactions, others.inexact + inexact)


@dataclass(frozen=True, slots=True)
class RedactedEvents:
    """Events that redactions name, by stream and version; few are, so they fit in memory.

    Attributes:
        rows: What the log says of each, payloads as they may be shown; and the versions of the redactions.
        redactions: How many redactions name them.
        inexact: How many of those had to hide more than they named.
    """

    rows: pa.Table
    redactions: int
    inexact: int


def named_query(connection: duckdb.DuckDBPyConnection, condition: str, log: str = "events") -> str:
    """A SELECT of the events that redactions name, as recorded, and of those redactions; arguments as of `redact_events`."""
    return unless_none(connection, f"FROM {log} WHERE {IS_REDACTION}", _NAMED.format(log=log, condition=condition))


def redact_events(connection: duckdb.DuckDBPyConnection, condition: str, log: str = "events") -> RedactedEvents:
    """Apply the redactions of the log to the events, as recorded, that they name.

    Args:
        connection: Has a relation `events` with the columns of that dataset, `month` included.
        condition: Which events, as SQL over `target`.
        log: The relation that has all redactions.
    """
    import pyarrow as pa  # noqa: PLC0415 - not for those who only read the view

    found = connection.sql(named_query(connection, condition, log)).to_arrow_table()
    applied: list[list[str]] = found["redactions"].to_pylist()
    shown = [
        redact_text(payload, map(Redaction.from_json, texts))
        for payload, texts in zip(found["payload"].to_pylist(), applied, strict=True)
    ]
    payloads = pa.array([text for text, _ in shown], pa.string())
    rows = found.drop_columns(["payload", "redactions", "hashes"]).append_column("payload", payloads)
    return RedactedEvents(rows, sum(map(len, applied)), sum(inexact for _, inexact in shown))
