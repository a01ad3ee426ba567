"""`detectors`: all shipped detectors over the texts of recorded messages, or of a few of our own where there are none.

The limit is one search with a plain pattern for e-mail addresses over the same texts: what any reading in Python with `re` must do.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice

from pipelines.detect import find_spans, shipped_detectors
from tests.acceptance.detectors import EMBEDDED, recorded_messages
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.rounds import Bench, Measure

RATE = Target("at least", 3_000, of="figure")
_PLAIN = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `detectors`."""
    given = {"most": bench.events}
    rounds = bench.interleave({"detectors": (detect, given), "search": (search, given)})
    yield rounds.figure(
        "detectors: e-mail, IBAN, card, network, phone, secret",
        "messages/s",
        ("detectors", "rate"),
        peer=("search", "rate"),
        peer_name="one search with re",
        target=RATE,
    )
    yield rounds.figure("detectors: the same, in characters", "characters/s", ("detectors", "characters"))


def detect(most: int) -> Measure:
    """Find all spans in so many messages at most, in a home with a region, in which more counts as a phone."""
    detectors = shipped_detectors("US")
    find_spans("+1 212 555 0123", detectors)  # numbering plans are loaded with the first number
    return _timed(lambda text: find_spans(text, detectors), most)


def search(most: int) -> Measure:
    """Look for all matches of one pattern."""
    return _timed(_PLAIN.findall, most)


def _timed(look: Callable[[str], object], most: int) -> Measure:
    messages = recorded_messages()
    if len(messages) == len(EMBEDDED):
        messages = list(islice(cycle(messages), most))
    messages = messages[:most]
    started = time.perf_counter()
    for text in messages:
        look(text)
    seconds = time.perf_counter() - started
    return {"rate": len(messages) / seconds, "characters": sum(map(len, messages)) / seconds}
