"""A Delta table's log as such: whether a folder holds a table, opening and making one, and commits whose answer is lost.

An empty log is no table. Whoever makes one first makes `_delta_log`, then its first entry; killed or out of space in
between, it leaves a folder that no reader can open. What counts is therefore an entry, not the folder: `is_table` is the
one place that decides. An entry 0 that is cut short, with none after it, never held a row (a table is made empty), so it
is no table either, and the next maker puts it aside.

A commit may land and its answer be lost: the process, a disk or a network ends between the two. So every commit carries
a random token, and after any error the log from the version before it says what happened. A file that was offered to a
commit is never removed by the one who offered it, whatever was answered: `vacuum` knows what the log names.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError

from pipelines.lake.errors import TableDamagedError
from pipelines.locks import holding

LOG = "_delta_log"
POINTER = "_last_checkpoint"
"""Names the newest checkpoint, so that a reader need not list the log. Only a hint: all that it says is in the names."""
TOKEN = "refold.token"  # noqa: S105 - the name of a random number, no secret
"""Key of the random token in a commit's own words (`commitInfo`)."""
CHECKPOINT_COMMITS = 20
"""Commits between two checkpoints: whoever opens a table reads every entry since the last, a third of a millisecond each."""
SETTINGS: dict[str, str | None] = {"delta.checkpointInterval": str(CHECKPOINT_COMMITS)}
"""Of every table."""
_ENTRY = re.compile(r"(\d{20})(\.json|\.checkpoint\..*parquet|\.checkpoint\..*json)")
_LOCK = ".tables.lock"


def is_table(folder: Path) -> bool:
    """Whether `folder` is a Delta table: its log has an entry that a table can begin with."""
    entries = _entries(folder)
    if [name for name in entries if not name.startswith("0" * 20)]:
        return True  # there were commits after the first: what is wrong with it, if anything, is damage
    return any("checkpoint" in name or _begins_table(folder / LOG / name) for name in entries)


def open_table(folder: Path) -> DeltaTable | None:
    """The table at its newest version; None where there is none.

    A pointer to a checkpoint that is not there is put aside: the log is whole without it.

    Raises:
        TableDamagedError: There is one, and its log cannot be read.
    """
    if not is_table(folder):
        return None
    try:
        return DeltaTable(str(folder))
    except DeltaError as error:
        if not _put_pointer_aside(folder):
            raise TableDamagedError(folder, _words(error)) from error
    try:
        return DeltaTable(str(folder))
    except DeltaError as error:
        raise TableDamagedError(folder, _words(error)) from error


def newest_entry(folder: Path) -> list[object]:
    """What tells the newest state of a table from every other: name, size and time of its log's last entry; empty for no table."""
    entries = _entries(folder)
    with suppress(FileNotFoundError):  # put aside a moment ago
        found = (folder / LOG / entries[-1]).stat() if entries else None
        return [] if found is None else [entries[-1], found.st_size, found.st_mtime_ns]
    return []


def is_newest(folder: Path, version: int) -> bool:
    """Whether a version of a table is its newest: its entry is there and the next is not. Entries go oldest first, if at all."""
    log = folder / LOG
    return (log / f"{version:020d}.json").exists() and not (log / f"{version + 1:020d}.json").exists()


@contextmanager
def making(folder: Path) -> Iterator[bool]:
    """Be the only one who makes tables of the lake; what half a maker left of this one is put aside.

    Yields:
        Whether there is no table yet.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with holding(folder.parent / _LOCK):
        is_new = not is_table(folder)
        if is_new:
            for name in _entries(folder):
                _put_aside(folder / LOG / name)
            with suppress(FileNotFoundError):
                _put_aside(folder / LOG / POINTER)
            folder.mkdir(exist_ok=True)
        yield is_new


class Attempt:
    """One commit that is tried until it is known whether it landed.

    Args:
        folder: The table's folder.
        since: Version of the table before the first try; -1 where there is no table yet.
    """

    def __init__(self, folder: Path, since: int) -> None:
        self._folder = folder
        self._since = since
        self._token = uuid.uuid4().hex

    def properties(self, transaction: Transaction | None = None) -> CommitProperties:
        """What every try says of itself."""
        return CommitProperties(
            custom_metadata={TOKEN: self._token}, app_transactions=[transaction] if transaction else None
        )

    def landed(self, table: DeltaTable | None = None) -> int | None:
        """The version that it is, by the log; None when it is in none.

        Args:
            table: The table as it is now, if it has been opened since.

        Raises:
            TableDamagedError: The log cannot be read.
        """
        table = open_table(self._folder) if table is None else table
        newest = -1 if table is None else table.version()
        versions = range(self._since + 1, newest + 1)
        return next((version for version in versions if self._is_at(version)), None)

    def _is_at(self, version: int) -> bool:
        """Whether an entry carries the token. Read as text: deltalake 1.6's `history` is empty where a path has a `#` (no issue known)."""
        with suppress(FileNotFoundError):  # entries go a month after a checkpoint stands for them
            for line in (self._folder / LOG / f"{version:020d}.json").read_text(encoding="utf-8").splitlines():
                if f'"{self._token}"' in line and json.loads(line).get("commitInfo", {}).get(TOKEN) == self._token:
                    return True
        return False

    def run(self, commit: Callable[[], object]) -> bool:
        """Try once.

        Returns:
            Whether it is in the log; no means that another commit came between, and that it may be tried again.

        Raises:
            Exception: What `commit` raised, when it did not land for another reason.
        """
        try:
            commit()
        except Exception as error:
            if self.landed() is not None:
                return True
            if not isinstance(error, CommitFailedError):
                raise
            return False
        return True


def _entries(folder: Path) -> list[str]:
    """Names of a log's entries and checkpoints, ascending; what writers prepare beside them is none."""
    try:
        names = os.listdir(folder / LOG)  # noqa: PTH208 - half the time of `iterdir`, and it is asked of every table
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in names if _ENTRY.fullmatch(name))


def _begins_table(entry: Path) -> bool:
    """Whether an entry 0 is whole: it says what the table is."""
    found: set[str] = set()
    try:
        for line in entry.read_text(encoding="utf-8").splitlines():
            found |= set(json.loads(line)) if line else set()
    except FileNotFoundError:  # put aside, or trimmed after a checkpoint, a moment ago
        return False
    except ValueError:
        return False
    return {"protocol", "metaData"} <= found


def _put_pointer_aside(folder: Path) -> bool:
    """Whether the pointer named a checkpoint that is not there, and is gone now."""
    pointer = folder / LOG / POINTER
    try:
        version = int(json.loads(pointer.read_text(encoding="utf-8"))["version"])
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        version = -1
    if any(name.startswith(f"{version:020d}.checkpoint.") for name in _entries(folder)):
        return False
    try:
        _put_aside(pointer)
    except OSError:  # a lake that may only be read stays as it is
        return False
    return True


def _put_aside(path: Path) -> None:
    """Rename a file of a log so that nobody takes it for an entry; `vacuum` removes it as a half-written one."""
    path.rename(path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp"))


def _words(error: Exception) -> str:
    """A library's error without the trace that it carries."""
    return str(error).strip().splitlines()[0]
