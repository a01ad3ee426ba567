"""The demo's page: what was simulated, what the comparison found, which refunds would differ, and what to look at next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.demo.load import LoadResult
from pipelines.diff.dataset import DiffResult
from pipelines.diff.page import render_changes, render_page
from pipelines.lake.lake import Lake

_SHOWN = 5

_REFUNDS = """
SELECT
    unit_id,
    metrics_a['refund_usd'] AS a,
    metrics_b['refund_usd'] AS b
FROM ab_units_history
WHERE experiment = $experiment AND version_id = $version AND status = 'ok'
ORDER BY abs(b - a) DESC, unit_id
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
    out += ["", render_page(lake, diff), "", *_refunds(lake, diff)]
    if not is_new:
        out += ["", "Nothing changed since the last run, and nothing was written."]
    out += ["", *_next_steps(diff), "", f"{seconds:.1f} s"]
    return "\n".join(out)


def _refunds(lake: Lake, diff: DiffResult) -> list[str]:
    with lake.connect() as connection:
        params = {"experiment": diff.experiment, "version": diff.version_id}
        rows: list[tuple[Any, ...]] = connection.sql(_REFUNDS, params=params).fetchall()
    changed = [(unit, a, b) for unit, a, b in rows if a != b]
    total_a, total_b = (sum(row[side] for row in rows) for side in (1, 2))
    title = f"refunds that would differ: {len(changed):,} decisions" + (
        f", the {_SHOWN} largest first" if len(changed) > _SHOWN else ""
    )
    return [title, *render_changes(changed[:_SHOWN], total_a, total_b, "USD")]


def _next_steps(diff: DiffResult) -> list[str]:
    return [
        "look further:",
        f"  refold diffs {diff.experiment}",
        '  refold sql "SELECT unit_class, count(*) FROM ab_units GROUP BY ALL"',
        "  refold sql --tables",
        "  refold review            the review notebook, in the browser",
        "  refold ui                the runs and assets, in the browser",
    ]
