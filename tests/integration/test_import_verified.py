"""What calls were sent is what their streams give back: decisions of real files are verified, after a way through jsonb."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.folds.run import fold_month
from pipelines.lake.datasets import DECISIONS
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store
from tests.support.history import query
from tests.support.verbs import Verbs

pytestmark = pytest.mark.slow
FOLDERS = ["02-langfuse", "03-langsmith", "04-inspect", "05-openai", "06-anthropic", "07-coding", "08-voice"]
SPANS = ["emitted.openhands-semconv.", "emitted.tau2-openinference.", "openinference-openai-smol", "strands-"]
"""Beginnings of files of spans, one of each conversation: several of one would be one conversation."""


def test_every_exact_history_is_verified(refold: Verbs, store: Store, settings: Settings, shared_data: Path):
    """Of all samples together: histories that were found whole hash as they were sent; others are false, and never true."""
    dev = shared_data / "formats" / "dev"
    chosen = [sorted(map(str, (dev / folder).iterdir())) for folder in FOLDERS]
    chosen.append([str(each) for each in sorted((dev / "01-otlp").iterdir()) if each.name.startswith(tuple(SPANS))])
    for files in chosen:
        assert refold("import", "auto", *files)[0] == 0
    lake = Lake.from_settings(settings)
    for month in months_to_export(store, lake):
        export_month(store.dsn, lake, month)
        fold_month(lake, month, [DECISIONS.name])
    rows = query(
        lake,
        "SELECT history, context_verified, count(*) AS decisions FROM decisions WHERE history IS NOT NULL GROUP BY ALL",
    )
    found = {(history, is_verified): decisions for history, is_verified, decisions in rows}
    assert found.keys() == {("exact", True), ("opened", True), ("rendered", False), ("delta", False)}
    assert found["exact", True] + found["opened", True] > 100
