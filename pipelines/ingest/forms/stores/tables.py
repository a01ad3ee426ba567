"""The records of files, however they were written: JSON documents, JSON lines, CSV, Parquet; plain or gzip.

Every object comes with its place, as `FILE:LINE` or `FILE#PATH` without folders, and is one that the store can keep. What a record
means is its form's.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import BadInputError
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.forms import reading
from pipelines.ingest.reading.lines import LineReader, RawLine
from pipelines.ingest.reading.room import Room

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.ingest.forms.form import Head, Options

Placed = tuple[str, dict[str, Any]]
"""A place and the JSON object that was read there."""
_PARQUET = b"PAR1"
_ROWS = 64
"""Rows of a Parquet file that are Python objects at once: a row of a trace store can hold a megabyte."""


def read_objects(path: Path, options: Options) -> Iterator[Placed]:
    """The objects of a file: those of a JSON document or of JSON lines, an array's one by one; the rows of CSV or Parquet.

    Raises:
        BadInputError: It cannot be read, or holds what the store cannot keep; the message has place, value and reason.
    """
    suffixes = [each.lower() for each in path.suffixes]
    if _head(path).startswith(_PARQUET):
        yield from _parquet(path)
    elif ".csv" in suffixes[-2:]:
        yield from _csv(path, room_of(options))
    else:
        yield from reading.objects(path, options.memory_bytes)


def refuse(place: str, reason: str | Exception) -> BadInputError:
    """The error of a record that cannot be imported."""
    return BadInputError(f"{place}: {reason}")


def _head(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise BadInputError(f"{path} is a folder; name its files")
        with path.open("rb") as file:
            return file.read(16)
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from error


def _text(path: Path, line: RawLine, room: Room) -> str:
    place = f"{path.name}:{line.number}"
    if line.fault is not None:
        raise refuse(place, line.fault)
    try:
        room.refuse_dense(line.data)
        return line.data.decode()
    except BadLineError as error:
        raise refuse(place, error) from None
    except UnicodeDecodeError as error:
        raise refuse(place, f"not UTF-8 at byte {error.start + 1}") from None


def _csv(path: Path, room: Room) -> Iterator[Placed]:
    csv.field_size_limit(max(room.max_line_bytes, 1))
    lines = LineReader(path, max_line_bytes=room.max_line_bytes, long_line=room.long_line)
    reader = csv.reader((_text(path, line, room) + "\n" for line in lines), strict=True)
    place = f"{path.name}:1"
    try:
        header = next(reader, [])
        while True:
            place = f"{path.name}:{reader.line_num + 1}"
            row = next(reader, None)
            if row is None:
                return
            if len(row) != len(header):
                raise refuse(place, f"a row of {len(row):,} fields under a header of {len(header):,}")
            yield place, _kept(dict(zip(header, (text or None for text in row), strict=True)), place)
    except csv.Error as error:
        raise refuse(place, f"not CSV: {error}") from None


def _parquet(path: Path) -> Iterator[Placed]:
    import pyarrow as pa  # noqa: PLC0415 -- a quarter of a second that other files need not take
    import pyarrow.parquet as pq  # noqa: PLC0415

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_ROWS):
                for row in _in_words(batch).to_pylist(maps_as_pydicts="strict"):
                    place = f"{path.name}#[{number}]"
                    number += 1
                    yield place, _kept(_in_json(row), place)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise refuse(f"{path.name}#[{number}]", f"cannot be read as Parquet: {error}") from error


def _in_words(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its times as text in UTC, with all of their digits."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    columns: list[Any] = []
    for column in batch.columns:
        kind: Any = column.type
        if pa.types.is_timestamp(kind):
            naive: Any = column.cast(pa.timestamp(kind.unit))
            columns.append(pc.strftime(naive, format="%Y-%m-%dT%H:%M:%SZ"))
        else:
            columns.append(column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _in_json(value: Any) -> Any:
    """A value of a Parquet cell as JSON has it; numbers that JSON has not are their text."""
    if isinstance(value, dict):
        return {str(key): _in_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_in_json(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, float | Decimal) and math.isfinite(value):
        return float(value)
    return value if value is None or isinstance(value, str | int) else str(value)


def _kept(row: dict[str, Any], place: str) -> dict[str, Any]:
    """A row that the store can keep."""
    if any(isinstance(value, str) and ("\0" in value or not value.isprintable()) for value in row.values()) or any(
        isinstance(value, dict | list) for value in row.values()
    ):
        reading.parse_record(json.dumps(row), place)
    return row


def room_of(options: Options) -> Room:
    """How much memory there is for one record."""
    return Room(options.memory_bytes, min(options.taken_bytes, options.memory_bytes // 2))


def column_names(head: Head) -> set[str]:
    """Names of the columns of a file that begins so, where it is a table of Parquet or CSV; else none."""
    if head.data.startswith(_PARQUET):
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.parquet as pq  # noqa: PLC0415

        try:
            return set(pq.read_schema(head.path).names)
        except (pa.ArrowException, OSError):
            return set()
    if ".csv" not in [each.lower() for each in head.path.suffixes[-2:]]:
        return set()
    line = head.data.split(b"\n", 1)[0].removeprefix(b"\xef\xbb\xbf").decode(errors="replace").strip("\r")
    return {each.strip('"') for each in line.split(",")}
