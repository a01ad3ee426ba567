"""Checks: the lake holds what the store holds, streams have no gap, comparisons are up to date.

A check of a run looks at the run's partition; started by itself in the UI it looks at all of them. (Checks are not
partitioned in Dagster's sense: that is a preview API which may break in a patch release.)

A check compares, counts and says what it found; it repairs nothing. What it says names counts, months and stream ids,
never what a person wrote.
"""

from typing import Any

import dagster as dg

from assets.partitions import EXPERIMENTS
from assets.resources import Home
from assets.specs import key_of
from pipelines.diff.inputs import stale_inputs
from pipelines.export.month import month_bounds

# While agents append, a month grows between its export and its check. Events of transactions that had ended when the
# export took its snapshot are the same then and now, so both sides are counted up to there.
_STORE_ROWS = """
SELECT count(*), coalesce(sum(position), 0)
FROM refold.events
WHERE created_at >= %(start)s AND created_at < %(stop)s
    AND (epoch < %(epoch)s OR (epoch = %(epoch)s AND xid::text::bigint < %(xmin)s))
"""
_LAKE_ROWS = """
SELECT count(*), coalesce(sum(position), 0)
FROM events
WHERE month = $month AND (epoch < $epoch OR (epoch = $epoch AND xid < $xmin))
"""
_BREAKS = """
WITH linked AS (
    SELECT
        month, aggregate_id, first_version, last_version, event_count, prev_hash,
        coalesce(lag(last_version) OVER stream, 0) AS before_version,
        coalesce(lag(last_hash) OVER stream, unhex(repeat('00', 32))) AS before_hash
    FROM stream_months
    WINDOW stream AS (PARTITION BY aggregate_id ORDER BY first_version, month)
)
SELECT
    count(*) FILTER (WHERE first_version > before_version + 1) AS missing,
    count(*) FILTER (
        WHERE first_version <= before_version
        OR event_count <> last_version - first_version + 1
        OR (first_version = before_version + 1 AND prev_hash <> before_hash)
    ) AS broken,
    min(aggregate_id) FILTER (first_version <> before_version + 1 OR prev_hash <> before_hash) AS example
FROM linked
WHERE list_contains($months, month)
"""


def build_checks() -> list[dg.AssetChecksDefinition]:
    """All checks."""
    return [_build_row_parity(), _build_gapless_versions(), _build_ab_inputs_current()]


def _build_row_parity() -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key_of("events"), blocking=True)
    def row_parity(context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]) -> dg.AssetCheckResult:
        """Every event of the month that was committed before its export is in the lake, once."""
        counts = {month: _count_both(home, month) for month in _months(context, home)}
        parts = [
            f"{month}: {store[0]:,} events in the store, {lake[0]:,} in the lake"
            + (", not the same ones" if store[0] == lake[0] else "")
            for month, (store, lake) in counts.items()
            if store != lake
        ]
        store_rows, lake_rows = (sum(both[side][0] for both in counts.values()) for side in (0, 1))
        return dg.AssetCheckResult(
            passed=not parts,
            description="; ".join(parts) or f"{lake_rows:,} events in the store and in the lake",
            metadata={"store_rows": store_rows, "lake_rows": lake_rows},
        )

    return row_parity


def _build_gapless_versions() -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key_of("stream_months"), blocking=True)
    def gapless_versions(context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]) -> dg.AssetCheckResult:
        """Each stream goes on in the month where it stopped before it: next version, same chain."""
        months = _months(context, home)
        with home.lake.connect() as connection:
            query = connection.sql(_BREAKS, params={"months": months})
            missing, broken, example = query.fetchall()[0]
        waiting = _months_to_export_before(home, months[-1]) if missing else []
        parts = [f"out of line: {_counted(broken, 'stream')}"] if broken else []
        parts += [f"earlier versions missing: {_counted(missing, 'stream')}"] if missing else []
        parts += [f"waiting for export: {_counted(len(waiting), 'earlier month')}"] if waiting else []
        parts += [f"first: {example}"] if example else []
        return dg.AssetCheckResult(
            passed=not missing and not broken,
            severity=dg.AssetCheckSeverity.WARN if waiting and not broken else dg.AssetCheckSeverity.ERROR,
            description="; ".join(parts) or "every stream follows on",
            metadata={"missing_streams": missing, "broken_streams": broken, "waiting_months": len(waiting)},
        )

    return gapless_versions


def _build_ab_inputs_current() -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key_of("ab_units"))
    def ab_inputs_current(context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]) -> dg.AssetCheckResult:
        """The conversations compared are still those that the experiment selects, with no event more."""
        stale = [stale_inputs(home.lake, name) for name in _experiments(context)]
        counts = {what: sum(getattr(each, what) for each in stale) for what in ("changed", "new", "gone")}
        parts = [f"{_counted(n, 'conversation')} {what}" for what, n in counts.items() if n]
        return dg.AssetCheckResult(
            passed=not parts,
            severity=dg.AssetCheckSeverity.WARN,
            description=", ".join(parts) or "no conversation changed",
            metadata=counts,
        )

    return ab_inputs_current


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _months(context: dg.AssetCheckExecutionContext, home: Home) -> list[str]:
    return [context.partition_key] if context.has_partition_key else home.lake.months("events")


def _experiments(context: dg.AssetCheckExecutionContext) -> list[str]:
    if context.has_partition_key:
        return [context.partition_key]
    return sorted(context.instance.get_dynamic_partitions(str(EXPERIMENTS.name)))


def _count_both(home: Home, month: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """(Rows, sum of positions) of the month's settled events, in the store and in the lake."""
    commit = home.lake.last_commit("events", {"month": month})
    xmin = int(commit.provenance["xmin"]) if commit else 0
    bounds: dict[str, Any] = dict(zip(("start", "stop"), month_bounds(month), strict=True))
    with home.lake.connect() as connection:
        newest = "SELECT coalesce(max(epoch), 1) FROM events WHERE month = $month"
        epoch = connection.sql(newest, params={"month": month}).fetchall()[0][0]
        limits = {"epoch": epoch, "xmin": xmin}
        lake = connection.sql(_LAKE_ROWS, params={"month": month, **limits}).fetchall()[0]
    store = home.store().conn.execute(_STORE_ROWS, {**bounds, **limits}).fetchone()
    assert store is not None
    return (int(store[0]), int(store[1])), (int(lake[0]), int(lake[1]))


def _months_to_export_before(home: Home, month: str) -> list[str]:
    """Months before `month` with events in the store and none in the lake."""
    exported = set(home.lake.months("events"))
    filled = {status.month for status in home.store().months() if status.events}
    return sorted(each for each in filled - exported if each < month)
