"""`refold ab`: one experiment, checked, planned once, and run where its version is not complete yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from assets.live import has_dead_runs
from assets.verbs.progress import Tell, progress
from assets.verbs.unchanged import Planning
from pipelines.diff.result import DiffResult, find_diff, has_failures
from pipelines.errors import UnfinishedError
from pipelines.experiment.file import Experiment
from pipelines.experiment.plan import READS, Plan, make_plans, require_same_units
from pipelines.experiment.registry import register_experiment
from pipelines.experiment.versions import find_replays, keep_version
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.lake import Lake
from pipelines.review.files import report_path
from pipelines.settings import Settings
from pipelines.startup import importing

ASSETS = ("replays", "replay_steps", "ab_units", "ab_tool_calls", "ab_summary")


def compare_all(
    settings: Settings,
    lake: Lake,
    experiment: Experiment,
    folder: Path,
    tell: Tell,
    *,
    retry_failed: bool = False,
    require_keys: Callable[[], None] = lambda: None,
) -> list[DiffResult]:
    """`compare` for each candidate of an experiment, one after the other; what the control answered for one it answers for all.

    Args:
        settings: The home.
        lake: Its lake.
        experiment: The experiment, which was checked.
        folder: The folder of its file.
        tell: Takes a line of progress.
        retry_failed: Whether units that failed are replayed once more.
        require_keys: As of `compare`.

    Returns:
        The results by candidate, and of each by window.

    Raises:
        BadInputError: As of `compare`; or the candidates would not be compared over the same conversations.
    """
    if experiment.candidates:
        with lake.reading(READS):
            require_same_units(experiment, lambda each: make_plans(lake, each, folder, allowed=settings.allow_files))
    results: list[DiffResult] = []
    for each in experiment.by_candidate():
        results += compare(settings, lake, each, folder, tell, retry_failed=retry_failed, require_keys=require_keys)
    return results


def compare(
    settings: Settings,
    lake: Lake,
    experiment: Experiment,
    folder: Path,
    tell: Tell,
    *,
    retry_failed: bool = False,
    require_keys: Callable[[], None] = lambda: None,
) -> list[DiffResult]:
    """Register an experiment and materialise its replays and its diffs, one per window.

    Args:
        settings: The home.
        lake: Its lake.
        experiment: The experiment, which was checked.
        folder: The folder of its file.
        tell: Takes a line of progress.
        retry_failed: Whether units that failed are replayed once more.
        require_keys: Called before anything is registered when somebody is to be asked; raises if a key is missing.

    Raises:
        BadInputError: It selects nothing, or a key is missing; nothing was registered.
        UnfinishedError: Models are asked in batches, which are under way.
    """
    planning = Planning(settings, lake, experiment, folder, tell)
    with lake.reading(f"{READS}, experiments"):
        plans = make_plans(lake, experiment, folder, planning.tell, allowed=settings.allow_files)
        is_to_retry = retry_failed and any(has_failures(lake, plan) for plan in plans)
        if is_to_retry or not all(find_replays(lake, plan) for plan in plans):
            require_keys()
        for plan in plans:
            keep_version(lake, plan, folder)
        is_other = register_experiment(lake, experiment, folder)
    found = [find_diff(lake, plan) for plan in plans]
    if is_to_retry or None in found or has_dead_runs(settings.home / "dagster"):
        return _run(settings, lake, experiment, plans, tell, retry_failed=retry_failed)
    complete = [result for result in found if result is not None]
    publish_catalog(lake, settings.catalog)
    _keep_reports(settings, lake, [each for each in complete if is_other or not _report_of(settings, each).exists()])
    planning.note(complete)
    return complete


def _run(
    settings: Settings,
    lake: Lake,
    experiment: Experiment,
    plans: Sequence[Plan],
    tell: Tell,
    *,
    retry_failed: bool,
) -> list[DiffResult]:
    with importing():
        from assets.runs import Runs

    commits = [lake.last_commit("ab_summary", plan.partition) for plan in plans]
    known = {experiment.experiment: plans}
    with Runs(settings, on_event=tell, on_progress=progress("units", tell), plans=known) as runs:
        runs.add_experiment(experiment.experiment)
        config = {"replay": {"retry_failed": retry_failed, "versions": [plan.version_id for plan in plans]}}
        runs.materialize(ASSETS, experiment.experiment, config).require()
    results = []
    for plan, last in zip(plans, commits, strict=True):
        result = find_diff(lake, plan)
        if result is None:
            from pipelines.replay.batch.finished import describe_unfinished

            raise UnfinishedError(describe_unfinished(settings, plan.experiment.experiment))
        results.append(replace(result, is_written=lake.last_commit("ab_summary", plan.partition) != last))
    return results


def _report_of(settings: Settings, result: DiffResult) -> Path:
    return report_path(settings.home, result.experiment, result.version_id)


def _keep_reports(settings: Settings, lake: Lake, results: Sequence[DiffResult]) -> None:
    """Write reports of complete versions: of those that somebody removed, or by a gate that is another now."""
    if results:
        from pipelines.review.headline import find_version
        from pipelines.review.report_html import keep_report

        for each in results:
            keep_report(lake, settings.home, find_version(lake, each.experiment, each.version_id))
