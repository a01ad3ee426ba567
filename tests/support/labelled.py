"""Labelled sentences: what generators of personal values and of their near-misses have in common, and planting them in messages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

KINDS = ("email", "iban", "card", "network", "phone", "secret")
Label = tuple[int, int, str]
"""First code point, the one after the last, class."""
_BREAK = re.compile(r"(?<=[.!?])\s|\n")


@dataclass(frozen=True, slots=True)
class Sample:
    """A text with what must be found in it.

    Attributes:
        text: A sentence, a line of a log, or the whole value of a JSON member.
        labels: What must be found in it, in order; none in a near-miss.
        near: The class that a near-miss resembles, or the class of the value.
        key: Name of the JSON member whose value the text is; None for a part of a message.
        region: Region of the home in which it is said.
    """

    text: str
    labels: tuple[Label, ...]
    near: str
    key: str | None = None
    region: str = "US"


@dataclass(frozen=True, slots=True)
class Planted:
    """A sample in a message: labels moved to where they are, and the part of the message that is the sample's."""

    text: str
    labels: tuple[Label, ...]
    start: int
    end: int
    sample: Sample


def labelled(
    template: str, value: str, kind: str, *, is_value: bool, key: str | None = None, region: str = "US"
) -> Sample:
    """The template with the value in the place of `{}`, labelled where it is a value and no near-miss."""
    start = template.index("{}")
    text = template.replace("{}", value, 1)
    labels = ((start, start + len(value), kind),) if is_value else ()
    return Sample(text, labels, kind, key, region)


def as_json(sample: Sample, name: str, random: Random) -> Sample:
    """A sample that is a value alone, as a JSON text that a tool returned: `{"phone": "…", …}`, in one of the spellings logs have."""
    value = sample.text
    before, after = random.choice(
        [
            ('{"id": 4, "%s": "', '", "is_active": true}'),
            ("{'%s': '", "', 'n': 2}"),
            ("- name: x\n  %s: ", "\n  n: 1\n"),
            ('{\\"%s\\": \\"', '\\"}'),
            ("%s=", "\nn=2\n"),
        ]
    )
    before = before % name
    if '"' in value or "\n" in value:
        before, value, after = '{"%s": ' % name + '"', json.dumps(value, ensure_ascii=False)[1:-1], '"}'  # noqa: UP031
    labels = tuple((len(before), len(before) + len(value), kind) for _, _, kind in sample.labels)
    return Sample(before + value + after, labels, sample.near, None, sample.region)


def plant(sample: Sample, message: str, random: Random) -> Planted:
    """The sample between two sentences of a message, or alone where it is a JSON member's value."""
    if sample.key is not None:
        return Planted(sample.text, sample.labels, 0, len(sample.text), sample)
    places = [0, *(match.end() for match in _BREAK.finditer(message)), len(message)]
    place = random.choice(places)
    before, after = message[:place], message[place:]
    gap = random.choice([" ", "\n"])
    before += gap if before and not before.endswith("\n") else ""
    after = gap + after if after else after
    start, end = len(before), len(before) + len(sample.text)
    labels = tuple((first + start, last + start, kind) for first, last, kind in sample.labels)
    return Planted(before + sample.text + after, labels, start, end, sample)


def digits(random: Random, count: int) -> str:
    """So many random digits."""
    return "".join(random.choice("0123456789") for _ in range(count))


def signs(random: Random, alphabet: str, count: int) -> str:
    """So many random signs of an alphabet."""
    return "".join(random.choice(alphabet) for _ in range(count))


def fill(random: Random, form: str) -> str:
    """A form with `#` as any digit, `N` as 2 to 9, `¤` as a lower-case letter, `^` as an upper-case one, `~` as a hexadecimal digit."""
    made = {
        "#": lambda: random.choice("0123456789"),
        "N": lambda: random.choice("23456789"),
        "¤": lambda: random.choice("abcdefghijklmnopqrstuvwxyz"),
        "^": lambda: random.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
        "~": lambda: random.choice("0123456789abcdef"),
    }
    return "".join(made[sign]() if sign in made else sign for sign in form)


def luhn(number: str) -> str:
    """The number with its last digit replaced by the one that ISO/IEC 7812-1 demands."""
    total = 0
    for place, digit in enumerate(reversed(number[:-1])):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled // 10 + doubled % 10
    return number[:-1] + str(-total % 10)


def iban(country: str, account: str) -> str:
    """The account with the check digits that ISO 13616 demands."""
    spelled = "".join(str(int(sign, 36)) for sign in account + country + "00")
    return f"{country}{98 - int(spelled) % 97:02d}{account}"


def in_groups(text: str, sizes: Sequence[int], separator: str) -> str:
    """The text in groups of these sizes, the last size going on to the end."""
    groups, rest, place = [], text, 0
    while rest:
        size = sizes[min(place, len(sizes) - 1)]
        groups.append(rest[:size])
        rest, place = rest[size:], place + 1
    return separator.join(groups)


Maker = Callable[[Random], Sample]


def draw(makers: Sequence[Maker], random: Random, count: int) -> Iterator[Sample]:
    """So many samples, from the makers in turn."""
    for place in range(count):
        yield makers[place % len(makers)](random)
