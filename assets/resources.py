"""The one resource: a home, with its settings, its lake and its store.

A resource is configuration plus a constructor of library objects. The store is opened on first use and stays open
until the run ends, so that the embedded server starts once a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import dagster as dg

from assets.instance import hold_run, run_tags
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.commits import hides
from pipelines.lake.lake import Lake
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.experiment.plan import Plan
    from pipelines.lake.housekeeping import VacuumResult
    from pipelines.store import Store

_PUBLISHED_EVERY = 10.0
"""Seconds between two catalogs of a run that writes many months: to write one takes as long as to fold a small month."""


class Home:
    """What assets work on, with the plans by experiment that are kept and need not be loaded.

    Attributes:
        settings: The configuration.
        lake: The lake that the settings name.
        on_progress: Passed to the library functions that report progress; None for runs that nobody watches.
        tell: Takes what somebody who watches should know now; None likewise.
    """

    def __init__(
        self,
        settings: Settings,
        on_progress: Callable[..., Any] | None = None,
        tell: Callable[[str], None] | None = None,
        plans: Mapping[str, Sequence[Plan]] | None = None,
    ) -> None:
        self.settings = settings
        self.lake = Lake.from_settings(settings)
        self.on_progress = on_progress
        self.tell = tell
        self._plans: dict[str, list[Plan]] = {name: list(known) for name, known in (plans or {}).items()}
        self._stack = ExitStack()
        self._store: Store | None = None
        self._published_at = time.monotonic()
        self._is_to_publish = False

    def store(self) -> Store:
        """The store, open until the home is closed.

        Raises:
            StoreError: It cannot be opened; the message says why.
        """
        if self._store is None:
            from pipelines.store import Store

            self._store = self._stack.enter_context(Store.open(self.settings))
        return self._store

    def known_plans(self, experiment: str) -> Sequence[Plan] | None:
        """The plans of the run that is at work on an experiment; None when there are none yet."""
        return self._plans.get(experiment)

    def plans(self, experiment: str, versions: Sequence[str]) -> list[Plan]:
        """The plans of an experiment, one per window: what is kept of some versions, or, without any, what it is registered as, which is kept.

        Raises:
            BadInputError: There is no such experiment or version, or it cannot be planned or gone on with.
        """
        known = self._plans.get(experiment, [])
        if not versions:
            self._plans[experiment] = self._plan(experiment)
        elif [plan.version_id for plan in known] != list(versions):
            from pipelines.experiment.versions import load_version

            allowed = self.settings.allow_files
            self._plans[experiment] = [load_version(self.lake, experiment, each, allowed) for each in versions]
        return self._plans[experiment]

    def _plan(self, experiment: str) -> list[Plan]:
        from pipelines.experiment.plan import make_plans
        from pipelines.experiment.registry import load_experiment
        from pipelines.experiment.versions import keep_version

        tell = self.tell or (lambda _line: None)
        spec, folder = load_experiment(self.lake, experiment)
        plans = make_plans(self.lake, spec, folder, tell, allowed=self.settings.allow_files)
        for plan in plans:
            keep_version(self.lake, plan, folder)
        return plans

    def publish_catalog(self) -> None:
        """Let `lake.duckdb` show the lake as it is now: when the home is closed, and every ten seconds of longer work."""
        self._is_to_publish = True
        if time.monotonic() - self._published_at > _PUBLISHED_EVERY:
            self._publish()

    def _publish(self) -> None:
        publish_catalog(self.lake, self.settings.catalog)
        self._is_to_publish = False
        self._published_at = time.monotonic()

    def remove_redacted(self, month: str, names: Iterable[str]) -> None:
        """Remove replaced files of these datasets at once where the month's newest commit hides more; a first one replaced none."""
        commits = {name: self.lake.last_commit(name, {"month": month}) for name in names}
        replaced = [
            name
            for name, commit in commits.items()
            if commit is None or (commit.number > 1 and any(hides(commit.provenance)))
        ]
        if replaced:
            from pipelines.lake.housekeeping import remove_redacted

            remove_redacted(self.lake, self.settings.catalog, replaced)

    def vacuum(self) -> VacuumResult:
        """Remove the lake's files that nobody needs any more."""
        from pipelines.lake.housekeeping import vacuum

        return vacuum(self.lake, self.settings.catalog, grace_days=self.settings.grace_days)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._store = None
        with self._stack:
            if self._is_to_publish:
                self._publish()


@dg.resource(description="The home that the REFOLD_* variables of the run's process name.")
def home_from_environment(context: dg.InitResourceContext) -> Iterator[Home]:
    """Read the environment when the run begins, close the store when it ends; the run is seen to live meanwhile.

    It has no configuration of its own, so that no run record holds a connection string.
    """
    with ExitStack() as stack:
        if context.run is not None and context.instance is not None:
            stack.enter_context(hold_run(context.instance, context.run.run_id))
            context.instance.add_run_tags(context.run.run_id, run_tags())
        yield stack.enter_context(Home(Settings.from_env()))
