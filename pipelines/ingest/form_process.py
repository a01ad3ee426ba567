"""Run lines of large files are made by a process of their own, and imported here as they come: making them is most of the work.

What comes of it is the same. The lines stand in the one private file of the import, in their order, and reading it waits for what is
still to come. Where files cannot be read, that is what is told, whatever else went wrong meanwhile. The process ends with this one.
"""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import IO, Any, BinaryIO, cast

from pipelines.collecting import collecting_seldom
from pipelines.errors import RefoldError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_lines import Read, form_lines, line_bytes
from pipelines.ingest.forms.form import SHIPPED, Form, Options, form_named

LEAST_BYTES = 50_000_000
"""Of the files together: with fewer a second process costs more than it saves."""
LEAST_MEMORY = 800_000_000
"""Of `REFOLD_MEMORY`: with less there is no room for its libraries beside ours."""
_TOLD_TOGETHER = 32
_PACKED = (b"\x1f\x8b", b"PK", b"PA")
_PACKED_BY = 8
_SIZE = Struct(">Q")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the process is to read.

    Attributes:
        form: Name of the form.
        home: REFOLD_HOME.
        files: The files.
        options: What was asked.
        spool: The file that the lines go to; it is there, and empty.
    """

    form: str
    home: Path
    files: tuple[Path, ...]
    options: Options
    spool: Path


def is_worth_it(form: Form, files: Sequence[Path], options: Options) -> bool:
    """Whether a second process is worth its start: for large files, where there is a processor and memory for it.

    A form that was given something, as a database's address, and one of one's own are read here.
    """
    is_ours = form.name in SHIPPED and type(form).__module__.startswith(f"{__package__}.forms.")
    is_shipped = is_ours and getattr(form, "__dict__", None) == {}
    return (
        is_shipped
        and (os.cpu_count() or 1) > 1
        and options.memory_bytes >= LEAST_MEMORY
        and sum(map(_bytes_of, files)) >= LEAST_BYTES
    )


def _bytes_of(path: Path) -> int:
    with path.open("rb") as file:
        return path.stat().st_size * (_PACKED_BY if file.read(2) in _PACKED else 1)


class Arriving(io.RawIOBase):
    """The lines as a file that is still being written: reading waits for what comes, and adds to `read` what is told of it.

    Args:
        asked: What is to be read.
        read: What the files hold, as `form_lines.read_form` gives it; complete once the end was read.
        progress: Called with the number of lines so far.
    """

    def __init__(self, asked: Reading, read: Read, progress: Callable[[int], None] | None = None) -> None:
        super().__init__()
        self.failure: BaseException | None = None
        self._read, self._progress = read, progress
        self._there, self._is_done = 0, False
        self._file = asked.spool.open("rb", buffering=0)
        package = str(Path(__file__).resolve().parents[2])
        found = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(  # noqa: S603 -- this module, by this interpreter
            # -P: what lies in the current folder is not imported in place of this package
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
            start_new_session=True,  # Ctrl-C is for this one, which ends it
        )
        assert self._process.stdin is not None
        _send(self._process.stdin, asked)

    def fileno(self) -> int:
        """Of the file."""
        return self._file.fileno()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, among what is there."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def readinto(self, buffer: Any) -> int:
        """Read some bytes of what is there; 0 once all was read.

        Raises:
            BadInputError: As `form_lines.form_lines`; anything else that it may raise, too.
            RefoldError: The process ended.
        """
        at = self._file.tell()
        while at >= self._there and not self._is_done:
            self._hear()
        return self._file.readinto(memoryview(buffer)[: self._there - at])

    @contextmanager
    def told_first(self) -> Iterator[None]:
        """Where something goes wrong, files that cannot be read are told first, as if they had been read before.

        The first lines are there when it begins, so that no transaction is open while a file is read through.
        """
        try:
            self._hear()
            yield
        except Exception:
            with suppress(Exception):
                while self.failure is None and not self._is_done:
                    self._hear()
            if self.failure is not None:
                raise self.failure from None
            raise

    def _hear(self) -> None:
        """Wait for the next thing that the process tells."""
        assert self._process.stdout is not None
        try:
            kind, *told = _receive(self._process.stdout)
        except EOFError:
            code = self._process.wait()
            kind, told = "failed", [RefoldError(f"the process that read the files ended with code {code}")]
        if kind == "failed":
            (self.failure,) = told
            raise self.failure
        if kind == "done":
            self._read.tally.add(told[0])
            self._is_done = True
            return
        self._there, places, conversations = told
        self._read.places.extend(places)
        self._read.conversations.extend(conversations)
        if self._progress is not None:
            self._progress(len(self._read.places))

    def close(self) -> None:
        """End the process, whatever it is doing, and let go of the file."""
        if self.closed:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                cast("IO[bytes]", pipe).close()
        self._file.close()
        super().close()


def _send(stream: BinaryIO | IO[bytes], value: Any) -> None:
    data = pickle.dumps(value)
    stream.write(_SIZE.pack(len(data)) + data)
    stream.flush()


def _receive(stream: BinaryIO | IO[bytes]) -> Any:
    head = stream.read(_SIZE.size)
    if len(head) < _SIZE.size:
        raise EOFError
    (size,) = _SIZE.unpack(head)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 -- of a process that this one started, or that started it


def _serve(asks: BinaryIO, tells: BinaryIO) -> None:
    """Read what is asked, and tell of it."""
    asked = cast("Reading", _receive(asks))
    threading.Thread(target=_end_with, args=[asks], daemon=True).start()
    read = Read(asked.form, Tally())
    try:
        with collecting_seldom(), asked.spool.open("ab") as file:
            _write_lines(asked, read, file, tells)
    except Exception as error:  # noqa: BLE001 -- raised where it was asked for
        _send(tells, ("failed", _sendable(error)))
    else:
        _send(tells, ("done", read.tally))


def _write_lines(asked: Reading, read: Read, file: BinaryIO, tells: BinaryIO) -> None:
    form = form_named(asked.form, asked.home)

    def tell() -> None:
        file.flush()
        _send(tells, ("lines", file.tell(), [*read.places], [*read.conversations]))
        read.places.clear()
        read.conversations.clear()

    for line in form_lines(form, asked.files, asked.options, read.tally, read):
        file.write(line_bytes(line))
        if len(read.places) >= _TOLD_TOGETHER:
            tell()
    tell()


def _sendable(error: Exception) -> Exception:
    """The error, or what it says where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    except Exception:  # noqa: BLE001 -- whatever its class objects to
        return RefoldError(f"{type(error).__name__}: {error}")
    return error


def _end_with(asks: BinaryIO) -> None:
    """End when the process that asked has ended."""
    os.read(asks.fileno(), 1)
    os._exit(1)


if __name__ == "__main__":
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is for people
    _serve(sys.stdin.buffer, out)
