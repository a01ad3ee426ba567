"""A nameless file that record batches are put aside in and read back from, by any thread, in any order.

The file has no name, so that the system takes it away with the process however that ends. Reads and writes give their
place, so threads share it without a lock but for the end of the file. Pages of it are the system's to cache: they are
no memory of this process.
"""

from __future__ import annotations

import os
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa

from pipelines.lake.errors import told_when_full


@dataclass(frozen=True, slots=True)
class Place:
    """Where one batch lies in the spool: offset and length in bytes."""

    offset: int
    length: int


class Spool:
    """Record batches on disk.

    Args:
        folder: Where the file is made; made itself if need be.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 -- closed by `close`
        self._end = 0
        self._lock = threading.Lock()

    def put(self, batch: pa.RecordBatch) -> Place:
        """Write a batch; answers where it is.

        Raises:
            DiskFullError: There is no room for it.
            OSError: The disk cannot be written.
        """
        buffer = batch.serialize()
        with self._lock:
            place = Place(self._end, buffer.size)
            self._end += buffer.size
        left, offset = memoryview(buffer), place.offset
        with told_when_full(self._folder):  # the file has no name that an error could give
            while left:
                written = os.pwrite(self._file.fileno(), left, offset)
                left, offset = left[written:], offset + written
        return place

    def get(self, place: Place, schema: pa.Schema) -> pa.RecordBatch:
        """Read a batch back; its columns lie in the one buffer that was read."""
        buffer = pa.allocate_buffer(place.length)
        left, offset = memoryview(buffer), place.offset
        while left:
            read = os.preadv(self._file.fileno(), [left], offset)
            if not read:
                raise EOFError(
                    f"the spool ends at {offset:,}, before the batch that ends at {place.offset + place.length:,}"
                )
            left, offset = left[read:], offset + read
        return pa.ipc.read_record_batch(buffer, schema)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
