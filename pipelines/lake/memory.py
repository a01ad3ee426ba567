"""How much memory the process may still take.

`REFOLD_MEMORY` bounds the whole process. Python, the libraries and what the caller holds are in it already when work
begins, so a share is computed from what is left, not from the setting.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

_STATM = Path("/proc/self/statm")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""What glibc's `mallopt` sets, by its numbers: how much that is free it keeps, and from which size on it keeps nothing."""
_MOST_KEPT = 2**31 - 1
_LARGEST_KEPT = 2**25
"""The most that glibc takes for these, and what it would come to by itself once pieces as large are freed."""


def resident_bytes() -> int:
    """Resident memory of this process now; where the system does not tell, the largest so far."""
    if _STATM.exists():
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak_bytes()


def peak_bytes() -> int:
    """The largest resident memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def free_bytes(limit: int) -> int:
    """Bytes that this process may still take to stay within `limit`; not negative."""
    return max(limit - resident_bytes(), 0)


@contextmanager
def keeping_freed(size: int) -> Iterator[None]:
    """Let the allocator, where it is glibc's, keep about `size` bytes that are freed for what is asked for next; given back on leaving.

    Work that asks for as much memory again and again is given pages that the system must clear each time: 6 % of a fold's CPU.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        yield
        return
    set_option(_MMAP_THRESHOLD, _LARGEST_KEPT)
    set_option(_TRIM_THRESHOLD, min(size, _MOST_KEPT))
    try:
        yield
    finally:
        set_option(_TRIM_THRESHOLD, 2 * _LARGEST_KEPT)
        give_back()


def give_back(connection: duckdb.DuckDBPyConnection | None = None) -> None:
    """Return to the system what this thread has freed, and what DuckDB has: allocators keep it, and the process's bound counts it.

    Args:
        connection: One of DuckDB's, of those in use here.
    """
    if connection is not None:
        # DuckDB 2.0 keeps what a scan has freed, after one of large texts 150 MB (duckdb/duckdb#14087), but gives it back
        # whenever its limit is set, also to what it is
        (limit,) = connection.execute("SELECT current_setting('memory_limit')").fetchall()[0]
        connection.execute(f"SET memory_limit = '{limit}'")
    import pyarrow as pa  # noqa: PLC0415 -- who only asks how much is left needs no columns

    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others return memory by themselves
    if trim is not None:
        trim(0)
