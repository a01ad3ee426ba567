"""Heads of streams, compared: what was read from the files with what `stream_months`, other months and the store say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from pipelines.audit.findings import MonthAudit, Place
from pipelines.proof.chain import START
from pipelines.proof.scan import HEADS

NAMED = 20
"""Streams named per comparison; how many more there are is said."""

_DIFFERING = """
SELECT
    coalesce(here.aggregate_id, there.aggregate_id) AS stream,
    here.first_version, here.last_version, here.event_count,
    there.first_version, there.last_version, there.event_count,
    here.last_hash IS DISTINCT FROM there.last_hash,
    count(*) OVER ()
FROM {here} AS here FULL JOIN {there} AS there ON here.aggregate_id = there.aggregate_id
WHERE (here.first_version, here.last_version, here.event_count, here.last_hash)
    IS DISTINCT FROM (there.first_version, there.last_version, there.event_count, there.last_hash)
ORDER BY stream
LIMIT {limit}
"""
_LINKS = """
WITH here AS (
    SELECT aggregate_id, first_version, prev_hash FROM read_parquet($here, hive_partitioning = false)
),
before AS (
    SELECT aggregate_id, max(last_version) AS last_version, arg_max(last_hash, last_version) AS last_hash
    FROM read_parquet($before, hive_partitioning = false) SEMI JOIN here USING (aggregate_id)
    GROUP BY aggregate_id
)
SELECT aggregate_id, first_version, coalesce(last_version, 0), prev_hash IS DISTINCT FROM coalesce(last_hash, $start), count(*) OVER ()
FROM here LEFT JOIN before USING (aggregate_id)
WHERE first_version <> coalesce(last_version, 0) + 1 OR prev_hash IS DISTINCT FROM coalesce(last_hash, $start)
ORDER BY aggregate_id
LIMIT $limit
"""
_FILES_OF = """
SELECT DISTINCT aggregate_id, filename
FROM read_parquet($files, filename = true, hive_partitioning = false)
WHERE aggregate_id IN (SELECT unnest($streams))
ORDER BY ALL
"""


def compare_heads(
    audit: MonthAudit, connection: duckdb.DuckDBPyConnection, there: str, name: str, place: Place
) -> None:
    """Compare the heads read from the files with those of the relation `there`.

    Args:
        audit: Where findings go.
        connection: Has `scanned_heads` and the relation.
        there: A relation with `aggregate_id, first_version, last_version, event_count, last_hash`.
        name: What to call it: `the store`, `stream_months`.
        place: Where a finding belongs that the other side lacks something.
    """
    query = _DIFFERING.format(here=HEADS, there=there, limit=NAMED)
    rows = connection.sql(query).fetchall()
    for row in rows:
        _find_difference(audit, row, name, place)
    if rows and rows[0][-1] > len(rows):
        audit.not_checked.append(f"{rows[0][-1] - len(rows):,} more streams differ from {name}; the first are named")


def _find_difference(audit: MonthAudit, row: tuple[Any, ...], name: str, place: Place) -> None:
    """The one finding that says best how a stream's heads differ."""
    stream, first, last, count, there_first, there_last, there_count, is_hash_other, _ = row
    if last is None:
        audit.find(
            "stream_missing", "lake", f"{name} has it up to version {there_last}, the files do not", stream=stream
        )
    elif there_last is None and place == "store":
        audit.find("stream_missing", "store", f"the lake has it up to version {last}, {name} does not", stream=stream)
    elif there_last is None:
        audit.find("stream_added", "lake", f"the files have it up to version {last}, {name} does not", stream=stream)
    elif last != there_last:
        lacking: Place = "lake" if last < there_last else place
        detail = f"the lake ends at version {last}, {name} at {there_last}"
        audit.find("tail_missing", lacking, detail, stream=stream, version=min(last, there_last) + 1)
    elif first != there_first:
        lacking = "lake" if first > there_first else place
        audit.find("beginning_missing", lacking, f"the lake begins at {first}, {name} at {there_first}", stream=stream)
    elif count != there_count:
        lacking = "lake" if count < there_count else place
        audit.find("events_missing", lacking, f"{count:,} events in the lake, {there_count:,} in {name}", stream=stream)
    elif is_hash_other:
        detail = f"its last hash is not that of {name}"
        audit.find("head_differs", place, detail, stream=stream, version=last)


def compare_months(
    audit: MonthAudit,
    connection: duckdb.DuckDBPyConnection,
    here: Sequence[str],
    before: Sequence[str],
    waiting: Sequence[str] | None,
) -> None:
    """Compare where each stream of the month goes on with where it ended in the months before.

    Args:
        audit: Where findings go.
        connection: Any.
        here: The month's files of `stream_months`.
        before: Those of all months before.
        waiting: Earlier months that are not in the lake yet; None when nobody can say.
    """
    if not here:
        return
    if before:
        relation = _LINKS
        params: dict[str, Any] = {"before": list(before)}
    else:
        relation = _LINKS.replace("read_parquet($before, hive_partitioning = false)", f"(FROM {HEADS} WHERE false)")
        params = {}
    params |= {"here": list(here), "start": START, "limit": NAMED}
    rows = connection.sql(relation, params=params).fetchall()
    unknown = 0
    for stream, first, last, is_hash_other, _ in rows:
        if first > last + 1 and (waiting or (waiting is None and last == 0)):
            unknown += 1
        elif first > last + 1:
            detail = f"the months before end at version {last}, this one begins at {first}"
            audit.find("tail_missing", "lake", detail, stream=stream, version=last + 1)
        elif first <= last:
            detail = f"the months before end at version {last}, this one begins at {first}"
            audit.find("repeated_version", "lake", detail, stream=stream, version=first)
        elif is_hash_other:
            detail = "its link from before the month is not its last one of the months before"
            audit.find("head_differs", "lake", detail, stream=stream, version=first)
    if unknown:
        what = f"{', '.join(waiting)} are not exported" if waiting else "earlier months are not in the lake"
        audit.not_checked.append(f"where streams of the month began: {what}")


def files_of(connection: duckdb.DuckDBPyConnection, files: Sequence[str], streams: Sequence[str]) -> Mapping[str, str]:
    """Which of the files holds each of the streams, the first one if several do."""
    if not files or not streams:
        return {}
    rows = connection.sql(_FILES_OF, params={"files": list(files), "streams": list(streams)}).fetchall()
    return dict(reversed(rows))
