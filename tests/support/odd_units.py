"""Units whose texts and calls have every kind of oddity, and the rows that a lake holds of them."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from pipelines.lake.lake import Lake

NAMES = ["lookup", "refund", "send"]
WORDS = [
    "the",
    "refund",
    "of",
    "order",
    "17",
    "is",
    "on",
    "its",
    "way",
    "—",
    "see",
    "https://example.com/a.",
    "12,50",
    "€",
    "(twice)",
]
ODD = [
    None,
    "null",
    "{}",
    "[]",
    '"{broken"',
    '"{\\"a\\":1,\\"a\\":2}"',
    '"\\u00e9"',
    '"é"',
    '"{\\"x\\": 1e400}"',
    '{"n": 123456789012345678901}',
    '{"s": "\\ud800"}',
    '"{\\"s\\": \\"\\\\ud800\\"}"',
    '{"deep": {"a": [1, {"b": null}]}}',
    '{"a": 1,}',
    "not json",
]


def some_arguments(random: Random) -> str | None:
    if random.random() < 0.15:
        return random.choice(ODD)
    value = {key: random.choice([1, 2, 1.5, "Rome", " Rome", "é", [1, 2]]) for key in random.sample("abc", 2)}
    return json.dumps(value, ensure_ascii=random.random() < 0.5)


def rewritten(arguments: str | None, random: Random) -> str | None:
    """The same value written otherwise: as a string, with other spacing, other escapes or other key order."""
    try:
        value = json.loads(arguments or "")
    except ValueError:
        return arguments
    if isinstance(value, dict):
        value = dict(random.sample(list(value.items()), len(value)))
    separators = random.choice([(", ", ": "), (",", ":")])
    is_ascii = random.random() < 0.5 or "\\ud8" in (arguments or "")
    text = json.dumps(value, ensure_ascii=is_ascii, separators=separators)
    return json.dumps(text) if isinstance(value, dict) and random.random() < 0.4 else text


def some_text(random: Random) -> str | None:
    if random.random() < 0.1:
        return random.choice([None, "", " ", "\n", "x\x00y"])
    return random.choice([" ", "\n", "  "]).join(random.choices(WORDS, k=random.randrange(1, 30)))


def some_unit(random: Random, stream: int) -> dict[str, Any]:
    calls = [(random.choice(NAMES), some_arguments(random)) for _ in range(random.choice([0, 0, 1, 1, 1, 2, 3]))]
    other = [(name, rewritten(arguments, random)) for name, arguments in calls]
    change = random.randrange(8)
    if change == 0:
        other.append((random.choice(NAMES), some_arguments(random)))
    elif change == 1 and other:
        other[0] = (other[0][0], some_arguments(random))
    elif change == 2:
        random.shuffle(other)
    elif change == 3:
        other = other[1:]
    text = some_text(random)
    unit: dict[str, Any] = {"stream": stream, "text_a": text, "calls_a": calls, "calls_b": other}
    unit["text_b"] = text if random.random() < 0.5 else some_text(random)
    unit["recorded"] = {"cost_usd": random.choice([None, random.random()]), "latency_ms": random.random() * 1e3}
    unit["replayed"] = {"cost_usd": random.choice([None, random.random()]), "latency_ms": random.random() * 1e3}
    if random.random() < 0.1:
        unit["replayed"] |= {"status": "failed", "reason": "timeout", "text": None, "tool_calls": []}
    return unit


def some_units(seed: int, count: int) -> list[dict[str, Any]]:
    random = Random(seed)
    return [some_unit(random, number // 5) for number in range(count)]


def rows_of(lake: Lake, name: str, order: str) -> list[dict[str, Any]]:
    query = f"SELECT * FROM {name}_history ORDER BY {order}"
    with lake.connect(query) as connection:
        return connection.sql(query).to_arrow_table().to_pylist()


def unit_pairs(lake: Lake) -> list[dict[str, Any]]:
    """Every unit's two sides as `diff_plainly` reads them."""
    with lake.connect("FROM replays_history, decisions") as connection:
        table = connection.sql(
            """
            SELECT
                b.unit_id, b.status, a.text AS text_a, b.text AS text_b, b.tool_calls AS tool_calls_b,
                list_transform(
                    a.tool_calls,
                    LAMBDA call: {
                        'block': 0, 'name': call.name, 'arguments': call.arguments, 'recorded': call.recorded
                    }
                ) AS tool_calls_a
            FROM replays_history AS b
            JOIN decisions AS a ON b.unit_id = a.aggregate_id || '/' || a.decision
            """
        ).to_arrow_table()
    return table.to_pylist()
