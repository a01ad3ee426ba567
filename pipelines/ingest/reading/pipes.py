"""What can be read once: standard input, pipes, sockets, terminals.

It is read once, into a private file, and that as often as an importer wants. The file has no name: nobody else can open it, and nothing of it stays when the process dies. A regular file is not copied.
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pipelines.errors import BadInputError

_BLOCK = 1 << 16
_DESCRIPTOR = re.compile(r"/(?:dev|proc/(?:self|\d+))/fd/(\d+)")
_NULL = Path(os.devnull).stat().st_rdev


def refuse_unreadable(paths: Iterable[Path]) -> None:
    """See that every one of `paths` can be read, before the first is; none is opened that could wait for a writer.

    Raises:
        BadInputError: A path is not there, is a folder or a device, or two of them are one pipe.
    """
    seen: dict[tuple[int, int], Path] = {}
    for path in paths:
        status = _status(path)
        kind = status.st_mode
        if stat.S_ISDIR(kind):
            raise BadInputError(f"{path} is a folder; name its files")
        is_null = stat.S_ISCHR(kind) and status.st_rdev == _NULL
        if stat.S_ISBLK(kind) or (stat.S_ISCHR(kind) and not is_null and not _is_terminal(path)):
            raise BadInputError(f"{path} is a device; name a file or a pipe")
        if stat.S_ISREG(kind) and _descriptor(path) is None:
            if not os.access(path, os.R_OK):
                raise BadInputError(f"cannot read {path}: {os.strerror(13)}")
            continue
        other = seen.get((status.st_dev, status.st_ino))
        if other is not None and not is_null:
            raise BadInputError(f"{other} and {path} are one pipe, which can be read once; name it once")
        seen[status.st_dev, status.st_ino] = path


@contextmanager
def spooled(path: Path, folder: Path, on_bytes: Callable[[int], None] | None = None) -> Iterator[IO[bytes] | None]:
    """All that `path` gives, as an open file that can be read again; None for a regular file, which needs none.

    Args:
        path: A path that `refuse_unreadable` has seen; `-` is standard input.
        folder: Where the private file lies, made when it is not there.
        on_bytes: Called with the bytes read so far.

    Raises:
        BadInputError: It cannot be read, or there is no room for it.
    """
    descriptor = _descriptor(path)
    if descriptor is None and stat.S_ISREG(_status(path).st_mode):
        yield None
        return
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = tempfile.TemporaryFile(dir=folder, prefix="pipe-")  # noqa: SIM115 -- closed below
    except OSError as error:
        raise BadInputError(f"cannot keep what {path} gives in {folder}: {error.strerror}") from error
    with kept:
        _copy(path, descriptor, kept, on_bytes)
        yield kept


def _copy(path: Path, descriptor: int | None, kept: IO[bytes], on_bytes: Callable[[int], None] | None) -> None:
    total = 0
    try:
        # Opening a pipe waits for its writer, and Ctrl-C ends that.
        with open(path if descriptor is None else os.dup(descriptor), "rb", buffering=0) as given:  # noqa: PTH123 -- a number
            while block := given.read(_BLOCK):
                kept.write(block)
                total += len(block)
                if on_bytes is not None:
                    on_bytes(total)
        kept.flush()
    except OSError as error:
        raise BadInputError(
            f"{path} could not be read to its end: {error.strerror}; nothing of it was imported"
        ) from error


def _status(path: Path) -> os.stat_result:
    descriptor = _descriptor(path)
    try:
        return path.stat() if descriptor is None else os.fstat(descriptor)
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from error


def _descriptor(path: Path) -> int | None:
    """The open file that `path` means: a path to it would begin at its start, or could not be opened at all (a socket)."""
    text = str(path)
    if text in ("-", "/dev/stdin"):
        return 0
    match = _DESCRIPTOR.fullmatch(text)
    if match is None or (text.startswith("/proc/") and not text.startswith(("/proc/self/", f"/proc/{os.getpid()}/"))):
        return None
    return int(match[1])


def _is_terminal(path: Path) -> bool:
    descriptor = _descriptor(path)
    if descriptor is not None:
        return os.isatty(descriptor)
    with suppress(OSError):
        opened = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            return os.isatty(opened)
        finally:
            os.close(opened)
    return False
