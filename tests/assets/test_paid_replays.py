"""Models asked by runs: the key stays out of everything, the nightly schedule starts what is active and nothing else."""

from __future__ import annotations

import json
import os
import signal
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg  # noqa: TID251 - these tests are of the code location
import pytest

from assets.definitions import build_defs
from assets.instance import open_instance
from assets.resources import Home
from assets.verbs.compare import compare
from pipelines.diff.check import read_checked
from pipelines.diff.result import DiffResult
from pipelines.errors import BadInputError, RefoldError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.registry import list_active, register_experiment
from pipelines.lake.datasets import AB_SUMMARY
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from tests.support.model_server import serving

KEY = "sk-live-4711-abcdefgh"


@pytest.fixture
def settings(folded_settings: Settings) -> Settings:
    """A home with six conversations, exported and folded."""
    return folded_settings


def experiment_at(base_url: str, folder: Path, rest: str = "", draws: int = 1) -> Path:
    """The conversations say the same, so each draw of a decision is one request for all of them."""
    path = folder / "asked.yaml"
    asked = f"{{model: m, base_url: '{base_url}', api_key_env: MODEL_KEY, draws: {draws}}}"
    path.write_text(f"experiment: asked\ncandidate: {asked}\n{rest}", encoding="utf-8")
    return path


def compared(settings: Settings, path: Path, tell: Callable[[str], None]) -> list[DiffResult]:
    """What `refold ab FILE` does."""
    checked = read_checked(path, settings)
    return compare(
        settings, Lake.from_settings(settings), checked.experiment, path.parent, tell, require_keys=checked.require_keys
    )


def test_the_key_is_in_nothing_that_a_run_leaves(settings, tmp_path, monkeypatch, capfd):
    """Whatever the endpoint says and repeats: no file of the home (event log, lake, responses), no row, no line of output, no
    record of the run, no error, and no argument of any process while the endpoint is being asked holds the key."""
    monkeypatch.setenv("MODEL_KEY", KEY)
    told: list[str] = []
    commands: list[bytes] = []

    def fail_some(number: int) -> tuple[int, dict[str, str], bytes] | None:
        commands.extend(list_commands())
        content = json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()
        return (400, {"X-Echo": KEY}, content) if number % 3 == 0 else None

    answer = {"role": "assistant", "content": f"My key is {KEY}"}
    with serving(answer=lambda _body: answer, status=fail_some) as server:
        (result,) = compared(settings, experiment_at(server.base_url, tmp_path), told.append)
        assert server.headers["Authorization"] == f"Bearer {KEY}"
    assert 0 < result.failed < result.pairs
    lake = Lake.from_settings(settings)
    with lake.connect() as connection:
        texts = connection.sql("SELECT DISTINCT text FROM replays WHERE status = 'ok'").fetchall()
        rows = connection.sql("SELECT to_json(r)::VARCHAR FROM replays_history AS r").fetchall()
        rows += connection.sql("SELECT provenance FROM commits").fetchall()
    assert texts == [("My key is [api key]",)]
    with open_instance(settings) as instance:
        records = [repr(each) for run in instance.get_runs() for each in (run, *instance.all_logs(run.run_id))]
    said = capfd.readouterr()
    assert any(b"python" in command for command in commands)
    assert len(records) > 10
    assert not any(KEY in text for text in [*(row for (row,) in rows), *told, *records, said.out, said.err])
    files = [path for path in [*settings.home.rglob("*"), *lake.root.rglob("*")] if path.is_file()]
    assert len(files) > 20
    assert not any(KEY.encode() in content for content in [*commands, *(path.read_bytes() for path in files)])


def list_commands() -> list[bytes]:
    """What every process was started with, as anybody on the machine can read it."""
    return [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK)]


def test_the_key_is_in_no_error(settings, tmp_path, monkeypatch, capfd):
    """An endpoint that refuses the key and repeats it in what it says: neither the error, nor what is told of it, nor the record
    of the failed run holds it."""
    monkeypatch.setenv("MODEL_KEY", KEY)
    told: list[str] = []
    content = json.dumps({"error": {"message": f"insufficient_quota for {KEY}", "code": KEY}}).encode()
    for status in (401, 429):
        with serving(status=lambda _number, status=status: (status, {"X-Echo": KEY}, content)) as server:
            with pytest.raises(RefoldError, match="answers nobody") as raised:
                compared(settings, experiment_at(server.base_url, tmp_path), told.append)
            assert server.headers["Authorization"] == f"Bearer {KEY}"
        told += traceback.format_exception(raised.value)
    with open_instance(settings) as instance:
        runs = instance.get_runs()
        records = [repr(each) for run in runs for each in (run, *instance.all_logs(run.run_id))]
    said = capfd.readouterr()
    assert [run.status for run in runs[:2]] == [dg.DagsterRunStatus.FAILURE] * 2
    assert not any(KEY in text for text in [*told, *records, said.out, said.err])


def test_a_stopped_run_is_a_failed_run_that_goes_on(settings, tmp_path, monkeypatch):
    """Ctrl-C ends the verb; the run is recorded as failed, and the next one pays for the rest alone."""
    monkeypatch.setenv("MODEL_KEY", KEY)
    told: list[str] = []

    def stop_after(number: int) -> None:
        if number == 4:
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()

    with serving(latency=0.05, status=stop_after) as server:
        path = experiment_at(server.base_url, tmp_path, "budget: {concurrency: 2}", draws=10)
        with pytest.raises(KeyboardInterrupt):
            compared(settings, path, told.append)
        assert any(line.startswith("stopping") for line in told)
        assert 0 < server.paid.total() < 20
        with open_instance(settings) as instance:
            assert instance.get_runs(limit=1)[0].status == dg.DagsterRunStatus.FAILURE
        (result,) = compared(settings, path, told.append)
        assert (result.pairs, result.failed) == (24, 0)
        assert (server.paid.total(), set(server.paid.values())) == (40, {1})


def test_the_nightly_schedule_starts_what_is_active(settings, tmp_path):
    """One run per active experiment and night; what is not active, or no longer, is not started."""
    lake = Lake.from_settings(settings)
    rest = "window: yesterday\nbudget: {usd: 1}\nactive: true\n"
    text = "candidate: {model: gpt-4o, base_url: 'http://127.0.0.1:9/v1'}\n"
    for name, more in (("nightly", rest), ("by-hand", ""), ("was-nightly", rest), ("was-nightly", "")):
        register_experiment(lake, parse_experiment(f"experiment: {name}\n{text}{more}", "x"), tmp_path)
    assert list_active(lake) == ["nightly"]
    at = datetime(2026, 2, 4, 3, 15, tzinfo=UTC)
    with open_instance(settings) as instance, Home(settings) as home:
        instance.add_dynamic_partitions("experiments", ["nightly", "by-hand", "was-nightly"])
        repository = build_defs({"home": home}).get_repository_def()
        schedule = repository.get_schedule_def("active_experiments")
        context = dg.build_schedule_context(
            instance, scheduled_execution_time=at, resources={"home": home}, repository_def=repository
        )
        requests = schedule.evaluate_tick(context).run_requests
    assert [(request.partition_key, request.run_key) for request in requests or []] == [
        ("nightly", "nightly 2026-02-04")
    ]


def test_the_budget_of_the_day_holds_over_experiments(settings, tmp_path, monkeypatch):
    """What one experiment spent today is not there for the next."""
    monkeypatch.setenv("MODEL_KEY", KEY)
    prices = tmp_path / "prices.json"
    table = {"input_usd": 0, "output_usd": 100_000, "max_output_tokens": 10}
    prices.write_text(json.dumps({"as_of": "x", "source": "y", "models": {"m": table}}), encoding="utf-8")
    settings = replace(settings, prices=prices, daily_usd=5.0)
    with serving() as server:
        for draws in (6, 7):
            compared(settings, experiment_at(server.base_url, tmp_path, "mode: single", draws), lambda _line: None)
            assert server.paid.total() == 5


def test_a_key_is_asked_for_when_somebody_is(settings, tmp_path, monkeypatch):
    """Without it nothing is asked or registered; a version that is replayed needs none, whether it is compared or not."""
    monkeypatch.delenv("MODEL_KEY", raising=False)
    lake = Lake.from_settings(settings)
    with serving() as server:
        path = experiment_at(server.base_url, tmp_path)
        with pytest.raises(BadInputError, match=r"line 2: .*MODEL_KEY is not set"):
            compared(settings, path, print)
        with lake.connect() as connection:
            assert connection.sql("SELECT count(*) FROM experiments").fetchall() == [(0,)]
        monkeypatch.setenv("MODEL_KEY", KEY)
        (first,) = compared(settings, path, print)
        monkeypatch.delenv("MODEL_KEY")
        (again,) = compared(settings, path, print)
        partition = {"experiment": first.experiment, "version_id": first.version_id}
        with lake.replacing(AB_SUMMARY, partition) as writer:
            writer.commit(input_hash="killed before it")
        (mended,) = compared(settings, path, print)
    assert [result.is_written for result in (first, again, mended)] == [True, False, True]
    assert len({result.result_hash for result in (first, again, mended)}) == 1
