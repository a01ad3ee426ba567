"""Which accounts of the machine may read what a verb writes: nobody else, or with `REFOLD_SHARED=group` the folder's group.

One mask for the process, and so for all that it starts and for whatever library writes a file: Delta, DuckDB, Dagster,
SQLite, PostgreSQL. Folders that are there already with more access than that lose it: a folder that nobody may enter
hides what is below, so only the home, what lies directly in it, and the lake are looked at. Nothing here gives access,
except where a group is asked for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.settings import Settings

_PRIVATE, _SHARED = 0o077, 0o027
"""Masks: what is taken away from everybody, and what from those who share."""


@contextmanager
def private_files(*, is_shared: bool) -> Iterator[None]:
    """Let every file that is made inside be private, or readable by its group."""
    before = os.umask(_SHARED if is_shared else _PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


def withdraw_access(settings: Settings, *, is_dry_run: bool = False) -> list[Path]:
    """Take away what others may do in a home and a lake that are there; if they are shared, let the group read them.

    A folder of somebody else's stays as it is.

    Args:
        settings: The home and the lake.
        is_dry_run: Only say from what others' access would be taken.

    Returns:
        What was changed.
    """
    changed = []
    if settings.is_shared and not is_dry_run:
        changed += [path for path in (settings.home, settings.lake) if _open_to_group(path)]
    mask = _SHARED if settings.is_shared else _PRIVATE
    data = settings.home / "postgres"
    for path in [settings.home, settings.lake, *_inside(settings.home)]:
        if path == data or path.name.startswith(f"{data.name}."):
            continue  # the server's own, which it keeps private itself
        # as root the server runs under an account of its own, which passes the home and reads nothing of it
        passes = stat.S_IXOTH if path == settings.home and _is_others(data) else 0
        changed += [path] if _chmod(path, taken=mask & ~passes, is_dry_run=is_dry_run) else []
    return changed


def _inside(home: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(home.iterdir())
    return []


def _open_to_group(folder: Path) -> bool:
    """Let a folder's group read what is in it, if it cannot enter yet; whether it was so."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    if status.st_mode & stat.S_IXGRP or status.st_uid != os.geteuid() or stat.S_ISLNK(status.st_mode):
        return False
    for parent, folders, names in os.walk(folder):
        if "postgres" in folders and Path(parent) == folder:
            folders.remove("postgres")
        for name in (*folders, *names):
            _chmod(Path(parent) / name, given_as_owner=True)
    return _chmod(folder, given_as_owner=True)


def _chmod(path: Path, *, taken: int = 0, given_as_owner: bool = False, is_dry_run: bool = False) -> bool:
    """Take bits from one's own file, or let its group read and pass as its owner may; whether that changed anything."""
    with suppress(OSError):
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and status.st_uid == os.geteuid():
            old = stat.S_IMODE(status.st_mode)
            new = (old | (old & 0o500) >> 3 if given_as_owner else old) & ~taken
            if new != old:
                if not is_dry_run:
                    path.chmod(new)
                return True
    return False


def _is_others(path: Path) -> bool:
    """Whether a file is there and is another account's."""
    with suppress(OSError):
        return path.lstat().st_uid != os.geteuid()
    return False
