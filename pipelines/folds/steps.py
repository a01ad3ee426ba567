"""Run the SQL of a month's folds on one DuckDB connection: shared steps once, then one SELECT per projection.

Needs nothing but a relation `events` with the columns of the dataset of that name. Where the rows go is `run`'s matter.
What SQL cannot compute (redacted payloads, call hashes, rebuilt requests) is computed here from a few rows of it, in
Python, and joins the steps as a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import duckdb
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.folds.hashes import create_call_hashes
from pipelines.folds.ladder import Ladder, load_ladder
from pipelines.folds.redaction import Redaction, redact_text
from pipelines.folds.tables import create_table
from pipelines.folds.verification import create_verification
from pipelines.sqlfiles import list_sql, read_sql

PROJECTIONS = ("utterances", "tool_calls", "decisions", "conversation_months", "call_months", "customer_months")
"""The shipped projections, each named after its dataset and its file in `sql/folds/`."""

_COMPUTED = {"call_hashes": create_call_hashes, "verification": create_verification}
"""Steps in Python; they run after all steps in SQL."""

_REDACTED_FIELDS: list[tuple[str, pa.DataType]] = [
    ("aggregate_id", pa.string()),
    ("stream_version", pa.int32()),
    ("payload", pa.string()),
]
_REDACTED = pa.schema(_REDACTED_FIELDS)
_REDACTIONS_IN_FORCE = """
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


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the steps of one month found.

    Attributes:
        month: YYYY-MM.
        streams: Streams that the month touches.
        events: Events of the month.
        skipped_events: Events of the month whose type or version is not known.
        redacted_events: Events up to the month's end that redactions, of whatever month, hide in part.
        redactions: Redactions of those.
        inexact_redactions: Redactions of those that had to hide more than they named.
    """

    month: str
    streams: int
    events: int
    skipped_events: int
    redacted_events: int
    redactions: int
    inexact_redactions: int


def prepare_month(
    connection: duckdb.DuckDBPyConnection, month: str, names: Iterable[str] = PROJECTIONS, ladder: Ladder | None = None
) -> Prepared:
    """Create the temporary relations that the projections `names` read for `month`; older ones are replaced.

    Args:
        connection: Has a relation `events` with the columns of that dataset, `month` included.
        month: YYYY-MM.
        names: Projections.
        ladder: Known types and upcasters; default: those shipped.

    Raises:
        BadInputError: A name is not a projection's, or the month is not written YYYY-MM.
    """
    if re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month) is None:
        raise BadInputError(f"month {month!r}: write YYYY-MM, for example 2026-01")
    needed = {step for name in names for step in _steps_of(name)}
    hidden = _create_readable_events(connection, month, load_ladder() if ladder is None else ladder)
    for step, path in _step_files():
        if step in needed:
            sql = read_sql(f"folds/steps/{path}")
            connection.execute(sql, {"month": month} if "$month" in sql else None)
    for step, create in _COMPUTED.items():
        if step in needed:
            create(connection, month)
    streams, events, skipped = _count(connection, month)
    return Prepared(month, streams, events, skipped, *hidden)


def create_readable_events(connection: duckdb.DuckDBPyConnection, ladder: Ladder | None = None) -> None:
    """Create the view `upcast_events`: every event, redactions applied, payloads at their latest version.

    Args:
        connection: Has a relation `events` with the columns of that dataset, `month` included.
        ladder: Known types and upcasters; default: those shipped.
    """
    _create_readable_events(connection, "9999-12", load_ladder() if ladder is None else ladder)


def projection_query(name: str) -> str:
    """The SELECT of a projection: the data columns of its dataset, in its order; it reads what `prepare_month` made.

    Raises:
        BadInputError: There is no such projection.
    """
    return _projection(name).strip().rstrip(";")


def fold_sources(names: Sequence[str] = PROJECTIONS) -> list[str]:
    """The text of everything in SQL that the projections `names` are computed by, in a fixed order."""
    needed = {step for name in names for step in _steps_of(name)}
    steps = [read_sql(f"folds/steps/{path}") for step, path in _step_files() if step in needed]
    return [_REDACTIONS_IN_FORCE, *steps, *(_projection(name) for name in sorted(names))]


def _create_readable_events(connection: duckdb.DuckDBPyConnection, month: str, ladder: Ladder) -> tuple[int, int, int]:
    """Create `upcast_events` and, without redactions, `upcast_recorded_events`; counts as of `_create_redacted`."""
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
    """Create `fold_redacted`, the payloads that redactions change; few events are redacted, so they fit in memory.

    Returns:
        (Events redacted, redactions of them, inexact ones among these).
    """
    rows: dict[str, list[object]] = {field.name: [] for field in _REDACTED}
    redactions = inexact = 0
    for stream, version, payload, applied in connection.sql(_REDACTIONS_IN_FORCE, params={"month": month}).fetchall():
        text, count = redact_text(payload, [Redaction.from_json(each) for each in applied])
        redactions += len(applied)
        inexact += count
        for name, value in zip(rows, (stream, version, text), strict=True):
            rows[name].append(value)
    create_table(connection, "fold_redacted", pa.table(rows, schema=_REDACTED))
    return len(rows["payload"]), redactions, inexact


def _count(connection: duckdb.DuckDBPyConnection, month: str) -> tuple[int, int, int]:
    row = connection.sql(
        "SELECT count(DISTINCT events.aggregate_id), count(*), count(*) FILTER (WHERE known.event_name IS NULL) "
        "FROM events LEFT JOIN fold_known_types AS known ON events.event_type = known.recorded_type "
        "WHERE events.month = $month",
        params={"month": month},
    ).fetchall()[0]
    return int(row[0]), int(row[1]), int(row[2])


def _projection(name: str) -> str:
    if name not in PROJECTIONS:
        raise BadInputError(f"no fold named {name!r}; there are: {', '.join(PROJECTIONS)}")
    return read_sql(f"folds/{name}.sql")


@cache
def _steps_of(name: str) -> tuple[str, ...]:
    """The steps that a projection's header names, all of which must exist."""
    match = re.search(r"^-- steps: (.+)$", _projection(name), re.MULTILINE)
    steps = tuple(step.strip() for step in match[1].split(",")) if match else ()
    unknown = set(steps) - {step for step, _ in _step_files()} - set(_COMPUTED)
    if not steps or unknown:
        raise BadInputError(f"sql/folds/{name}.sql: the header needs `-- steps:` and known steps; found {steps!r}")
    return steps


@cache
def _step_files() -> tuple[tuple[str, str], ...]:
    """(step, file name) in the order in which they run."""
    return tuple((path.stem.split("_", 1)[1], path.name) for path in list_sql("folds/steps"))
