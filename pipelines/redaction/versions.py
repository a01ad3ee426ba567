"""Old versions of comparisons: what redactions hide is cut out of their rows, in files that take the place of those that show it.

All rows stay, and all results: nothing is measured anew, and a version is of the same replays as before. Killed anywhere, the next run
finds the tables that still show something; a table whose commit landed and was not noted any more is known by a note of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.diff.result import input_hash_of
from pipelines.erasure.tables import (
    COMPARED,
    ROWS,
    TABLES,
    Partition,
    compared_as,
    copy_rows,
    files_of_versions,
    newest,
    open_file,
    pairs_of,
)
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import AB_SUMMARY, AB_UNITS, REPLAYS, VERSIONS
from pipelines.lake.housekeeping import remove_at_once
from pipelines.lake.lake import Lake
from pipelines.output import open_output
from pipelines.redaction.copies import Copies
from pipelines.redaction.hidden import Hidden

REDACTIONS = "redactions"
"""In provenance: how often something was cut out of a table. It only grows, so that files from before go at once."""
_BATCH = 2_048


@dataclass(slots=True)
class Cut:
    """What became of the versions.

    Attributes:
        versions: Versions in which something was cut out, as experiment/version_id.
        files: Files from before that went.
        size_bytes: Their bytes.
        left: Files that show what is hidden, or cannot be read, and could not go yet.
    """

    versions: list[str] = field(default_factory=list)
    files: int = 0
    size_bytes: int = 0
    left: list[Path] = field(default_factory=list)


def cut_versions(lake: Lake, catalog: Path, by_stream: Mapping[str, Hidden], everywhere: Hidden, note: Path) -> Cut:
    """Cut out of all versions what is hidden of their conversations. Again, it finds nothing to do.

    Args:
        lake: Where they are.
        catalog: `lake.duckdb`.
        by_stream: What is hidden, by stream.
        everywhere: What is hidden in whatever conversation.
        note: A file for what is being written.

    Raises:
        CommitLostError: Somebody wrote a version meanwhile.
        DiskFullError: There is no space; what is done stays, and the rest is found by the next run.
    """
    done = Cut()
    unread: set[Path] = set()
    dirty: dict[str, list[Path]] = {}
    for partition, files in files_of_versions(lake):
        opened = {
            name: [(path, file) for path in paths if (file := open_file(path, unread)) is not None]
            for name, paths in files.items()
        }
        copies = _copies_of(opened, by_stream, everywhere)
        shown = {} if copies is None else _showing(opened, copies)
        due = {dataset.name for dataset in TABLES if _is_current(lake, dataset, partition, shown.get(dataset.name, ()))}
        due |= set(_not_noted(lake, partition, note))
        for dataset in (*ROWS, *(each for each in TABLES if each not in ROWS)):
            if dataset.name in due or (dataset is AB_SUMMARY and _is_of_before(lake, partition)):
                _cut_table(lake, dataset, partition, copies or Copies({}, everywhere), note)
                due.add(dataset.name)
        if due:
            done.versions.append("/".join(partition.values()))
        for name, paths in shown.items():
            dirty.setdefault(name, []).extend(paths)
    _remove(lake, catalog, dirty, done)
    done.left = sorted({*done.left, *unread})
    return done


def _copies_of(opened: Mapping[str, Any], by_stream: Mapping[str, Hidden], everywhere: Hidden) -> Copies | None:
    """What is hidden of the conversations of a version; None for nothing."""
    found: dict[str, Hidden] = {}
    for name in (VERSIONS.name, AB_UNITS.name, REPLAYS.name):
        for _, file in opened.get(name, ()):
            for stream, recorded in pairs_of(file):
                for each in (stream, recorded):
                    if each is not None and each in by_stream:
                        found[stream] = found.get(stream, Hidden()) | by_stream[each]
    return Copies(found, everywhere) if found or everywhere.values else None


def _showing(opened: Mapping[str, list[tuple[Path, pq.ParquetFile]]], copies: Copies) -> dict[str, list[Path]]:
    """The files in which something that is hidden stands, by dataset."""
    found = {
        dataset.name: [path for path, file in opened.get(dataset.name, ()) if _shows(file, dataset, copies)]
        for dataset in TABLES
    }
    return {name: paths for name, paths in found.items() if paths}


def _shows(file: pq.ParquetFile, dataset: Dataset, copies: Copies) -> bool:
    batches = (pa.Table.from_batches([batch]) for batch in file.iter_batches(_BATCH))
    return any(copies.change(dataset, rows) is not rows for rows in batches)


def _is_current(lake: Lake, dataset: Dataset, partition: Partition, paths: Any) -> bool:
    current = frozenset(lake.files(dataset.name, partition)) if paths else frozenset()
    return any(str(path) in current for path in paths)


def _is_of_before(lake: Lake, partition: Partition) -> bool:
    """Whether a summary is of the replays as they were before something was cut out of these."""
    summary, replays = newest(lake, AB_SUMMARY, partition), newest(lake, REPLAYS, partition)
    if summary is None or replays is None or not summary.row_count or not replays.provenance.get(REDACTIONS):
        return False
    then = replays.provenance.get(COMPARED)
    return (
        then != replays.number
        and then is not None
        and summary.input_hash == input_hash_of(partition["version_id"], then)
    )


def _cut_table(lake: Lake, dataset: Dataset, partition: Partition, copies: Copies, note: Path) -> None:
    """Write a version's table without what is hidden; it says of itself what it said before."""
    last = newest(lake, dataset, partition)
    number = lake.table(dataset.name).number(partition) + 1
    provenance = {} if last is None else dict(last.provenance)
    provenance[REDACTIONS] = int(provenance.get(REDACTIONS, 0)) + 1
    input_hash = "" if last is None else last.input_hash
    if dataset is REPLAYS and last is not None:
        provenance[COMPARED] = compared_as(lake, partition, last)
    if dataset is AB_SUMMARY and last is not None:
        replays = newest(lake, REPLAYS, partition)
        if replays is not None and _is_of_before(lake, partition):
            input_hash = input_hash_of(partition["version_id"], replays.number)
    _begin(note, dataset, partition, number)
    with lake.replacing(dataset, partition, number=number) as writer:
        copy_rows(lake.files(dataset.name, partition), dataset, partial(copies.change, dataset), writer)
        writer.commit(input_hash=input_hash, provenance=provenance)
    note.unlink(missing_ok=True)


def _begin(note: Path, dataset: Dataset, partition: Partition, number: int) -> None:
    note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_output(note, is_private=True) as file:
        file.write(json.dumps({"dataset": dataset.name, **partition, "number": number}).encode())


def _not_noted(lake: Lake, partition: Partition, note: Path) -> Iterator[str]:
    """The table of a version whose commit landed, and whose process ended before it was noted."""
    with suppress(OSError, ValueError, KeyError):
        said = json.loads(note.read_text(encoding="utf-8"))
        name, number = said["dataset"], said["number"]
        if all(said[column] == value for column, value in partition.items()):
            last = newest(lake, next(dataset for dataset in TABLES if dataset.name == name), partition)
            if lake.table(name).number(partition) == number and (last is None or last.number < number):
                yield name


def _remove(lake: Lake, catalog: Path, dirty: Mapping[str, list[Path]], done: Cut) -> None:
    """Remove the files that showed something and are no table's any more."""
    if not dirty:
        return
    sizes = {path: path.stat().st_size for paths in dirty.values() for path in paths if path.exists()}
    gone, done.left = remove_at_once(lake, catalog, dirty)
    done.files, done.size_bytes = len(gone), sum(sizes.get(path, 0) for path in gone)
