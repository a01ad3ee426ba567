"""The demo's calendar: shares of the history as times."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.demo.span import Span, from_ms, to_ms
from pipelines.errors import BadInputError

SPAN = Span.of(date(2026, 7, 1), 3)


@given(st.lists(st.floats(-1, 2), min_size=2, max_size=20))
def test_time_grows_with_the_share(shares):
    """A larger share is never an earlier time, and every time lies inside the history."""
    times = [SPAN.at(share) for share in sorted(shares)]
    assert times == sorted(times)
    assert SPAN.start_ms <= times[0] <= times[-1] < SPAN.end_ms


@given(st.datetimes(datetime(1971, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 -- bounds of the strategy are naive
def test_milliseconds_round_trip(at):
    """Milliseconds since 1970 and UTC times are the same thing, down to the millisecond."""
    assert 0 <= (at - from_ms(to_ms(at))).total_seconds() < 0.001


def test_months_ends_are_found():
    """The next turn of a month is found inside the history only."""
    assert from_ms(SPAN.next_month_end(to_ms(datetime(2026, 4, 30, 23, 59, tzinfo=UTC)))) == datetime(
        2026, 5, 1, tzinfo=UTC
    )
    assert from_ms(SPAN.next_month_end(to_ms(datetime(2026, 5, 1, tzinfo=UTC)))) == datetime(2026, 6, 1, tzinfo=UTC)
    assert SPAN.next_month_end(to_ms(datetime(2026, 6, 15, tzinfo=UTC))) is None


def test_impossible_spans_are_refused():
    """No months, or months before the first year, are bad input."""
    with pytest.raises(BadInputError, match="at least 1"):
        Span.of(date(2026, 7, 1), 0)
    with pytest.raises(BadInputError, match="first year"):
        Span.of(date(1, 6, 1), 6)
