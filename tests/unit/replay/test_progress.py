"""How far a replay is, in numbers and in words."""

from __future__ import annotations

from pipelines.replay.progress import ProgressMeter, ReplayProgress, describe_seconds


def test_progress_in_words():
    """Done, what was paid for before, what it cost and how long it will take; what is not known is left out."""
    known = ReplayProgress(1_500, 3_000, 0.25, 1.23456, 75.0)
    assert known.describe() == "1,500 of 3,000 units, 25.0% from what was paid for, 1.2346 USD, about 1 min 15 s left"
    assert ReplayProgress(7).describe() == "7 units"
    assert [describe_seconds(seconds) for seconds in (0.4, 59.6, 3_599, 7_320)] == [
        "0 s",
        "1 min 0 s",
        "59 min 59 s",
        "2 h 2 min",
    ]


def test_the_end_is_always_told():
    """Between the beginning and the end it is told now and then; the end is told with everything that is known."""
    told: list[ReplayProgress] = []
    meter = ProgressMeter(told.append, 4, lambda: (0.5, 2.0))
    for done in range(1, 4):
        meter(done)
    assert told == []
    meter(4, is_end=True)
    assert [(each.done, each.total, each.hit_rate, each.usd, each.seconds_left) for each in told] == [
        (4, 4, 0.5, 2.0, 0)
    ]
    meter(4, is_end=True)
    assert len(told) == 1, "and told once"
    ProgressMeter(None)(1, is_end=True)
