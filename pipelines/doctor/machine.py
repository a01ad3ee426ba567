"""The machine: room on the disks, the signing key, who may read the home, its databases, packages and versions. Reads alone."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import stat
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

from pipelines.console import counted, size
from pipelines.doctor.finding import Finding, ask
from pipelines.lake.lake import Lake
from pipelines.privacy import withdraw_access
from pipelines.settings import Settings

LEAST_BYTES = 500 * 10**6
"""Room that an export, a fold and the server need whatever the months hold."""
SPARE = 3
"""Times that the largest month should fit again: it is written beside the one before, with its folds, and spilled."""
_SHOWN = 4


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Everything that is told by the machine's files, and by what the lake remembers of its sizes and writers."""
    yield from ask("disk", lambda: _disk(settings))
    yield from ask("key", lambda: _key(settings))
    yield from ask("files", lambda: _files(settings))
    yield from ask("databases", lambda: _databases(settings))
    yield from ask("packages", _packages)
    yield from ask("versions", lambda: _versions(settings))


def _disk(settings: Settings) -> Iterator[Finding]:
    month, taken = _largest_month(settings)
    needed = max(taken, LEAST_BYTES)
    what = f"the largest month, {month}, takes {size(taken)} in the lake" if month else "the lake holds no month yet"
    seen: set[int] = set()
    for folder in (settings.lake, settings.home):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        if (device := there.stat().st_dev) in seen:
            continue
        seen.add(device)
        free = shutil.disk_usage(there).free
        state = "fail" if free < needed else "warn" if free < SPARE * needed else "ok"
        todo = (
            f"make room for {size(SPARE * needed)}: `refold vacuum`, `refold storage`, or another disk with REFOLD_LAKE"
        )
        yield Finding(
            "disk",
            "fail" if state == "fail" else "warn" if state == "warn" else "ok",
            f"{size(free)} free for {folder}; {what}",
            None if state == "ok" else todo,
        )


def _largest_month(settings: Settings) -> tuple[str | None, int]:
    """The month of most bytes over all tables, with what its folds take."""
    if not settings.lake.is_dir():
        return None, 0
    lake = Lake.from_settings(settings)
    sizes: Counter[str] = Counter()
    for name in lake.datasets():
        for commit in lake.commits(name):
            if commit.partition.startswith("month="):
                sizes[commit.partition.removeprefix("month=")] += commit.size_bytes
    return sizes.most_common(1)[0] if sizes else (None, 0)


def _key(settings: Settings) -> Iterator[Finding]:
    path = settings.signing_key
    if path is None:
        yield Finding("key", "ok", "REFOLD_SIGNING_KEY names no key: manifests and checkpoints are not signed")
        return
    from pipelines.proof.signing import key_id, read_private_key  # noqa: PLC0415 - cryptography, only where there is a key

    key = read_private_key(path)
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding("key", "warn", f"{path} may be read by others (mode {mode:04o})", f"chmod 600 {path}")
    else:
        yield Finding("key", "ok", f"{path} signs, as {key_id(key.public_key())[:16]}…")


def _files(settings: Settings) -> Iterator[Finding]:
    if not settings.home.exists():
        yield Finding(
            "files", "ok", f"the home {settings.home} is not there yet", "run `refold demo` or `refold import`"
        )
        return
    unwritable = [
        str(path) for path in (settings.home, settings.lake) if path.exists() and not os.access(path, os.W_OK | os.X_OK)
    ]
    if unwritable:
        yield Finding(
            "files",
            "fail",
            f"this account may not write {', '.join(unwritable)}",
            "use the account that made the home, or give this one the folder",
        )
    if open_paths := withdraw_access(settings, is_dry_run=True):
        shown = ", ".join(str(path) for path in open_paths[:_SHOWN])
        yield Finding(
            "files",
            "warn",
            f"others may do more than REFOLD_SHARED lets them with {counted(len(open_paths), 'path')}: {shown}",
            "nothing: the next command takes that away; see who opened them",
        )
    elif not unwritable:
        yield Finding(
            "files", "ok", f"the home {settings.home} is this account's{' and its group’s' * settings.is_shared} alone"
        )


def _databases(settings: Settings) -> Iterator[Finding]:
    """SQLite's: of Dagster's history and of paid answers."""
    paths = sorted([*(settings.home / "dagster").rglob("*.db"), *settings.replays.glob("*.sqlite")])
    damaged = [path for path in paths if not _is_whole(path)]
    for path in damaged:
        is_history = path.is_relative_to(settings.home / "dagster")
        todo = (
            "move the folder dagster away: it holds only the history of runs"
            if is_history
            else "put it back from a copy; without it, models are asked and paid again"
        )
        yield Finding("databases", "fail", f"{path} is damaged or no database", todo)
    if not damaged:
        yield Finding("databases", "ok", f"{counted(len(paths), 'database')} of Dagster and of answers can be opened")


def _is_whole(path: Path) -> bool:
    """Whether SQLite reads its schema; opened as a file that does not change, so nothing is made beside it."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.Error:
        return False
    return True


def _packages() -> Iterator[Finding]:
    wrong = [fault for text in metadata.requires("refold") or () if (fault := _fault(Requirement(text))) is not None]
    if wrong:
        todo = "install Refold's locked versions again (`uv sync --locked`, or `pip install --upgrade refold`)"
        yield Finding("packages", "warn", f"packages outside of what Refold was tested with: {'; '.join(wrong)}", todo)
    else:
        yield Finding("packages", "ok", "all packages are in the ranges that Refold takes")


def _fault(wanted: Requirement) -> str | None:
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return None
    try:
        found = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return f"{wanted.name} is not installed"
    return (
        None
        if wanted.specifier.contains(found, prereleases=True)
        else f"{wanted.name} {found} is not {wanted.specifier}"
    )


def _versions(settings: Settings) -> Iterator[Finding]:
    ours = Version(metadata.version("refold"))
    seen = f"Refold {ours} on Python {platform.python_version()}"
    query = "SELECT DISTINCT code_version FROM commits"
    wrote: list[Version] = []
    if settings.lake.is_dir():
        with Lake.from_settings(settings).connect(query) as connection:
            wrote = sorted(Version(text) for (text,) in connection.execute(query).fetchall() if text)
    if wrote and wrote[-1] > ours:
        yield Finding(
            "versions", "fail", f"{seen}; the lake was written by {wrote[-1]}", f"install Refold {wrote[-1]} or newer"
        )
    else:
        yield Finding("versions", "ok", f"{seen}{f'; the lake was written by {wrote[-1]}' if wrote else ''}")
