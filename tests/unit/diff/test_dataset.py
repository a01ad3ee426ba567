"""From replays to committed datasets: the fast way gives what the plain one gives, however the work is divided."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pipelines.diff import dataset, shards
from pipelines.diff.dataset import build_diff
from pipelines.lake.lake import Lake
from tests.support.replayed_lake import replayed_lake
from tests.unit.diff.plain_pairs import diff_plainly

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
    with lake.connect() as connection:
        return connection.sql(f"SELECT * FROM {name}_history ORDER BY {order}").to_arrow_table().to_pylist()


def test_every_row_is_what_the_plain_way_gives(tmp_path: Path):
    """Texts and calls of every kind of oddity, written in many ways: units and tool-call pairs equal the ones that are
    computed one by one in Python, cell by cell."""
    lake, plan = replayed_lake(tmp_path, some_units(1, 1_000))
    done = build_diff(lake, plan)
    units = {row["unit_id"]: row for row in rows_of(lake, "ab_units", "unit_id")}
    with lake.connect() as connection:
        pairs = connection.sql(
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
    plain = [diff_plainly(row, {}) for row in pairs.to_pylist()]
    assert done.pairs == len(plain) == len(units) == 1_000
    for unit, _ in plain:
        found = units[unit["unit_id"]]
        assert {name: found[name] for name in unit} == unit
    expected = sorted((call for _, calls in plain for call in calls), key=lambda call: (call["unit_id"], call["pair"]))
    found = rows_of(lake, "ab_tool_calls", "unit_id, pair")
    assert [{name: row[name] for name in expected[0]} for row in found] == expected
    settled = [row for row in expected if row["class"] == "same" and row["equal_level"] == "L1"]
    assert len(settled) > 50  # written otherwise, and seen to be the same without being read


@pytest.mark.parametrize("shard", [3, 40])
def test_shards_and_processes_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard: int):
    """In shards of a few decisions, with helper processes or without: the same rows, numbers and hash of all."""
    experiment = """
experiment: made
candidate: {echo: true}
segments: [vertical, agent]
metrics: {letters: {sql: "length(text)", goal: lower, margin: 2}}
"""
    units = some_units(2, 120)
    lake, plan = replayed_lake(tmp_path / "whole", units, experiment)
    monkeypatch.setattr(dataset, "_processes", lambda: 0)
    whole = build_diff(lake, plan)
    other, plan = replayed_lake(tmp_path / "pieces", units, experiment)
    monkeypatch.setattr(shards, "_SHARD_DECISIONS", shard)
    monkeypatch.setattr(shards, "_SMALL", 0)
    monkeypatch.setattr(dataset, "_processes", lambda: 2)
    pieces = build_diff(other, plan)
    assert len(other.files("ab_units")) >= 120 // shard // 5
    assert replace(pieces, seconds=0) == replace(whole, seconds=0)
    for name, order in (
        ("ab_units", "unit_id"),
        ("ab_tool_calls", "unit_id, pair"),
        ("ab_summary", "metric, segment, segment_value"),
    ):
        assert rows_of(lake, name, order) == rows_of(other, name, order)


def test_a_diff_that_fails_leaves_no_files(tmp_path: Path):
    """A metric that fails stops the diff; nothing is committed, and no file of it stays."""
    experiment = "experiment: made\ncandidate: {echo: true}\nmetrics: {bad: {sql: \"error('no')\"}}\n"
    lake, plan = replayed_lake(tmp_path, some_units(3, 20), experiment)
    with pytest.raises(Exception, match="metric bad"):
        build_diff(lake, plan)
    assert not list(tmp_path.glob("ab_*/**/*.parquet"))
