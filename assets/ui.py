"""`refold ui`: Dagster's web server and daemon on the home, until somebody stops them.

Both are processes of their own with their own process group, so that whatever they start ends with them. They read the
home from `REFOLD_*`, which are set here from the settings in force.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import yaml

from assets.instance import fail_dead_runs, open_instance, prepare
from assets.runs import ATTRIBUTE, LOCATION, MODULE
from pipelines.errors import BadInputError, RefoldError
from pipelines.settings import Settings

STOP_SECONDS = 20
"""Time for both to end by themselves; the daemon finishes the tick it is in."""
_POLL_SECONDS = 0.2
_DEAD_SECONDS = 5.0
"""Between two looks for runs whose process is gone: they would keep a place in the queue."""


class UiEndedError(RefoldError):
    """The web server or the daemon ended by itself; its own words are above."""


def serve(settings: Settings, port: int = 3000, host: str = "127.0.0.1") -> None:
    """Serve the UI until Ctrl-C or SIGTERM; then nothing of it is left running. Port 0 is one that is free.

    Raises:
        BadInputError: The port cannot be used.
        UiEndedError: One of the processes ended by itself.
    """
    port = _usable_port(host, port)
    folder = prepare(settings)
    workspace = ["-w", str(_write_workspace(folder))]
    environment = _environment(settings, folder)
    commands = {
        "web server": [sys.executable, "-m", "dagster_webserver", "-h", host, "-p", str(port), *workspace],
        "daemon": [sys.executable, "-m", "dagster._daemon", "run", *workspace],
    }
    with (
        open_instance(settings) as instance,
        _stop_requested() as is_stopped,
        _running(commands.values(), environment, folder) as processes,
    ):
        next_look = time.monotonic()
        while not is_stopped():
            for name, process in zip(commands, processes, strict=True):
                if process.poll() is not None:
                    raise UiEndedError(f"the {name} ended with status {process.returncode}; its own words are above")
            if time.monotonic() >= next_look:
                fail_dead_runs(instance)
                next_look = time.monotonic() + _DEAD_SECONDS
            time.sleep(_POLL_SECONDS)


def _usable_port(host: str, port: int) -> int:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            usable: int = probe.getsockname()[1]
    except (OSError, OverflowError) as error:
        raise BadInputError(f"port {port} of {host} cannot be used ({error}); choose another with --port") from None
    return usable


def _write_workspace(folder: Path) -> Path:
    """The code location under the name that the runs of the command line carry."""
    module = {"module_name": MODULE, "attribute": ATTRIBUTE, "location_name": LOCATION}
    path = folder / "workspace.yaml"
    path.write_text(
        yaml.safe_dump({"load_from": [{"python_module": {**module, "executable_path": sys.executable}}]}),
        encoding="utf-8",
    )
    return path


def _environment(settings: Settings, folder: Path) -> dict[str, str]:
    """This process's environment, with the settings in force in place of whatever it said about them."""
    values = {
        "REFOLD_HOME": str(settings.home),
        "REFOLD_DSN": settings.dsn,
        "REFOLD_LAKE": str(settings.lake),
        "REFOLD_MEMORY": str(settings.memory_bytes),
        "REFOLD_GRACE": f"{settings.grace_days:f}",
        "REFOLD_FIRST_MONTH": settings.first_month,
        "REFOLD_SIGNING_KEY": str(settings.signing_key) if settings.signing_key else None,
        "DAGSTER_HOME": str(folder),
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    kept = {name: value for name, value in os.environ.items() if name not in values}
    return kept | {name: value for name, value in values.items() if value is not None}


@contextmanager
def _running(
    commands: Iterable[list[str]], environment: dict[str, str], folder: Path
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The commands' processes; on leaving, all of their groups are gone."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            processes.append(subprocess.Popen(command, env=environment, cwd=folder, start_new_session=True))  # noqa: S603, PERF401 - our own programs, and each that started must be stopped
        yield processes
    finally:
        _stop(processes)


def _stop(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _signal_group(process, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C or SIGTERM came since; their former handlers are back afterwards."""
    came: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    former = {number: signal.signal(number, remember) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
