"""The tables of comparisons' versions: their files, rows and commits, as erasing and redacting find them and write them anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.diff.result import input_hash_of
from pipelines.lake.dataset import Dataset, read_folder
from pipelines.lake.datasets import (
    AB_SUMMARY,
    AB_TOOL_CALLS,
    AB_UNITS,
    JUDGEMENTS,
    REPLAY_STEPS,
    REPLAYS,
    REVIEW_SUMMARY,
    VERSIONS,
)
from pipelines.lake.lake import Commit, Lake
from pipelines.lake.partition import PartitionWriter

ROWS = (AB_TOOL_CALLS, REPLAY_STEPS, AB_UNITS, REPLAYS)
"""Tables with a row for what was done in a conversation, in the order in which they are written anew."""
TABLES = (VERSIONS, *ROWS, AB_SUMMARY, REVIEW_SUMMARY, JUDGEMENTS)
COMPARED = "compared_as"
"""In the provenance of replays: their number when the summary was made of them."""
_BATCH = 2_048

Partition = dict[str, str]


def files_of_versions(lake: Lake) -> Iterator[tuple[Partition, dict[str, list[Path]]]]:
    """Each version, and by dataset every file of it on the disk, current or not; by experiment and version."""
    versions: dict[tuple[str, str], dict[str, list[Path]]] = {}
    for dataset in TABLES:
        for path in sorted(lake.table(dataset.name).path.glob("experiment=*/version_id=*/part-*.parquet")):
            experiment, version_id = map(read_folder, path.parent.parts[-2:])
            versions.setdefault((experiment, version_id), {}).setdefault(dataset.name, []).append(path)
    for (experiment, version_id), files in sorted(versions.items()):
        yield {"experiment": experiment, "version_id": version_id}, files


def newest(lake: Lake, dataset: Dataset, partition: Partition) -> Commit | None:
    """The newest commit of a version's table that is noted, whether or not one was made since whose note is lost."""
    path = dataset.partition_path(partition)
    return next((commit for commit in lake.commits(dataset.name) if commit.partition == path), None)


def compared_as(lake: Lake, partition: Partition, last: Commit) -> int | None:
    """The number of the replays that the summary is of, if it is of the newest; else None, and it stays of what it was."""
    summary = newest(lake, AB_SUMMARY, partition)
    if summary is None:
        return None
    version_id = partition["version_id"]
    numbers = (last.number, last.provenance.get(COMPARED))
    return next(
        (each for each in numbers if each is not None and summary.input_hash == input_hash_of(version_id, each)), None
    )


def open_file(path: Path, unread: set[Path]) -> pq.ParquetFile | None:
    """A file, if it is there and whole; one that is not whole is added to `unread`."""
    try:
        return pq.ParquetFile(path)
    except FileNotFoundError:  # removed since it was listed
        return None
    except (OSError, pa.ArrowException):
        unread.add(path)
        return None


def list_of(file: pq.ParquetFile, name: str) -> list[dict[str, Any]]:
    """The members of a list in a plan's one row."""
    if name not in file.schema_arrow.names:
        return []
    return [member for row in file.read(columns=[name]).column(0).to_pylist() for member in row or ()]


def pairs_of(file: pq.ParquetFile) -> set[tuple[str, str | None]]:
    """Conversations of side A in a file of a plan, of pairs or of replays, each with the recorded run that it is paired with, if any."""
    if "streams" in file.schema_arrow.names:
        listed = [*list_of(file, "streams"), *list_of(file, "runs")]
        return {(each["aggregate_id"], each["recorded_aggregate_id"]) for each in listed}
    rows = file.read(columns=["aggregate_id", "recorded_aggregate_id"])
    return set(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def copy_rows(
    files: list[str], dataset: Dataset, change: Callable[[pa.Table], pa.Table], writer: PartitionWriter
) -> tuple[int, int]:
    """Write the rows of files as `change` leaves them, in their order; how many there were, and how many there are."""
    before = left = 0
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH):
                rows = pa.Table.from_batches([batch])
                kept = change(rows)
                before, left = before + rows.num_rows, left + kept.num_rows
                for field_ in dataset.data_schema():  # a file of before a column was added has it not
                    if field_.name not in kept.schema.names:
                        kept = kept.append_column(field_, pa.nulls(kept.num_rows, field_.type))
                writer.write(kept)
    return before, left
