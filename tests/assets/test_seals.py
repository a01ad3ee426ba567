"""The asset of the seals, materialised for real."""

from __future__ import annotations

import re
from uuid import uuid4

import duckdb
import pytest

from assets.runs import materialize
from pipelines.export.errors import SealRefusedError
from pipelines.store import MonthSealed
from tests.assets.conftest import JANUARY


def test_a_month_is_sealed_as_an_asset(store_settings, conversations, speak):
    """One run closes, exports and seals; the log's assets hear of the export; the catalog shows the manifest; once."""
    result = materialize(store_settings, ["manifests"], "2026-01").require()
    made = result.metadata["manifests"]
    assert (made["rows"], made["streams"], made["generation"], made["is_written"]) == (24, 3, 1, True)
    assert re.fullmatch("[0-9a-f]{64}", made["merkle_root"])
    assert (result.metadata["events"]["row_count"], result.metadata["stream_months"]["row_count"]) == (24, 3)
    with duckdb.connect(str(store_settings.home / "lake.duckdb"), read_only=True) as catalog:
        shown = catalog.sql("SELECT month, generation, manifest_sha256 FROM manifests").fetchall()
    assert shown == [("2026-01", 1, made["manifest_sha256"])]
    with pytest.raises(MonthSealed):
        speak(uuid4(), JANUARY)
    again = materialize(store_settings, ["manifests"], "2026-01").require()
    assert again.metadata["manifests"]["is_written"] is False
    assert "events" not in again.metadata
    exported = materialize(store_settings, ["events"], "2026-01").require()
    assert exported.metadata["events"]["is_written"] is False
    assert [check.passed for check in exported.checks] == [True] * len(exported.checks)


def test_a_damaged_month_fails_its_run(store_settings, store, conversations):
    """What the library refuses ends the run, as the library said it; the month is closing."""
    store.conn.execute("SET event_triggers = off")
    store.conn.execute("ALTER TABLE refold.events_2026_01 DISABLE TRIGGER ALL")
    store.conn.execute("UPDATE refold.events_2026_01 SET payload = '{}' WHERE stream_version = 2")
    store.conn.execute("ALTER TABLE refold.events_2026_01 ENABLE ALWAYS TRIGGER refold_append_only")
    store.conn.execute("ALTER TABLE refold.events_2026_01 ENABLE ALWAYS TRIGGER refold_append_only_row")
    result = materialize(store_settings, ["manifests"], "2026-01")
    assert isinstance(result.error, SealRefusedError)
    assert store.month_state("2026-01") == ("closing", 1)
