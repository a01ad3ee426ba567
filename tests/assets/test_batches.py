"""The sensor that goes on with batches: it starts what is done, after a kill as well, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import dagster as dg  # noqa: TID251 - these tests are of the code location
import pytest

from assets.instance import open_instance
from assets.verbs.compare import compare
from pipelines.diff.check import read_checked
from pipelines.diff.result import DiffResult
from pipelines.errors import UnfinishedError
from pipelines.lake.lake import Lake
from pipelines.replay.batch import session
from pipelines.settings import Settings
from tests.support.batch_sensor import go_on, look
from tests.support.batch_server import serving_batches
from tests.support.history import query


@pytest.fixture
def settings(folded_settings: Settings) -> Settings:
    """A home with six conversations, exported and folded."""
    return folded_settings


def compared(settings: Settings, path: Path) -> list[DiffResult]:
    """What `refold ab FILE` does."""
    checked = read_checked(path, settings)
    lake = Lake.from_settings(settings)
    return compare(settings, lake, checked.experiment, path.parent, print, require_keys=checked.require_keys)


def test_the_sensor_goes_on_when_a_batch_is_done(settings, tmp_path, monkeypatch):
    """`refold ab` submits and ends without an error of its run; the sensor asks for nothing while the batch is worked on, and then
    for the run of that version. Killed in the middle of what came back, the next look goes on; every answer is paid for once, and
    the version is complete and compared only then."""
    monkeypatch.setattr(session, "SETTLING", timedelta(0))
    with serving_batches() as server:
        path = tmp_path / "asked.yaml"
        path.write_text(
            f"experiment: asked\ncandidate: {{model: m, base_url: '{server.base_url()}'}}\nbatch: true\n",
            encoding="utf-8",
        )
        with pytest.raises(UnfinishedError, match=r"requests to m at .*: validating") as raised:
            compared(settings, path)
        assert raised.value.exit_code == 4
        lake = Lake.from_settings(settings)
        with open_instance(settings) as instance:
            assert next(run.status for run in instance.get_runs()) == dg.DagsterRunStatus.SUCCESS
        assert query(lake, "SELECT count(*)::INTEGER FROM replays_history") == [(0,)]
        assert "no batch is done" in (look(settings)[1] or "")
        with pytest.raises(UnfinishedError):
            compared(settings, path)
        server.work()
        paid = dict(server.paid)
        assert paid
        assert settings.dsn is not None
        environment = {**os.environ, "REFOLD_HOME": str(settings.home), "REFOLD_DSN": settings.dsn}
        killed = subprocess.run(
            [sys.executable, "-m", "tests.support.batch_sensor"],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert query(lake, "SELECT count(*)::INTEGER FROM replays_history") == [(0,)]
        assert go_on(settings)
        (units,) = query(lake, "SELECT count(*)::INTEGER FROM replays_history WHERE status = 'ok'")[0]
        assert units >= len(paid) > 0
        assert query(lake, "SELECT count(*)::INTEGER FROM ab_units") == [(units,)]
        assert "no batch is done" in (look(settings)[1] or "")
        (result,) = compared(settings, path)
        assert (result.is_written, result.failed) == (False, 0)
    assert dict(server.paid) == paid
    assert set(paid.values()) == {1}
    assert (
        sum(count for (method, path), count in server.calls.items() if (method, path) == ("POST", "/v1/batches")) == 1
    )
