"""Everything Dagster is told: assets, checks, jobs, schedules and the one resource.

`build_defs` makes fresh definitions, so that the command line hands in its own home and tests override what they like;
`defs` is what a code server loads. The environment is read when it is called, never at import.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import dagster as dg

from assets.checks import build_checks
from assets.experiments import build_experiment_assets, build_judge_asset, build_review_asset
from assets.folds import build_fold_assets
from assets.housekeeping import follow_folders, retention, vacuum
from assets.jobs import build_jobs, build_replay_job
from assets.log import build_log_assets
from assets.partitions import DEFAULT_FIRST_MONTH, Months, build_months, find_first_month
from assets.projections import build_own_assets
from assets.resources import home_from_environment
from assets.schedules import (
    build_alert_sensor,
    build_follow_schedule,
    build_replay_schedule,
    build_retention_schedule,
    build_schedules,
    build_sensors,
    build_vacuum_schedule,
)
from assets.seals import build_seal_assets, unseal_month
from assets.specs import key_of
from pipelines.lake.lake import Lake
from pipelines.projections.projection import BrokenProjection, Projection, find_projections
from pipelines.settings import Settings


def build_defs(
    overrides: Mapping[str, object] | None = None,
    months: Months | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
    projections: Sequence[Projection | BrokenProjection] = (),
    owners: Sequence[str] = (),
    nightly: Sequence[tuple[str, str | None]] = (),
) -> dg.Definitions:
    """Fresh definitions.

    Args:
        overrides: Resources by name in place of the ones made here; `home` is the only one.
        months: The months of the log and its folds.
        loggers: Where runs log to beside the event log; Dagster's console by default.
        projections: A person's own, as found in a home.
        owners: Of every asset.
        nightly: Experiments that `active_experiments` replays, and when their models are asked, shown with the replays.
    """
    months = months or build_months(DEFAULT_FIRST_MONTH)
    own = [each.name for each in projections]
    jobs = build_jobs(own)
    replay = build_replay_job()
    assets = [
        *build_log_assets(months),
        *build_seal_assets(months),
        *build_fold_assets(months),
        *build_own_assets(months, projections),
        *build_experiment_assets(),
        build_review_asset(),
        build_judge_asset(),
    ]
    return dg.Definitions(
        assets=dg.map_asset_specs(partial(_show, owners, nightly), assets),
        asset_checks=build_checks(),
        jobs=[*jobs, replay, vacuum, unseal_month, retention, follow_folders],
        schedules=[
            *build_schedules(jobs),
            build_replay_schedule(replay),
            build_vacuum_schedule(vacuum),
            build_retention_schedule(retention),
            build_follow_schedule(follow_folders),
        ],
        sensors=[*build_sensors(own, replay), build_alert_sensor()],
        # no step hands anything to another through Dagster: what would by default load clients of storage on networks
        resources={"home": home_from_environment, "io_manager": dg.mem_io_manager, **(overrides or {})},
        loggers=loggers,
        # one process per run: an asset streams within its own memory bound, and the store stays open between steps
        executor=dg.in_process_executor,
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The code location of the home that the environment names."""
    settings = Settings.from_env()
    return build_defs(
        months=build_months(find_first_month(settings)),
        projections=find_projections(settings.home),
        owners=settings.owners,
        nightly=find_nightly(settings),
    )


def _show(owners: Sequence[str], nightly: Sequence[tuple[str, str | None]], spec: dg.AssetSpec) -> dg.AssetSpec:
    """An asset with its owners, and the replays with what is replayed every night."""
    if owners:
        spec = spec.replace_attributes(owners=list(owners))
    if nightly and spec.key == key_of("replays"):
        asked = dg.TableColumn("asked", description="off_peak of its budget")
        shown = dg.MetadataValue.table(
            [dg.TableRecord({"experiment": name, "asked": window or "at any time"}) for name, window in nightly],
            schema=dg.TableSchema([dg.TableColumn("experiment"), asked]),
        )
        spec = spec.merge_attributes(metadata={"active_experiments": shown})
    return spec


def find_nightly(settings: Settings) -> list[tuple[str, str | None]]:
    """What `active_experiments` would replay, and when its models are asked, as the lake has it; none where it cannot be read, which is no reason for there to be no page."""
    if not settings.lake.is_dir():
        return []
    from pipelines.experiment.registry import list_nightly

    try:
        return list_nightly(Lake.from_settings(settings))
    except Exception:  # noqa: BLE001 - whatever is wrong with a lake, `refold doctor` says it, and the page is needed
        return []
