"""What progress says: how many of how many, how fast, how much longer."""

from __future__ import annotations

import pytest

from pipelines import console
from pipelines.console import Ticker, duration, size


def test_progress_says_how_much_longer(monkeypatch):
    """At most twice a second; rate and time left follow from what is done; without a total there is no time left."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    told: list[str] = []
    ticker = Ticker("rows", told.append)
    for seconds, done in ((0, 0), (0.2, 10), (1, 250_000), (1.2, 260_000), (4, 1_000_000)):
        now[0] = 100 + seconds
        ticker(done, 1_500_000)
    now[0] = 110
    ticker(0)  # the next month begins
    now[0] = 112
    ticker(4_000)
    assert told == [
        "  250,000 of 1,500,000 rows (17%), 250,000/s, 5 s left",
        "  1,000,000 of 1,500,000 rows (67%), 250,000/s, 2 s left",
        "  4,000 rows, 2,000/s",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7_620, "2 h 07 min")],
)
def test_durations(seconds, text):
    """Seconds below a minute, minutes below an hour, hours above."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (12_345_678, "12.3 MB"), (10**15, "1,000.0 TB")]
)
def test_sizes(number, text):
    """Decimal units, one digit after the point."""
    assert size(number) == text
