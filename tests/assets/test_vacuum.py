"""Housekeeping as people meet it: after a redaction, as a nightly job, as a verb."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import duckdb
import pyarrow.parquet as pq

from assets.definitions import build_defs
from assets.folds import FOLDS
from assets.instance import open_instance
from assets.resources import Home
from assets.runs import materialize
from pipelines.lake.lake import Lake
from pipelines.store import NewEvent

LOG = ("events", "stream_months")
NAMED = "my passport is X1234567"


def said_in(settings) -> dict[str, int]:
    """How often the text stands in any Parquet file, by dataset; the log keeps the original."""
    found = {}
    for path in settings.lake.rglob("*.parquet"):
        if "_delta_log" not in path.parts:
            name = path.relative_to(settings.lake).parts[0]
            found[name] = found.get(name, 0) + (NAMED in str(pq.ParquetFile(path).read().to_pydict()))
    return {name: times for name, times in found.items() if times}


def test_a_redaction_leaves_no_file_that_shows_what_it_hides(store_settings, store):
    """The month folded again after a redaction replaces files that are removed at once, grace or not."""
    stream, at = uuid4(), datetime(2026, 1, 5, tzinfo=UTC)

    def say(event_type, payload):
        store.append(stream, "conversation", [NewEvent(event_type, payload, {"actor": "user"}, at)], "any")

    store.ensure_months([at])
    say("user.utterance.v1", {"text": NAMED})
    say("agent.utterance.v1", {"text": "thank you"})
    materialize(store_settings, [*LOG, *FOLDS], "2026-01").require()
    assert set(said_in(store_settings)) >= {"events", "utterances", "conversation_months"}
    say("redaction.applied.v1", {"target": {"stream_version": 1}, "path": "/text", "method": "mask", "reason": "asked"})
    result = materialize(store_settings, [*LOG, *FOLDS], "2026-01").require()
    assert result.metadata["utterances"]["redactions"] == 1
    assert set(said_in(store_settings)) == {"events"}
    with duckdb.connect(str(store_settings.catalog), read_only=True) as catalog:
        assert catalog.sql("SELECT text FROM utterances ORDER BY stream_version").fetchall() == [
            ("[redacted]",),
            ("thank you",),
        ]


def test_the_nightly_job_vacuums_the_lake(store_settings, conversations):
    """The job of the daily schedule removes what is not needed and records how much."""
    materialize(store_settings, [*LOG], "2026-01").require()
    orphan = store_settings.lake / "events" / "month=2026-01" / "part-dead.parquet"
    orphan.write_bytes(b"half a file")
    with open_instance(store_settings) as instance, Home(store_settings) as home:
        definitions = build_defs({"home": home})
        (schedule,) = [s for s in definitions.get_repository_def().schedule_defs if s.name == "nightly_vacuum"]
        result = definitions.resolve_job_def(schedule.job_name).execute_in_process(instance=instance)
        assert result.success
        (output,) = [e for e in result.all_events if e.is_successful_output]
        metadata = {name: value.value for name, value in output.step_output_data.metadata.items()}
    assert (metadata["files"], metadata["size_bytes"]) == (1, len(b"half a file"))
    assert not orphan.exists()
    with Lake.from_settings(store_settings).connect() as connection:
        assert connection.sql("SELECT count(*) FROM events").fetchall() == [(24,)]


def test_the_verb(refold, store_settings, store, conversations, monkeypatch):
    """`refold vacuum` says what goes and what stays for how long; `--dry-run` removes nothing; `--json` is one object."""

    def said_by(*arguments):
        code, out, _ = refold(*arguments)
        assert code == 0
        return out

    materialize(store_settings, [*LOG], "2026-01").require()
    late = NewEvent("user.utterance.v1", {"text": "late"}, {}, datetime(2026, 1, 31, 23, 59, tzinfo=UTC))
    store.append(conversations[2], "conversation", [late], "exists")
    materialize(store_settings, [*LOG], "2026-01").require()
    kept = json.loads(said_by("vacuum", "--json"))
    assert kept["files"] == 0
    assert kept["grace_days"] == 7
    monkeypatch.setenv("REFOLD_GRACE", "0")
    told = json.loads(said_by("vacuum", "--dry-run", "--json"))
    assert (told["is_dry_run"], told["files"], told["size_bytes"]) == (True, kept["kept_files"], kept["kept_bytes"])
    assert {"dataset", "reason", "files", "size_bytes"} == set(told["swept"][0])
    assert ("stream_months", "superseded") in {(each["dataset"], each["reason"]) for each in told["swept"]}
    printed = said_by("vacuum")
    assert printed.startswith(f"removed {told['files']} files, ")
    assert "kept for 0 days (REFOLD_GRACE): 0 replaced files, 0 B" in printed
    assert said_by("vacuum").startswith("removed 0 files, 0 B\n")
