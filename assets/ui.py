"""`refold ui`: Dagster's web server and daemon on the home, until somebody stops them.

Both are processes of their own with their own process group, so that whatever they start ends with them. They read the
home from `REFOLD_*`, which are set here from the settings in force. The web server inherits the socket that it serves and
reads the token of its page from its standard input: what stands in the environment or the arguments is seen by more.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import yaml

from assets.instance import fail_dead_runs, open_instance, prepare
from assets.runs import ATTRIBUTE, LOCATION, MODULE
from pipelines.errors import RefoldError
from pipelines.settings import Settings
from pipelines.web.server import address, listen, new_token, port_of

USUAL_PORT = 3000
STOP_SECONDS = 20
"""Time for both to end by themselves; the daemon finishes the tick it is in."""
_POLL_SECONDS = 0.2
_DEAD_SECONDS = 5.0
"""Between two looks for runs whose process is gone: they would keep a place in the queue."""


class UiEndedError(RefoldError):
    """The web server or the daemon ended by itself; its own words are above."""


def serve(settings: Settings, port: int | None = None, tell: Callable[[str], None] = print) -> None:
    """Serve the UI on 127.0.0.1 until Ctrl-C or SIGTERM; then nothing of it is left running.

    Args:
        settings: The home.
        port: The port; 0 is one that is free, None 3000 or, when that is taken, one that is free.
        tell: Takes the address to open, with the token without which the page answers nobody.

    Raises:
        BadInputError: The port cannot be used.
        UiEndedError: One of the processes ended by itself.
    """
    token = new_token()
    with listen(port, USUAL_PORT) as listener, _stop_requested() as is_stopped:
        folder = prepare(settings)
        environment = _environment(settings, folder)
        workspace = str(_write_workspace(folder))
        web = [sys.executable, "-m", "assets.webserver", str(listener.fileno()), workspace]
        daemon = [sys.executable, "-m", "dagster._daemon", "run", "-w", workspace]
        with open_instance(settings) as instance, _running(environment, folder) as start:
            processes = {
                "web server": start(web, token.encode(), (listener.fileno(),)),
                "daemon": start(daemon, b"", ()),
            }
            if port is None and port_of(listener) != USUAL_PORT:
                tell(f"port {USUAL_PORT} is taken")
            tell(f"open {address(listener, token)} (Ctrl-C ends it)")
            next_look = time.monotonic()
            while not is_stopped():
                for name, process in processes.items():
                    if process.poll() is not None:
                        raise UiEndedError(
                            f"the {name} ended with status {process.returncode}; its own words are above"
                        )
                if time.monotonic() >= next_look:
                    fail_dead_runs(instance)
                    next_look = time.monotonic() + _DEAD_SECONDS
                time.sleep(_POLL_SECONDS)


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
    environment: dict[str, str], folder: Path
) -> Iterator[Callable[[list[str], bytes, Sequence[int]], subprocess.Popen[bytes]]]:
    """Starts a command with its standard input and the descriptors it inherits; on leaving, all groups started are gone."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], given: bytes, descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(  # noqa: S603 - our own programs
            command, env=environment, cwd=folder, start_new_session=True, stdin=subprocess.PIPE, pass_fds=descriptors
        )
        processes.append(process)
        assert process.stdin is not None
        with process.stdin as stream, suppress(BrokenPipeError):
            stream.write(given)
        return process

    try:
        yield start
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
