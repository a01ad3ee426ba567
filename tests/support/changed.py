"""Values in which anything may stand anywhere: JSON documents with something odd in a few places."""

from __future__ import annotations

import copy
import json
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


def changed(value: Any, seed: int, times: int) -> Any:
    """A list or an object with something odd in a few places, of JSON that stands in a text too."""
    value, chance = copy.deepcopy(value), random.Random(seed)
    for _ in range(times):
        _change(value, chance)
    return value


def _change(value: Any, chance: random.Random) -> None:
    found = list(places(value))
    if not found:  # the change before took away all there was
        return
    *way, last = chance.choice(found)
    for step in way:
        value = value[step]
    inner = _inner(value[last])
    if inner is not None and chance.random() < 0.8:
        _change(inner, chance)
        value[last] = json.dumps(inner)
        return
    odd = chance.choice(ODD)
    if odd is ...:
        del value[last]
    else:
        value[last] = copy.deepcopy(odd)


def _inner(text: Any) -> Any:
    """The list or object that a text is the JSON of, with something in it."""
    if not isinstance(text, str) or text[:1] not in ("{", "["):
        return None
    try:
        return json.loads(text) or None
    except ValueError:
        return None
