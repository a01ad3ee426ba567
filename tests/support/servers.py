"""PostgreSQL servers of a test's own, and the folders they stand in."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.store import EmbeddedServer
from tests.support.waiting import wait_until


@contextmanager
def outer_folder(tools: Path | None = None) -> Iterator[Path]:
    """A folder outside of pytest's own, removed afterwards; a server that still stands in it is stopped.

    pytest takes others' access away from its own base folder whenever a session starts, and as root the server runs
    under another account.
    """
    folder = Path(tempfile.mkdtemp(prefix="refold-tests-"))
    try:
        yield folder
    finally:
        EmbeddedServer(folder, tools).stop(force=True)
        shutil.rmtree(folder)


@contextmanager
def fresh_server(tools: Path | None) -> Iterator[EmbeddedServer]:
    """A new, empty server. Not durable: what is lost then is lost with the machine, not with the server."""
    with outer_folder(tools) as home, EmbeddedServer(home, tools, is_durable=False) as server:
        yield server


def crash(server: EmbeddedServer, *, is_durable: bool = True) -> None:
    """Stop a held server as `pg_ctl stop -m immediate` does, and start it: it recovers from its log."""
    pid = server.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)
    wait_until(lambda: not (server.data / "postmaster.pid").exists(), lambda: "the server did not stop")
    with EmbeddedServer(server.home, server.tools, is_durable=is_durable):  # starts it; who holds it keeps it up
        pass
