"""Locks between processes of a machine: a locked file, which the kernel frees however its process ends.

`flock` is understood by every process of a machine, whatever its container, and between machines by NFS.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def open_lock(path: Path) -> int:
    """A descriptor of the lock file at a path, which is made; closed on exec, so that no child keeps the lock.

    Raises:
        OSError: It cannot be made or opened.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(descriptor: int) -> bool:
    """Lock a file alone, if nobody holds it in any way; whether it is locked now."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_held(path: Path) -> bool:
    """Whether some process holds the lock file at a path, alone or with others; not if there is none."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def holding(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock file alone; whoever else wants it waits. `on_wait` is told once if this process has to."""
    descriptor = open_lock(path)
    try:
        if not try_lock(descriptor):
            if on_wait is not None:
                on_wait()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
