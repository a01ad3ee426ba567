"""Old versions of comparisons: the rows of what was erased are dropped, and the result is revised.

A version is reached by the ids of its streams, never by a value. All unit pairs of a conversation go of which anything was erased,
or of whose paired recording: each row holds facts of the whole conversation (its outcome, segments and cluster), and what B said may
repeat anything said before. What the plan knows of such a conversation beside its id, heads and times goes from `versions`.

The order is such that a process that is killed anywhere leaves a version that is found again: the plan first, which then names the
conversations and closes the version; the rows, each table with how many it lost; the replays before the summary, so that nobody
compares them again; the summary, which counts the same pairs as the table of pairs when it is done; at last the files from before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.diff.result import input_hash_of
from pipelines.diff.revise import revise_summary
from pipelines.diff.revised import find_revision
from pipelines.duck import quote_literal
from pipelines.erasure.reach import Reach
from pipelines.experiment.closed import erased_of, is_closed, marked
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import AB_SUMMARY, AB_TOOL_CALLS, AB_UNITS, REPLAY_STEPS, REPLAYS, VERSIONS
from pipelines.lake.housekeeping import remove_at_once
from pipelines.lake.lake import Commit, Lake
from pipelines.lake.partition import PartitionWriter
from pipelines.replay.disclosure import describe_answers

ROWS = (AB_TOOL_CALLS, REPLAY_STEPS, AB_UNITS, REPLAYS)
"""Tables with a row for what was done in a conversation, in the order in which they lose theirs."""
_TABLES = (VERSIONS, *ROWS, AB_SUMMARY)
_SEGMENTS = ("source", "agent", "vertical", "channel", "task", "variant")
"""What a plan knows of a conversation from its events' content."""
_GONE, _COMPARED = "erased_streams", "compared_as"
"""In provenance: conversations whose rows went; the number of the replays that the summary is of, while it is not revised yet."""
_FAILURES = "SELECT reason, count(*) FROM left_replays WHERE status = 'failed' GROUP BY 1 ORDER BY 1"
_NOT_ASKED = "SELECT count(*) FROM left_replays WHERE status = 'not_asked'"
_BATCH = 2_048

Partition = dict[str, str]


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
    versions: dict[tuple[str, str], dict[str, list[Path]]] = {}
    for dataset in _TABLES:
        for path in sorted(lake.table(dataset.name).path.glob("experiment=*/version_id=*/part-*.parquet")):
            experiment, version_id = (part.partition("=")[2] for part in path.parent.parts[-2:])
            versions.setdefault((experiment, version_id), {}).setdefault(dataset.name, []).append(path)
    found = []
    for (experiment, version_id), files in sorted(versions.items()):
        touched = _look(lake, {"experiment": experiment, "version_id": version_id}, files, reach)
        if touched is not None:
            found.append(touched)
    return found


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
        summary = _newest(lake, AB_SUMMARY, touched.partition)
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
    commits = [commit for dataset in _TABLES if (commit := _newest(lake, dataset, partition)) is not None]
    touched = Touched(partition, reach.since(min((commit.committed_at for commit in commits), default=None)))
    opened = {
        name: [(path, file) for path in paths if (file := _open(path, touched)) is not None]
        for name, paths in files.items()
    }
    for name in (VERSIONS.name, AB_UNITS.name, REPLAYS.name):
        for _, file in opened.get(name, ()):
            touched.gone |= _gone_by(file, touched.streams)
    if not touched.gone and not _is_unrevised(lake, partition):
        return None
    plan = _newest(lake, VERSIONS, partition)
    touched.gone |= set((plan.provenance.get(_GONE) if plan is not None else None) or ())
    for dataset in ROWS:
        found = [path for path, file in opened.get(dataset.name, ()) if _has_rows_of(file, touched.gone)]
        touched.dirty |= {dataset.name: found} if found else {}
    plans = [
        path
        for path, file in opened.get(VERSIONS.name, ())
        if any(_is_told(stream, touched.streams) for stream in _list_of(file, "streams"))
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
    plan = _newest(lake, VERSIONS, partition)
    known = set((plan.provenance.get(_GONE) if plan is not None else None) or ())
    if plan is not None and plan.row_count and (VERSIONS.name in due or (due and not touched.gone <= known)):
        _blank_plan(lake, touched, plan, erasure)
    for dataset in ROWS:
        if dataset.name in due:
            _drop(lake, dataset, touched, erasure)
    if _is_unrevised(lake, partition):
        before, pairs = _newest(lake, AB_SUMMARY, partition), _newest(lake, AB_UNITS, partition)
        replays = _newest(lake, REPLAYS, partition)
        assert before is not None
        revise_summary(
            lake,
            partition,
            before,
            erased_of(pairs),
            gone=touched.gone,
            replay=None if replays is None else (replays.number, replays.provenance.get(_COMPARED)),
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
    last = _newest(lake, dataset, partition)
    number = lake.table(dataset.name).number(partition)
    files = lake.files(dataset.name, partition)
    with lake.replacing(dataset, partition, number=number + 1) as writer:
        before, left = _copy_rows(files, dataset, touched.gone, writer)
        erasures = erased_of(last)
        dropped = (before if last is None else last.row_count) - left
        erasures[erasure] = erasures.get(erasure, 0) + max(dropped, 0)
        provenance = marked({} if last is None else last.provenance, erasures)
        if dataset is REPLAYS and last is not None:
            provenance |= _told_of_replays(lake, touched, last)
        writer.commit(input_hash="" if last is None else last.input_hash, provenance=provenance)


def _copy_rows(files: list[str], dataset: Dataset, gone: set[str], writer: PartitionWriter) -> tuple[int, int]:
    """Write the rows of files that are not gone, in their order; how many there were, and how many there are."""
    before = left = 0
    ids = pa.array(sorted(gone), pa.string())
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                rows = pa.Table.from_batches([batch])
                kept = rows.filter(pc.invert(pc.is_in(rows.column("aggregate_id"), ids)))
                before, left = before + rows.num_rows, left + kept.num_rows
                for field_ in dataset.data_schema():  # a file of before a column was added has it not
                    if field_.name not in kept.schema.names:
                        kept = kept.append_column(field_, pa.nulls(kept.num_rows, field_.type))
                writer.write(kept)
    return before, left


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
        _COMPARED: _compared_as(lake, partition, last),
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


def _compared_as(lake: Lake, partition: Partition, last: Commit) -> int | None:
    """The number of the replays that the summary is of, if it is of the newest; else None, and it stays of what it was."""
    summary = _newest(lake, AB_SUMMARY, partition)
    if summary is None:
        return None
    version_id = partition["version_id"]
    numbers = (last.number, last.provenance.get(_COMPARED))
    return next(
        (each for each in numbers if each is not None and summary.input_hash == input_hash_of(version_id, each)), None
    )


def _newest(lake: Lake, dataset: Dataset, partition: Partition) -> Commit | None:
    """The newest commit of a version's table that is noted, whether or not one was made since whose note is lost."""
    path = dataset.partition_path(partition)
    return next((commit for commit in lake.commits(dataset.name) if commit.partition == path), None)


def _lost(lake: Lake, partition: Partition) -> list[str]:
    """Tables of a closed version whose last commit is not noted: its process was killed."""
    if not any(is_closed(_newest(lake, dataset, partition)) for dataset in (VERSIONS, *ROWS)):
        return []
    return [
        dataset.name
        for dataset in ROWS
        if (last := _newest(lake, dataset, partition)) is not None
        and last.number != lake.table(dataset.name).number(partition)
    ]


def _is_unrevised(lake: Lake, partition: Partition) -> bool:
    """Whether pairs of a version were erased of which its summary does not know."""
    summary = _newest(lake, AB_SUMMARY, partition)
    if summary is None or not summary.row_count:
        return False
    return erased_of(summary) != erased_of(_newest(lake, AB_UNITS, partition))


def _dropped(lake: Lake, partition: Partition) -> dict[str, int]:
    """Rows that erasures dropped from each table of a version, so far."""
    return {dataset.name: sum(erased_of(_newest(lake, dataset, partition)).values()) for dataset in ROWS}


def _is_current(lake: Lake, partition: Partition, name: str) -> Any:
    current = frozenset(lake.files(name, partition))
    return lambda path: str(path) in current


def _open(path: Path, touched: Touched) -> pq.ParquetFile | None:
    """A file, if it is there and whole; one that is not whole is noted."""
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:  # removed since it was listed
        return None
    except (OSError, pa.ArrowException):
        touched.unread.add(path)
        return None


def _gone_by(file: pq.ParquetFile, streams: Collection[str]) -> set[str]:
    """Conversations of side A in a file of a plan, of pairs or of replays, of which, or of whose recorded run, something is erased."""
    if "streams" in file.schema_arrow.names:
        listed: Iterator[Mapping[str, Any]] = iter([*_list_of(file, "streams"), *_list_of(file, "runs")])
        pairs = ((each["aggregate_id"], each["recorded_aggregate_id"]) for each in listed)
        return {stream for stream, recorded in pairs if stream in streams or recorded in streams}
    ids = pa.array(sorted(streams), pa.string())
    rows = file.read(columns=["aggregate_id", "recorded_aggregate_id"])
    is_gone = pc.or_(pc.is_in(rows.column(0), ids), pc.is_in(rows.column(1), ids))
    return {str(stream) for stream in rows.column(0).filter(is_gone).unique().to_pylist()}


def _has_rows_of(file: pq.ParquetFile, gone: Collection[str]) -> bool:
    ids = file.read(columns=["aggregate_id"]).column(0)
    return bool(pc.any(pc.is_in(ids, pa.array(sorted(gone), pa.string()))).as_py())


def _list_of(file: pq.ParquetFile, name: str) -> list[dict[str, Any]]:
    """The members of a list in a plan's one row."""
    if name not in file.schema_arrow.names:
        return []
    return [member for row in file.read(columns=[name]).column(0).to_pylist() for member in row or ()]


def _is_told(stream: Mapping[str, Any], streams: Collection[str]) -> bool:
    """Whether a plan knows more of an erased conversation than where it was."""
    return stream["aggregate_id"] in streams and stream != _blanked(stream)


def _blanked(stream: Mapping[str, Any]) -> dict[str, Any]:
    return {**stream, **dict.fromkeys(_SEGMENTS), "cluster": stream["aggregate_id"]}
