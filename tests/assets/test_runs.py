"""Runs as processes see them: killed ones are found, failed ones are retried from the UI, experiments are partitions."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import dagster as dg  # noqa: TID251 - these tests are of the code location
import pytest
from dagster._core.run_coordinator import QueuedRunCoordinator  # noqa: TID251

import pipelines.export.month
from assets.definitions import build_defs
from assets.experiments import DIFFS
from assets.instance import HOST_TAG, MAX_RUNS, PID_TAG, fail_dead_runs, hold_run, open_instance
from assets.resources import Home, home_from_environment
from assets.runs import add_experiment, materialize
from assets.ui import serve
from pipelines.demo.desk import generate
from pipelines.errors import BadInputError, RefoldError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.registry import register_experiment
from pipelines.lake.lake import Lake
from pipelines.store import NewEvent
from tests.support.pages import served
from tests.support.shop import refresh
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]

# A process in the middle of a materialisation: the export has begun and does not end.
STUCK = """
import sys, time
from pathlib import Path
import pipelines.export.month
from assets.resources import Home
from assets.runs import materialize
from pipelines.settings import Settings

def never(*args, **kwargs):
    print("exporting", flush=True)
    time.sleep(600)

pipelines.export.month.export_month = never
home = Path(sys.argv[1])
materialize(Settings(home=home, dsn=sys.argv[2], lake=home / "lake"), ["events"], "2026-01")
"""


def environment(settings):
    return {
        **os.environ,
        "REFOLD_HOME": str(settings.home),
        "REFOLD_DSN": settings.dsn,
        "REFOLD_LAKE": str(settings.lake),
        "PYTHONPATH": str(ROOT),
    }


def status(settings, run_id):
    with open_instance(settings) as instance:
        return instance.get_run_by_id(run_id).status.value


def test_a_killed_run_does_not_stay_started(store_settings, conversations):
    """After kill -9 the next verb marks the run as failed; runs that live are left alone."""
    command = [sys.executable, "-c", STUCK, str(store_settings.home), store_settings.dsn]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"exporting\n"
        with open_instance(store_settings) as instance:
            (run,) = instance.get_runs()
            assert (run.tags[HOST_TAG], run.tags[PID_TAG]) == (socket.gethostname(), str(process.pid))
            assert fail_dead_runs(instance) == []
        assert status(store_settings, run.run_id) == "STARTED"
        process.kill()
    assert status(store_settings, run.run_id) == "STARTED"
    materialize(store_settings, ["events"], "2026-01").require()
    assert status(store_settings, run.run_id) == "FAILURE"
    assert not list((store_settings.home / "dagster" / "live").iterdir())


def test_a_run_without_a_lock_is_somebody_elses(store_settings):
    """A run that the UI launched as a retry carries the dead run's tags, but not its lock: it is left alone."""
    with open_instance(store_settings) as instance:
        run = instance.add_run(_started_run())
        assert fail_dead_runs(instance) == []
        with hold_run(instance, run.run_id):
            assert fail_dead_runs(instance) == []
        (store_settings.home / "dagster" / "live" / run.run_id).touch()
        assert fail_dead_runs(instance) == [run.run_id]


def test_runs_of_the_page_wait_in_a_queue(store_settings):
    """A backfill of many months has no more than two processes at work, whatever the size of the machine."""
    with open_instance(store_settings) as instance:
        assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
        assert instance.get_concurrency_config().run_queue_config.max_concurrent_runs == MAX_RUNS == 2


def test_a_run_of_the_page_is_seen_to_live(store_settings, monkeypatch):
    """A run in a process of its own holds its lock and says where it runs, so that it is found when it dies."""
    for name, value in environment(store_settings).items():
        monkeypatch.setenv(name, value)
    seen = []

    @dg.op(required_resource_keys={"home"})
    def look(context):
        seen.append([path.name for path in (store_settings.home / "dagster" / "live").iterdir()])
        seen.append(fail_dead_runs(context.instance))

    @dg.job(resource_defs={"home": home_from_environment})
    def looking():
        look()

    with open_instance(store_settings) as instance:
        run_id = looking.execute_in_process(instance=instance).run_id
        run = instance.get_run_by_id(run_id)
    assert seen == [[run_id], []]
    assert (run.tags[HOST_TAG], run.tags[PID_TAG]) == (socket.gethostname(), str(os.getpid()))
    assert list((store_settings.home / "dagster" / "live").iterdir()) == []


def _started_run():
    return dg.DagsterRun("__ASSET_JOB", status=dg.DagsterRunStatus.STARTED, tags={HOST_TAG: socket.gethostname()})


def test_an_interrupt_is_a_failed_run_and_an_interrupt(store_settings, monkeypatch, conversations):
    """Ctrl-C in an asset reaches the caller as such, and the run is not left started."""
    monkeypatch.setattr(
        pipelines.export.month, "export_month", lambda *_args, **_more: os.kill(os.getpid(), signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt):
        materialize(store_settings, ["events"], "2026-01")
    with open_instance(store_settings) as instance:
        (run,) = instance.get_runs()
        assert run.status.value == "FAILURE"


def check_alone(settings, asset, name):
    """Run one check by itself, over all partitions, as the UI's button does."""
    with open_instance(settings) as instance, Home(settings) as home:
        repository = build_defs({"home": home}).get_repository_def()
        chosen = {dg.AssetCheckKey(dg.AssetKey(["refold", asset]), name)}
        job = repository.get_implicit_global_asset_job_def()
        job = job.get_subset(asset_selection=set(), asset_check_selection=chosen)
        (evaluation,) = job.execute_in_process(instance=instance).get_asset_check_evaluations()
    return evaluation.passed, evaluation.severity.value, evaluation.description


def test_the_experiment_assets_make_a_version(store_settings, store):
    """Replays and diff of a registered experiment are materialised; again nothing is written; new events warn."""
    batches = list(generate(1_000, months=1))
    store.ensure_months({event.created_at for batch in batches for event in batch.events})
    store.append_many(batches)
    lake = Lake.from_settings(store_settings)
    refresh(store, lake)
    spec = {"experiment": "itself", "baseline": {"recorded": {}}, "candidate": {"echo": True}, "mode": "decision"}
    register_experiment(lake, parse_experiment(json.dumps(spec), "test"), ROOT)
    with pytest.raises(BadInputError, match="no experiment 'itself'"):
        materialize(store_settings, ["replays"], "itself")
    add_experiment(store_settings, "itself")
    add_experiment(store_settings, "itself")
    first = materialize(store_settings, ["replays", *DIFFS], "itself").require()
    assert first.metadata["replays"]["units"] == first.metadata["ab_units"]["pairs"] > 0
    assert first.metadata["ab_units"]["same_calls"] == first.metadata["ab_units"]["pairs"]
    assert {(check.name, check.passed) for check in first.checks} == {
        ("ab_inputs_current", True),
        ("files_are_whole", True),
    }
    again = materialize(store_settings, ["replays", *DIFFS], "itself").require()
    assert not any(metadata["is_written"] for metadata in again.metadata.values())
    assert again.metadata["ab_summary"]["result_hash"] == first.metadata["ab_summary"]["result_hash"]
    assert check_alone(store_settings, "ab_units", "ab_inputs_current") == (True, "WARN", "no conversation changed")

    grown = [batch for batch in batches if batch.aggregate_type == "conversation"][-14:]
    for batch in grown:
        last = batch.events[-1]
        late = NewEvent("user.utterance.v1", {"text": "one more thing"}, last.metadata, last.created_at)
        store.append(batch.aggregate_id, "conversation", [late], "exists")
    refresh(store, lake)
    assert check_alone(store_settings, "ab_units", "ab_inputs_current") == (
        False,
        "WARN",
        "14 conversations changed",
    )
    assert check_alone(store_settings, "events", "row_parity")[0]
    assert check_alone(store_settings, "stream_months", "gapless_versions")[0]


def call(page, query, **variables):
    """The data of a query that the page's person asks."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    return json.loads(page.ask("POST /graphql", "Content-Type: application/json", body=body)[2])["data"]


def wait_for(what, attempt):
    """The first true answer of `attempt`, which may fail while the server comes up."""

    def tried():
        with suppress(OSError, TypeError):
            return attempt()

    return wait_until(tried, lambda: what)


def processes_of(settings):
    """Processes whose environment names the home."""
    needle = f"DAGSTER_HOME={settings.home / 'dagster'}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if needle in path.read_bytes():
                found.append((path.parent / "cmdline").read_bytes().replace(b"\0", b" "))
        except OSError:
            continue
    return found


NODES = "{ assetNodes { assetKey { path } } }"
RETRY = """
mutation ($run: String!) {
  launchRunReexecution(reexecutionParams: {parentRunId: $run, strategy: ALL_STEPS}) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"


def test_the_ui_lists_the_assets_retries_a_failed_run_and_stops(store_settings, conversations, monkeypatch):
    """One UI, one story: its assets are ours, a failed run of the command line succeeds there, nothing stays behind."""

    def fail(*_args, **_more):
        raise RefoldError("the network was down")

    monkeypatch.setattr(pipelines.export.month, "export_month", fail)
    failed = materialize(store_settings, ["events"], "2026-01")
    assert str(failed.error) == "the network was down"
    log = store_settings.home / "ui.log"
    with served(["ui", "--port", "0"], environment(store_settings), log) as page:
        nodes = wait_for("the assets", lambda: call(page, NODES)["assetNodes"])
        assert ["refold", "events"] in [node["assetKey"]["path"] for node in nodes]
        launched = call(page, RETRY, run=failed.run_id)["launchRunReexecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        run = launched["run"]["runId"]
        ended = ("SUCCESS", "FAILURE", "CANCELED")
        ending = wait_for(
            "the retry", lambda: (s := call(page, STATUS, run=run)["runOrError"]["status"]) in ended and s
        )
        assert ending == "SUCCESS", log.read_text()
        with pytest.raises(BadInputError, match=f"port {page.port} of 127.0.0.1 cannot be used"):
            serve(store_settings, port=page.port)
    assert processes_of(store_settings) == []
    with open_instance(store_settings) as instance:
        assert instance.get_run_by_id(run).parent_run_id == failed.run_id
