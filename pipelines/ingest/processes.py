"""Processes of one import, and what they tell each other: values over pipes, each with its size before it."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import IO, Any, BinaryIO, cast

from pipelines.errors import RefoldError

_SIZE = Struct(">Q")


def start(module: str) -> subprocess.Popen[bytes]:
    """Start a module of this package by this interpreter; its standard input and output are pipes."""
    package = str(Path(__file__).resolve().parents[2])
    found = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(  # noqa: S603 -- a module of ours
        # -P: what lies in the current folder is not imported in place of this package
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
        start_new_session=True,  # Ctrl-C is for whoever started it, and ends it
    )


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process, whatever it is doing."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            cast("IO[bytes]", pipe).close()


def send(stream: BinaryIO | IO[bytes], value: Any) -> None:
    """Tell the process at the other end something."""
    data = pickle.dumps(value)
    stream.write(_SIZE.pack(len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO | IO[bytes]) -> Any:
    """The next thing that the process at the other end tells.

    Raises:
        EOFError: It has ended.
    """
    (size,) = _SIZE.unpack(_exactly(stream, _SIZE.size))
    data = _exactly(stream, size)
    return pickle.loads(data)  # noqa: S301 -- of a process that this one started, or that started it


def _exactly(stream: BinaryIO | IO[bytes], size: int) -> bytes:
    pieces: list[bytes] = []
    while size:
        piece = stream.read(size)
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def sendable(error: Exception) -> Exception:
    """The error, or what it says where it cannot be sent."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    except Exception:  # noqa: BLE001 -- whatever its class objects to
        return RefoldError(f"{type(error).__name__}: {error}")
    return error


def heard(stream: BinaryIO, take: Callable[[Any], object]) -> None:
    """Give all that is told to `take` as it comes; once whoever tells it has ended, so does this process."""

    def listen() -> None:
        try:
            while True:
                take(receive(stream))
        except EOFError:
            os._exit(1)

    threading.Thread(target=listen, daemon=True).start()


def pipes() -> tuple[BinaryIO, BinaryIO]:
    """What a process is told by, and tells by; what a library prints goes to standard error, for people.

    The first has no buffer, whose lock a thread that listens would hold when the process ends.
    """
    asks, tells = cast("BinaryIO", os.fdopen(os.dup(0), "rb", buffering=0)), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return asks, tells
