"""Where a result's bytes go: a stream that is open already, or a file that is replaced whole.

Standard output is never opened by its name: `>> file` would begin that file anew. Nothing here knows what is written.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from pipelines.console import end_unread
from pipelines.errors import BadInputError

_DESCRIPTOR = re.compile(r"/dev/fd/(\d+)|/proc/(?:self|\d+)/fd/(\d+)")
_NAMED = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
_CHUNK_BYTES = 1 << 20


@contextmanager
def open_output(path: Path | None, *, is_private: bool = False) -> Iterator[BinaryIO]:
    """What a result is written to, as bytes.

    Args:
        path: A file, which is as it was until everything is written and then holds all of it; a pipe or device, which is
            written to; `-`, `/dev/stdout` or `/dev/fd/N`, which are the streams that are open; None is standard output.
        is_private: Whether nobody but this account may read the file, whatever mode one has that it replaces.

    Raises:
        BadInputError: The file cannot be written.
    """
    descriptor = 1 if path is None else _descriptor(path)
    try:
        if descriptor == 1:
            sys.stdout.flush()
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
            return
        if descriptor is not None:
            with os.fdopen(os.dup(descriptor), "wb") as stream:
                yield stream
        elif path is not None and path.exists() and not path.is_file() and not path.is_dir():
            with path.open("wb") as stream:  # a pipe or a device: nothing to replace
                yield stream
        elif path is not None:
            with _replaced(path, is_private=is_private) as stream:
                yield stream
    except BrokenPipeError:
        end_unread()
    except OSError as error:
        raise BadInputError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextmanager
def _replaced(path: Path, *, is_private: bool) -> Iterator[BinaryIO]:
    """A new file beside `path` that takes its place, and its mode if it is not private, once it is whole; links are followed."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise BadInputError(f"{path}: cannot be written: it is a folder")
    temporary = target.with_name(f".{target.name[:100]}.{uuid.uuid4().hex}")
    try:
        opener = _open_private if is_private else None
        with open(temporary, "xb", opener=opener) as stream:  # a path's own takes no opener
            yield stream
        with suppress(FileNotFoundError):
            if not is_private:
                shutil.copymode(target, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _open_private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _descriptor(path: Path) -> int | None:
    """The number of an open stream that `path` is another name of."""
    text = str(path)
    found = _DESCRIPTOR.fullmatch(text)
    return int(found[1] or found[2]) if found else _NAMED.get(text)


@contextmanager
def named_pipe_to(stream: BinaryIO) -> Iterator[str]:
    """A file name for a library that writes to names only: what it writes there goes to `stream`, all of it on leaving.

    Raises:
        OSError: `stream` could not be written; BrokenPipeError: nobody reads it any more.
    """
    reading, writing = os.pipe()
    faults: list[Exception] = []

    def pass_on() -> None:
        with os.fdopen(reading, "rb", buffering=0) as source:
            try:
                shutil.copyfileobj(source, stream, _CHUNK_BYTES)
            except (OSError, ValueError) as error:
                faults.append(error)  # the source is closed now, so the writer ends with a broken pipe

    thread = Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield f"/dev/fd/{writing}"
    except Exception as error:
        if faults:
            raise faults[0] from error
        raise
    finally:
        os.close(writing)
        thread.join()
    if faults:
        raise faults[0]
