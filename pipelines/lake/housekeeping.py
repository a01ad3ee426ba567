"""Remove the files that nobody needs any more, and nothing else; shorten the tables' logs.

Which files may go, and why:

- *superseded*: a commit replaced it, and the grace has passed since. Whoever opened the lake or `lake.duckdb` before the
  commit may still read it until then.
- *redacted*: a commit replaced it in which more is redacted or erased. It goes at once: a reader that is at it must open anew.
- *orphan*: no commit names it. Its writer is dead, since every live writer began after the file was last written (see
  `pipelines.lake.writers`). Nobody ever saw it, so it needs no grace.
- *temporary*: what a killed process left: half a log entry, half a catalog, data spilled from memory.
- *log*: entries of a Delta log that a checkpoint stands for and that are older than the table keeps (30 days).

No writer is stopped. Files are listed first, then the live writers, then what the log names: a writer that was at work
when the files were listed either still is, and its lock protects them, or has committed, and the log names them. One that
began later has no file in the list. A table whose log names a file that is not there, and a file that provenance names as
current and the log does not, are damage: nothing is removed that could repair it. Rows are never removed here: versions
of comparisons are rows.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipelines.lake.catalog import leftover_catalogs, publish_catalog
from pipelines.lake.commits import hides
from pipelines.lake.datasets import COMMITS
from pipelines.lake.delta import LOG
from pipelines.lake.errors import MissingFileError, NotRemovableError
from pipelines.lake.lake import Lake
from pipelines.lake.writers import oldest_writer

Reason = Literal["superseded", "redacted", "orphan", "temporary", "log"]

CLOCK_SECONDS = 3600.0
"""How far a clock may be set back while somebody writes, without a file of theirs passing for an older one."""

_DAY_SECONDS = 86_400
_HALF_WRITTEN = re.compile(r"_commit_.*|.*\.tmp|.*#\d+")
"""Names in a log under which Delta's writer prepares an entry before it moves it into place."""
_SPILLED = re.compile(r"(?:duckdb_temp_|locked-|workers-)(\d+)[_-].*")
"""DuckDB's spilled data, what a user's code was given, and what workers of a replay made; the number is the process. DuckDB itself
removes a dead process's, but only when it spills."""
_COMMITTED = """
SELECT dataset, partition, epoch_us(committed_at) / 1e6, provenance, list_transform(files, LAMBDA f: f.path)
FROM commits
ORDER BY dataset, partition, number DESC, committed_at DESC
"""


@dataclass(frozen=True, slots=True)
class Swept:
    """Files of one kind of one dataset.

    Attributes:
        dataset: The dataset; empty for what belongs to none.
        reason: Why they may go.
        files: How many.
        size_bytes: Their bytes.
    """

    dataset: str
    reason: Reason
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class VacuumResult:
    """What was removed, or would be.

    Attributes:
        is_dry_run: Nothing was touched.
        files: Files removed.
        size_bytes: Their bytes.
        swept: The same by dataset and reason.
        kept_files: Superseded files that stay for the grace.
        kept_bytes: Their bytes.
        grace_days: The grace in force.
        seconds: Time taken.
    """

    is_dry_run: bool
    files: int
    size_bytes: int
    swept: list[Swept]
    kept_files: int
    kept_bytes: int
    grace_days: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    size_bytes: int
    written_at: float


@dataclass(frozen=True, slots=True)
class _Origin:
    """The commit that a file came with, as provenance knows it.

    Attributes:
        superseded_at: Time of the partition's next commit, seconds since 1970; None while it is the last.
        is_redacted: More is redacted or erased in the partition's last commit than in it.
    """

    superseded_at: float | None
    is_redacted: bool


@dataclass(frozen=True, slots=True)
class _Knowledge:
    """What decides over the files of one table.

    Attributes:
        current: Files that the log names, relative to the table.
        superseded: Files that the log names as replaced.
        expired: Those of them for which the grace is over.
        origins: Commits of files.
        grace_days: The grace.
        bar: What was written before this is no live writer's; seconds since 1970.
    """

    current: set[str]
    superseded: set[str]
    expired: set[str]
    origins: Mapping[str, _Origin]
    grace_days: float
    bar: float

    def judge(self, name: str, file: _File) -> Reason | Literal["needed", "kept"]:
        """Why a file may go, or that it is needed, or kept for the grace."""
        origin = self.origins.get(name)
        if name in self.current:
            return "needed"
        if origin is not None and origin.is_redacted:
            return "redacted"
        if name in self.superseded or origin is not None:
            return self._judge_committed(name, origin)
        if file.written_at >= self.bar:
            return "needed"
        return "temporary" if name.startswith(LOG) else "orphan"

    def _judge_committed(self, name: str, origin: _Origin | None) -> Literal["superseded", "needed", "kept"]:
        """The same of a file that a commit once named and the newest does not."""
        is_over = name in self.expired
        if name not in self.superseded and origin is not None:  # the log forgets what was replaced, after a week
            if origin.superseded_at is None:
                return "needed"
            is_over = origin.superseded_at + self.grace_days * _DAY_SECONDS <= time.time()
        return "superseded" if is_over else "kept"


def vacuum(lake: Lake, catalog: Path, *, grace_days: float, is_dry_run: bool = False) -> VacuumResult:
    """Remove what is not needed, and renew the catalog. Again, it finds nothing to do.

    Args:
        lake: The lake; writers and readers may be at work.
        catalog: `lake.duckdb`; it is renewed before the first file goes.
        grace_days: Days for which superseded files stay.
        is_dry_run: Only say what would be removed.

    Raises:
        MissingFileError: A table lacks a file; nothing was removed.
        NotRemovableError: A file may not be removed; those before it are.
    """
    started = time.monotonic()
    names = list(lake.datasets())
    _require_whole(lake, names)
    if lake.root.is_dir() and not is_dry_run:
        publish_catalog(lake, catalog)
    found, kept = _find(lake, catalog, names, grace_days)
    files: Counter[tuple[str, Reason]] = Counter()
    sizes: Counter[tuple[str, Reason]] = Counter()
    for dataset, reason, file in found:
        if is_dry_run or _remove(file.path):
            files[dataset, reason] += 1
            sizes[dataset, reason] += file.size_bytes
    if not is_dry_run:
        _remove_folders_of_the_dead(lake.spill)
    for name in () if is_dry_run else names:
        gone = _shorten_log(lake, name)
        if gone:
            files[name, "log"], sizes[name, "log"] = len(gone), sum(gone)
    return VacuumResult(
        is_dry_run=is_dry_run,
        files=files.total(),
        size_bytes=sizes.total(),
        swept=[Swept(*what, files=number, size_bytes=sizes[what]) for what, number in files.items()],
        kept_files=len(kept),
        kept_bytes=sum(file.size_bytes for file in kept),
        grace_days=grace_days,
        seconds=time.monotonic() - started,
    )


def remove_redacted(lake: Lake, catalog: Path, names: Iterable[str], *, with_leftovers: bool = False) -> int:
    """Remove superseded files that show what the newest commits of their partitions hide; answer how many.

    For after a commit that knows more redactions or erasures than the one before it: what is hidden is in no file any more. Should
    the process die before, `vacuum` does it.

    Args:
        lake: The lake.
        catalog: `lake.duckdb`; it is renewed before the first file goes.
        names: Datasets.
        with_leftovers: Whether what writers that died left goes, too: nobody knows what it holds.
    """
    publish_catalog(lake, catalog)
    found, _ = _find(lake, catalog, names, math.inf)
    reasons = {"redacted", "orphan", "temporary"} if with_leftovers else {"redacted"}
    return sum(_remove(file.path) for _, reason, file in found if reason in reasons)


def remove_at_once(lake: Lake, catalog: Path, paths: Mapping[str, Iterable[Path]]) -> tuple[list[Path], list[Path]]:
    """Remove files that hold what was erased, whatever the grace, if they are no table's any more.

    Args:
        lake: The lake.
        catalog: `lake.duckdb`; it is renewed before the first file goes.
        paths: The files, by dataset.

    Returns:
        Those that went, and those that stay: a table has them, or a writer may be at them.
    """
    publish_catalog(lake, catalog)
    listed = {name: [file for path in each if (file := _stat(path)) is not None] for name, each in paths.items()}
    began = oldest_writer(lake.root)  # after the listing, before the logs are read
    bar = math.inf if began is None else began - CLOCK_SECONDS
    origins = _origins(lake)
    gone, kept = [], []
    for name, files in listed.items():
        known = _know(lake, name, origins.get(name, {}), math.inf, bar)
        for file in files:
            if known.judge(file.path.relative_to(lake.table(name).path).as_posix(), file) == "needed":
                kept.append(file.path)
            elif _remove(file.path):
                gone.append(file.path)
    return gone, kept


def remove_spilled(lake: Lake) -> tuple[int, int]:
    """Remove what dead processes spilled or were given, which may be anything: how many files, and their bytes."""
    found = _spilled_by_the_dead(lake.spill)
    removed = [file.size_bytes for file in found if _remove(file.path)]
    _remove_folders_of_the_dead(lake.spill)
    return len(removed), sum(removed)


def find_spilled(lake: Lake) -> tuple[list[Path], list[Path]]:
    """What dead processes left in the folder for spilled data, and what else is there, of live ones or nobody knows whose."""
    dead = [file.path for file in _spilled_by_the_dead(lake.spill)]
    every = sorted(path for path in lake.spill.rglob("*") if path.is_file())
    return dead, [path for path in every if path not in dead]


def _find(
    lake: Lake, catalog: Path, names: Iterable[str], grace_days: float
) -> tuple[list[tuple[str, Reason, _File]], list[_File]]:
    """What may go, with dataset and reason; and the superseded files that stay."""
    listed = {name: list(_walk(lake.table(name).path)) for name in names}
    catalogs = [file for path in leftover_catalogs(catalog) if (file := _stat(path)) is not None]
    began = oldest_writer(lake.root)  # after the listing, before the logs are read
    bar = math.inf if began is None else began - CLOCK_SECONDS
    found: list[tuple[str, Reason, _File]] = [("", "temporary", file) for file in catalogs if file.written_at < bar]
    found += [("", "temporary", file) for file in _spilled_by_the_dead(lake.spill)]
    origins = _origins(lake)
    kept = []
    for name, files in listed.items():
        if not files:
            continue
        known = _know(lake, name, origins.get(name, {}), grace_days, bar)
        for file in files:
            verdict = known.judge(file.path.relative_to(lake.table(name).path).as_posix(), file)
            if verdict == "kept":
                kept.append(file)
            elif verdict != "needed":
                found.append((name, verdict, file))
    return found, kept


def _require_whole(lake: Lake, names: Iterable[str]) -> None:
    for name in names:
        if any(not Path(path).exists() for path in lake.files(name)):
            # Looked at twice: what a redaction replaces goes at once, also between reading the log and looking.
            missing = [path for path in lake.files(name) if not Path(path).exists()]
            if missing:
                raise MissingFileError(name, missing)


def _know(lake: Lake, name: str, origins: Mapping[str, _Origin], grace_days: float, bar: float) -> _Knowledge:
    table = lake.table(name)
    delta = table.load()
    replaced: dict[int, set[str]] = {}
    if delta is not None:
        for hours in {0, math.ceil(grace_days * 24) if math.isfinite(grace_days) else 0}:
            found = delta.vacuum(retention_hours=hours, dry_run=True, enforce_retention_duration=False)
            replaced[hours] = set(found)
    return _Knowledge(
        current={Path(path).relative_to(table.path).as_posix() for path in table.files()},
        superseded=replaced.get(0, set()),
        expired=replaced[max(replaced)] if replaced and math.isfinite(grace_days) else set(),
        origins=origins,
        grace_days=grace_days,
        bar=bar,
    )


def _walk(folder: Path) -> Iterator[_File]:
    """A table's data files, and the half-written entries of its log."""
    for parent, folders, names in os.walk(folder):
        is_log = parent == str(folder / LOG)
        if is_log:
            folders.clear()
        for name in names:
            if _HALF_WRITTEN.fullmatch(name) if is_log else name.startswith("part-"):
                file = _stat(Path(parent) / name)
                if file is not None:
                    yield file


def _stat(path: Path) -> _File | None:
    try:
        status = path.stat()
    except FileNotFoundError:  # removed or moved into place meanwhile
        return None
    return _File(path, status.st_size, status.st_mtime)


def _origins(lake: Lake) -> dict[str, dict[str, _Origin]]:
    """By dataset and path relative to it: the commit that a file came with."""
    if not lake.files(COMMITS.name):
        return {}
    with lake.connect(_COMMITTED) as connection:
        rows = connection.execute(_COMMITTED).fetchall()
    found: dict[str, dict[str, _Origin]] = {}
    last: tuple[str, str] | None = None
    superseded_at: float | None = None
    hidden = (0, 0)
    for dataset, partition, committed_at, provenance, paths in rows:
        known = hides(json.loads(provenance))
        if last != (dataset, partition):  # the partition's newest commit comes first
            last, superseded_at, hidden = (dataset, partition), None, known
        for path in paths or ():
            # a file that was added to is in several commits; the newest of them says when it was replaced
            is_redacted = any(then < now for then, now in zip(known, hidden, strict=True))
            found.setdefault(dataset, {}).setdefault(path, _Origin(superseded_at, is_redacted))
        superseded_at = committed_at
    return found


def _spilled_by_the_dead(folder: Path) -> list[_File]:
    """Files of processes that are gone, in their folders too."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        name = _SPILLED.fullmatch(path.name)
        if name is None or _is_alive(int(name[1])):
            continue
        files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
        found += [file for each in files if (file := _stat(each)) is not None]
    return found


def _remove_folders_of_the_dead(folder: Path) -> None:
    """Remove their folders, once their files are gone."""
    for path in folder.iterdir() if folder.is_dir() else ():
        name = _SPILLED.fullmatch(path.name)
        if name is not None and path.is_dir() and not _is_alive(int(name[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _remove(path: Path) -> bool:
    """Whether it was there."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise NotRemovableError(path, error.strerror or str(error)) from error
    return True


def _shorten_log(lake: Lake, name: str) -> list[int]:
    """Drop the entries of a log that a checkpoint stands for, once they are old; bytes of each."""
    table = lake.table(name)
    delta = table.load()
    if delta is None:
        return []
    entries = {path: path.stat().st_size for path in (table.path / LOG).glob("*.json")}
    delta.cleanup_metadata()
    return [size for path, size in entries.items() if not path.exists()]
