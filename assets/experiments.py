"""Assets of experiments: replays, and what the diff makes of them.

Replays can cost money. They have no automation condition, and no job of a schedule or sensor selects them: a person
starts them, by `refold ab` or by a click. Months are upstream of an experiment as a whole: that is lineage alone, it
reports nothing stale (`ab_inputs_current` in `assets.checks` does). What replays and compares is imported when it does: the runs of
months have these definitions, too.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.partitions import EXPERIMENTS
from assets.reports import keep_reports
from assets.resources import Home
from assets.specs import DATABASE_POOL, ENDPOINT_POOL, describe_asset, key_of
from pipelines.errors import UnfinishedError

if TYPE_CHECKING:
    from pipelines.experiment.plan import Plan
    from pipelines.replay.run import ReplayResult

REPLAY = ("replays", "replay_steps")
DIFFS = ("ab_units", "ab_tool_calls", "ab_summary")
REVIEW = "review_summary"
JUDGEMENTS = "judgements"
_ALL_MONTHS = dg.AllPartitionMapping()


class ReplayConfig(dg.Config):
    """How a replay is run.

    Attributes:
        retry_failed: Replay the failed units of a version that was replayed once more.
        versions: The versions that are meant, which are kept; none: those that the experiment is planned as now.
    """

    retry_failed: bool = False
    versions: list[str] = Field(default_factory=list)


def build_experiment_assets() -> list[dg.AssetsDefinition]:
    """`refold/replays` with its steps, and the three tables of a comparison."""
    history = [
        dg.AssetDep(key_of(name), partition_mapping=_ALL_MONTHS)
        for name in ("decisions", "conversation_months", "tool_calls")
    ]

    @dg.multi_asset(
        name="replay",
        # a run that leaves batches under way writes nothing, and nothing is compared then
        specs=[describe_asset(name, deps=history, skippable=True) for name in REPLAY],
        partitions_def=EXPERIMENTS,
        pool=ENDPOINT_POOL,
        description="Put every unit of an experiment before side B; a complete version is not run again.",
        can_subset=True,  # one run writes both tables, whichever is asked for
    )
    def replay(
        context: dg.AssetExecutionContext, config: ReplayConfig, home: dg.ResourceParam[Home]
    ) -> Iterator[dg.MaterializeResult[Any]]:
        results = _replay(home, home.plans(context.partition_key, config.versions), config, context.log.info)
        if results is None:
            return
        failures: Counter[str] = Counter()
        for result in results:
            failures.update(result.failures)
        summed = ("units", "not_asked", "size_bytes", "seconds")
        metadata: dict[str, Any] = {
            "version_id": _joined(result.version_id for result in results),
            "failed_units": failures.total(),
            "failures": dict(failures),
            "is_written": any(result.is_written for result in results),
            **{name: sum(getattr(result, name) for result in results) for name in summed},
        }
        data_version = dg.DataVersion(metadata["version_id"])
        for name in (name for name in REPLAY if key_of(name) in context.selected_asset_keys):
            yield dg.MaterializeResult(key_of(name), metadata=metadata, data_version=data_version)

    @dg.multi_asset(
        name="diff",
        specs=[describe_asset(name, deps=["replays"]) for name in DIFFS],
        partitions_def=EXPERIMENTS,
        description="Compare the replays of an experiment with its baseline; the summary completes the version.",
    )
    def diff(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.MaterializeResult[Any]]:
        from pipelines.diff.dataset import build_diff

        plans = home.plans(context.partition_key, _replayed(context))
        results = [build_diff(home.lake, plan, on_progress=home.on_progress) for plan in plans]
        home.publish_catalog()
        summed = ("seconds", "pairs", "not_asked", "conversations", "failed", "same_names", "same_calls")
        common: dict[str, Any] = {
            "version_id": _joined(result.version_id for result in results),
            "result_hash": _joined(result.result_hash for result in results),
            "is_written": any(result.is_written for result in results),
            **{name: sum(getattr(result, name) for result in results) for name in summed},
        }
        for name in DIFFS:
            commits = [commit for plan in plans if (commit := home.lake.last_commit(name, plan.partition)) is not None]
            size = {what: sum(getattr(commit, what) for commit in commits) for what in ("row_count", "size_bytes")}
            data_version = dg.DataVersion(common["result_hash"])
            shown = keep_reports(home, plans) if name == "ab_summary" else {}
            yield dg.MaterializeResult(key_of(name), metadata={**common, **size, **shown}, data_version=data_version)

    return [replay, diff]


def build_review_asset() -> dg.AssetsDefinition:
    """`refold/review_summary`: what people say of an experiment's pairs."""

    @dg.multi_asset(
        name="review",
        specs=[describe_asset(REVIEW, deps=["ab_units"])],
        partitions_def=EXPERIMENTS,
        pool=DATABASE_POOL,
        description="Sum up what reviewers said of the pairs of an experiment's versions, as the store has it now.",
    )
    def review(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> dg.MaterializeResult[Any]:
        from pipelines.diff.versions import list_versions
        from pipelines.verdicts.table import keep_review, summarise_review

        versions = list_versions(home.lake, context.partition_key)
        written = judged = 0
        for version in versions:
            lines = summarise_review(home.lake, home.store(), version)
            judged += lines[0].n
            written += keep_review(home.lake, version, lines)
        home.publish_catalog()
        return dg.MaterializeResult(
            key_of(REVIEW), metadata={"versions": len(versions), "written": written, "judged_pairs": judged}
        )

    return review


def build_judge_asset() -> dg.AssetsDefinition:
    """`refold/judgements`: what an experiment's judge says of its pairs. It can cost money, like a replay: a person starts it."""

    @dg.multi_asset(
        name="judge",
        specs=[describe_asset(JUDGEMENTS, deps=["ab_units"], skippable=True)],
        can_subset=False,
        partitions_def=EXPERIMENTS,
        pool=ENDPOINT_POOL,
        description="Ask the judge that an experiment names about the pairs of its newest version; what was paid for is not asked again.",
    )
    def judge(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.MaterializeResult[Any]]:
        from assets.verbs.judge import judge_versions
        from pipelines.diff.versions import list_versions
        from pipelines.experiment.registry import load_experiment

        experiment, folder = load_experiment(home.lake, context.partition_key)
        if experiment.judge is None:
            context.log.info("the experiment names no judge")
            return
        versions = list_versions(home.lake, context.partition_key)[:1]
        tell = home.tell or context.log.info
        found = judge_versions(home.settings, home.lake, home.store, experiment, folder, versions, tell)
        home.publish_catalog()
        counts = {"pairs": sum(each.pairs for each, _ in found), "failed": sum(each.failed for each, _ in found)}
        yield dg.MaterializeResult(key_of(JUDGEMENTS), metadata=counts)

    return judge


def _replay(
    home: Home, plans: "Sequence[Plan]", config: ReplayConfig, log: Callable[[str], None]
) -> "list[ReplayResult] | None":
    """Replay versions, as far as that is possible now; None as long as batches of one are under way."""
    from pipelines.diff.trial import require_measurable
    from pipelines.replay.run import run_replay

    for plan in plans:
        require_measurable(home.lake, plan)
    results: list[ReplayResult] | None = []
    for plan in plans:
        try:
            result = run_replay(
                home.lake,
                plan,
                on_progress=home.on_progress,
                settings=home.settings,
                tell=home.tell or log,
                retry_failed=config.retry_failed,
                on_sending=partial(_record_sending, home, plan),
            )
        except UnfinishedError as error:
            log(str(error))
            results = None
        else:
            results = [*results, result] if results is not None else None
    home.publish_catalog()
    return results


def _record_sending(home: Home, plan: "Plan", endpoint: str) -> None:
    """Record that texts of a version's conversations are sent to an endpoint: of all that may be, before the first is."""
    from pipelines.store.access import Accessed, record_access

    heads = (plan.streams.column(name).to_pylist() for name in ("aggregate_id", "last_version"))
    targets = [Accessed(stream, 1, last) for stream, last in zip(*heads, strict=True)]
    reason = plan.experiment.access_reason
    record_access(home.store(), "replay", reason, targets, endpoint=endpoint, version_id=plan.version_id)


def _replayed(context: dg.AssetExecutionContext) -> list[str]:
    """The versions of an experiment that were replayed last, one per window; none as long as it never was."""
    partition = dg.AssetRecordsFilter(key_of("replays"), asset_partitions=[context.partition_key])
    newest = context.instance.fetch_materializations(partition, limit=1).records
    made = newest[0].asset_materialization if newest else None
    return [] if made is None else str(made.metadata["version_id"].value).split()


def _joined(hashes: Iterable[str]) -> str:
    """The hashes of an experiment's windows, in their order."""
    return " ".join(hashes)
