"""What calls were sent is what their streams give back: decisions of real files are verified, after a way through jsonb."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
FOLDERS = ["02-langfuse", "03-langsmith", "04-inspect", "05-openai", "06-anthropic", "07-coding", "08-voice"]
SPANS = ["emitted.openhands-semconv.", "emitted.tau2-openinference.", "openinference-openai-smol", "strands-"]
"""Beginnings of files of spans, one of each conversation: several of one would be one conversation."""


def test_every_exact_history_is_verified(refold, shared_data: Path):
    """Of all samples together: histories that were found whole hash as they were sent; others are false, and never true."""
    dev = shared_data / "formats" / "dev"
    chosen = [sorted(map(str, (dev / folder).iterdir())) for folder in FOLDERS]
    chosen.append([str(each) for each in sorted((dev / "01-otlp").iterdir()) if each.name.startswith(tuple(SPANS))])
    for files in chosen:
        assert refold("import", "auto", *files)[0] == 0
    assert refold("export")[0] == refold("fold")[0] == 0
    query = (
        "SELECT history, context_verified, count(*) AS decisions FROM decisions WHERE history IS NOT NULL GROUP BY ALL"
    )
    code, out, _ = refold("sql", query, "--format", "json")
    assert code == 0
    found = {(row["history"], row["context_verified"]): row["decisions"] for row in json.loads(out)["rows"]}
    assert found.keys() == {("exact", True), ("opened", True), ("rendered", False), ("delta", False)}
    assert found["exact", True] + found["opened", True] > 100
