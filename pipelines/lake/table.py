"""One Delta table: which files are current, and how a partition is replaced.

The commit protocol. Every commit of a partition carries the Delta app transaction `refold.<dataset>.<partition>` with a
number one above the last. Two writers of the same partition therefore cannot both commit; Delta's own conflict check
finds the overlap, and the loser's number is taken. A resend of an older number would not be refused by Delta itself, so
the number is compared with the table's before every attempt. What landed although an error came back is found by its
token (see `pipelines.lake.delta`); files that were offered to a commit are removed by `vacuum` alone.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import DeltaError
from deltalake.transaction import AddAction, RemoveAction

from pipelines.lake.dataset import Dataset
from pipelines.lake.delta import SETTINGS, Attempt, is_newest, making, open_table
from pipelines.lake.errors import CommitLostError
from pipelines.lake.files import DataFile, NewFile

if TYPE_CHECKING:
    import pyarrow as pa

_WIDENED = "refold.widened"
"""Property of a table whose older files lack columns that were added later."""
_ATTEMPTS = 20
"""Commits of other partitions can win this often in a row before giving up; each retry reloads the table."""


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
        elif not is_newest(self.path, self._delta.version()):
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
        if not self._has_all_columns(delta):
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
                        configuration=SETTINGS,
                        commit_properties=made.properties(),
                    )
                )

    @property
    def has_all_columns(self) -> bool:
        """Whether every column of the dataset was there when the table was made: then every file has all of them."""
        delta = self.load()
        return delta is None or self._has_all_columns(delta)

    def _has_all_columns(self, delta: DeltaTable) -> bool:
        is_widened = _WIDENED in delta.metadata().configuration
        return not is_widened and {field.name for field in delta.schema().fields} >= set(self.dataset.column_names)

    def _widen(self, delta: DeltaTable) -> None:
        """Add the columns that the dataset has and the table has not; they are null in the files that are there.

        Should it not be possible, the commit that follows says what is wrong.
        """
        import pyarrow as pa  # noqa: PLC0415 - not for verbs that only read

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
        prefix = f"{self.dataset.folder(partition)}/" if partition else ""
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

    def new_path(self, partition: Mapping[str, str], index: int = 0) -> str:
        """A path, relative to the table, for one more file of a partition; its folder is there.

        Files that are written together are listed in the order of `index`.
        """
        relative = f"{self.dataset.folder(partition)}/part-{index:05d}-{uuid.uuid4().hex}.parquet".lstrip("/")
        (self.path / relative).parent.mkdir(parents=True, exist_ok=True)
        return relative

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
        file = NewFile(self.path, self.new_path({}), self.dataset.data_schema(), self.dataset.bounded)
        try:
            file.write(self.dataset.sort(rows), self.dataset.row_group_size)
            written = file.close()
        except BaseException:
            file.discard()
            raise
        for attempt in range(_ATTEMPTS):
            if self._commit([written], {}, self.number({}) + 1, keeps_others=True) is not None:
                return
            time.sleep(0.01 * attempt)
        raise CommitLostError(self.dataset.name, "", self.number({}) + 1)

    def merge_files(self) -> None:
        """Merge the files of an unpartitioned table into one; not, when another commit comes between.

        Delta's own writer makes the file. What bounds it finds it tells in the log, of texts too, so it is to find none.
        """
        delta = self.create()
        merged = Attempt(self.path, delta.version())
        unbounded = WriterProperties(
            compression="ZSTD", default_column_properties=ColumnProperties(statistics_enabled="NONE")
        )
        merged.run(lambda: delta.optimize.compact(writer_properties=unbounded, commit_properties=merged.properties()))
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
            if made.run(partial(commit, delta, made.properties(transaction))):
                return made.landed(self.load())
            time.sleep(0.01 * attempt)
            delta = self.create()
        return made.landed()  # an answer that was late: what took the number may be this very attempt

    def _app_id(self, path: str) -> str:
        return f"refold.{self.dataset.name}.{path}"

    def _add_action(self, file: DataFile, partition: Mapping[str, str]) -> AddAction:
        now_ms = int(time.time() * 1000)
        return AddAction(file.path, file.size_bytes, dict(partition), now_ms, data_change=True, stats=file.stats)
