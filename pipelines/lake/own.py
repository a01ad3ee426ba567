"""Datasets that are not shipped: their specification is kept in the Delta table itself.

A projection that a person wrote in SQL becomes a table like any other, and whoever opens the lake must know its columns
without having the SQL. So grain, key and column descriptions are metadata of the Delta schema's fields, which is replaced
together with the data in one commit. Tables in the lake's folder that carry no such specification are left alone.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalake import CommitProperties, Schema, write_deltalake

from pipelines.duck import scratch
from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets import DATASETS
from pipelines.lake.datasets.columns import MONTH
from pipelines.lake.delta import SETTINGS, Attempt, making, newest_entry, open_table
from pipelines.lake.errors import CommitLostError

if TYPE_CHECKING:
    import pyarrow as pa

_COMMENT = "comment"  # the name that other readers of Delta tables show as well
_GRAIN, _KEY = "refold.grain", "refold.key"
_ATTEMPTS = 20
_TEXT = ("VARCHAR", "BLOB")


def own_dataset(name: str, grain: str, key: tuple[str, ...], columns: tuple[Column, ...]) -> Dataset:
    """The specification of an own projection: its columns after the month, one partition a month, sorted by its key."""
    return Dataset(
        name=name,
        grain=grain,
        key=(*key, MONTH.name),
        columns=(MONTH, *columns),
        partition_by=(MONTH.name,),
        sort_by=key,
        layer="fold",
        is_own=True,
    )


def own_column(name: str, type_name: str, description: str) -> Column:
    """A column of an own projection. Whatever can hold text counts as personal: nobody has said that it is not."""
    return Column(name, type_name, description, is_personal=any(text in type_name for text in _TEXT))


def find_own(root: Path) -> dict[str, Dataset]:
    """The own projections that have a table in the lake at `root`, by name."""
    found = {}
    if root.is_dir():
        for path in sorted(root.iterdir()):
            if path.name not in DATASETS:
                dataset = read_own(path)
                if dataset is not None:
                    found[path.name] = dataset
    return found


def read_own(path: Path) -> Dataset | None:
    """The specification that the Delta table at `path` carries; None when it carries none."""
    entry = newest_entry(path)
    return _read_at(path, tuple(entry)) if entry else None


@lru_cache(maxsize=256)
def _read_at(path: Path, _entry: tuple[object, ...]) -> Dataset | None:
    """The same while its log's last entry is the same: whoever lists the datasets asks it of every folder."""
    delta = open_table(path)
    if delta is None:
        return None
    table = empty_table(delta.schema())
    schema = table.schema
    first = _metadata(schema.field(0))
    if schema.field(0).name != MONTH.name or _GRAIN not in first:
        return None
    with scratch() as connection:
        types = connection.from_arrow(table).types
    columns = tuple(
        own_column(field.name, str(kind), _metadata(field).get(_COMMENT, ""))
        for field, kind in list(zip(schema, types, strict=True))[1:]
    )
    return own_dataset(path.name, first[_GRAIN], tuple(filter(None, first[_KEY].split(","))), columns)


def empty_table(schema: Schema) -> pa.Table:
    """No rows of a Delta schema, with the types and field metadata that readers get."""
    import pyarrow as pa  # noqa: PLC0415 - where there are such tables

    return pa.table(schema.to_arrow().empty_table())


def begin_own(root: Path, dataset: Dataset) -> bool:
    """Make the table of an own projection, or begin it anew when its specification is another one now.

    A table has one set of columns. When the SQL yields others, every month is folded again anyway, so the old rows go
    at once, in the commit that changes the schema; months come back as they are folded.

    Returns:
        Whether the table is new or was begun anew.
    """
    path = root / dataset.name
    for _ in range(_ATTEMPTS):
        with making(path):
            delta = open_table(path)
            if delta is not None and read_own(path) == dataset:
                return False
            begun = Attempt(path, -1 if delta is None else delta.version())
            if begun.run(partial(_begin, path, dataset, begun.properties())):
                return True
    raise CommitLostError(dataset.name, "", 1)


def _begin(path: Path, dataset: Dataset, properties: CommitProperties) -> None:
    import pyarrow as pa  # noqa: PLC0415 - where there are such tables

    write_deltalake(
        str(path),
        pa.Table.from_pylist([], schema=_schema(dataset)),
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=list(dataset.partition_by),
        name=dataset.name,
        configuration=SETTINGS,
        commit_properties=properties,
    )


def _schema(dataset: Dataset) -> pa.Schema:
    import pyarrow as pa  # noqa: PLC0415 - where there are such tables

    described: dict[str, dict[bytes | str, bytes | str]] = {
        column.name: {_COMMENT: column.description} for column in dataset.columns
    }
    described[MONTH.name] |= {_GRAIN: dataset.grain, _KEY: ",".join(dataset.sort_by)}
    return pa.schema([field.with_metadata(described[field.name]) for field in dataset.arrow_schema()])


def _metadata(field: pa.Field[Any]) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
