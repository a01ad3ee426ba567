"""What the verbs of the command line call: materialise assets in this process, as runs that the web UI shows.

A run is created with the origin that a code server would give it, so a failed one can be retried in the UI. The home is
handed to the assets as an object: nothing passes through the environment, and no run record holds a connection string.

Definitions and jobs are the same for the same months, whichever home is at work: they are made once in a process, since to make them
takes as long as a small step.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import dagster as dg

from assets.definitions import build_defs
from assets.instance import fail_dead_runs, hold_run, open_instance, run_tags
from assets.internals import (
    SINGLETON_REPOSITORY_NAME,
    BaseAssetGraph,
    DagsterAssetCheckFailedError,
    DagsterExecutionInterruptedError,
    InMemoryJob,
    JobPythonOrigin,
    LoadableTargetOrigin,
    ManagedGrpcPythonEnvCodeLocationOrigin,
    ModuleCodePointer,
    ReconstructableRepository,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
    execute_run,
    make_new_run_id,
)
from assets.outcome import CheckResult, RunResult
from assets.partitions import EXPERIMENTS, MONTHS_FAILED, Months, is_month, months_with, tags_of
from assets.resources import Home
from pipelines.errors import BadInputError, CheckFailedError
from pipelines.projections.projection import BrokenProjection, Projection, find_projections
from pipelines.settings import Settings
from pipelines.startup import importing

if TYPE_CHECKING:
    from pipelines.experiment.plan import Plan

LOCATION = "refold"
"""Name of the code location, in the UI's workspace and in the origin of every run."""
MODULE, ATTRIBUTE = "assets.definitions", "defs"

# Dagster prints every event on the terminal unless a run names its loggers. In this process `console` is silent; where
# the UI retries the run, the same name is Dagster's own.
_CONSOLE: dict[str, object] = {"loggers": {"console": {}}}

_at_work: ContextVar[Home] = ContextVar("_at_work")
"""The home of the run that is executed."""


@dataclass(slots=True)
class _Record:
    """Collects a run's events while it runs; `tell` gets one line per step."""

    tell: Callable[[str], None]
    partitions: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    checks: list[CheckResult] = field(default_factory=list)
    writers: set[str | None] = field(default_factory=set)

    def __call__(self, entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            return
        if event.is_step_materialization:
            made = event.step_materialization_data.materialization
            self.writers.add(event.step_key)
            self.partitions.setdefault(made.partition or "", {})[made.asset_key.path[-1]] = {
                name: value.value for name, value in made.metadata.items() if not name.startswith("dagster/")
            }
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            found = event.asset_check_evaluation_data
            check = CheckResult(
                asset=found.asset_key.path[-1],
                name=found.check_name,
                passed=found.passed,
                severity=found.severity.value,
                description=found.description or "",
                months=cast("dict[str, str]", found.metadata[MONTHS_FAILED].value)
                if MONTHS_FAILED in found.metadata
                else {},
            )
            self.checks.append(check)
            self.tell(f"{'ok' if check.passed else check.severity} {check.asset} {check.name}: {check.description}")
        elif event.is_step_success and event.step_key in self.writers:
            self.tell(f"{event.step_key} done in {event.step_success_data.duration_ms / 1000:.1f} s")


class Runs:
    """Materialises assets of one home, one run after another, as a context manager.

    Dagster's instance, the definitions and the home (so the embedded server) stay open between the runs: opening them
    costs more than a run of a month that is up to date.

    Args:
        settings: The home.
        on_event: Told one line per step as it ends.
        on_progress: Handed to the library functions that report progress.
        on_message: Told what somebody who watches should know now; by default as `on_event`.
        plans: By experiment, plans that are kept and need not be loaded.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_event: Callable[[str], None] | None = None,
        on_progress: Callable[..., Any] | None = None,
        on_message: Callable[[str], None] | None = None,
        plans: Mapping[str, Sequence[Plan]] | None = None,
    ) -> None:
        self._settings = settings
        self._tell = on_event or (lambda _line: None)
        self._on_message = on_message or self._tell
        self._on_progress = on_progress
        self._plans = plans
        self._stack = ExitStack()
        self._projections: tuple[Months, tuple[Projection | BrokenProjection, ...]] | None = None

    def __enter__(self) -> Self:
        self._instance = self._stack.enter_context(open_instance(self._settings))
        self._home = self._stack.enter_context(Home(self._settings, self._on_progress, self._on_message, self._plans))
        fail_dead_runs(self._instance)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add_experiment(self, name: str) -> None:
        """Make `name` a partition of the experiment assets; nothing happens when it is one already."""
        self._instance.add_dynamic_partitions(str(EXPERIMENTS.name), [name])

    def materialize(
        self,
        asset_names: Sequence[str],
        partition: str | Sequence[str] | None,
        config: Mapping[str, Mapping[str, object]] | None = None,
    ) -> RunResult:
        """Materialise assets for one partition, or for months that follow on each other, with their checks, in this process.

        Args:
            asset_names: Datasets; those that one step writes together come together.
            partition: A month (YYYY-MM), several without one between them that is left out, or an experiment's name.
            config: Configuration of steps, by the step's name.

        Raises:
            BadInputError: An asset or the partition does not exist; nothing was run.
            KeyboardInterrupt: The user stopped it; the run is recorded as failed.
        """
        instance = self._instance
        partitions = [partition] if partition is None or isinstance(partition, str) else list(partition)
        months = months_with(self._settings, [each for each in partitions if is_month(each)])
        if self._projections is None or self._projections[0] != months:
            self._projections = (months, tuple(find_projections(self._settings.home)))
        repository = _definitions(*self._projections)
        selected = _select(repository.asset_graph, asset_names)
        for each in partitions:
            _require_partition(repository.asset_graph, selected, each, instance)
        job = _job(*self._projections, selected)
        tags = run_tags() | tags_of([each for each in partitions if each is not None])
        run_config = {**_CONSOLE, "ops": {step: {"config": values} for step, values in (config or {}).items()}}
        run_id = make_new_run_id()
        record = _Record(self._tell)
        instance.add_event_listener(run_id, record)
        with hold_run(instance, run_id):
            run = instance.create_run_for_job(
                job,
                run_id=run_id,
                tags=tags,
                run_config=run_config,
                asset_selection=frozenset(selected),
                remote_job_origin=_remote_origin(job.name),
                job_code_origin=_code_origin(job.name),
            )
            token = _at_work.set(self._home)
            try:
                error = _execute(job, run, instance)
            finally:
                _at_work.reset(token)
        return RunResult(run_id, error is None, record.partitions, record.checks, error)


def materialize(
    settings: Settings,
    asset_names: Sequence[str],
    partition: str | None,
    *,
    on_event: Callable[[str], None] | None = None,
    on_progress: Callable[..., Any] | None = None,
) -> RunResult:
    """One run of its own; see `Runs.materialize`."""
    with Runs(settings, on_event=on_event, on_progress=on_progress) as runs:
        return runs.materialize(asset_names, partition)


def add_experiment(settings: Settings, name: str) -> None:
    """Make `name` a partition of the experiment assets; nothing happens when it is one already."""
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions(str(EXPERIMENTS.name), [name])


@lru_cache(maxsize=4)
def _definitions(months: Months, projections: tuple[Projection | BrokenProjection, ...]) -> dg.RepositoryDefinition:
    """The definitions for these months and projections, on the home that is at work."""
    home = dg.ResourceDefinition(resource_fn=lambda _context: _at_work.get())
    with importing():  # to check what it is given, Dagster imports what that might be
        definitions = build_defs({"home": home}, months, {"console": _silent_console}, projections)
        return definitions.get_repository_def()


@lru_cache(maxsize=16)
def _job(
    months: Months, projections: tuple[Projection | BrokenProjection, ...], selected: frozenset[dg.AssetKey]
) -> dg.JobDefinition:
    """The job of these assets."""
    job = _definitions(months, projections).get_implicit_global_asset_job_def()
    return job.get_subset(asset_selection=selected)


def _select(graph: BaseAssetGraph[Any], names: Sequence[str]) -> frozenset[dg.AssetKey]:
    """The assets called `names`, with those that the same step writes whether asked for or not."""
    known = {key.path[-1]: key for key in graph.materializable_asset_keys}
    for name in names:
        if name not in known:
            raise BadInputError(f"there is no asset {name!r}; there are {', '.join(sorted(known))}")
    return frozenset(key for name in names for key in graph.get(known[name]).execution_set_asset_keys)


def _require_partition(
    graph: BaseAssetGraph[Any],
    selected: frozenset[dg.AssetKey],
    partition: str | None,
    instance: dg.DagsterInstance,
) -> None:
    wanted = {graph.get(key).partitions_def for key in selected}
    if len(wanted) != 1:
        raise BadInputError("assets by month and assets by experiment cannot be materialised in one run")
    if wanted == {EXPERIMENTS}:
        if partition is None or not instance.has_dynamic_partition(str(EXPERIMENTS.name), partition):
            raise BadInputError(f"there is no experiment {partition!r}; register it with `refold ab FILE`")
    elif partition is None or not is_month(partition):
        raise BadInputError(f"{partition!r} is not a month; write YYYY-MM, for example 2026-01")


def _execute(job: dg.JobDefinition, run: dg.DagsterRun, instance: dg.DagsterInstance) -> Exception | None:
    """Run it; the exception that ended it, or None. A failed blocking check is a `CheckFailedError`."""
    try:
        execute_run(InMemoryJob(job), run, instance, raise_on_error=True)
    except DagsterExecutionInterruptedError:
        raise KeyboardInterrupt from None
    except DagsterAssetCheckFailedError as error:
        return CheckFailedError(str(error))
    except Exception as error:  # noqa: BLE001 - whatever the asset raised goes back to the caller unchanged
        return error
    return None


def _code_origin(job_name: str) -> JobPythonOrigin:
    """How another process finds the job."""
    repository = ReconstructableRepository(ModuleCodePointer(MODULE, ATTRIBUTE), executable_path=sys.executable)
    return repository.get_python_origin().get_job_origin(job_name)


def _remote_origin(job_name: str) -> RemoteJobOrigin:
    """Where the UI finds the job: in the code location that `assets.ui` serves."""
    target = LoadableTargetOrigin(executable_path=sys.executable, module_name=MODULE, attribute=ATTRIBUTE)
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, location_name=LOCATION)
    return RemoteRepositoryOrigin(location, SINGLETON_REPOSITORY_NAME).get_job_origin(job_name)


@dg.logger
def _silent_console(_context: dg.InitLoggerContext) -> logging.Logger:
    """Nothing of Dagster's log goes to the terminal; the event log has it all."""
    logger = logging.Logger("refold.silent")  # noqa: LOG001 - a private one, so that no logger of the process changes
    logger.addHandler(logging.NullHandler())
    return logger
