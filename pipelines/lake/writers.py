"""Who is writing to a lake now: one locked file per writer in `.writers/`, freed by the kernel however a process ends.

A file of a table that no commit names is either about to be committed or left behind by a writer that died. The lock
tells them apart: a writer is seen from before it makes its first file until after its commit, so that whatever is older
than every live writer is nobody's any more. Nothing here waits for a writer or makes one wait.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.locks import holding, open_lock, try_lock

_FOLDER = ".writers"
_CATALOG_LOCK = ".catalog.lock"


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Be seen as a writer of the lake at `root`: enter before the first file is made, leave after the commit."""
    folder = root / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / uuid.uuid4().hex
    descriptor = _make_locked(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def oldest_writer(root: Path) -> float | None:
    """When the oldest live writer began, in seconds since 1970 by the lake's file system; None while nobody writes.

    What dead writers left in `.writers/` is removed.
    """
    began = []
    folder = root / _FOLDER
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):  # it ended meanwhile
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                if not try_lock(descriptor):
                    began.append(os.fstat(descriptor).st_mtime)
                # Locked by nobody: its writer is dead. If the file is gone already, another may stand under its name.
                elif os.fstat(descriptor).st_nlink:
                    path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
    return min(began, default=None)


@contextmanager
def publishing(root: Path) -> Iterator[None]:
    """Let one process at a time write the catalog, so that an older one never replaces a newer one."""
    root.mkdir(parents=True, exist_ok=True)
    with holding(root / _CATALOG_LOCK):
        yield


def _make_locked(path: Path) -> int:
    """Make a file and lock it; made again when it was taken for a dead writer's between the two."""
    while True:
        descriptor = open_lock(path)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor
        os.close(descriptor)
