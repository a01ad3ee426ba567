"""What the lake says of what was recorded."""

from __future__ import annotations

from typing import Any

from pipelines.export.month import export_month
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store


def decisions(store: Store, settings: Settings) -> list[dict[str, Any]]:
    """All rows of the view `decisions` after an export and a fold of every month."""
    lake = Lake.from_settings(settings)
    for month in store.months():
        if month.events:
            export_month(store.dsn, lake, month.month)
            fold_month(lake, month.month)
    with lake.connect() as connection:
        return connection.sql("SELECT * FROM decisions ORDER BY aggregate_id, decision").pl().to_dicts()
