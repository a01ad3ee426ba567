"""One hash of everything that decides a folded cell: months and snapshots are stale by it, and versions named by it.

Cheap: files are read, nothing is imported or parsed. It names more than it must (every module of the folds, for one): what is
folded again for nothing costs time and no more, and a rule that was forgotten would keep what is wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from pipelines.sqlfiles import sql_root

_FOLDS = (
    "canonical/**/*.py",
    "compact_json.py",
    "fold/**/*.py",
    "folds/**/*.py",
    "lake/datasets/columns.py",
    "lake/datasets/folds.py",
    "log/**/*.py",
)
_FOLDS_SQL = ("folds/**/*.sql", "upcasters/*.sql")
_PROJECTIONS = ("projections/**/*.py",)
_VERSIONS = ("diff/**/*.py", "experiment/**/*.py", "replay/**/*.py", "stats/**/*.py")
_VERSIONS_SQL = ("diffs/*.sql",)


@cache
def fold_hash() -> str:
    """SHA-256 (hex) of what folds: the fold, what of the log it may read, canonical forms, SQL, upcasters, known types."""
    return hash_folds(_package(), sql_root())


@cache
def projection_hash() -> str:
    """SHA-256 (hex) of what makes a table of a projection of one's own, beside its file and what folds."""
    return _hash(_package(), _PROJECTIONS, sql_root(), ())


@cache
def version_hash() -> str:
    """SHA-256 (hex) of what replays, compares and estimates: with the folds, all code that decides a cell of a version."""
    return _hash(_package(), _VERSIONS, sql_root(), _VERSIONS_SQL)


@cache
def code_hash(snapshot_events: int) -> str:
    """SHA-256 (hex) of what decides a snapshot: what folds, and how often snapshots are made."""
    return hashlib.sha256(f"{fold_hash()} {snapshot_events}".encode()).hexdigest()


def fold_files(package: Path, sql: Path) -> list[Path]:
    """The files that `fold_hash` is over."""
    return [*_files(package, _FOLDS), *_files(sql, _FOLDS_SQL)]


def hash_folds(package: Path, sql: Path) -> str:
    """`fold_hash` of a package and its SQL somewhere."""
    types = sorted(path.name for path in (sql / "events").iterdir())
    return _hash(package, _FOLDS, sql, _FOLDS_SQL, types)


def _hash(package: Path, modules: Iterable[str], sql: Path, queries: Iterable[str], more: Sequence[str] = ()) -> str:
    digest = hashlib.sha256()
    for root, patterns in ((package, modules), (sql, queries)):
        for path in _files(root, patterns):
            digest.update(hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    for each in more:
        digest.update(hashlib.sha256(each.encode()).digest())
    return digest.hexdigest()


def _files(root: Path, patterns: Iterable[str]) -> list[Path]:
    return sorted({path for pattern in patterns for path in root.glob(pattern)})


def _package() -> Path:
    return Path(__file__).resolve().parents[1]
