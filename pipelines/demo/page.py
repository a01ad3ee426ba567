"""The demo's page: what was simulated, what the comparison found, which refunds would differ, and what to look at next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.demo.load import LoadResult
from pipelines.diff.gating import decide_version
from pipelines.diff.result import DiffResult
from pipelines.experiment.registry import find_gate
from pipelines.lake.lake import Lake
from pipelines.review.answer import render_decision
from pipelines.review.page import render_page

_SHOWN = 5

_REFUNDS = """
SELECT
    units.unit_id,
    units.metrics_a['refund_usd'] AS a,
    units.metrics_b['refund_usd'] AS b,
    coalesce(calls.names, 'no tool call') AS instead
FROM ab_units_history AS units
LEFT JOIN (
    SELECT unit_id, string_agg(name_b, ', ' ORDER BY pair) AS names
    FROM ab_tool_calls_history
    WHERE experiment = $experiment AND version_id = $version AND name_b IS NOT NULL
    GROUP BY unit_id
) AS calls ON calls.unit_id = units.unit_id
WHERE units.experiment = $experiment AND units.version_id = $version AND units.status = 'ok'
ORDER BY abs(b - a) DESC, units.unit_id
"""


@dataclass(frozen=True, slots=True)
class DemoMonth:
    """One month of the demo: its rows by dataset, and whether anything was written."""

    month: str
    rows: dict[str, int]
    is_written: bool


def render_demo(lake: Lake, loaded: LoadResult, months: list[DemoMonth], diff: DiffResult, seconds: float) -> str:
    """The page, as plain text."""
    is_new = loaded.appended > 0 or diff.is_written or any(month.is_written for month in months)
    out = [
        "This input is simulated: a made-up support desk with made-up people. The pipeline that it went through is the real one.",
        "",
        f"{loaded.events:,} events in {len(loaded.months)} months"
        + ("" if loaded.appended else ", all of them there already"),
    ]
    for month in months:
        rows = month.rows
        out.append(
            f"  {month.month}   {rows['events']:>9,} events  {rows['conversation_months']:>7,} conversations  "
            f"{rows['call_months']:>6,} calls  {rows['tool_calls']:>8,} tool calls"
            + ("" if month.is_written else "   up to date")
        )
    decision = decide_version(lake, diff.experiment, diff.version_id, find_gate(lake, diff.experiment))
    out += ["", render_page(lake, diff), "", *_refunds(lake, diff), "", render_decision(decision)]
    if not is_new:
        out += ["", "Nothing changed since the last run, and nothing was written."]
    out += ["", *_next_steps(diff), "", f"{seconds:.1f} s"]
    return "\n".join(out)


def _refunds(lake: Lake, diff: DiffResult) -> list[str]:
    with lake.connect() as connection:
        params = {"experiment": diff.experiment, "version": diff.version_id}
        rows: list[tuple[Any, ...]] = connection.sql(_REFUNDS, params=params).fetchall()
    changed = [row for row in rows if row[1] != row[2]]
    total_a, total_b = (sum(row[side] for row in rows) for side in (1, 2))
    largest = f", the {_SHOWN} largest first" if len(changed) > _SHOWN else ""
    out = [f"refunds that would differ: {len(changed):,} decisions{largest}"]
    out += [f"  {unit:<42}{a:>9,.2f} → {b:>8,.2f} USD   B: {instead}" for unit, a, b, instead in changed[:_SHOWN]]
    return [*out, f"  {'all decisions':<42}{total_a:>9,.2f} → {total_b:>8,.2f} USD   {total_b - total_a:+,.2f} USD"]


def _next_steps(diff: DiffResult) -> list[str]:
    return [
        "look further (in a checkout, refold is .ci/uv run refold):",
        f"  refold diffs {diff.experiment}",
        '  refold sql "SELECT unit_class, count(*) FROM ab_units GROUP BY ALL"',
        "  refold sql --tables",
        "  refold review            the review notebook, in the browser",
        "  refold ui                the runs and assets, in the browser",
    ]
