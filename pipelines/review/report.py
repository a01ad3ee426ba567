"""A version as one file that anybody can open: what is read for it, and where it is kept.

The file holds recorded texts, like the lake: it is readable by its owner alone. How it looks is `report_html`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.diff.versions import Version, find_definition
from pipelines.lake.datasets import AB_SUMMARY, REPLAYS
from pipelines.lake.lake import Lake
from pipelines.review.answer import Answer, answer_of
from pipelines.review.changes import list_metrics, load_changes
from pipelines.review.flows import Flows, load_flows
from pipelines.review.headline import Headline, load_headline
from pipelines.review.pair import Pair, load_pairs

CHANGES = 12
"""Pairs that are shown in full."""

_LEFT_OUT = """
SELECT
    status,
    CASE WHEN status = 'ok' THEN fidelity ELSE coalesce(reason, 'failed') END AS code,
    count(*) AS pairs,
    count(DISTINCT "cluster") AS clusters
FROM ab_units_history
WHERE experiment = $experiment AND version_id = $version_id AND (status <> 'ok' OR fidelity <> 'exact')
GROUP BY ALL
ORDER BY status, pairs DESC, code
"""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Pairs that the shares and means do not use, or that B did not answer, and what nobody could be asked about.

    Attributes:
        status: ok, failed or not_asked.
        code: How B was fed, or why it gave no answer.
        pairs: How many.
        clusters: In how many clusters.
    """

    status: str
    code: str
    pairs: int
    clusters: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the file shows.

    Attributes:
        headline: The version at a glance, with its estimates.
        answer: What it comes to; None when nobody asked.
        flows: What both sides did.
        changes: The biggest changes, the biggest first.
        order: What they are ordered by: a metric, or `calls`.
        changed: Pairs that changed.
        left_out: What the estimates do not use.
        firsts: Of what failed in the user's own code or for lack of something, the first of each kind: what, unit, what is told.
        definition: Every setting that determines the version.
        result_hash: Hash of what came out.
    """

    headline: Headline
    answer: Answer | None
    flows: Flows
    changes: tuple[Pair, ...]
    order: str
    changed: int
    left_out: tuple[LeftOut, ...]
    firsts: tuple[tuple[str, str, str], ...]
    definition: Mapping[str, Any]
    result_hash: str


_READS = (
    "FROM ab_summary_history, ab_units_history, ab_tool_calls_history, calls, decisions, events, redacted_events, stream_months, "
    "experiments, versions_history"
)


def load_report(lake: Lake, version: Version) -> Report:
    """Read what the report of a complete version shows."""
    with lake.reading(_READS):
        return _load(lake, version)


def _load(lake: Lake, version: Version) -> Report:
    glance = load_headline(lake, version)
    order = glance.primary if glance.primary in list_metrics(lake, version) else "calls"
    page = load_changes(lake, version, order=order, page_size=CHANGES)
    partition = {"experiment": version.experiment, "version_id": version.version_id}
    commit = lake.last_commit(AB_SUMMARY.name, partition)
    kept: Mapping[str, Any] = commit.provenance if commit is not None else {}
    replayed = lake.last_commit(REPLAYS.name, partition)
    firsts = [tuple(each) for each in (replayed.provenance.get("first_failures") or () if replayed is not None else ())]
    firsts += [
        (f"metric {name}", unit, told if told.startswith(why) else f"{why}: {told}")
        for name, why, unit, told in kept.get("first_metric_errors") or ()
    ]
    with lake.connect() as connection:
        left_out = tuple(LeftOut(*row) for row in connection.execute(_LEFT_OUT, partition).fetchall())
    return Report(
        headline=glance,
        answer=None if glance.decision is None else answer_of(glance.decision),
        flows=load_flows(lake, version),
        changes=load_pairs(lake, version, [row.unit_id for row in page.rows]),
        order=order,
        changed=page.total,
        left_out=left_out,
        firsts=tuple(firsts),
        definition=find_definition(lake, partition),
        result_hash=version.result_hash,
    )
