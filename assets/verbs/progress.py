"""What is told of a verb's work while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipelines.console import Ticker

if TYPE_CHECKING:
    from pipelines.replay.progress import ReplayProgress

Tell = Callable[[str], None]
"""Takes one line."""


def progress(what: str, tell: Tell) -> Callable[..., None]:
    """What long steps report to: counts are told now and then; names of finished tables are in the run's log."""
    ticker = Ticker(what, tell)

    def report(done: int | str | ReplayProgress, total: int | None = None) -> None:
        if isinstance(done, int):
            ticker(done, total)
        elif not isinstance(done, str):
            tell(f"  {done.describe()}")

    return report
