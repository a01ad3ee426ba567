"""What a line takes is the same number however its bytes come in."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest.reading.room import LineSize, Room

BYTES = st.lists(
    st.sampled_from(
        [
            b'"role"',
            b"\\u00e9",
            b"\\ud83d",
            b"\\u2014",
            "\u2014".encode(),
            "\U0001f600".encode(),
            b",",
            b"{",
            b"[",
            b"ab",
        ]
    )
).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(data=BYTES, cuts=st.lists(st.integers(0, 60)))
def test_pieces_come_to_the_whole(data: bytes, cuts: list[int]):
    whole, pieced = LineSize(Room(0, 0)), LineSize(Room(0, 0))
    whole.add(data)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        pieced.add(data[start:end])
    assert pieced.needed == whole.needed
    assert pieced.fault() == whole.fault()
