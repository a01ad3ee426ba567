"""Is each file that a table names there, with the bytes it was committed with? Nothing is read: what is in a file is `refold verify`'s question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.lake.lake import Lake


@dataclass(frozen=True, slots=True)
class Whole:
    """What was looked at.

    Attributes:
        tables: Tables with files.
        files: Files of them.
        faults: What is wrong, a file each: its path below the lake, and how.
    """

    tables: int
    files: int
    faults: list[str]


def look_at_files(lake: Lake, names: Iterable[str]) -> Whole:
    """Look at the current files of datasets.

    Raises:
        TableDamagedError: The log of one cannot be read.
    """
    tables = files = 0
    wrong: list[str] = []
    for name in names:
        current = [Path(path) for path in lake.files(name)]
        root = lake.table(name).path
        known = {file.path: file.size_bytes for commit in lake.last_commits(name) for file in commit.files}
        faults = ((path, _fault(path, known.get(path.relative_to(root).as_posix()))) for path in current)
        wrong += [f"{path.relative_to(lake.root)} {fault}" for path, fault in faults if fault is not None]
        tables, files = tables + bool(current), files + len(current)
    return Whole(tables, files, wrong)


def _fault(path: Path, size_bytes: int | None) -> str | None:
    try:
        found = path.stat().st_size
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    return None if size_bytes in (None, found) else f"has {found:,} bytes of {size_bytes:,}"
