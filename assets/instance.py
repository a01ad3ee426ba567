"""The Dagster instance of a home: `dagster/` in it, shared by the command line, the web server and the daemon.

Runs of the command line execute in its own process, those of the web page in one each; any can be killed at any moment.
A run holds a lock file for as long as it lives (`assets.live`), so a run that says "started" without it is dead. Dead runs
must not stay: the queue of the web page counts them as running.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from assets.internals import IN_PROGRESS_RUN_STATUSES, InstanceRef
from assets.live import hold, live_folder, remove_left_over
from pipelines.locks import is_held
from pipelines.privacy import private_files
from pipelines.settings import Settings, read_shared
from pipelines.startup import importing

HOST_TAG = "refold/host"
PID_TAG = "refold/pid"

_CONFIG = """\
# Written by Refold; delete it to get it anew.
telemetry:
  enabled: false
nux: # no invitation to a newsletter over the page
  enabled: false
run_coordinator: # runs of the page wait in a queue; those of the command line start at once, in its own process
  module: dagster._core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1
concurrency:
  runs:
    max_concurrent_runs: {runs} # each is a process that may take REFOLD_MEMORY
  pools: # runs with steps of one pool wait for each other
    granularity: run
    default_limit: 1
run_retries: # of jobs that say so in their tags
  enabled: true
  max_retries: 0
run_monitoring: # a process that never got as far as its run gives its place back
  enabled: true
"""
MAX_RUNS = 2
"""Runs that the page and its schedules have at work at a time."""

# A run of the command line writes to its own terminal: nothing there is captured, and no line of Dagster's is mixed in.
_IN_PROCESS = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


def prepare(settings: Settings) -> Path:
    """The `DAGSTER_HOME` of the home, made when missing."""
    folder = settings.home / "dagster"
    live_folder(folder).mkdir(parents=True, exist_ok=True)
    config = folder / "dagster.yaml"
    if not config.exists():
        config.write_text(_CONFIG.format(runs=MAX_RUNS), encoding="utf-8")
    return folder


@contextmanager
def open_instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    """The instance of the home, for runs in this process."""
    folder = str(prepare(settings))
    storage = {"storage": {"custom": {"module": "assets.storage", "class": "Storage", "config": {"base_dir": folder}}}}
    ref = InstanceRef.from_dir(folder, overrides={**_IN_PROCESS, **storage})
    with importing():  # of the storage of definitions' state, which nothing here has, paths on networks are loaded
        opened = dg.DagsterInstance.from_ref(ref)
    with opened as instance:
        yield instance


def run_tags() -> dict[str, str]:
    """Who runs it: shown in the UI, and what `fail_dead_runs` goes by."""
    return {HOST_TAG: socket.gethostname(), PID_TAG: str(os.getpid())}


@contextmanager
def hold_run(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold the lock that says that the run's process lives; take it before the run is created."""
    with hold(live_folder(Path(instance.root_directory)) / run_id):
        yield


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark the runs of this host whose process is gone as failed, so that they can be retried; answer their ids.

    Runs without a lock file have not begun: one that the UI launched to repeat another carries that one's tags until its
    own process is up.
    """
    folder = live_folder(Path(instance.root_directory))
    failed = []
    filters = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.NOT_STARTED, *IN_PROGRESS_RUN_STATUSES], tags={HOST_TAG: socket.gethostname()}
    )
    for run in instance.get_runs(filters):
        path = folder / run.run_id
        if path.exists() and not is_held(path):
            message = f"The process that ran it ({run.tags.get(PID_TAG)} on {run.tags[HOST_TAG]}) ended without a word."
            instance.report_run_failed(run, message)
            path.unlink(missing_ok=True)
            failed.append(run.run_id)
    remove_left_over(folder)
    return failed


if __name__ == "__main__":  # a server that is not `refold ui` needs them before it starts
    with private_files(is_shared=read_shared()):
        sys.stdout.write(f"{prepare(Settings.from_env())}\n")
