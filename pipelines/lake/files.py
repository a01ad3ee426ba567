"""One Parquet file of a table: how it is written, and what is known of it afterwards.

The one place where a file of a table is made. Which rows it gets, and when it is the table's, is its partition's matter.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import pyarrow as pa

_USUAL: dict[str, Any] = {"compression": "zstd", "compression_level": 1, "dictionary_pagesize_limit": 2**16}
"""A dictionary of more bytes is one of texts that hardly repeat: to go on with it makes a file larger, and slower to write."""
_LARGE: dict[str, Any] = {"use_dictionary": False, "data_page_version": "2.0"}
_NUMBERS = ("int32", "int64")


def for_large_rows(schema: pa.Schema, sort_by: Iterable[str]) -> dict[str, Any]:
    """How a file of large rows is written, with the least memory.

    There are no dictionaries, which would hold its texts once more; pages are made of compressed parts, of which the whole is not
    put together before; and there are no bounds of texts, which are the text six times over while they are found.
    """
    bounded = [field.name for field in schema if field.name in sort_by or str(field.type) in _NUMBERS]
    return {**_LARGE, "write_statistics": bounded}


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


class NewFile:
    """A file while it is written, by one thread at a time; no reader sees it.

    Args:
        root: The table's folder.
        path: Where, relative to it; the file's folder is there.
        schema: Of the rows.
        bounded: Columns, of whole numbers, whose bounds Delta's log tells.
        options: Of Parquet's writer, beside the usual ones or in their place.
    """

    def __init__(self, root: Path, path: str, schema: pa.Schema, bounded: Collection[str], **options: Any) -> None:
        import pyarrow.parquet as pq  # noqa: PLC0415 - not for verbs that only read

        self._path, self._file = path, root / path
        self._bounded = bounded
        self._described: DataFile | None = None
        self.rows = 0
        self._writer = pq.ParquetWriter(str(self._file), schema, **{**_USUAL, **options})

    def write(self, rows: pa.Table, group_rows: int) -> None:
        """Add row groups of at most `group_rows` rows."""
        self._writer.write_table(rows, row_group_size=group_rows)
        self.rows += rows.num_rows

    def close(self) -> DataFile:
        """End it and describe it, by reading its bytes once more."""
        if self._described is None:
            self._writer.close()
            with self._file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = self._file.stat().st_size
            self._described = DataFile(self._path, digest, size, self.rows, json.dumps(self._stats()))
        return self._described

    def discard(self) -> None:
        """Remove it; not once it was offered to a commit."""
        import pyarrow as pa  # noqa: PLC0415 - not for verbs that only read

        with suppress(OSError, pa.ArrowException):  # its disk may be full
            self._writer.close()
        self._file.unlink(missing_ok=True)

    def _stats(self) -> dict[str, Any]:
        """Delta's statistics, from the file's own list of contents."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - not for verbs that only read

        low: dict[str, int] = {}
        high: dict[str, int] = {}
        contents = pq.read_metadata(self._file)
        for group in map(contents.row_group, range(contents.num_row_groups)):
            for part in map(group.column, range(group.num_columns)):
                name, found = part.path_in_schema, cast("Any", part.statistics)
                if name in self._bounded and found is not None and found.has_min_max:
                    low[name] = min(low.get(name, found.min), found.min)
                    high[name] = max(high.get(name, found.max), found.max)
        return {"numRecords": self.rows, "minValues": low, "maxValues": high}
