"""The file of lines that an import skipped, with the reason for each.

It appears whole or not at all, and only holds lines of files whose import was committed: a reader may trust that what
is not in it is in the store.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pipelines.errors import BadInputError
from pipelines.ingest.faults import BadLineError


class BadLines:
    r"""Collects skipped lines beside `path` and moves them there at the end, if anything was committed.

    Each is one JSON line `{file, line, path, reason, text}`; bytes that are not UTF-8 are shown as `\xNN`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._committed: int | None = None
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except OSError as error:
            raise BadInputError(f"cannot write {path}: {error.strerror}") from error
        self._temporary = Path(name)
        self._file: IO[bytes] = os.fdopen(handle, "wb")

    def add(self, file: Path, number: int, fault: BadLineError, data: bytes) -> None:
        """Note one bad line of `file`."""
        row = {
            "file": str(file),
            "line": number,
            "path": fault.json_path,
            "reason": fault.reason,
            "text": data.decode("utf-8", errors="backslashreplace"),
        }
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def commit(self) -> None:
        """What was noted so far belongs to a committed import."""
        self._committed = self._file.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._committed is not None:
                self._file.truncate(self._committed)
                self._file.flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()
            if self._committed is None:
                self._temporary.unlink(missing_ok=True)
            else:
                self._temporary.replace(self._path)
