"""Outcomes as tables."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest

from pipelines.replay import rows as module
from pipelines.replay.ledger import Outcome
from pipelines.replay.rows import STEPS, UNITS, OutcomeTables

NAMED = {"unit": "decision", "aggregate_id": "s", "side": "candidate", "draw": 0}


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_rows_of_any_keys_keep_their_values_and_get_the_defaults(monkeypatch: pytest.MonkeyPatch, batch: int):
    """Rows with the same keys, fewer, more, and as many others, in one batch or several: each value is in its column."""
    monkeypatch.setattr(module, "_BATCH", batch)
    given: list[dict[str, Any]] = [
        {**NAMED, "unit_id": "a", "text": "x"},
        {"text": "y", **NAMED, "unit_id": "b"},
        {**NAMED, "unit_id": "c", "reason": "timeout"},
        {**NAMED, "unit_id": "d", "attempt": 3, "is_tainted": True, "text": None},
        {**NAMED, "unit_id": "e"},
    ]
    step = {"unit_id": "e", "aggregate_id": "s", "step": 1, "status": "ok", "is_tainted": False, "is_off_policy": False}
    with duckdb.connect() as connection, OutcomeTables(connection) as tables:
        for row in given:
            tables.add(Outcome(row, [step] if row["unit_id"] == "e" else []))
        tables.flush()
        found = connection.sql(
            f"SELECT unit_id, text, reason, attempt, is_tainted, is_off_policy, step_count FROM {UNITS} ORDER BY unit_id"
        ).fetchall()
        steps = connection.sql(f"SELECT unit_id, side, draw, step FROM {STEPS}").fetchall()
    assert found == [
        ("a", "x", None, 1, False, False, None),
        ("b", "y", None, 1, False, False, None),
        ("c", None, "timeout", 1, False, False, None),
        ("d", None, None, 3, True, False, None),
        ("e", None, None, 1, False, False, None),
    ]
    assert steps == [("e", "candidate", 0, 1)]
    assert tables.done == 5
