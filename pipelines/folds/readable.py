"""Events as folds may see them: redactions applied, payloads lifted to the latest version of their type."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from pipelines.folds.ladder import Ladder, load_ladder
from pipelines.folds.redaction import Redaction, redact_text
from pipelines.folds.tables import create_table

_REDACTED_FIELDS: list[tuple[str, pa.DataType]] = [
    ("aggregate_id", pa.string()),
    ("stream_version", pa.int32()),
    ("payload", pa.string()),
]
_REDACTED = pa.schema(_REDACTED_FIELDS)
REDACTIONS_IN_FORCE = """
SELECT
    target.aggregate_id, target.stream_version, any_value(target.payload) AS payload,
    list(applied.payload ORDER BY applied.stream_version) AS redactions
FROM (
    SELECT
        aggregate_id, stream_version, payload,
        TRY_CAST(json_extract_string(payload, '$.target.stream_version') AS INTEGER) AS target_version
    FROM events
    WHERE event_type IN (SELECT recorded_type FROM fold_known_types WHERE event_name = 'redaction.applied')
) AS applied
INNER JOIN events AS target
    ON applied.aggregate_id = target.aggregate_id AND applied.target_version = target.stream_version
WHERE target.month <= $month
GROUP BY target.aggregate_id, target.stream_version
ORDER BY target.aggregate_id, target.stream_version
"""


def create_readable_events(connection: duckdb.DuckDBPyConnection, ladder: Ladder | None = None) -> None:
    """Create the view `upcast_events`: every event, redactions applied, payloads at their latest version.

    Args:
        connection: Has a relation `events` with the columns of that dataset, `month` included.
        ladder: Known types and upcasters; default: those shipped.
    """
    create_readable(connection, "9999-12", load_ladder() if ladder is None else ladder)


def create_readable(connection: duckdb.DuckDBPyConnection, month: str, ladder: Ladder) -> tuple[int, int, int]:
    """Create `upcast_events` and, without redactions, `upcast_recorded_events`.

    Returns:
        (Events redacted, redactions of them, inexact ones among these).
    """
    ladder.create_known_types(connection)
    counts = _create_redacted(connection, month)
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW masked_events AS SELECT events.* "
        "REPLACE (coalesce(hidden.payload, events.payload) AS payload) FROM events LEFT JOIN fold_redacted AS hidden "
        "ON events.aggregate_id = hidden.aggregate_id AND events.stream_version = hidden.stream_version"
    )
    for view, source in (("upcast_events", "masked_events"), ("upcast_recorded_events", "events")):
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS {ladder.upcast_query(source)}")
    return counts


def _create_redacted(connection: duckdb.DuckDBPyConnection, month: str) -> tuple[int, int, int]:
    """Create `fold_redacted`, the payloads that redactions change; few events are redacted, so they fit in memory."""
    rows: dict[str, list[object]] = {field.name: [] for field in _REDACTED}
    redactions = inexact = 0
    for stream, version, payload, applied in connection.sql(REDACTIONS_IN_FORCE, params={"month": month}).fetchall():
        text, count = redact_text(payload, [Redaction.from_json(each) for each in applied])
        redactions += len(applied)
        inexact += count
        for name, value in zip(rows, (stream, version, text), strict=True):
            rows[name].append(value)
    create_table(connection, "fold_redacted", pa.table(rows, schema=_REDACTED))
    return len(rows["payload"]), redactions, inexact
