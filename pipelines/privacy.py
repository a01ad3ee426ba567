"""Which accounts of the machine may read what a verb writes: nobody else, or with `REFOLD_SHARED=group` the folder's group.

One mask for the process, and so for all that it starts and for whatever library writes a file: Delta, DuckDB, Dagster,
SQLite, PostgreSQL. Folders that are there already with more access than that lose it: a folder that nobody may enter
hides what is below, so only the home, what lies directly in it, and the lake are looked at. Nothing here gives access,
except where a group is asked for.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.errors import BadInputError
from pipelines.settings import Settings

SHARED = "REFOLD_SHARED"
_MASKS = {"": 0o077, "group": 0o027}


@contextmanager
def private_files(env: Mapping[str, str]) -> Iterator[None]:
    """Let every file that is made inside be private, or readable by its group.

    Raises:
        BadInputError: `REFOLD_SHARED` is something else.
    """
    before = os.umask(mask_of(env))
    try:
        yield
    finally:
        os.umask(before)


def mask_of(env: Mapping[str, str]) -> int:
    """The mask that the environment asks for.

    Raises:
        BadInputError: `REFOLD_SHARED` is something else than `group`.
    """
    shared = env.get(SHARED) or ""
    if shared not in _MASKS:
        raise BadInputError(f"{SHARED} is {shared!r}; write group, or leave it out and nobody else may read the home")
    return _MASKS[shared]


def withdraw_access(settings: Settings, env: Mapping[str, str]) -> list[Path]:
    """Take away what others may do in a home and a lake that are there; with a group, let it read the lake.

    A folder of somebody else's stays as it is.

    Returns:
        What was changed.
    """
    mask = mask_of(env)
    changed = []
    if mask == _MASKS["group"]:
        changed += [path for path in (settings.home, settings.lake) if _open_to_group(path)]
    data = settings.home / "postgres"
    for path in [settings.home, settings.lake, *_inside(settings.home)]:
        if path == data or path.name.startswith(f"{data.name}."):
            continue  # the server's own, which it keeps private itself
        # as root the server runs under an account of its own, which passes the home and reads nothing of it
        passes = stat.S_IXOTH if path == settings.home and _is_others(data) else 0
        changed += [path] if _chmod(path, lambda mode, keep=passes: mode & ~(mask & ~keep)) else []
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
            _chmod(Path(parent) / name, lambda mode: mode | (mode & 0o500) >> 3)
    return _chmod(folder, lambda mode: mode | 0o050)


def _chmod(path: Path, change: object) -> bool:
    assert callable(change)
    with suppress(OSError):
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode) and status.st_uid == os.geteuid():
            old = stat.S_IMODE(status.st_mode)
            new = change(old)
            if new != old:
                path.chmod(new)
                return True
    return False


def _is_others(path: Path) -> bool:
    """Whether a file is there and is another account's."""
    with suppress(OSError):
        return path.lstat().st_uid != os.geteuid()
    return False
