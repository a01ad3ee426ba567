"""The lake as a whole: write a partition with its provenance, and read everything with DuckDB.

A partition is a pure function of its inputs. `Commit.input_hash` names them: when the last commit has the same hash
there is nothing to do. Provenance is written after the data; a crash in between leaves data without provenance, which
reads as "unknown inputs", so the next run writes the partition again and nothing is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from pipelines.duck import emptied, named_tables, quote_identifier, quote_literal
from pipelines.lake import readable
from pipelines.lake.commits import Commit, as_row, by_partition, read_commits
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import COMMITS, DATASETS, find_dataset
from pipelines.lake.errors import told_when_full
from pipelines.lake.files import DataFile
from pipelines.lake.memory import free_bytes
from pipelines.lake.own import begin_own, find_own
from pipelines.lake.own_upcasters import load_own_upcasters
from pipelines.lake.partition import PartitionWriter
from pipelines.lake.table import Table
from pipelines.lake.views import TIME_TRAVEL, list_views, view_statement
from pipelines.lake.writers import writing
from pipelines.log.readable import readable_query
from pipelines.settings import SNAPSHOT_EVENTS, SQL_SECONDS, Settings

__all__ = ["Commit", "Lake"]

_DUCKDB_SHARE = 0.6
"""Share that DuckDB may use of the memory that the process has left when it connects; the rest is for results, for
Arrow batches, and for what DuckDB itself takes beside its buffers."""
_LEAST_DUCKDB_SHARE = 0.3
"""Share of all memory that DuckDB may use however much the process holds already: with less, work would fail that a
moment of more memory lets pass."""
_ATTEMPTS = 10
"""Times that files may go while views of them are made, before it is taken for a fault."""
_COMMIT_FILES = 32
"""Small files of a registry table that are merged into one when there are more."""


class Lake:
    """The Delta tables under one folder.

    Args:
        root: The folder; made when something is written.
        memory_bytes: Bound on the memory of a process that uses it.
        snapshot_events: Events of a stream after which a fold keeps another snapshot.
        home: Where upcasters of one's own are, in `upcasters/`; None for none.
        sql_seconds: How long an expression of a user's may take.
    """

    def __init__(
        self,
        root: Path,
        *,
        memory_bytes: int = 10**9,
        home: Path | None = None,
        snapshot_events: int = SNAPSHOT_EVENTS,
        sql_seconds: float = SQL_SECONDS,
    ) -> None:
        self.root = root
        self.memory_bytes = memory_bytes
        self.home = home
        self.snapshot_events = snapshot_events
        self.sql_seconds = sql_seconds
        self._tables: dict[str, Table] = {}
        self._reading: duckdb.DuckDBPyConnection | None = None
        self._commits: tuple[int, dict[tuple[str, str], Commit]] = (-1, {})
        self._noted: list[Commit] | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> Lake:
        """The lake that `settings` names."""
        return cls(
            settings.lake,
            memory_bytes=settings.memory_bytes,
            home=settings.home,
            snapshot_events=settings.snapshot_events,
            sql_seconds=settings.sql_seconds,
        )

    @property
    def spill(self) -> Path:
        """Where connections put what does not fit into memory."""
        return self.root / ".spill"

    def datasets(self) -> dict[str, Dataset]:
        """Every dataset by name: those shipped, then the own projections that have a table."""
        return DATASETS | find_own(self.root)

    def table(self, name: str) -> Table:
        """The Delta table of the dataset `name`."""
        if name not in self._tables:
            dataset = DATASETS.get(name) or find_own(self.root).get(name) or find_dataset(name)
            self._tables[name] = Table(self.root, dataset)
        return self._tables[name]

    def begin(self, dataset: Dataset) -> None:
        """Make the table of an own projection; one that has another specification is begun anew, without rows."""
        with told_when_full(self.root), writing(self.root):
            if begin_own(self.root, dataset):
                self._tables.pop(dataset.name, None)

    def partitions(self, name: str) -> list[dict[str, str]]:
        """The partitions of a dataset that hold rows, in order."""
        return self.table(name).partitions()

    def months(self, name: str) -> list[str]:
        """The months of a month-partitioned dataset that hold rows, in order."""
        return [partition["month"] for partition in self.partitions(name)]

    def files(self, name: str, partition: Mapping[str, str] | None = None) -> list[str]:
        """Absolute paths of a dataset's current Parquet files; the partition columns are in the path, not the file."""
        return self.table(name).files(partition)

    @contextmanager
    def connect(self, reads: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A DuckDB connection that sees every dataset and view at its newest version, within the memory bound.

        The current files are fixed when the connection is made: it is a snapshot. Closed on leaving. Inside `reading` it is a
        cursor of the one that is open.

        Args:
            reads: A query: only the relations that it needs are made, which takes time for each. None makes all.

        Raises:
            DiskFullError: What was done with it, on the lake's disk or where it spills, ran out of space.
        """
        if self._reading is not None:
            with told_when_full(self.root), self._reading.cursor() as cursor:
                cursor.execute("SET TimeZone = 'UTC'")
                yield cursor
            return
        with told_when_full(self.root), emptied(self.spill) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            left = free_bytes(self.memory_bytes) * _DUCKDB_SHARE
            buffers = int(max(left, self.memory_bytes * _LEAST_DUCKDB_SHARE))
            connection.execute(f"SET memory_limit = '{buffers}B'")
            connection.execute("SET enable_progress_bar = false")
            wanted = None if reads is None else named_tables(connection, reads, self._relations())
            self.with_current_views(lambda views: [connection.execute(view) for view in views], wanted)
            yield connection

    @contextmanager
    def reading(self, reads: str | None = None) -> Iterator[None]:
        """Inside the block every `connect` sees one snapshot, made once: for an answer that takes many queries, in one thread.

        What is written meanwhile is not seen. Temporary relations are each connection's own, as without it.

        Args:
            reads: A query that names all relations that are read in the block, as for `connect`.
        """
        with self.connect(reads) as connection:
            before, self._reading = self._reading, connection
            try:
                yield
            finally:
                self._reading = before

    def with_current_views(self, create: Callable[[list[str]], object], wanted: Collection[str] | None = None) -> None:
        """Call `create` with the statements of `view_statements(wanted)`; again when files went meanwhile.

        A file that a redaction replaced goes at once, also between being listed and being opened.
        """
        for _ in range(_ATTEMPTS):
            statements = self.view_statements(wanted)
            try:
                create(statements)
            except duckdb.IOException:
                if self.view_statements(wanted) == statements:
                    raise
            else:
                return
        create(self.view_statements(wanted))

    def relations(self, wanted: Collection[str] | None = None) -> dict[str, str]:
        """The query of every dataset and view, over the files that are current now, by name: each after those that it reads.

        Args:
            wanted: Names of relations: only these and those that they read. None for all.
        """
        needed = self._relations() if wanted is None else self._with_read(wanted)
        queries = {each.relation: self._scan(each) for each in self.datasets().values() if each.relation in needed}
        if readable.NAME in needed:
            queries[readable.NAME] = readable_query(load_own_upcasters(self.home))
        return queries | {view.name: view.query for view in list_views() if view.name in needed}

    def view_statements(self, wanted: Collection[str] | None = None) -> list[str]:
        """What creates `relations(wanted)`; for all of them also what tells those who look for what is no relation."""
        # what names files is bound at once, so that it is known that they are there; to bind all takes twice as long
        without_files = {dataset.relation: dataset.typed_empty() for dataset in self.datasets().values()}
        views = [
            view_statement(name, query, is_bound=without_files.get(name, query) != query)
            for name, query in self.relations(wanted).items()
        ]
        return [*views, *TIME_TRAVEL] if wanted is None else views

    def _relations(self) -> set[str]:
        """The names of all relations."""
        views = (view.name for view in list_views())
        return {readable.NAME, *views, *(dataset.relation for dataset in self.datasets().values())}

    def _with_read(self, wanted: Collection[str]) -> set[str]:
        """The relations `wanted`, and all that they read."""
        words = {view.name: view.words for view in list_views()} | {readable.NAME: readable.READS}
        known = self._relations()
        needed: set[str] = set()
        todo = set(wanted)
        while todo:
            needed |= todo
            todo = {word for name in todo for word in words.get(name, ()) if word in known} - needed
        return needed

    def _scan(self, dataset: Dataset) -> str:
        files = self.files(dataset.name)
        if not files:
            return dataset.typed_empty()
        columns = ", ".join(quote_identifier(name) for name in dataset.column_names)
        listed = ", ".join(quote_literal(file) for file in files)
        hive = ", ".join(f"{quote_identifier(column)}: VARCHAR" for column in dataset.partition_by)
        options = f", hive_partitioning = true, hive_types = {{{hive}}}" if hive else ", hive_partitioning = false"
        if self.table(dataset.name).has_all_columns:
            return f"SELECT {columns} FROM read_parquet([{listed}]{options})"
        # files of before a column was added do not have it
        files_as_they_are = f"SELECT * FROM read_parquet([{listed}]{options}, union_by_name = true)"
        return f"SELECT {columns} FROM ({dataset.typed_empty()} UNION ALL BY NAME {files_as_they_are})"

    def last_commit(self, name: str, partition: Mapping[str, str]) -> Commit | None:
        """The last commit of a partition, or None when there is none or its provenance was lost in a crash."""
        table = self.table(name)
        commit = self._all_commits().get((name, table.dataset.partition_path(partition)))
        return commit if commit is not None and commit.number == table.number(partition) else None

    def last_commits(self, name: str) -> list[Commit]:
        """`last_commit` of every partition that has one."""
        known = self.commits(name)
        numbers = self.table(name).numbers(commit.partition for commit in known)
        return [commit for commit in known if commit.number == numbers[commit.partition]]

    def commits(self, name: str) -> list[Commit]:
        """The last commit of every partition of a dataset, by partition."""
        return sorted(
            (c for (dataset, _), c in self._all_commits().items() if dataset == name), key=lambda c: c.partition
        )

    @contextmanager
    def replacing(
        self, dataset: Dataset, partition: Mapping[str, str], *, number: int | None = None
    ) -> Iterator[PartitionWriter]:
        """A partition's writer; its files that are not offered to a commit at the end are removed.

        Args:
            dataset: The table.
            partition: Value of every partition column.
            number: Of the commit: one above the partition's last when the caller looked at what it builds on; default: now.

        Raises:
            DiskFullError: There is no space for it; the partition is as it was.
        """
        with told_when_full(self.root), writing(self.root):
            table = self.table(dataset.name)
            writer = PartitionWriter(
                table,
                partition,
                number=table.number(partition) + 1 if number is None else number,
                memory_bytes=self.memory_bytes,
                commit=self._commit,
            )
            try:
                yield writer
            finally:
                writer.discard()

    def write_partition(
        self,
        dataset: Dataset,
        partition: Mapping[str, str],
        connection: duckdb.DuckDBPyConnection,
        query: str,
        params: Mapping[str, Any] | None = None,
        *,
        input_hash: str,
        provenance: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Replace a partition by the rows of `query`, all or nothing; see `PartitionWriter.write_query` and `commit`.

        Raises:
            CommitLostError: Another writer committed the partition meanwhile.
            DiskFullError: There is no space for it; the partition is as it was.
        """
        with self.replacing(dataset, partition) as writer:
            writer.write_query(connection, query, params)
            return writer.commit(input_hash=input_hash, provenance=provenance)

    def _commit(
        self,
        dataset: Dataset,
        partition: Mapping[str, str],
        files: Sequence[DataFile],
        *,
        number: int,
        input_hash: str,
        provenance: Mapping[str, Any],
        started: float,
        kept: Sequence[DataFile],
    ) -> Commit:
        """Make written files a partition's, all or nothing, and remember what they come from; `started` by the monotonic clock."""
        version = self.table(dataset.name).commit(files, partition, number, keeps_others=bool(kept))
        current = (*kept, *files)
        commit = Commit(
            dataset=dataset.name,
            partition=dataset.partition_path(partition),
            number=number,
            delta_version=version,
            row_count=sum(file.row_count for file in current),
            size_bytes=sum(file.size_bytes for file in current),
            input_hash=input_hash,
            provenance=dict(provenance),
            seconds=time.monotonic() - started,
            committed_at=datetime.now(UTC),
            files=current,
        )
        if self._noted is None:
            self._remember([commit])
        else:
            self._noted.append(commit)
        return commit

    def append(self, dataset: Dataset, rows: list[dict[str, Any]]) -> None:
        """Add rows to an unpartitioned registry table, merging its files when there are many small ones."""
        table = self.table(dataset.name)
        with told_when_full(table.path), writing(self.root):
            import pyarrow as pa  # noqa: PLC0415 - not for verbs that only read

            table.add(pa.Table.from_pylist(rows, schema=dataset.arrow_schema()))
            if len(table.files()) > _COMMIT_FILES:
                table.merge_files()

    @contextmanager
    def remembering(self) -> Iterator[None]:
        """Inside the block, what committed partitions come from is kept until its end, for all of them at once.

        A process that is killed in it leaves data of unknown inputs, which are written again.
        """
        if self._noted is not None:
            yield
            return
        self._noted = []
        try:
            yield
        finally:
            commits, self._noted = self._noted, None
            if commits:
                self._remember(commits)

    def _remember(self, commits: Sequence[Commit]) -> None:
        self.append(COMMITS, [as_row(commit) for commit in commits])
        version, known = self._commits
        delta = self.table(COMMITS.name).load()
        if version >= 0 and delta is not None and delta.version() == version + 1:
            # nobody else's came between: what is known need not be read again, which would take longer with every commit
            self._commits = (version + 1, {**known, **by_partition(commits)})

    def _all_commits(self) -> dict[tuple[str, str], Commit]:
        """The newest commit of each partition, those among them that are about to be remembered."""
        known = self._remembered()
        return {**known, **by_partition(self._noted)} if self._noted else known

    def _remembered(self) -> dict[tuple[str, str], Commit]:
        delta = self.table(COMMITS.name).load()
        if delta is None:
            return {}
        version = delta.version()
        if self._commits[0] != version:
            files = self.files(COMMITS.name)
            if not files:  # made a moment ago, by whoever is about to write its first row
                return {}
            newest = read_commits(files)
            self._commits = (version, newest)
        return self._commits[1]
