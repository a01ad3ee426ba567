"""Assets of the folds: a month of the exported log, folded into tables."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.by_month import Made, failed_months, materialize_months
from assets.metadata import reported_fold
from assets.resources import Home
from assets.specs import NIGHTLY, describe_asset, key_of
from pipelines.folds.shipped import FOLDS
from pipelines.lake.datasets import REDACTED_EVENTS

if TYPE_CHECKING:
    from pipelines.folds.result import FoldResult

REDACTED = REDACTED_EVENTS.name

FITS = "every_stream_fits"
Outcome = dg.MaterializeResult[Any] | dg.AssetCheckResult

# Eager, but for every month and not the newest alone: a month that was imported or exported again late is folded again.
# States of later months that it changes are found by `refold fold`, which compares every month's inputs.
REFOLD = dg.AutomationCondition.eager().without(dg.AutomationCondition.in_latest_time_window()).with_label("refold")


def build_fold_assets(months: dg.PartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The fold tables; any of them can be materialised alone."""

    @dg.multi_asset(
        name="fold",
        specs=[
            describe_asset(
                name,
                deps=["events", "stream_months", REDACTED],
                automation_condition=REFOLD,
                skippable=True,
                freshness_policy=NIGHTLY,
            )
            for name in FOLDS
        ],
        check_specs=[
            dg.AssetCheckSpec(FITS, asset=key_of(name), description="No stream was too large for the memory bound.")
            for name in FOLDS
        ],
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=True,
        description="Fold one month of events, and the states before it, into tables.",
    )
    def fold(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[Outcome]:
        from pipelines.folds.run import fold_month

        names = [name for name in FOLDS if key_of(name) in context.selected_asset_keys]
        aside: dict[str, dict[str, dict[str, int]]] = {name: {} for name in names}

        def make(month: str) -> Iterator[Made]:
            results = fold_month(home.lake, month, names, on_progress=home.on_progress)
            home.publish_catalog()
            home.remove_redacted(month, [result.dataset for result in results if result.is_written])
            for result in results:
                if result.set_aside:
                    aside[result.dataset][month] = result.set_aside
                yield _made(result)

        yield from materialize_months(context, home, "fold", make)
        yield from (_fits(name, streams) for name, streams in aside.items())

    @dg.multi_asset(
        name="redact",
        specs=[describe_asset(REDACTED, deps=["events"], automation_condition=REFOLD, freshness_policy=NIGHTLY)],
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description="Keep what redactions leave of one month's events.",
    )
    def redact(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.MaterializeResult[Any]]:
        from pipelines.folds.redacted import fold_redacted

        def make(month: str) -> Iterator[Made]:
            result = fold_redacted(home.lake, month)
            home.publish_catalog()
            home.remove_redacted(month, [REDACTED] if result.is_written else [])
            yield _made(result)

        yield from materialize_months(context, home, "redact", make)

    return [redact, fold]


def _fits(name: str, aside: Mapping[str, Mapping[str, int]]) -> dg.AssetCheckResult:
    """Which streams were set aside, by month; the others are folded."""
    from pipelines.folds.aside import Culprit, tell_set_aside

    told = {
        month: f"{month}: {tell_set_aside([Culprit(*each) for each in streams.items()])}; the others are folded"
        for month, streams in aside.items()
    }
    return dg.AssetCheckResult(
        check_name=FITS,
        asset_key=key_of(name),
        passed=not aside,
        severity=dg.AssetCheckSeverity.ERROR,
        description="; ".join(told.values()) or "every stream is folded",
        metadata={"set_aside": sum(map(len, aside.values())), **failed_months(told)},
    )


def _made(result: "FoldResult") -> Made:
    return Made(result.dataset, reported_fold(result), result.input_hash)
