"""Write a partition in several files, one after the other, and commit them together or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb

from pipelines.lake.dataset import Dataset
from pipelines.lake.errors import told_when_full
from pipelines.lake.lake import Commit, Lake
from pipelines.lake.table import DataFile
from pipelines.lake.writers import writing


@contextmanager
def staging(lake: Lake, dataset: Dataset, partition: Mapping[str, str]) -> Iterator[Staging]:
    """A partition's new files; those that are not committed at the end are removed."""
    with told_when_full(lake.root), writing(lake.root):
        staged = Staging(lake, dataset, partition)
        try:
            yield staged
        finally:
            staged.discard()


class Staging:
    """The new files of one partition, made by `staging`."""

    def __init__(self, lake: Lake, dataset: Dataset, partition: Mapping[str, str]) -> None:
        self._lake, self._dataset, self._partition = lake, dataset, dict(partition)
        self._table = lake.table(dataset.name)
        self._number = self._table.number(partition) + 1
        self._started = time.monotonic()
        self._files: list[DataFile] = []

    def add(self, connection: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, Any] | None = None) -> None:
        """Write the rows of a query, sorted and cast, to one file; nothing for no row.

        The dataset's order holds within a file; where it should hold over all, rows of a later file must come after
        those of an earlier one.
        """
        self._files += self._table.write_file(connection, query, params or {}, self._partition, len(self._files))

    def commit(self, *, input_hash: str, provenance: Mapping[str, Any] | None = None) -> Commit:
        """Replace the partition by the files.

        Args:
            input_hash: Hash of what the rows are a function of.
            provenance: What to remember beside the commit; JSON values.

        Raises:
            CommitLostError: Another writer committed the partition meanwhile.
        """
        files, self._files = self._files, []
        return self._lake.commit_files(
            self._dataset,
            self._partition,
            files,
            number=self._number,
            input_hash=input_hash,
            provenance=provenance or {},
            seconds=time.monotonic() - self._started,
        )

    def discard(self) -> None:
        """Remove what was not committed."""
        self._table.discard(self._files)
