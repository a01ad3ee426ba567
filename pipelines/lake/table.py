"""One Delta table: which files are current, and how a partition is replaced.

The commit protocol. Every commit of a partition carries the Delta app transaction `refold.<dataset>.<partition>` with a
number one above the last. Two writers of the same partition therefore cannot both commit; Delta's own conflict check
finds the overlap, and the loser's number is taken. A resend of an older number would not be refused by Delta itself, so
the number is compared with the table's before every attempt. What landed although an error came back is found by its
token (see `pipelines.lake.delta`); files that were offered to a commit are removed by `vacuum` alone.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from pipelines.duck import quote_identifier, quote_literal, scratch
from pipelines.lake.dataset import Dataset
from pipelines.lake.delta import Attempt, making, open_table
from pipelines.lake.errors import CommitLostError

__all__ = ["DataFile", "Table"]

_WIDENED = "refold.widened"
"""Property of a table whose older files lack columns that were added later."""
_ATTEMPTS = 20
"""Commits of other partitions can win this often in a row before giving up; each retry reloads the table."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """One Parquet file of a table: path relative to the table, SHA-256 (hex), bytes and rows.

    `stats` are Delta's, for its commit; empty when the file is read back from `commits`.
    """

    path: str
    sha256: str
    size_bytes: int
    row_count: int
    stats: str = ""


class Table:
    """A dataset's Delta table under a lake's root. Cheap to make; the log is read when something is asked."""

    def __init__(self, root: Path, dataset: Dataset) -> None:
        self.dataset = dataset
        self.path = root / dataset.name
        self._delta: DeltaTable | None = None

    def load(self) -> DeltaTable | None:
        """The table at its newest version, or None while it does not exist."""
        if self._delta is None:
            self._delta = open_table(self.path)
        else:
            self._delta.update_incremental()
        return self._delta

    def create(self) -> DeltaTable:
        """The table, made if it does not exist; two makers at once get the same one.

        Raises:
            CommitLostError: Something else made entries in its log again and again.
        """
        delta = self.load()
        for _ in range(_ATTEMPTS if delta is None else 0):
            self._make()
            delta = self.load()
            if delta is not None:
                break
        if delta is None:
            raise CommitLostError(self.dataset.name, "", 0)
        if not self.has_all_columns:
            self._widen(delta)
            delta = self.load()
            assert delta is not None
        return delta

    def _make(self) -> None:
        """Try to make the table once."""
        with making(self.path) as is_new:
            made = Attempt(self.path, -1)
            if is_new:
                made.run(
                    lambda: DeltaTable.create(
                        str(self.path),
                        self.dataset.arrow_schema(),
                        mode="ignore",
                        partition_by=list(self.dataset.partition_by) or None,
                        name=self.dataset.name,
                        description=self.dataset.grain,
                        commit_properties=made.properties(),
                    )
                )

    @property
    def has_all_columns(self) -> bool:
        """Whether every column of the dataset was there when the table was made: then every file has all of them."""
        delta = self.load()
        if delta is None:
            return True
        is_widened = _WIDENED in delta.metadata().configuration
        return not is_widened and {field.name for field in delta.schema().fields} >= set(self.dataset.column_names)

    def _widen(self, delta: DeltaTable) -> None:
        """Add the columns that the dataset has and the table has not; they are null in the files that are there.

        Should it not be possible, the commit that follows says what is wrong.
        """
        for _ in range(_ATTEMPTS):
            known = {field.name for field in delta.schema().fields}
            missing = pa.schema([field for field in self.dataset.arrow_schema() if field.name not in known])
            if not missing.names:
                break
            with suppress(DeltaError):
                if _WIDENED in delta.metadata().configuration:
                    fields = list(DeltaSchema.from_arrow(missing).fields)
                    change = partial(delta.alter.add_columns, fields)
                else:
                    mark = {_WIDENED: "true"}
                    change = partial(delta.alter.set_table_properties, mark, raise_if_not_exists=False)
                made = Attempt(self.path, delta.version())
                made.run(partial(change, commit_properties=made.properties()))
            delta.update_incremental()  # another writer may have done it meanwhile
        self._delta = None

    def partitions(self) -> list[dict[str, str]]:
        """The partitions that hold files, in order."""
        delta = self.load()
        if delta is None or not self.dataset.partition_by:
            return []
        found = {tuple(row[c] for c in self.dataset.partition_by) for row in delta.partitions()}
        return [dict(zip(self.dataset.partition_by, values, strict=True)) for values in sorted(found)]

    def files(self, partition: Mapping[str, str] | None = None) -> list[str]:
        """Absolute paths of the current files, of one partition if given, in path order."""
        delta = self.load()
        if delta is None:
            return []
        prefix = f"{self.dataset.partition_path(partition)}/" if partition else ""
        root = delta.table_uri.removeprefix("file://")  # as Delta writes it: percent-encoded, links followed
        names = (uri.removeprefix("file://").removeprefix(root) for uri in delta.file_uris())
        return sorted(f"{self.path}/{name}" for name in names if name.startswith(prefix))

    def number(self, partition: Mapping[str, str]) -> int:
        """Number of the partition's last commit; 0 when it was never committed."""
        path = self.dataset.partition_path(partition)
        return self.numbers([path])[path]

    def numbers(self, paths: Iterable[str]) -> dict[str, int]:
        """`number` of partitions given by their paths."""
        delta = self.load()
        if delta is None:
            return dict.fromkeys(paths, 0)
        return {path: delta.transaction_version(self._app_id(path)) or 0 for path in paths}

    def write_file(
        self,
        connection: duckdb.DuckDBPyConnection,
        query: str,
        params: Mapping[str, Any],
        partition: Mapping[str, str],
        index: int = 0,
    ) -> list[DataFile]:
        """Write the rows of `query` (the data columns, sorted) to one new file of the partition; not yet visible.

        Their texts are held at once: of more than memory has room for, a file for each range is written instead (see
        `pipelines.lake.sizes`), the next with the next `index`.

        Returns:
            The file, or nothing when the query has no row.
        """
        relative = self.new_path(partition, index)
        path = self.path / relative
        columns = ", ".join(
            f'CAST("{column.name}" AS {column.type}) AS "{column.name}"' for column in self.dataset.data_columns
        )
        order = ", ".join(f'"{column}"' for column in self.dataset.sort_by)
        copy = (
            f"COPY (SELECT {columns} FROM ({query}) ORDER BY {order}) TO {quote_literal(str(path))} "
            f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {self.dataset.row_group_size}, RETURN_STATS)"
        )
        try:
            rows = connection.execute(copy, dict(params)).fetchall()
            row_count = int(rows[0][1]) if rows else 0
            if not row_count:
                path.unlink(missing_ok=True)
                return []
            return [self.describe_file(relative, row_count, _bounds(rows[0][4], self.dataset))]
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def new_path(self, partition: Mapping[str, str], index: int = 0) -> str:
        """A path, relative to the table, for one more file of a partition; its folder is there.

        Files that are written together are listed in the order of `index`.
        """
        relative = f"{self.dataset.partition_path(partition)}/part-{index:05d}-{uuid.uuid4().hex}.parquet".lstrip("/")
        (self.path / relative).parent.mkdir(parents=True, exist_ok=True)
        return relative

    def describe_file(self, relative: str, row_count: int, bounds: Mapping[str, tuple[int, int]]) -> DataFile:
        """Describe a file that is written and not yet committed, by reading its bytes once more.

        Args:
            relative: Its path, relative to the table.
            row_count: Its rows.
            bounds: Smallest and largest value of each integer column of which they are known exactly.
        """
        path = self.path / relative
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        stats = {
            "numRecords": row_count,
            "minValues": {column: low for column, (low, _high) in bounds.items()},
            "maxValues": {column: high for column, (_low, high) in bounds.items()},
        }
        return DataFile(relative, digest, path.stat().st_size, row_count, json.dumps(stats))

    def commit(
        self, files: Sequence[DataFile], partition: Mapping[str, str], number: int, *, keeps_others: bool = False
    ) -> int:
        """Replace the partition by `files`, or add them to it, in one Delta commit with app transaction `number`.

        Args:
            files: Written and described.
            partition: Value of every partition column.
            number: One above the partition's last.
            keeps_others: Whether the files that the partition holds stay in it.

        Returns:
            The Delta version of the commit.

        Raises:
            CommitLostError: Another writer committed this partition; `vacuum` removes the files of this attempt.
        """
        version = self._commit(files, partition, number, keeps_others=keeps_others)
        if version is None:
            raise CommitLostError(self.dataset.name, self.dataset.partition_path(partition), number)
        return version

    def add(self, rows: pa.Table) -> None:
        """Add rows to an unpartitioned table; who commits at the same time, or makes the table, only makes it wait.

        Raises:
            CommitLostError: Others committed again and again; nothing was added.
        """
        with scratch() as connection:
            connection.register("given", rows)
            files = self.write_file(connection, "SELECT * FROM given", {}, {})
        for attempt in range(_ATTEMPTS):
            if self._commit(files, {}, self.number({}) + 1, keeps_others=True) is not None:
                return
            time.sleep(0.01 * attempt)
        raise CommitLostError(self.dataset.name, "", self.number({}) + 1)

    def merge_files(self) -> None:
        """Merge the files of an unpartitioned table into one; not, when another commit comes between."""
        delta = self.create()
        merged = Attempt(self.path, delta.version())
        merged.run(lambda: delta.optimize.compact(commit_properties=merged.properties()))
        self._delta = None

    def _commit(
        self, files: Sequence[DataFile], partition: Mapping[str, str], number: int, *, keeps_others: bool
    ) -> int | None:
        """`commit`; None when the number is another's."""
        actions: list[AddAction | RemoveAction] = [self._add_action(file, partition) for file in files]
        filters = [(column, "=", partition[column]) for column in self.dataset.partition_by]
        transaction = Transaction(self._app_id(self.dataset.partition_path(partition)), number)
        delta = self.create()
        made = Attempt(self.path, delta.version())

        def commit(at: DeltaTable, properties: CommitProperties) -> None:
            at.create_write_transaction(
                actions,
                "append" if keeps_others else "overwrite",
                at.schema(),
                list(self.dataset.partition_by) or None,
                None if keeps_others else filters or None,
                commit_properties=properties,
            )

        for attempt in range(_ATTEMPTS):
            if self.number(partition) >= number:
                break
            is_made = made.run(partial(commit, delta, made.properties(transaction)))
            self._delta = None
            if is_made:
                return made.landed(self.load())
            time.sleep(0.01 * attempt)
            delta = self.create()
        return made.landed()  # an answer that was late: what took the number may be this very attempt

    def discard(self, files: Sequence[DataFile]) -> None:
        """Remove files that were written and never offered to a commit."""
        for file in files:
            (self.path / file.path).unlink(missing_ok=True)

    def _app_id(self, path: str) -> str:
        return f"refold.{self.dataset.name}.{path}"

    def _add_action(self, file: DataFile, partition: Mapping[str, str]) -> AddAction:
        now_ms = int(time.time() * 1000)
        return AddAction(file.path, file.size_bytes, dict(partition), now_ms, data_change=True, stats=file.stats)


def _bounds(column_stats: Mapping[str, Mapping[str, str]], dataset: Dataset) -> dict[str, tuple[int, int]]:
    """Exact bounds of the integer columns that readers prune by, from what DuckDB says of a file."""
    bounds = {}
    for column in dataset.data_columns:
        stats = column_stats.get(quote_identifier(column.name), {})
        exact = stats.get("min_is_exact") == stats.get("max_is_exact") == "true"
        if column.type in ("INTEGER", "BIGINT") and exact and "min" in stats and "max" in stats:
            bounds[column.name] = int(stats["min"]), int(stats["max"])
    return bounds
