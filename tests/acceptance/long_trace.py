"""Read a trace of 100,000 spans, a third of them model calls with the messages before each, within REFOLD_MEMORY's default.

    .ci/uv run --locked python tests/acceptance/long_trace.py [SPANS]

Prints what it took; the exit code is 1 when the reading process wanted more.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.support.long_traces import read_long_trace

SPANS = 100_000
MEMORY_BYTES = 1_000_000_000


def main() -> None:
    """Write the trace and read it."""
    spans = int(sys.argv[1]) if len(sys.argv) > 1 else SPANS
    begin = time.monotonic()
    with TemporaryDirectory(prefix="refold-long-trace-") as folder:
        read = read_long_trace(Path(folder), spans=spans, memory_bytes=MEMORY_BYTES)
    print(
        f"{spans:,} spans of one trace, {read:,} of them calls, within {MEMORY_BYTES / 1e9:g} GB, in {time.monotonic() - begin:.0f} s"
    )


if __name__ == "__main__":
    main()
