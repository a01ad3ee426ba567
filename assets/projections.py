"""Assets of a person's own projections: one asset for each file, with its checks.

A file that cannot be folded is an asset too: its check fails with file and line, and every other asset is as it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from assets.by_month import Made, MonthsMade, failed_months
from assets.folds import REFOLD
from assets.metadata import reported_own
from assets.resources import Home
from assets.specs import describe_dataset, key_of
from pipelines.projections.projection import BrokenProjection, Projection, ProjectionError
from pipelines.projections.relations import RELATIONS

RUNS, HAS_KEY = "file_runs", "key_is_unique"
"""Checks of every projection: its file can be run on the month; one row a key."""

Outcome = dg.MaterializeResult[Any] | dg.AssetCheckResult


def build_own_assets(
    months: dg.PartitionsDefinition, projections: Sequence[Projection | BrokenProjection]
) -> list[dg.AssetsDefinition]:
    """One asset for each file."""
    return [_build(months, each) for each in projections]


def _build(months: dg.PartitionsDefinition, projection: Projection | BrokenProjection) -> dg.AssetsDefinition:
    name = projection.name
    key = key_of(name)

    @dg.multi_asset(
        name=name,
        specs=[_describe(projection)],
        check_specs=[dg.AssetCheckSpec(check, asset=key) for check in (RUNS, HAS_KEY)],
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        description=f"Fold one month with {projection.path.name}.",
    )
    def fold(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[Outcome]:
        from pipelines.projections.fold import ProjectionKeyError

        if isinstance(projection, BrokenProjection):
            yield from _failed(key, RUNS, dict.fromkeys(context.partition_keys, projection.fault))
            return
        done = MonthsMade(context, home, name)
        failed: dict[str, ProjectionError] = {}
        for month in done:
            try:
                made = list(_fold(home, projection, month))
            except ProjectionError as error:
                failed[month] = error
            else:
                done.add(month, made)
        if failed:
            done.note()
            check = HAS_KEY if any(isinstance(error, ProjectionKeyError) for error in failed.values()) else RUNS
            yield from _failed(key, check, {month: str(error) for month, error in failed.items()})
            return
        yield from done.results()
        for check in (RUNS, HAS_KEY):
            yield dg.AssetCheckResult(passed=True, check_name=check, asset_key=key)

    return fold


def _fold(home: Home, projection: Projection, month: str) -> Iterator[Made]:
    from pipelines.projections.fold import fold_projection

    result = fold_projection(home.lake, projection, month)
    home.publish_catalog()
    home.remove_redacted(month, [projection.name] if result.is_written else [])
    yield Made(projection.name, reported_own(result), result.input_hash)


def _describe(projection: Projection | BrokenProjection) -> dg.AssetSpec:
    more: dict[str, Any] = {"automation_condition": REFOLD, "skippable": True}
    if isinstance(projection, BrokenProjection):
        described = f"{projection.path} cannot be folded; the check {RUNS} says why."
        return dg.AssetSpec(
            key_of(projection.name), deps=[key_of("events")], description=described, group_name="fold", **more
        )
    read = sorted({each.name for name in projection.reads for each in RELATIONS[name].datasets} | {"events"})
    return describe_dataset(projection.dataset, deps=read, **more)


def _failed(key: dg.AssetKey, check: str, why: Mapping[str, str]) -> Iterator[dg.AssetCheckResult]:
    """The check that failed, with what was found by month; one that comes after it was not reached, and says so."""
    yield dg.AssetCheckResult(
        passed=False,
        check_name=check,
        asset_key=key,
        description="; ".join(dict.fromkeys(why.values())),
        metadata=failed_months(why),
    )
    other = HAS_KEY if check == RUNS else RUNS
    reached = other == RUNS
    yield dg.AssetCheckResult(
        passed=reached,
        check_name=other,
        asset_key=key,
        severity=dg.AssetCheckSeverity.WARN,
        description="" if reached else "not reached: the file could not be run",
    )
