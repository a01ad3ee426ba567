"""Reports of versions: a file in the home for each, and the headline plot for a run's page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.resources import Home

if TYPE_CHECKING:
    from pipelines.experiment.plan import Plan


def keep_reports(home: Home, plans: Iterable[Plan]) -> dict[str, Any]:
    """Write the reports of complete versions; metadata that says where, with the last one's plot.

    The plot holds names of metrics and numbers, no text that was recorded.
    """
    from pipelines.review.headline import find_version
    from pipelines.review.report_html import draw_headline, keep_report

    metadata: dict[str, Any] = {}
    for plan in plans:
        version = find_version(home.lake, plan.experiment.experiment, plan.version_id)
        path, report = keep_report(home.lake, home.settings.home, version)
        drawn = draw_headline(report.headline)
        metadata = {"report": dg.MetadataValue.path(str(path)), "headline": dg.MetadataValue.md(f"```\n{drawn}\n```")}
    return metadata
