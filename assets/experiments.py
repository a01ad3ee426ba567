"""Assets of experiments: replays, and what the diff makes of them.

Replays can cost money. They have no automation condition, and no job of a schedule or sensor selects them: a person
starts them, by `refold ab` or by a click. Months are upstream of an experiment as a whole: that is lineage alone, it
reports nothing stale (`ab_inputs_current` in `assets.checks` does).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.partitions import EXPERIMENTS
from assets.resources import Home
from assets.specs import describe_asset, key_of
from pipelines.diff.dataset import build_diff
from pipelines.replay.plan import make_plan
from pipelines.replay.registry import load_experiment
from pipelines.replay.run import run_replay

REPLAY = ("replays", "replay_steps")
DIFFS = ("ab_units", "ab_tool_calls", "ab_summary")
_ALL_MONTHS = dg.AllPartitionMapping()


class ReplayConfig(dg.Config):
    """How a replay is run.

    Attributes:
        retry_failed: Replay the failed units of a version that was replayed once more.
    """

    retry_failed: bool = False


def build_experiment_assets() -> list[dg.AssetsDefinition]:
    """`refold/replays` with its steps, and the three tables of a comparison."""
    history = [
        dg.AssetDep(key_of(name), partition_mapping=_ALL_MONTHS)
        for name in ("decisions", "conversation_months", "tool_calls")
    ]

    @dg.multi_asset(
        name="replay",
        specs=[describe_asset(name, deps=history) for name in REPLAY],
        partitions_def=EXPERIMENTS,
        description="Put every unit of an experiment before side B; a complete version is not run again.",
        can_subset=True,  # one run writes both tables, whichever is asked for
    )
    def replay(
        context: dg.AssetExecutionContext, config: ReplayConfig, home: dg.ResourceParam[Home]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        plan = make_plan(home.lake, *load_experiment(home.lake, context.partition_key))
        result = run_replay(
            home.lake,
            plan,
            on_progress=home.on_progress,
            settings=home.settings,
            tell=home.tell or context.log.info,
            retry_failed=config.retry_failed,
        )
        home.publish_catalog()
        metadata: dict[str, Any] = {
            "version_id": result.version_id,
            "units": result.units,
            "failed_units": sum(result.failures.values()),
            "failures": result.failures,
            "size_bytes": result.size_bytes,
            "is_written": result.is_written,
            "seconds": result.seconds,
        }
        for name in (name for name in REPLAY if key_of(name) in context.selected_asset_keys):
            yield dg.MaterializeResult(key_of(name), metadata=metadata, data_version=dg.DataVersion(plan.version_id))

    @dg.multi_asset(
        name="diff",
        specs=[describe_asset(name, deps=["replays"]) for name in DIFFS],
        partitions_def=EXPERIMENTS,
        description="Compare the replays of an experiment with its baseline; the summary completes the version.",
    )
    def diff(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.MaterializeResult[Any]]:
        plan = make_plan(home.lake, *load_experiment(home.lake, context.partition_key))
        result = build_diff(home.lake, plan, on_progress=home.on_progress)
        home.publish_catalog()
        common = {name: getattr(result, name) for name in ("version_id", "result_hash", "is_written", "seconds")}
        counts = {
            name: getattr(result, name) for name in ("pairs", "conversations", "failed", "same_names", "same_calls")
        }
        for name in DIFFS:
            commit = home.lake.last_commit(name, plan.partition)
            size = {"row_count": commit.row_count, "size_bytes": commit.size_bytes} if commit else {}
            yield dg.MaterializeResult(
                key_of(name), metadata={**common, **counts, **size}, data_version=dg.DataVersion(result.result_hash)
            )

    return [replay, diff]
