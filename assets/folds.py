"""Assets of the folds: a month of the exported log, folded into tables."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from assets.resources import Home
from assets.specs import describe_asset, key_of
from pipelines.folds.aside import Culprit, tell_set_aside
from pipelines.folds.redacted import fold_redacted
from pipelines.folds.run import FoldResult, fold_month
from pipelines.folds.steps import FOLDS

REDACTED = "redacted_events"

FITS = "every_stream_fits"
REPORTED = ("size_bytes", "skipped_events", "redactions", "inexact_redactions", "input_hash", "is_written", "seconds")

# Eager, but for every month and not the newest alone: a month that was imported or exported again late is folded again.
# States of later months that it changes are found by `refold fold`, which compares every month's inputs.
REFOLD = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window()).with_label("refold")


def build_fold_assets(months: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The fold tables; any of them can be materialised alone."""

    @dg.multi_asset(
        name="fold",
        specs=[
            describe_asset(name, deps=["events", "stream_months"], automation_condition=REFOLD, skippable=True)
            for name in FOLDS
        ],
        check_specs=[
            dg.AssetCheckSpec(FITS, asset=key_of(name), description="No stream was too large for the memory bound.")
            for name in FOLDS
        ],
        partitions_def=months,
        can_subset=True,
        description="Fold one month of events, and the states before it, into tables.",
    )
    def fold(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.MaterializeResult[Any]]:
        names = [name for name in FOLDS if key_of(name) in context.selected_asset_keys]
        results = fold_month(home.lake, context.partition_key, names, on_progress=home.on_progress)
        home.publish_catalog()
        home.remove_redacted([result.dataset for result in results if result.is_written and result.redactions])
        for result in results:
            yield _report(result, [_fits(result)])

    @dg.multi_asset(
        name="redact",
        specs=[describe_asset(REDACTED, deps=["events"], automation_condition=REFOLD)],
        partitions_def=months,
        description="Keep what redactions leave of one month's events.",
    )
    def redact(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> dg.MaterializeResult[Any]:
        result = fold_redacted(home.lake, context.partition_key)
        home.publish_catalog()
        home.remove_redacted([REDACTED] if result.is_written and result.redactions else [])
        return _report(result)

    return [redact, fold]


def _fits(result: FoldResult) -> dg.AssetCheckResult:
    """Which streams of the month were set aside; the others are folded."""
    count = len(result.set_aside)
    told = f"{result.month}: {tell_set_aside([Culprit(*each) for each in result.set_aside.items()])}; the others are folded"
    return dg.AssetCheckResult(
        check_name=FITS,
        asset_key=key_of(result.dataset),
        passed=not count,
        severity=dg.AssetCheckSeverity.ERROR,
        description=told if count else "every stream is folded",
        metadata={"set_aside": count},
    )


def _report(result: FoldResult, checks: Sequence[dg.AssetCheckResult] = ()) -> dg.MaterializeResult[Any]:
    return dg.MaterializeResult(
        key_of(result.dataset),
        check_results=list(checks),
        metadata={"row_count": result.rows, **{name: getattr(result, name) for name in REPORTED}},
        data_version=dg.DataVersion(result.input_hash),
    )
