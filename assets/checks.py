"""Checks: the lake holds what the store holds, nothing waits or holds it back for long, comparisons are up to date.

A check of a run looks at the run's partition; started by itself in the UI it looks at all of them. (Checks are not
partitioned in Dagster's sense: that is a preview API which may break in a patch release.)

A check compares, counts and says what it found; it repairs nothing. What it says names counts, months, stream ids and
server processes, never what a person wrote.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.partitions import EXPERIMENTS, partitions_of
from assets.resources import Home
from assets.specs import FRESH_SECONDS, key_of
from pipelines.console import duration

if TYPE_CHECKING:
    from pipelines.store.read import Stall

STALL_SECONDS = 900.0
"""Appends take milliseconds and imports minutes: a transaction that has been open for longer was forgotten."""

WHOLE = "files_are_whole"
UNCHECKED = ("merkle_nodes", "replays", "replay_steps", "ab_tool_calls", "ab_summary", "review_summary", "judgements")
"""Assets that no other check looks at."""
_MOST_FAULTS = 5

_FAULTS = {
    "no_target": "of an event that is not there: hides nothing",
    "no_path": "with a path that leads nowhere: hides what is above it",
    "no_span": "with a span outside its text: hides all of it",
}
"""What is wrong with redactions, in words."""

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
    return [
        _build_store_checks(),
        _build_gapless_versions(),
        _build_ab_inputs_current(),
        _build_redactions_hold(),
        _build_files_are_whole(),
    ]


def _build_store_checks() -> dg.AssetChecksDefinition:
    checks: dict[str, Callable[[Home, list[str] | None], dg.AssetCheckResult]] = {
        "row_parity": _check_parity,
        "freshness": _check_freshness,
        "strays": _check_strays,
        "stalls": _check_stalls,
    }
    specs = [
        dg.AssetCheckSpec(name, asset=key_of("events"), blocking=name == "row_parity", description=check.__doc__)
        for name, check in checks.items()
    ]

    # One step for all: a step costs more than such a check.
    @dg.multi_asset_check(name="events_against_the_store", specs=specs, can_subset=True)
    def store_checks(
        context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]
    ) -> Iterator[dg.AssetCheckResult]:
        months = partitions_of(context.run.tags)
        chosen = {key.name for key in context.selected_asset_check_keys}
        for name, check in checks.items():
            if name in chosen:
                yield check(home, months)

    return store_checks


def _check_parity(home: Home, months: list[str] | None) -> dg.AssetCheckResult:
    """Every event that the month's export saw in the store is in the lake, once, with the same head and hash."""
    from pipelines.export.health import compare_month

    conn = home.store().conn
    compared = [compare_month(conn, home.lake, month) for month in months or home.lake.months("events")]
    parts = [
        f"{each.month}: {each.store.events:,} events in the store, {each.lake.events:,} in the lake"
        + (", not the same ones" if each.store.events == each.lake.events else "")
        for each in compared
        if not each.holds
    ]
    store_rows, lake_rows = (sum(getattr(each, side).events for each in compared) for side in ("store", "lake"))
    return _result(
        "row_parity",
        parts,
        f"{lake_rows:,} events in the store and in the lake",
        {"store_rows": store_rows, "lake_rows": lake_rows},
        severity=dg.AssetCheckSeverity.ERROR,
    )


def _check_freshness(home: Home, months: list[str] | None) -> dg.AssetCheckResult:
    """No event has been waiting for its export for more than a day."""
    from pipelines.export.health import find_lag, seconds_since

    lags = find_lag(home.store().conn, home.lake, months)
    late = [lag for lag in lags if seconds_since(lag.since) > FRESH_SECONDS]
    parts = [
        f"{lag.month}: {_counted(lag.events, 'event')} waiting since {lag.since:%Y-%m-%d %H:%M} UTC" for lag in late
    ]
    waiting = sum(lag.events for lag in lags)
    oldest = max((seconds_since(lag.since) for lag in lags), default=0.0)
    return _result(
        "freshness",
        parts,
        f"{_counted(waiting, 'event')} to export" + (f", waiting for at most {duration(oldest)}" if waiting else ""),
        {"waiting_events": waiting, "waiting_seconds": oldest},
    )


def _check_strays(home: Home, months: list[str] | None) -> dg.AssetCheckResult:
    """No event lies in the DEFAULT partition: such events are exported, but make sealing and new months slow."""
    from pipelines.export.health import count_strays

    strays = count_strays(home.store().conn, months)
    parts = [f"{month}: {_counted(events, 'event')} without a partition" for month, events in strays.items()]
    if parts:
        parts.append(f"move them with SELECT refold.ensure_month('{next(iter(strays))}')")
    return _result("strays", parts, "every event is in its month's partition", {"strays": sum(strays.values())})


def _check_stalls(home: Home, _months: list[str] | None) -> dg.AssetCheckResult:
    """No transaction, in whatever database of the server, has held back those who follow the log for long."""
    stalls = home.store().stalls()
    old = [stall for stall in stalls if (stall.age_seconds or 0.0) > STALL_SECONDS]
    oldest = max((stall.age_seconds or 0.0 for stall in stalls), default=0.0)
    return _result(
        "stalls",
        [_told(stall) for stall in old],
        f"{_counted(len(stalls), 'transaction')} at work" if stalls else "no transaction holds anything back",
        {"transactions": len(stalls), "oldest_seconds": oldest},
    )


def _told(stall: "Stall") -> str:
    who = f"pid {stall.pid}" if stall.gid is None else f"prepared transaction {stall.gid!r}"
    undo = f"SELECT pg_terminate_backend({stall.pid})" if stall.gid is None else "COMMIT or ROLLBACK PREPARED"
    return f"{who} of {stall.role} in {stall.database} for {duration(stall.age_seconds or 0.0)} ({undo} ends it)"


def _result(
    name: str,
    parts: list[str],
    otherwise: str,
    metadata: dict[str, Any],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN,
) -> dg.AssetCheckResult:
    """Passed when there is nothing to say against it."""
    return dg.AssetCheckResult(
        asset_key=key_of("events"),
        check_name=name,
        passed=not parts,
        severity=severity,
        description="; ".join(parts) or otherwise,
        metadata=metadata,
    )


def _build_gapless_versions() -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key_of("stream_months"), blocking=True)
    def gapless_versions(context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]) -> dg.AssetCheckResult:
        """Each stream goes on in the month where it stopped before it: next version, same chain."""
        months = _months(context, home)
        with home.lake.connect("FROM stream_months") as connection:
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
        from pipelines.diff.inputs import stale_inputs

        stale = [
            stale_inputs(home.lake, name, home.settings.allow_files, home.known_plans(name))
            for name in _experiments(context)
        ]
        counts = {what: sum(getattr(each, what) for each in stale) for what in ("changed", "new", "gone")}
        parts = [f"{_counted(n, 'conversation')} {what}" for what, n in counts.items() if n]
        return dg.AssetCheckResult(
            passed=not parts,
            severity=dg.AssetCheckSeverity.WARN,
            description=", ".join(parts) or "no conversation changed",
            metadata=counts,
        )

    return ab_inputs_current


def _build_redactions_hold() -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=key_of("redacted_events"))
    def redactions_hold(context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]) -> dg.AssetCheckResult:
        """Every redaction names an event that is there, and a place in it that is there."""
        from pipelines.folds.redacted import find_faults

        faults = find_faults(home.lake, _months(context, home))
        counts = {why: sum(each.fault == why for each in faults) for why in _FAULTS}
        parts = [f"{_counted(n, 'redaction')} {_FAULTS[why]}" for why, n in counts.items() if n]
        parts += [f"first: {faults[0].aggregate_id} version {faults[0].stream_version}"] if faults else []
        return dg.AssetCheckResult(
            passed=not faults,
            severity=dg.AssetCheckSeverity.WARN,
            description="; ".join(parts) or "every redaction hides what it names",
            metadata=counts,
        )

    return redactions_hold


def _build_files_are_whole() -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(WHOLE, asset=key_of(name), description="Each file of the table is there, with its bytes.")
        for name in UNCHECKED
    ]

    @dg.multi_asset_check(name=WHOLE, specs=specs, can_subset=True)
    def files_are_whole(
        context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]
    ) -> Iterator[dg.AssetCheckResult]:
        from pipelines.doctor.whole import look_at_files

        for key in sorted(each.asset_key for each in context.selected_asset_check_keys):
            found = look_at_files(home.lake, [key.path[-1]])
            yield dg.AssetCheckResult(
                asset_key=key,
                check_name=WHOLE,
                passed=not found.faults,
                description="; ".join(found.faults[:_MOST_FAULTS]) or f"{_counted(found.files, 'file')}, all whole",
                metadata={"files": found.files, "faults": len(found.faults)},
            )

    return files_are_whole


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _months(context: dg.AssetCheckExecutionContext, home: Home) -> list[str]:
    return partitions_of(context.run.tags) or home.lake.months("events")


def _experiments(context: dg.AssetCheckExecutionContext) -> list[str]:
    named = partitions_of(context.run.tags)
    if named is not None:
        return named
    return sorted(context.instance.get_dynamic_partitions(str(EXPERIMENTS.name)))


def _months_to_export_before(home: Home, month: str) -> list[str]:
    """Months before `month` with events in the store and none in the lake."""
    exported = set(home.lake.months("events"))
    filled = {status.month for status in home.store().months() if status.events}
    return sorted(each for each in filled - exported if each < month)
