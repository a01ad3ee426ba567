"""Files of a person's own projections, and folding them over the months of `history`."""

from __future__ import annotations

from pathlib import Path

from pipelines.folds.redacted import fold_redacted
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from pipelines.projections.fold import OwnFold, fold_projection
from pipelines.projections.projection import read_projection
from tests.support.history import MONTHS

CALLS = """-- purpose: Calls by tool.
-- parameters: none
-- grain: one tool
-- key: name
SELECT name, count(*) AS calls, count(output) AS answered FROM tool_calls GROUP BY name
"""


def fold_built_in(lake: Lake, names: tuple[str, ...] = ("tool_calls", "conversation_months")) -> Lake:
    for month in MONTHS:
        fold_redacted(lake, month)
        fold_month(lake, month, names)
    return lake


def write(tmp_path: Path, text: str, name: str = "said") -> Path:
    path = tmp_path / "folds" / f"{name}.sql"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def fold(lake: Lake, path: Path, months: tuple[str, ...] = MONTHS) -> list[OwnFold]:
    return [fold_projection(lake, read_projection(path), month) for month in months]
