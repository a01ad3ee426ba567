"""What a dataset of the lake is: the one specification that its Delta table, view, docs and checks share.

The classes only; the datasets themselves are in `datasets.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

from pipelines.arrow import leave_pandas_out
from pipelines.duck import scratch

if TYPE_CHECKING:
    import pyarrow as pa

leave_pandas_out()  # before the first array, which modules make when they are imported, and without importing it

Layer = Literal["log", "fold", "replay", "diff", "registry"]
_COUNTS = ("INTEGER", "BIGINT")
_BETWEEN_COLUMNS = re.compile("/(?=[a-z_]+=)")


def read_partition(path: str) -> dict[str, str]:
    """The partition that `Dataset.partition_path` wrote; a value may hold a `/`, and no `=`."""
    return dict(part.split("=", 1) for part in _BETWEEN_COLUMNS.split(path))


def read_folder(name: str) -> str:
    """The value of the one column in a folder's name, as `Dataset.folder` wrote it."""
    return name.partition("=")[2].replace("%2F", "/")


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: Name in the table and in every view; a unit is its suffix (`_usd`, `_ms`, `_bytes`).
        type: DuckDB type.
        description: One line: meaning, and when it is null.
        is_personal: Whether it can hold text or values of a person; previews and run metadata never show such columns.
    """

    name: str
    type: str
    description: str
    is_personal: bool = False


@dataclass(frozen=True, slots=True)
class Dataset:
    """One Delta table.

    Attributes:
        name: Folder under the lake and name in SQL.
        grain: What one row is.
        key: Columns that identify a row within the newest state.
        columns: In order, partition columns included.
        partition_by: Partition columns; every commit replaces whole partitions.
        sort_by: Order of rows inside a partition.
        layer: Which stage writes it.
        has_newest_view: Whether the table's plain name is a view of the newest state; all rows are then `<name>_history`.
        row_group_size: Rows of a Parquet row group; one group is written by one thread, so wide rows take small groups.
        is_own: Whether a user wrote what makes it: then nobody has said of any column what it may hold.
    """

    name: str
    grain: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    partition_by: tuple[str, ...]
    sort_by: tuple[str, ...]
    layer: Layer
    has_newest_view: bool = False
    row_group_size: int = 122_880
    is_own: bool = False

    @property
    def relation(self) -> str:
        """Name of the SQL relation that holds all rows."""
        return f"{self.name}_history" if self.has_newest_view else self.name

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def data_columns(self) -> tuple[Column, ...]:
        """The columns that data files hold: all but the partition columns, which are in the path."""
        return tuple(column for column in self.columns if column.name not in self.partition_by)

    @property
    def bounded(self) -> frozenset[str]:
        """Columns whose lowest and highest value a file's entry in the Delta log tells, by which readers leave files out.

        An entry outlives its file by weeks. So these are numbers of which it is known that they count or place something: no
        texts, nothing personal, nothing of a user's own.
        """
        if self.is_own:
            return frozenset()
        return frozenset(each.name for each in self.columns if each.type in _COUNTS and not each.is_personal)

    def partition_path(self, partition: Mapping[str, str]) -> str:
        """The partition as the path writes it: `column=value` pairs joined by `/`; empty for an unpartitioned table."""
        return "/".join(f"{column}={partition[column]}" for column in self.partition_by)

    def folder(self, partition: Mapping[str, str]) -> str:
        """Where a partition's files are, below the table: as `partition_path`, a `/` in a value written as readers of paths decode it."""
        return self.partition_path({column: value.replace("/", "%2F") for column, value in partition.items()})

    def typed_empty(self) -> str:
        """A SELECT of all columns, typed, with no row."""
        items = ", ".join(f'CAST(NULL AS {column.type}) AS "{column.name}"' for column in self.columns)
        return f"SELECT {items} WHERE false"

    def arrow_schema(self) -> pa.Schema:
        """The columns as an Arrow schema, as DuckDB exports their types."""
        return _arrow_schema(self)

    def data_schema(self) -> pa.Schema:
        """`arrow_schema` of the columns that data files hold."""
        return _data_schema(self)

    def cast(self, rows: pa.Table) -> pa.Table:
        """Rows with these columns, in whatever order, and maybe others, as data files hold them."""
        schema = self.data_schema()
        return rows if rows.schema.equals(schema) else rows.select(schema.names).cast(schema)

    def sort(self, rows: pa.Table) -> pa.Table:
        """`cast`, in the order of the dataset."""
        return self.cast(rows).sort_by([(column, "ascending") for column in self.sort_by])


@cache
def _data_schema(dataset: Dataset) -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415 - not for verbs that make no array

    schema = dataset.arrow_schema()
    return pa.schema([schema.field(column.name) for column in dataset.data_columns])


@cache
def _arrow_schema(dataset: Dataset) -> pa.Schema:
    with scratch() as connection:  # in UTC: Delta knows no other zone
        schema: pa.Schema = connection.sql(dataset.typed_empty()).to_arrow_table().schema
    return schema
