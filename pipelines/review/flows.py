"""From what A did to what B did instead: pairs by the action of both sides, as ribbons.

The action of a decision is the set of tools that it calls, or a text. Turns and conversations call too many tools for
that: theirs are shown call by call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.diff.versions import Version
from pipelines.lake.lake import Lake
from pipelines.review.changes import reading_pairs

SHOWN = 7
"""Actions of a side that have a ribbon of their own; the rest is one."""
OTHER = "other tools"
TEXT = "a text"
NOTHING = "nothing"
NO_ANSWER = "no answer"
NO_CALL = "no call"

_BY_DECISION = """
WITH acts AS (
    SELECT
        unit_id,
        string_agg(DISTINCT name_a, ' + ' ORDER BY name_a) AS tools_a,
        string_agg(DISTINCT name_b, ' + ' ORDER BY name_b) AS tools_b
    FROM ab_tool_calls_history
    WHERE experiment = $experiment AND version_id = $version_id
    GROUP BY unit_id
),

-- no text is held for the join
units AS (
    SELECT
        unit_id,
        status,
        CASE WHEN text_a IS NULL THEN $nothing ELSE $text END AS words_a,
        CASE WHEN text_b IS NULL THEN $nothing ELSE $text END AS words_b
    FROM ab_units_history
    WHERE experiment = $experiment AND version_id = $version_id AND status <> 'not_asked'
)

SELECT
    coalesce('tools:' || tools_a, words_a) AS act_a,
    CASE WHEN status <> 'ok' THEN $no_answer ELSE coalesce('tools:' || tools_b, words_b) END AS act_b,
    count(*) AS pairs
FROM units
LEFT JOIN acts USING (unit_id)
GROUP BY ALL
ORDER BY pairs DESC, act_a, act_b
"""
_BY_CALL = """
SELECT
    coalesce('tools:' || name_a, $no_call) AS act_a,
    coalesce('tools:' || name_b, $no_call) AS act_b,
    count(*) AS pairs
FROM ab_tool_calls_history
WHERE experiment = $experiment AND version_id = $version_id
GROUP BY ALL
ORDER BY pairs DESC, act_a, act_b
"""
_HEIGHT, _GAP, _LINE = 1000.0, 6.0, 80.0
"""Of the drawing, of the space between two actions, of a name in two lines."""


@dataclass(frozen=True, slots=True)
class Flows:
    """How often A did this where B did that.

    Attributes:
        counts: (action of A, action of B, whether they are the same) → how often, most frequent first.
        unit: What is counted.
    """

    counts: Mapping[tuple[str, str, bool], int]
    unit: str

    @property
    def total(self) -> int:
        """How often anything was done."""
        return sum(self.counts.values())

    @property
    def same(self) -> int:
        """How often both did the same."""
        return sum(count for (_, _, is_same), count in self.counts.items() if is_same)

    def side(self, place: int) -> dict[str, int]:
        """Actions of A (0) or B (1) with how often; the most frequent first, what is not named last."""
        sizes: Counter[str] = Counter()
        for acts, count in self.counts.items():
            sizes[acts[:2][place]] += count
        return dict(sorted(sizes.items(), key=lambda item: (item[0] == OTHER, -item[1], item[0])))


def load_flows(lake: Lake, version: Version) -> Flows:
    """Count the actions of both sides over a version."""
    is_decision = version.unit == "decision"
    params = {"experiment": version.experiment, "version_id": version.version_id}
    names = {"nothing": NOTHING, "text": TEXT, "no_answer": NO_ANSWER} if is_decision else {"no_call": NO_CALL}
    with reading_pairs(lake, version) as connection:
        rows = connection.execute(_BY_DECISION if is_decision else _BY_CALL, params | names).fetchall()
    shown = _shown(rows)
    counts: Counter[tuple[str, str, bool]] = Counter()
    for a, b, pairs in rows:
        counts[_name(a, shown), _name(b, shown), a == b] += pairs
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    return Flows(ordered, "decisions" if is_decision else "tool calls")


def _shown(rows: Sequence[tuple[str, str, int]]) -> frozenset[str]:
    """The actions with tools that differ most often between the sides, and then those that are taken most often."""
    changed: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for a, b, pairs in rows:
        for act in (a, b):
            taken[act] += pairs
            changed[act] += pairs if a != b else 0
    tools = sorted(
        (act for act in taken if act.startswith("tools:")), key=lambda act: (-changed[act], -taken[act], act)
    )
    return frozenset(tools if len(tools) <= SHOWN + 1 else tools[:SHOWN])


def _name(act: str, shown: frozenset[str]) -> str:
    if not act.startswith("tools:"):
        return act
    return act.removeprefix("tools:") if act in shown else OTHER


def view_flows(flows: Flows) -> dict[str, Any] | None:
    """What `flows.html` shows: names of actions at their places, ribbons between them, and the counts; None when nothing was done."""
    if not flows.total:
        return None
    sides = flows.side(0), flows.side(1)
    scale = min(_scale(side) for side in sides)
    stacks = [_stack(side, scale) for side in sides]
    places = [{name: place for place, name in enumerate(side)} for side in sides]
    ribbons = []
    top_a, top_b = ({name: top for name, (top, _) in stack.items()} for stack in stacks)
    for a, b, is_same in sorted(flows.counts, key=lambda acts: (places[0][acts[0]], places[1][acts[1]], acts[2])):
        count = flows.counts[a, b, is_same]
        size = count * scale
        path = _ribbon(top_a[a], top_b[b], size)
        ribbons.append({"path": path, "is_same": is_same, "title": f"{a} → {b}: {count:,}"})
        top_a[a] += size
        top_b[b] += size
    names = [
        [(name, side[name], (top + height / 2) / _HEIGHT) for name, (top, height) in stack.items()]
        for side, stack in zip(sides, stacks, strict=True)
    ]
    return {
        "height": f"{_HEIGHT:.0f}",
        "names_a": names[0],
        "names_b": names[1],
        "ribbons": ribbons,
        "note": f"{flows.same:,} of {flows.total:,} {flows.unit} with the same tools on both sides (grey).",
        "unit": flows.unit,
        "counts": [(a, b, count) for (a, b, _), count in flows.counts.items()],
    }


def _scale(side: Mapping[str, int]) -> float:
    """Height of one, so that every action has room for its name and all of them fill the drawing."""
    low, high = 0.0, _HEIGHT / max(sum(side.values()), 1)
    for _ in range(40):
        scale = (low + high) / 2
        is_too_high = sum(max(count * scale, _LINE) + _GAP for count in side.values()) > _HEIGHT
        low, high = (low, scale) if is_too_high else (scale, high)
    return low


def _stack(side: Mapping[str, int], scale: float) -> dict[str, tuple[float, float]]:
    """Top and height of every action of a side, in the middle of its room."""
    stacked, top = {}, 0.0
    for name, count in side.items():
        height = count * scale
        room = max(height, _LINE)
        stacked[name] = top + (room - height) / 2, height
        top += room + _GAP
    return stacked


def _ribbon(top_a: float, top_b: float, size: float) -> str:
    """The outline of a ribbon, as an SVG path."""
    return (
        f"M0 {top_a:.2f}C50 {top_a:.2f} 50 {top_b:.2f} 100 {top_b:.2f}V{top_b + size:.2f}"
        f"C50 {top_b + size:.2f} 50 {top_a + size:.2f} 0 {top_a + size:.2f}Z"
    )
