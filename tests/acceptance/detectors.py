"""How many personal values do the detectors find in real conversations, and how much else do they take? Prints tables.

    python tests/acceptance/detectors.py [--count 2000] [--seed 11] [--generator first|held-out|third|all] [--misses N]
    python tests/acceptance/detectors.py --recorded
    python tests/acceptance/detectors.py --hostile

Labelled values, and twice as many labelled near-misses, are planted in recorded messages (those beside the checkout, or else in the demo's). A value is found
where one span of its class has exactly its first and last code point. Every other span that touches a planted sentence is wrong. Homes have the
region of the sample, or, in the second table, none. `--recorded` prints what is found in the conversations themselves, to be judged by eye; `--hostile` how
long texts of a million characters take that are made to be slow.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from pipelines.console import render_table
from pipelines.detect import Detector, Span, find_spans, shipped_detectors
from tests.support import personal_values, personal_values_held_out, personal_values_third
from tests.support.labelled import KINDS, Planted, plant

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "conversations.jsonl.gz"
GENERATORS: dict[str, ModuleType] = {
    "first": personal_values,
    "held-out": personal_values_held_out,
    "third": personal_values_third,
}
RECALL = {"email": 0.97, "iban": 0.97, "card": 0.97, "phone": 0.8}
PRECISION = {"email": 0.98, "iban": 0.98, "card": 0.98, "phone": 0.9}
"""What must hold, by class."""
EMBEDDED = (
    "Hi, I would like to return the blue jacket from last week. It does not fit.",
    "Of course! Could you tell me the order number? I will look it up for you.",
    '{"order_id": "#W2378156", "items": [{"item_id": "1008292230", "price": 2112.94}], "status": "delivered"}',
    "The refund of 147.03 USD was issued on 2024-05-15 10:30.\nIs there anything else?\n- item: 6439196450\n  qty: 2\n",
    "No, that was all. Thanks, bye!",
)
"""Messages where there are no recorded ones."""

HOSTILE = (
    "a@", "@a.", "a.", "a-@", '"@', "%40", "a@a.a", " at a dot ", "(at)", "[at]a", "1 ", "1-", "1 1-", "11 ", "(1", "+1", "0", "4111 ", "phone ", "phone: 1 ",
    ":", "::", "a:", "1.", "1.1.1.", "00:", "AA00 ", "DE89 ", "a1", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----!", "eyJ", "eyJa.", "bearer ",
    "password=", "password: ", "password is is ", 'token"', "a://", "a://b:", "a://:@", "sk-", "AKIA", "\\n", "\\", "例", "1٣", "ext 1 ", "_", "key=a_",
)  # fmt: skip
"""Texts made to be slow are these again and again."""
HOSTILE_CHARACTERS = 1_000_000


@dataclass(slots=True)
class Tally:
    """What was found of one class.

    Attributes:
        values: Labelled values.
        near_misses: Sentences that resemble it and hold none.
        found: Values found exactly.
        wrong: Spans of the class that are no value's.
        misses: Values not found and spans that are wrong, to be read.
    """

    values: int = 0
    near_misses: int = 0
    found: int = 0
    wrong: int = 0
    misses: list[str] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Values found, of those there are."""
        return self.found / self.values

    @property
    def precision(self) -> float:
        """Values found, of all that was taken."""
        return self.found / max(self.found + self.wrong, 1)


def recorded_messages(path: Path = DATA) -> list[str]:
    """Texts of the recorded messages beside the checkout, arguments of tool calls included, or a few of our own."""
    return list(_recorded(path)) if path.exists() else list(EMBEDDED)


def _recorded(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            for message in json.loads(line)["messages"]:
                content = message.get("content") or []
                parts = (
                    [content]
                    if isinstance(content, str)
                    else [part.get("text") or part.get("content") for part in content]
                )
                yield from (part for part in parts if part)
                for call in message.get("tool_calls") or []:
                    arguments = call["function"]["arguments"]
                    yield arguments if isinstance(arguments, str) else json.dumps(arguments)


@cache
def detectors(region: str | None) -> Sequence[Detector]:
    """The shipped ones, for a region."""
    return tuple(shipped_detectors(region))


def measure(
    generator: ModuleType, messages: Sequence[str], count: int, seed: int, *, has_region: bool = True
) -> dict[str, Tally]:
    """Plant so many values of each class, and twice as many near-misses, and look."""
    random = Random(seed)
    tallies = {kind: Tally() for kind in KINDS}
    for sample in generator.make(random, count):
        planted = plant(sample, random.choice(messages), random)
        score(planted, find_spans(planted.text, detectors(sample.region if has_region else None), sample.key), tallies)
    return tallies


def score(planted: Planted, spans: Sequence[Span], tallies: dict[str, Tally]) -> None:
    """Add what was found in one planted sentence."""
    tally = tallies[planted.sample.near]
    tally.values += len(planted.labels)
    tally.near_misses += not planted.labels
    taken = {
        (span.start, span.end, span.kind) for span in spans if span.start < planted.end and span.end > planted.start
    }
    shown = repr(planted.text[max(planted.start - 15, 0) : planted.end + 15]) + (
        f" under {planted.sample.key!r}" if planted.sample.key else ""
    )
    for label in planted.labels:
        tallies[label[2]].found += label in taken
        if label not in taken:
            tallies[label[2]].misses.append(f"missed {planted.text[label[0] : label[1]]!r} in {shown}")
    for start, end, kind in taken - set(planted.labels):
        if kind in tallies:
            tallies[kind].wrong += 1
            tallies[kind].misses.append(f"wrong {planted.text[start:end]!r} in {shown}")


def rows(tallies: dict[str, Tally]) -> list[tuple[str, ...]]:
    """The table, a class a row."""
    return [
        (
            kind, f"{tally.values:,}", f"{tally.near_misses:,}", f"{tally.recall:.3f}", f"{tally.precision:.3f}",
            f"{RECALL[kind]:.2f} / {PRECISION[kind]:.2f}" if kind in RECALL else "",
        )
        for kind, tally in tallies.items()
        if tally.values
    ]  # fmt: skip


COLUMNS = ("class", "values", "near-misses", "recall", "precision", "to hold")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Recall and precision of the detectors, by class.")
    parser.add_argument("--count", type=int, default=2000, help="values of each class (default 2000)")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--generator", choices=[*GENERATORS, "all"], default="all")
    parser.add_argument(
        "--misses", type=int, default=0, help="print so many misses of each class, the first generator's only"
    )
    parser.add_argument("--recorded", action="store_true", help="print what is found in the messages themselves")
    parser.add_argument("--hostile", action="store_true", help="print how long texts take that are made to be slow")
    options = parser.parse_args()
    if options.hostile:
        print_hostile()
        return
    messages = recorded_messages()
    if options.recorded:
        print_recorded(messages)
        return
    for name in GENERATORS if options.generator == "all" else [options.generator]:
        for has_region in (True, False):
            tallies = measure(GENERATORS[name], messages, options.count, options.seed, has_region=has_region)
            home = "homes with a region" if has_region else "homes without a region"
            print(f"\n{name} generator, {home}, {len(messages):,} messages, seed {options.seed}\n")
            print(render_table(COLUMNS, rows(tallies)))
            for kind, tally in tallies.items() if name == "first" else ():
                for line in tally.misses[: options.misses]:
                    print(f"  {kind}: {line}")


def print_hostile() -> None:
    """Seconds of processor time of each detector over each hostile text, the slowest first; the same for half of the text."""
    found = []
    for piece in HOSTILE:
        text = piece * (HOSTILE_CHARACTERS // len(piece))
        for detector in detectors("US"):
            half, whole = (seconds(detector, each) for each in (text[: len(text) // 2], text))
            found.append((whole, half, detector.name, repr(piece)))
    lines = [(piece, name, f"{half:.2f}", f"{whole:.2f}") for whole, half, name, piece in sorted(found, reverse=True)]
    print(render_table(("text", "detector", "s, half", "s"), lines[:15]))


def seconds(detector: Detector, text: str) -> float:
    """Processor time of looking through a text."""
    started = time.process_time()
    for _ in detector.find(text):
        pass
    return time.process_time() - started


def print_recorded(messages: Sequence[str]) -> None:
    """What is found in the messages themselves: the number of spans of each class, and each different value once."""
    found = Counter(
        (span.kind, text[span.start : span.end]) for text in messages for span in find_spans(text, detectors(None))
    )
    for kind in KINDS:
        values = {value: count for (each, value), count in found.items() if each == kind}
        print(f"\n{kind}: {sum(values.values()):,} spans, {len(values):,} different")
        for value, count in sorted(values.items(), key=lambda item: -item[1]):
            print(f"  {count:6,} {value!r}")


if __name__ == "__main__":
    main()
