"""A process that replays and may touch nothing: whatever else it opens, connects to, starts or removes raises at once.

    python -m tests.integration.guarded_child LAKE HOME FOLDER BASE_URL

Every mode with the echo, a callable and a model, under an audit hook; then the hook itself is tried. Its last line is a JSON
object of what was replayed.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.lake.lake import Lake
from pipelines.replay.run import run_replay
from pipelines.settings import Settings

MODES = ("decision", "single", "turn", "conversation")
_STARTS = ("subprocess.", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "pty.", "ctypes.dlopen")
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class TouchedError(BaseException):
    """Something of the world was about to be touched; nothing in between may take it for an error of its own."""


class Guard:
    """An audit hook that lets pass what a replay may do."""

    def __init__(self, folders: list[Path], endpoint: tuple[str, int]) -> None:
        self.folders, self.endpoint = folders, endpoint
        self.writes = self.connections = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(_STARTS):
            raise TouchedError(event)
        if event == "socket.connect":
            self.connections += 1
            self._require(arguments[1] == self.endpoint, event, arguments[1])
        elif event in {"socket.bind", "socket.sendto", "socket.sendmsg", "socket.gethostbyname"}:
            raise TouchedError(event)
        elif event == "socket.getaddrinfo":
            self._require(arguments[0] == self.endpoint[0], event, arguments[0])
        elif event == "open" and arguments[2] & _WRITING and not isinstance(arguments[0], int):
            self.writes += 1
            self._require_inside(event, arguments[0])
        elif event == "sqlite3.connect" or (event in _CHANGES and arguments[-1] in {-1, None}):
            self._require_inside(event, arguments[0])

    def _require_inside(self, event: str, path: Any) -> None:
        touched = Path(os.fsdecode(path)).resolve()
        self._require(any(touched.is_relative_to(folder) for folder in self.folders), event, touched)

    def _require(self, is_allowed: object, event: str, what: object) -> None:
        if not is_allowed:
            raise TouchedError(f"{event} {what}")


def replay_all(lake: Lake, settings: Settings, folder: Path, base_url: str) -> dict[str, int]:
    """Units replayed, by mode and candidate."""
    candidates = {
        "echo": "{echo: true}",
        "python": '{python: "agent:answer"}',
        "model": f"{{model: m, base_url: '{base_url}'}}",
    }
    replayed = {}
    for mode in MODES:
        for kind, candidate in candidates.items():
            text = f"experiment: {mode}-{kind}\ncandidate: {candidate}\nmode: {mode}\ntools: {{on_miss: stub_error, max_steps: 3}}"
            done = run_replay(lake, make_plan(lake, parse_experiment(text, "test"), folder), settings=settings)
            assert set(done.failures) <= {"step_limit"}, done
            replayed[f"{mode} {kind}"] = done.units
    return replayed


def try_the_guard() -> None:
    """Each thing that is forbidden is stopped."""
    attempts = (
        lambda: Path("here.txt").write_text("x", encoding="utf-8"),
        lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
        lambda: subprocess.run(["true"], check=False),
        lambda: os.system("true"),
        lambda: Path(sys.executable).unlink(),
    )
    for number, attempt in enumerate(attempts):
        try:
            attempt()
        except TouchedError:
            continue
        raise SystemExit(f"attempt {number} was not stopped")


def main(lake: str, home: str, folder: str, base_url: str) -> None:
    """Replay under guard."""
    address = urlsplit(base_url)
    assert address.hostname is not None
    assert address.port is not None
    guard = Guard([Path(lake).resolve(), Path(home).resolve()], (address.hostname, address.port))
    sys.addaudithook(guard)
    settings = Settings(home=Path(home), dsn=None, lake=Path(lake))
    replayed = replay_all(Lake(Path(lake)), settings, Path(folder), base_url)
    seen = {"writes": guard.writes, "connections": guard.connections}
    try_the_guard()
    print(json.dumps({"replayed": replayed, **seen}))


if __name__ == "__main__":
    main(*sys.argv[1:])
