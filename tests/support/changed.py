"""Values in which anything may stand anywhere: JSON documents with something odd in a few places."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

ODD: tuple[Any, ...] = (
    None, "", 0, -1, 1.5, True, [], {}, "x", ["x"], {"a": 1}, [[1]], [None], "2026-01-01T00:00:00Z", {"role": "user"}, [{"role": 5}],
    "[{'a': 1}]", '{"a":', "\x1b[31m", "9" * 400, 2**70, 1e308, {"": None}, "null", ...,
)  # fmt: skip
"""What is put somewhere; the last one takes away what stands there."""


def places(value: Any, steps: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values inside of one."""
    if steps:
        yield steps
    for step, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from places(inner, (*steps, step))


def changed(rows: list[Any], seed: int, times: int) -> list[Any]:
    """The rows with something odd in a few places."""
    rows, chance = copy.deepcopy(rows), random.Random(seed)
    for _ in range(times):
        found = list(places(rows))
        if not found:  # the change before took away all there was
            break
        *way, last = chance.choice(found)
        at: Any = rows
        for step in way:
            at = at[step]
        odd = chance.choice(ODD)
        if odd is ...:
            del at[last]
        else:
            at[last] = copy.deepcopy(odd)
    return rows
