"""An interrupt that is heard: a statement deep in a library does not keep Ctrl-C waiting."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_PATIENCE = 2.0
"""Seconds for the usual way out: Python raises KeyboardInterrupt once the library lets it."""


@contextmanager
def heard(patience: float = _PATIENCE) -> Iterator[None]:
    """Inside the block, an interrupt ends the process with exit code 130 at the latest after `patience` seconds.

    For work that writes nothing but its output. Elsewhere than in the main thread it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    left = threading.Event()

    def watch() -> None:
        while (numbers := os.read(reader, 1)) and numbers[0] != signal.SIGINT:
            pass
        if numbers and not left.wait(patience):
            sys.stderr.write("refold: stopped\n")
            sys.stderr.flush()
            os._exit(130)

    watcher = threading.Thread(target=watch, name="interrupt", daemon=True)
    watcher.start()
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(before)
        os.close(writer)
        watcher.join(patience)
        os.close(reader)
