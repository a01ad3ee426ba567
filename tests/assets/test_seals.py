"""The asset of the seals, materialised for real."""

from __future__ import annotations

import re
from uuid import uuid4

import duckdb
import pytest

from assets.definitions import build_defs
from assets.instance import open_instance
from assets.resources import Home
from assets.runs import materialize
from pipelines.export.errors import SealRefusedError
from pipelines.store import MonthSealed
from tests.support.two_months import JANUARY


def test_a_month_is_sealed_as_an_asset(store_settings, conversations, speak):
    """One run closes, exports and seals; the log's assets hear of the export; the catalog shows the manifest; once."""
    result = materialize(store_settings, ["merkle_nodes"], "2026-01").require()
    made = result.metadata["merkle_nodes"]
    assert (made["rows"], made["streams"], made["generation"], made["is_written"]) == (24, 3, 1, True)
    assert re.fullmatch("[0-9a-f]{64}", made["merkle_root"])
    assert (result.metadata["events"]["row_count"], result.metadata["stream_months"]["row_count"]) == (24, 3)
    with duckdb.connect(str(store_settings.home / "lake.duckdb"), read_only=True) as catalog:
        shown = catalog.sql("SELECT month, generation, document_sha256 FROM home_log WHERE kind = 'sealed'").fetchall()
    assert shown == [("2026-01", 1, made["manifest_sha256"])]
    with pytest.raises(MonthSealed):
        speak(uuid4(), JANUARY)
    again = materialize(store_settings, ["merkle_nodes"], "2026-01").require()
    assert again.metadata["merkle_nodes"]["is_written"] is False
    assert "events" not in again.metadata
    exported = materialize(store_settings, ["events"], "2026-01").require()
    assert exported.metadata["events"]["is_written"] is False
    assert [check.passed for check in exported.checks] == [True] * len(exported.checks)


def test_a_month_is_opened_again_by_a_job(store_settings, store, conversations):
    """The job needs month and reason, says the new generation, and the month takes events; a second seal follows the first."""
    materialize(store_settings, ["merkle_nodes"], "2026-01").require()
    with open_instance(store_settings) as instance, Home(store_settings) as home:
        job = build_defs({"home": home}).resolve_job_def("unseal_month")
        with pytest.raises(Exception, match="reason"):
            job.execute_in_process(
                instance=instance, run_config={"ops": {"open_again": {"config": {"month": "2026-01"}}}}
            )
        assert store.month_state("2026-01") == ("sealed", 1)
        config = {"month": "2026-01", "reason": "a late call"}
        result = job.execute_in_process(instance=instance, run_config={"ops": {"open_again": {"config": config}}})
        (output,) = [event for event in result.all_events if event.is_successful_output]
    assert output.step_output_data.metadata["generation"].value == 2
    assert store.month_state("2026-01") == ("open", 2)
    assert (
        materialize(store_settings, ["merkle_nodes"], "2026-01").require().metadata["merkle_nodes"]["generation"] == 2
    )


def test_a_damaged_month_fails_its_run(store_settings, store, conversations):
    """What the library refuses ends the run, as the library said it; the month is closing."""
    store.conn.execute("SET event_triggers = off")
    store.conn.execute("ALTER TABLE refold.events_2026_01 DISABLE TRIGGER ALL")
    store.conn.execute("UPDATE refold.events_2026_01 SET payload = '{}' WHERE stream_version = 2")
    store.conn.execute("ALTER TABLE refold.events_2026_01 ENABLE ALWAYS TRIGGER refold_append_only")
    store.conn.execute("ALTER TABLE refold.events_2026_01 ENABLE ALWAYS TRIGGER refold_append_only_row")
    result = materialize(store_settings, ["merkle_nodes"], "2026-01")
    assert isinstance(result.error, SealRefusedError)
    assert store.month_state("2026-01") == ("closing", 1)
