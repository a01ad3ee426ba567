"""Who is at work: a run holds a lock file for as long as its process lives. Nothing of Dagster is needed to ask.

A file without its lock is left by a process that ended without a word. A process id alone would
not do: ids come again, and in a container every process is number 1.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.locks import holding, is_held

_BEGINNING_SECONDS = 60
"""A run makes its file a moment before it holds it."""


def live_folder(dagster_home: Path) -> Path:
    """Where the lock files are, one for each run, named after it."""
    return dagster_home / "live"


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold a run's lock, which is there only meanwhile."""
    with holding(path):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def remove_left_over(folder: Path) -> None:
    """Remove lock files that nobody holds and that are no longer about to be held."""
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _BEGINNING_SECONDS and not is_held(path):
                path.unlink()


def has_dead_runs(dagster_home: Path) -> bool:
    """Whether a run ended without a word, so that the web page may not know what it did."""
    folder = live_folder(dagster_home)
    return folder.exists() and any(not is_held(path) and path.exists() for path in folder.iterdir())
