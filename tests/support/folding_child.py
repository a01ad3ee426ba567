"""Folds a month in a process of its own, which may kill itself where a row of a file of its own is written.

python -m tests.support.folding_child LAKE MEMORY LARGE_SHARE MONTH [POINT]
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from pipelines.folds.run import fold_month
from pipelines.lake import partition
from pipelines.lake.lake import Lake

SNAPSHOT_EVENTS = 200
TABLE = "conversation_months"
"""Whose rows are states: that of a long stream is the largest row of all."""


POINTS = ("opened", "written", "closed", "offered", "committed")


def end_at(point: str) -> None:
    """End this process there, as `kill -9` does."""

    def end() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class File(partition.NewFile):
        """Ends where the file of a large row is opened, has its row, or is closed."""

        def __init__(self, root: Path, *given: Any, **options: Any) -> None:
            super().__init__(root, *given, **options)
            self.is_it = bool(options) and root.name == TABLE
            self._end("opened")

        def write(self, *given: Any) -> None:
            super().write(*given)
            self._end("written")

        def close(self) -> Any:
            done = super().close()
            self._end("closed")
            return done

        def _end(self, here: str) -> None:
            if self.is_it and here == point:
                end()

    def commit(lake: Lake, dataset: Any, *given: Any, _commit: Any = Lake._commit, **more: Any) -> Any:
        if dataset.name == TABLE and point == "offered":
            end()
        done = _commit(lake, dataset, *given, **more)
        if dataset.name == TABLE and point == "committed":
            end()
        return done

    partition.NewFile = File  # type: ignore[misc]
    Lake._commit = commit  # type: ignore[method-assign]


def main() -> None:
    """Fold."""
    root, memory, share, month, *point = sys.argv[1:]
    partition.LARGE_SHARE = float(share)
    if point:
        end_at(point[0])
    fold_month(Lake(Path(root), memory_bytes=int(memory), snapshot_events=SNAPSHOT_EVENTS), month)


if __name__ == "__main__":
    main()
