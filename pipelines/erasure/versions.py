"""Old versions of comparisons: the rows of what was erased are dropped, and the result is revised.

A version is reached by the ids of its streams, never by a value. All unit pairs of a conversation go of which anything was erased,
or of whose paired recording: each row holds facts of the whole conversation (its outcome, segments and cluster), and what B said may
repeat anything said before. What the plan knows of such a conversation beside its id, heads and times goes from `versions`.

The order is such that a process that is killed anywhere leaves a version that is found again: the plan first, which then names the
conversations and closes the version; the rows, each table with how many it lost; the replays before the summary, so that nobody
compares them again; the summary, which counts the same pairs as the table of pairs when it is done; at last the files from before.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.diff.revise import revise_summary
from pipelines.diff.revised import find_revision
from pipelines.duck import quote_literal
from pipelines.erasure.reach import Reach
from pipelines.erasure.tables import (
    COMPARED,
    ROWS,
    TABLES,
    Partition,
    compared_as,
    copy_rows,
    files_of_versions,
    list_of,
    newest,
    open_file,
    pairs_of,
)
from pipelines.experiment.closed import erased_of, is_closed, marked
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import AB_SUMMARY, AB_UNITS, REPLAY_STEPS, REPLAYS, VERSIONS
from pipelines.lake.housekeeping import remove_at_once
from pipelines.lake.lake import Commit, Lake
from pipelines.replay.disclosure import describe_answers

_SEGMENTS = ("source", "agent", "vertical", "channel", "task", "variant")
"""What a plan knows of a conversation from its events' content."""
_GONE = "erased_streams"
"""In the provenance of a plan: conversations whose rows went."""
_FAILURES = "SELECT reason, count(*) FROM left_replays WHERE status = 'failed' GROUP BY 1 ORDER BY 1"
_NOT_ASKED = "SELECT count(*) FROM left_replays WHERE status = 'not_asked'"


@dataclass(slots=True)
class Touched:
    """A version that an erasure touches.

    Attributes:
        partition: Its `experiment` and `version_id`.
        streams: The erasure's streams of which it may hold something.
        gone: Conversations, by side A's stream, whose rows go.
        dirty: Files on the disk with such rows, or with what a plan knows of an erased stream, by dataset; current or not.
        unread: Files that cannot be read: half-written, or damaged.
    """

    partition: Partition
    streams: frozenset[str]
    gone: set[str] = field(default_factory=set)
    dirty: dict[str, list[Path]] = field(default_factory=dict)
    unread: set[Path] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Revised:
    """What became of the versions.

    Attributes:
        versions: Versions that were revised, as experiment/version_id.
        units: Unit pairs that went.
        rows: Rows of all tables that went.
        not_recomputed: Versions of which figures are of before, and why.
        files: Files from before that went.
        size_bytes: Their bytes.
        left: Files that hold what was erased, or cannot be read, and could not go yet.
    """

    versions: list[str]
    units: int
    rows: int
    not_recomputed: list[tuple[str, str]]
    files: int
    size_bytes: int
    left: list[Path]


def find_touched(lake: Lake, reach: Reach) -> list[Touched]:
    """The versions that hold, or held, anything of streams, and those whose summary is not revised yet; by experiment and version."""
    looked = (_look(lake, partition, files, reach) for partition, files in files_of_versions(lake))
    return [touched for touched in looked if touched is not None]


def is_unfinished(lake: Lake, touched: Touched) -> bool:
    """Whether anything of a version is left to do."""
    return bool(touched.dirty) or _is_unrevised(lake, touched.partition) or _lost(lake, touched.partition) != []


def revise_versions(lake: Lake, catalog: Path, reach: Reach, erasure: str) -> Revised:
    """Drop what versions hold of streams and revise their results. Again, it finds nothing to do.

    Args:
        lake: Where they are.
        catalog: `lake.duckdb`.
        reach: The erasure's streams.
        erasure: Its id.

    Raises:
        CommitLostError: Somebody wrote a version meanwhile.
        DiskFullError: There is no space; what is done stays, and the rest is found by the next run.
    """
    versions: list[str] = []
    not_recomputed: list[tuple[str, str]] = []
    units = rows = 0
    for touched in find_touched(lake, reach):
        if not is_unfinished(lake, touched):
            continue
        before = _dropped(lake, touched.partition)
        _revise(lake, touched, erasure)
        after = _dropped(lake, touched.partition)
        if after == before:
            continue
        versions.append("/".join(touched.partition.values()))
        units += after[AB_UNITS.name] - before[AB_UNITS.name]
        rows += sum(after.values()) - sum(before.values())
        summary = newest(lake, AB_SUMMARY, touched.partition)
        revision = None if summary is None else find_revision(summary.provenance)
        if revision is not None and revision.why is not None:
            not_recomputed.append((versions[-1], revision.why))
    files, size, left = _remove_from_before(lake, catalog, reach)
    return Revised(versions, units, rows, not_recomputed, files, size, left)


def _remove_from_before(lake: Lake, catalog: Path, reach: Reach) -> tuple[int, int, list[Path]]:
    """Remove the files that no version has any more and that hold what was erased: how many, their bytes, and which stay."""
    dirty: dict[str, list[Path]] = {}
    unread: set[Path] = set()
    for touched in find_touched(lake, reach):
        unread |= touched.unread
        for name, paths in touched.dirty.items():
            dirty.setdefault(name, []).extend(paths)
    if not dirty:
        return 0, 0, sorted(unread)
    sizes = {path: path.stat().st_size for paths in dirty.values() for path in paths if path.exists()}
    gone, left = remove_at_once(lake, catalog, dirty)
    return len(gone), sum(sizes.get(path, 0) for path in gone), sorted({*left, *unread})


def _look(lake: Lake, partition: Partition, files: Mapping[str, list[Path]], reach: Reach) -> Touched | None:
    """What a version's files have to do with an erasure; None for nothing."""
    commits = [commit for dataset in TABLES if (commit := newest(lake, dataset, partition)) is not None]
    touched = Touched(partition, reach.since(min((commit.committed_at for commit in commits), default=None)))
    opened = {
        name: [(path, file) for path in paths if (file := open_file(path, touched.unread)) is not None]
        for name, paths in files.items()
    }
    for name in (VERSIONS.name, AB_UNITS.name, REPLAYS.name):
        for _, file in opened.get(name, ()):
            touched.gone |= _gone_by(file, touched.streams)
    if not touched.gone and not _is_unrevised(lake, partition):
        return None
    plan = newest(lake, VERSIONS, partition)
    touched.gone |= set((plan.provenance.get(_GONE) if plan is not None else None) or ())
    for dataset in ROWS:
        found = [path for path, file in opened.get(dataset.name, ()) if _has_rows_of(file, touched.gone)]
        touched.dirty |= {dataset.name: found} if found else {}
    plans = [
        path
        for path, file in opened.get(VERSIONS.name, ())
        if any(_is_told(stream, touched.streams) for stream in list_of(file, "streams"))
    ]
    touched.dirty |= {VERSIONS.name: plans} if plans else {}
    # what a summary said before is of everybody's rows
    current = lake.files(AB_SUMMARY.name, partition)
    before = [path for path in files.get(AB_SUMMARY.name, ()) if str(path) not in current]
    touched.dirty |= {AB_SUMMARY.name: before} if before else {}
    return touched


def _revise(lake: Lake, touched: Touched, erasure: str) -> None:
    """Bring one version to the state after an erasure, from wherever a run before ended."""
    partition = touched.partition
    due = {name for name, paths in touched.dirty.items() if any(map(_is_current(lake, partition, name), paths))}
    due |= set(_lost(lake, partition))
    plan = newest(lake, VERSIONS, partition)
    known = set((plan.provenance.get(_GONE) if plan is not None else None) or ())
    if plan is not None and plan.row_count and (VERSIONS.name in due or (due and not touched.gone <= known)):
        _blank_plan(lake, touched, plan, erasure)
    for dataset in ROWS:
        if dataset.name in due:
            _drop(lake, dataset, touched, erasure)
    if _is_unrevised(lake, partition):
        before, pairs = newest(lake, AB_SUMMARY, partition), newest(lake, AB_UNITS, partition)
        replays = newest(lake, REPLAYS, partition)
        assert before is not None
        revise_summary(
            lake,
            partition,
            before,
            erased_of(pairs),
            gone=touched.gone,
            replay=None if replays is None else (replays.number, replays.provenance.get(COMPARED)),
            has_units=pairs is not None and pairs.row_count > 0,
        )


def _blank_plan(lake: Lake, touched: Touched, plan: Commit, erasure: str) -> None:
    """Take from a plan what it knows of erased conversations, and note which they are: nothing goes on with it."""
    (path,) = lake.files(VERSIONS.name, touched.partition)
    row = pq.ParquetFile(path).read()
    place = row.schema.get_field_index("streams")
    streams = [
        _blanked(stream) if stream["aggregate_id"] in touched.streams else stream
        for stream in row["streams"][0].as_py()
    ]
    row = row.set_column(place, row.schema.field(place), pa.array([streams], row.schema.field(place).type))
    erasures = erased_of(plan)
    gone = sorted(touched.gone | set(plan.provenance.get(_GONE) or ()))
    erasures[erasure] = erasures.get(erasure, 0) + len(gone) - len(plan.provenance.get(_GONE) or ())
    number = lake.table(VERSIONS.name).number(touched.partition) + 1
    with lake.replacing(VERSIONS, touched.partition, number=number) as writer:
        writer.write(row)
        writer.commit(input_hash=plan.input_hash, provenance={**marked(plan.provenance, erasures), _GONE: gone})


def _drop(lake: Lake, dataset: Dataset, touched: Touched, erasure: str) -> None:
    """Write a version's table without the rows of what is gone. Of a run that was killed before it noted what it did, that is noted."""
    partition = touched.partition
    last = newest(lake, dataset, partition)
    number = lake.table(dataset.name).number(partition)
    files = lake.files(dataset.name, partition)
    with lake.replacing(dataset, partition, number=number + 1) as writer:
        before, left = copy_rows(files, dataset, partial(_without, pa.array(sorted(touched.gone), pa.string())), writer)
        erasures = erased_of(last)
        dropped = (before if last is None else last.row_count) - left
        erasures[erasure] = erasures.get(erasure, 0) + max(dropped, 0)
        provenance = marked({} if last is None else last.provenance, erasures)
        if dataset is REPLAYS and last is not None:
            provenance |= _told_of_replays(lake, touched, last)
        writer.commit(input_hash="" if last is None else last.input_hash, provenance=provenance)


def _without(gone: pa.Array[Any], rows: pa.Table) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows.column("aggregate_id"), gone)))


def _told_of_replays(lake: Lake, touched: Touched, last: Commit) -> dict[str, Any]:
    """What the commit of replays says of those that are left. What was asked and paid stays as it was: that was so."""
    partition = touched.partition
    steps = lake.files(REPLAY_STEPS.name, partition)
    told: dict[str, Any] = {
        "first_failures": [
            [reason, unit, detail]
            for reason, unit, detail in last.provenance.get("first_failures", ())
            if unit.partition("/")[0] not in touched.gone
        ],
        COMPARED: compared_as(lake, partition, last),
    }
    with lake.connect("FROM replays_history, replay_steps_history") as connection:
        names = {name: quote_literal(value) for name, value in partition.items()}
        gone = ", ".join(map(quote_literal, sorted(touched.gone))) or "NULL"
        for dataset in (REPLAYS, REPLAY_STEPS):
            connection.execute(
                f"CREATE TEMP VIEW left_{dataset.name} AS SELECT * FROM {dataset.relation} WHERE experiment = "
                f"{names['experiment']} AND version_id = {names['version_id']} AND coalesce(aggregate_id NOT IN ({gone}), true)"
            )
        told["failures"] = dict(connection.sql(_FAILURES).fetchall())
        told["not_asked"] = connection.sql(_NOT_ASKED).fetchall()[0][0]
        if last.provenance.get("answers"):
            told["answers"] = describe_answers(connection, f"left_{(REPLAY_STEPS if steps else REPLAYS).name}")
    return told


def _lost(lake: Lake, partition: Partition) -> list[str]:
    """Tables of a closed version whose last commit is not noted: its process was killed."""
    if not any(is_closed(newest(lake, dataset, partition)) for dataset in (VERSIONS, *ROWS)):
        return []
    return [
        dataset.name
        for dataset in ROWS
        if (last := newest(lake, dataset, partition)) is not None
        and last.number != lake.table(dataset.name).number(partition)
    ]


def _is_unrevised(lake: Lake, partition: Partition) -> bool:
    """Whether pairs of a version were erased of which its summary does not know."""
    summary = newest(lake, AB_SUMMARY, partition)
    if summary is None or not summary.row_count:
        return False
    return erased_of(summary) != erased_of(newest(lake, AB_UNITS, partition))


def _dropped(lake: Lake, partition: Partition) -> dict[str, int]:
    """Rows that erasures dropped from each table of a version, so far."""
    return {dataset.name: sum(erased_of(newest(lake, dataset, partition)).values()) for dataset in ROWS}


def _is_current(lake: Lake, partition: Partition, name: str) -> Any:
    current = frozenset(lake.files(name, partition))
    return lambda path: str(path) in current


def _gone_by(file: pq.ParquetFile, streams: Collection[str]) -> set[str]:
    """Conversations of side A in a file of a plan, of pairs or of replays, of which, or of whose recorded run, something is erased."""
    return {stream for stream, recorded in pairs_of(file) if stream in streams or recorded in streams}


def _has_rows_of(file: pq.ParquetFile, gone: Collection[str]) -> bool:
    ids = file.read(columns=["aggregate_id"]).column(0)
    return bool(pc.any(pc.is_in(ids, pa.array(sorted(gone), pa.string()))).as_py())


def _is_told(stream: Mapping[str, Any], streams: Collection[str]) -> bool:
    """Whether a plan knows more of an erased conversation than where it was."""
    return stream["aggregate_id"] in streams and stream != _blanked(stream)


def _blanked(stream: Mapping[str, Any]) -> dict[str, Any]:
    return {**stream, **dict.fromkeys(_SEGMENTS), "cluster": stream["aggregate_id"]}
