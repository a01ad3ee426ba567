"""What the verbs `export`, `seal`, `fold`, `ab` and `demo` do: which assets for which partitions, in which order.

The assets do the work, as runs that the web page shows. The store is held open over a verb, so the embedded server
starts once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.folds import REDACTED
from assets.runs import CheckResult, Runs
from pipelines.console import Ticker
from pipelines.errors import BadInputError
from pipelines.export.month import months_to_export
from pipelines.export.seal import require_sealable
from pipelines.folds.steps import FOLDS
from pipelines.home import note_waiting
from pipelines.lake.lake import Lake
from pipelines.projections.fold import left_over
from pipelines.projections.projection import BrokenProjection, find_projections
from pipelines.projections.relations import RELATIONS
from pipelines.replay.progress import ReplayProgress
from pipelines.settings import Settings
from pipelines.store import Store

if TYPE_CHECKING:  # what replays and compares takes 80 MB, which an export or a fold need not hold
    from pipelines.demo.load import LoadResult
    from pipelines.diff.dataset import DiffResult
    from pipelines.replay.estimate import Estimate
    from pipelines.replay.experiment import Experiment
    from pipelines.replay.plan import Plan

Tell = Callable[[str], None]
LOG = ("events", "stream_months")
DIFF = ("replays", "replay_steps", "ab_units", "ab_tool_calls", "ab_summary")
DEMO_EXPERIMENT = Path(__file__).parent.parent / "pipelines" / "demo" / "refund-limit-50.yaml"


@dataclass(frozen=True, slots=True)
class MonthRun:
    """One month's run.

    Attributes:
        month: YYYY-MM.
        run_id: Dagster's id of the run.
        tables: Metadata by dataset: rows, bytes, hashes, seconds, whether something was written.
        checks: What the run's checks found.
    """

    month: str
    run_id: str
    tables: dict[str, dict[str, Any]]
    checks: list[CheckResult]

    @property
    def failed(self) -> list[CheckResult]:
        """The checks that did not pass and make a difference."""
        return [check for check in self.checks if not check.passed and check.severity == "ERROR"]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did.

    Attributes:
        loaded: The simulated history.
        exported: Runs that exported the months.
        folded: Runs that folded them.
        diff: The comparison.
        seconds: Time taken.
    """

    loaded: LoadResult
    exported: list[MonthRun]
    folded: list[MonthRun]
    diff: DiffResult
    seconds: float


def export_months(settings: Settings, months: Sequence[str] | None, tell: Tell) -> list[MonthRun]:
    """Export the given months, or all that have events, oldest first.

    Raises:
        BadInputError: A month has no events in the store.
    """
    with Store.open(settings) as store:
        known = months_to_export(store, Lake.from_settings(settings))
        runs = _run_months(settings, "export", _chosen(months, known, "no events in the store"), LOG, tell)
        note_waiting(settings, store)
        return runs


def seal_month(settings: Settings, month: str, tell: Tell) -> MonthRun:
    """Seal a month that has ended; one that is sealed stays as it is.

    Raises:
        NotSealableError: It has not ended, or cannot be sealed as it is; no run was started.
    """
    with Store.open(settings) as store:
        require_sealable(store, month)
        (run,) = _run_months(settings, "seal", [month], ("manifests",), tell)
    return run


def fold_months(
    settings: Settings, names: Sequence[str] | None, months: Sequence[str] | None, tell: Tell
) -> list[MonthRun]:
    """Fold the given projections (default: all, one's own too) over the given months, or all in the lake, oldest first.

    What a projection of one's own reads is folded before it. One that cannot be folded is a failed check of its month.

    Raises:
        BadInputError: There is no such projection, or a month is not in the lake.
    """
    chosen_names = _with_what_they_read(settings, names)
    lake = Lake.from_settings(settings)
    known = lake.months("events")
    for name in left_over(lake, settings.home):
        tell(f"{name}: its file is gone, its table stays as last folded; `refold fold --drop {name}` removes it")
    # Runs need the home, not the store: with an embedded server nothing has to be up.
    chosen = _chosen(months, known, "not in the lake; run `refold export`")
    return _run_months(settings, "fold", chosen, chosen_names, tell)


def estimate_experiment(settings: Settings, path: Path, tell: Tell) -> list[tuple[Plan, Estimate]]:
    """Read an experiment file, plan it and say what it would come to, window by window, without writing or sending anything."""
    from pipelines.diff.check import read_checked  # noqa: PLC0415
    from pipelines.replay.estimate import estimate_replay  # noqa: PLC0415
    from pipelines.replay.plan import make_plans  # noqa: PLC0415

    lake = Lake.from_settings(settings)
    experiment = read_checked(path, lake, settings, note=tell)
    plans = make_plans(lake, experiment, path.resolve().parent, tell, allowed=settings.allow_files)
    return [(plan, estimate_replay(lake, plan, settings)) for plan in plans]


def compare(settings: Settings, path: Path, tell: Tell, *, retry_failed: bool = False) -> list[DiffResult]:
    """Register an experiment and materialise its replays and its diffs, one per window.

    Args:
        settings: The home.
        path: The experiment file.
        tell: Takes a line of progress.
        retry_failed: Whether units that failed are replayed once more.

    Raises:
        BadInputError: The file is not an experiment, or it selects nothing; nothing was registered.
    """
    from pipelines.diff.check import read_checked  # noqa: PLC0415

    experiment = read_checked(path, Lake.from_settings(settings), settings)
    return _compare(settings, experiment, path.resolve().parent, tell, retry_failed=retry_failed)


def _compare(
    settings: Settings, experiment: Experiment, folder: Path, tell: Tell, *, retry_failed: bool = False
) -> list[DiffResult]:
    from pipelines.diff.dataset import build_diff  # noqa: PLC0415
    from pipelines.diff.gating import require_known_names  # noqa: PLC0415
    from pipelines.replay.plan import make_plans  # noqa: PLC0415
    from pipelines.replay.registry import register_experiment  # noqa: PLC0415

    lake = Lake.from_settings(settings)
    require_known_names(experiment)
    plans = make_plans(lake, experiment, folder, allowed=settings.allow_files)
    before = [lake.last_commit("ab_summary", plan.partition) for plan in plans]
    register_experiment(lake, experiment, folder)
    with Runs(settings, on_event=tell, on_progress=_progress("units", tell)) as runs:
        runs.add_experiment(experiment.experiment)
        config = {"replay": {"retry_failed": True}} if retry_failed else None
        runs.materialize(DIFF, experiment.experiment, config).require()
    # each is found complete, and its headline read
    return [
        replace(build_diff(lake, plan), is_written=lake.last_commit("ab_summary", plan.partition) != last)
        for plan, last in zip(plans, before, strict=True)
    ]


def demo(settings: Settings, events: int, tell: Tell) -> DemoResult:
    """Write the simulated history, export and fold its months, and compare two agents on its last seven days."""
    from pipelines.demo.load import load_demo  # noqa: PLC0415
    from pipelines.replay.experiment import read_experiment  # noqa: PLC0415

    started = time.monotonic()
    with Store.open(settings) as store:
        tell(f"simulating a support desk, about {events:,} events")
        loaded = load_demo(store, events)
        # All months are exported before the first is folded: a late redaction reaches back into earlier months.
        exported = _run_months(settings, "export", loaded.months, LOG, tell)
        note_waiting(settings, store)
        folded = _run_months(settings, "fold", loaded.months, _with_what_they_read(settings, None), tell)
        (diff,) = _compare(settings, read_experiment(DEMO_EXPERIMENT), DEMO_EXPERIMENT.parent, tell)
    return DemoResult(loaded, exported, folded, diff, time.monotonic() - started)


def _chosen(months: Sequence[str] | None, known: Sequence[str], why: str) -> list[str]:
    if not months:
        return list(known)
    unknown = sorted(set(months) - set(known))
    if unknown:
        raise BadInputError(f"month {', '.join(unknown)}: {why}; there are {', '.join(known) or 'none'}")
    return sorted(set(months))


def _with_what_they_read(settings: Settings, names: Sequence[str] | None) -> list[str]:
    own = {each.name: each for each in find_projections(settings.home)}
    if not names:
        return [REDACTED, *FOLDS, *own]
    unknown = [name for name in names if name not in own and name not in (REDACTED, *FOLDS)]
    if unknown:
        raise BadInputError(
            f"there is no projection {unknown[0]!r}; there are {', '.join([REDACTED, *FOLDS, *own])}; "
            f"your own are SQL files in {settings.home / 'folds'}"
        )
    needed = set(names)
    for name in names:
        projection = own.get(name)
        if projection is not None and not isinstance(projection, BrokenProjection):
            needed |= {each.name for read in projection.reads for each in RELATIONS[read].datasets}
    return [name for name in (REDACTED, *FOLDS, *own) if name in needed]


def _run_months(
    settings: Settings, what: str, months: Sequence[str], names: Sequence[str], tell: Tell
) -> list[MonthRun]:
    done = []
    with Runs(settings, on_progress=_progress("rows", tell)) as runs:
        for month in months:
            tell(f"{month} {what}")
            run = runs.materialize(names, month).require()
            for check in run.checks:
                if not check.passed:
                    tell(f"  {check.severity} {check.asset} {check.name}: {check.description}")
            done.append(MonthRun(month, run.run_id, run.metadata, run.checks))
    return done


def _progress(what: str, tell: Tell) -> Callable[..., None]:
    """What long steps report to: counts are told now and then; names of finished tables are in the run's log."""
    ticker = Ticker(what, tell)

    def report(done: int | str | ReplayProgress, total: int | None = None) -> None:
        if isinstance(done, ReplayProgress):
            tell(f"  {done.describe()}")
        elif isinstance(done, int):
            ticker(done, total)

    return report
