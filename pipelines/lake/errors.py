"""What can go wrong with the lake."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import RefoldError

_FULL = re.compile(r"No space left on device|Disk quota exceeded|\bmax_temp_directory_size\b")
"""How DuckDB, Delta and the system say it; the last is DuckDB's for spilled data that no longer fits on its disk."""
_FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT)
_QUOTED_PATH = re.compile(r'["\'](/[^"\'\\]+)')


class CommitLostError(RefoldError):
    """Another writer committed this partition first; nothing of this attempt is visible. Run the verb again."""

    def __init__(self, dataset: str, partition: str, number: int) -> None:
        self.dataset, self.partition, self.number = dataset, partition, number
        super().__init__(
            f"{dataset} {partition or '(whole table)'}: another writer made commit {number} first; "
            "nothing of this attempt is visible, run the command again",
        )


class DiskFullError(RefoldError):
    """A disk is full. Nothing of what was being written is visible; make room and run the command again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(
            f"no space left on the disk of {path}; nothing is lost and nothing half-written is visible. Make room there "
            "(`refold vacuum` removes files that are not needed any more), or put the lake on another disk with REFOLD_LAKE, and run the command again",
        )


@contextmanager
def told_when_full(folder: Path) -> Iterator[None]:
    """Raise `DiskFullError` for whatever a full disk makes a library raise inside.

    Args:
        folder: What is named when the library's own words name no file.
    """
    try:
        yield
    except Exception as error:
        text = str(error)
        if not _FULL.search(text) and getattr(error, "errno", None) not in _FULL_NUMBERS:
            raise
        if isinstance(error, RefoldError):
            raise
        quoted = _QUOTED_PATH.search(text)
        raise DiskFullError(Path(quoted[1]) if quoted else folder) from error


class TableDamagedError(RefoldError):
    """A table is there and its log cannot be read: the lake is damaged. Nothing was changed."""

    def __init__(self, folder: Path, why: str) -> None:
        self.folder = folder
        super().__init__(
            f"the log of the table {folder} cannot be read ({why}); nothing was changed. Put the table back from a copy, or, if it "
            "is not events, stream_months, commits or manifests, move it away and make it again; `refold verify` says what else is damaged"
        )


class ForeignCatalogError(RefoldError):
    """What stands where the catalog belongs holds data that is not Refold's. It is left as it is."""

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        super().__init__(
            f"{path} is {what}, not the catalog of views that Refold keeps there; move it away and run the command again"
        )


class MissingFileError(RefoldError):
    """A table's log names a file that is not there: the lake is damaged. Nothing was removed from it."""

    def __init__(self, dataset: str, missing: Sequence[str]) -> None:
        self.dataset, self.missing = dataset, list(missing)
        super().__init__(
            f"{dataset}: {len(missing):,} of its current files are not there, first {missing[0]}; nothing was removed. "
            "Put them back from a copy; `refold verify` says what else is damaged",
        )


class NotRemovableError(RefoldError):
    """A file that is not needed any more may not be removed; what was removed before it stays removed."""

    def __init__(self, path: Path, why: str) -> None:
        self.path = path
        super().__init__(f"{path} cannot be removed ({why}); change its permissions and run the command again")
