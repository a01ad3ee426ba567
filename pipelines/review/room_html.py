"""What the review page shows around the pairs: the answer and the intervals that it stands on, the place of the queue, links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from pipelines.diff.versions import Version
from pipelines.review.answer import answer_of
from pipelines.review.headline import Headline
from pipelines.review.headline_html import view_headline
from pipelines.review.markup import fill_part
from pipelines.review.report_html import metric_rows, share_rows

_LINES = 4
"""Metrics that are told beside the answer; all are among the numbers."""


def render_top(headline: Headline, *, is_folded: bool = False) -> str:
    """The answer, what it stands on with intervals, and all numbers to open; folded, that is to be opened too, as by who judges blind."""
    shares = {line.metric: line for line in headline.shares}
    rows = [*metric_rows(headline)[:_LINES], *(share_rows(headline)[:1] if shares else ())]
    told: Mapping[str, Any] = {
        "answer": None if headline.decision is None else answer_of(headline.decision),
        "lines": [(row.label, row.told) for row in rows],
        "headline": view_headline(headline),
        "is_folded": is_folded,
    }
    return fill_part("room.html", "top", told)


def render_queue(version: Version, unit_id: str | None) -> str:
    """Where the page's script puts the pairs to judge, beginning with `unit_id` when it is given."""
    return fill_part("room.html", "queue", version.experiment, version.version_id, unit_id or "")


def render_links(version: Version, unit_id: str) -> str:
    """Addresses of one pair: as it is, and to be judged."""
    link = {"version": version.version_id, "unit": unit_id}
    told = {"pair": "?" + urlencode({**link, "view": "pairs"}), "judge": "?" + urlencode(link)}
    return fill_part("room.html", "links", told)
