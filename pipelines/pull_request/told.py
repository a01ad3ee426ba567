"""What is read of a version for a pull request: its headline, and the beginnings of its largest changes."""

from __future__ import annotations

from dataclasses import dataclass

from pipelines.diff.gating import Decision
from pipelines.diff.versions import Version
from pipelines.lake.lake import Lake
from pipelines.review.changes import Change, list_metrics, load_changes
from pipelines.review.headline import Headline, load_headline

CHANGES = 12
"""Changes that are read."""
READS = "FROM ab_summary_history, ab_units_history, ab_tool_calls_history, calls, experiments, versions_history"
"""All relations that are read, for `Lake.reading`."""


@dataclass(frozen=True, slots=True)
class Told:
    """One version, as far as a pull request is told of it.

    Attributes:
        headline: The version at a glance.
        decision: Its answer, by the gate that decides.
        changes: The largest changes, the largest first.
        order: What they are ordered by: the primary metric, or `calls`.
        changed: Pairs that changed.
    """

    headline: Headline
    decision: Decision
    changes: tuple[Change, ...]
    order: str
    changed: int


def load_told(lake: Lake, version: Version, decision: Decision) -> Told:
    """Read a complete version that came to `decision`."""
    headline = load_headline(lake, version)
    order = headline.primary if headline.primary in list_metrics(lake, version) else "calls"
    page = load_changes(lake, version, order=order, page_size=CHANGES)
    return Told(headline, decision, page.rows, order, page.total)
