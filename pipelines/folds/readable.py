"""Events as folds may see them: redactions applied, payloads lifted to the latest version of their type."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from pipelines.folds.columns import compute as pc
from pipelines.folds.redaction import Redaction, redact_text
from pipelines.folds.tables import create_table, unless_none
from pipelines.lake.ladder import Ladder, load_ladder

_APPLIED = """
CREATE OR REPLACE TEMP TABLE fold_applied AS
SELECT
    aggregate_id, TRY_CAST(json_extract_string(payload, '$.target.stream_version') AS INTEGER) AS target_version,
    list(payload ORDER BY stream_version) AS redactions
FROM events
-- files' own lists of contents tell where the prefix is: no other payload is read
WHERE
    event_type LIKE 'redaction.applied.v%'
    AND event_type IN (SELECT recorded_type FROM fold_known_types WHERE event_name = 'redaction.applied')
GROUP BY ALL
"""
_IN_FORCE = """
SELECT
    target.aggregate_id, target.aggregate_type, target.stream_version, target.month, target.event_type, target.metadata,
    target.created_at, target.position, target.payload, applied.redactions
FROM events AS target
INNER JOIN fold_applied AS applied
    ON target.aggregate_id = applied.aggregate_id AND target.stream_version = applied.target_version
WHERE target.month <= $month
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
    for view, source in (("fold_stored", "events"), ("fold_hidden", "fold_redacted")):
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS {in_order(ladder, source)}")
    for view, source in (("upcast_events", "masked_events"), ("upcast_recorded_events", "events")):
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {view} AS {ladder.upcast_query(source)}")
    return counts


def in_order(ladder: Ladder, source: str) -> str:
    """A SELECT like `Ladder.upcast_query`, without its joins: rows stay in the order of `source`, as joins would not leave them.

    `event_type` and `event_version` are as stored.
    """
    types = ladder.known_types()
    names = " ".join(f"WHEN '{stored}' THEN '{name}'" for stored, name, _ in types)
    query = f"SELECT *, CASE event_type {names} END AS event_name FROM {source}"
    for version in sorted({step.version for step in ladder.steps}):
        cases = []
        for step in (each for each in ladder.steps if each.version == version):
            stored = ", ".join(f"'{text}'" for text, name, known in types if name == step.name and known <= version)
            cases.append(f"WHEN event_type IN ({stored}) THEN ({step.expression})")
        query = f"SELECT * REPLACE (CASE {' '.join(cases)} ELSE payload END AS payload) FROM ({query})"
    return query


def _create_redacted(connection: duckdb.DuckDBPyConnection, month: str) -> tuple[int, int, int]:
    """Create `fold_redacted`, the payloads that redactions change; few events are redacted, so they fit in memory."""
    connection.execute(_APPLIED)
    query = unless_none(connection, "FROM fold_applied", _IN_FORCE)
    redacted = connection.sql(query, params={"month": month}).to_arrow_table()
    shown = [
        redact_text(payload, [Redaction.from_json(each) for each in applied])
        for payload, applied in zip(redacted["payload"].to_pylist(), redacted["redactions"].to_pylist(), strict=True)
    ]
    texts = pa.array([text for text, _ in shown], pa.string())
    redactions = int(pc.sum(pc.list_value_length(redacted["redactions"]), min_count=0).as_py())
    rows = redacted.drop_columns(["payload", "redactions"]).append_column("payload", texts)
    create_table(connection, "fold_redacted", rows)
    return redacted.num_rows, redactions, sum(inexact for _, inexact in shown)
