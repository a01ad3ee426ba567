"""Every check on the log passes when all is well, and fails on the fault that it is for. Real runs, planted faults."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import dagster as dg  # noqa: TID251 - these tests are of the code location
import pytest
from deltalake import write_deltalake

import assets.checks
from assets.definitions import build_defs
from assets.instance import open_instance
from assets.resources import Home
from pipelines.export.health import compare_month
from pipelines.export.month import export_month
from pipelines.folds.redacted import find_faults
from pipelines.lake.datasets import COMMITS, EVENTS
from pipelines.lake.lake import Lake
from pipelines.store import NewEvent, Store, connect

NOON = datetime(2026, 2, 3, 12, 30, tzinfo=UTC)


@pytest.fixture
def check(store_settings):
    """Run checks of `events` by themselves, over all months, as the UI's button does: name → (passed, what it says)."""

    def run(*names, asset="events"):
        with open_instance(store_settings) as instance, Home(store_settings) as home:
            job = build_defs({"home": home}).get_repository_def().get_implicit_global_asset_job_def()
            chosen = {dg.AssetCheckKey(dg.AssetKey(["refold", asset]), name) for name in names}
            job = job.get_subset(asset_selection=set(), asset_check_selection=chosen)
            found = job.execute_in_process(instance=instance, raise_on_error=False).get_asset_check_evaluations()
        assert {each.check_name for each in found} == set(names)
        return {each.check_name: (each.passed, each.description) for each in found}

    return run


@pytest.fixture
def lake(store_settings, store, conversations) -> Lake:
    """Both months, exported."""
    lake = Lake.from_settings(store_settings)
    for month in ("2026-01", "2026-02"):
        export_month(store.dsn, lake, month)
    return lake


def exported_days_ago(lake: Lake, days: int) -> None:
    """Let the last exports have been committed so long ago."""
    with lake.connect() as connection:
        query = f"SELECT * REPLACE (committed_at - to_days({days}) AS committed_at) FROM commits"
        rows = connection.sql(query).to_arrow_table()
    write_deltalake(lake.table(COMMITS.name).create(), rows, mode="overwrite")


def tamper(lake: Lake, replaced: str) -> None:
    """Write January of `events` again with other values, under the same provenance."""
    commit = lake.last_commit("events", {"month": "2026-01"})
    with lake.connect() as connection:
        query = f"SELECT * REPLACE ({replaced}) FROM events WHERE month = '2026-01'"
        lake.write_partition(
            EVENTS, {"month": "2026-01"}, connection, query, input_hash=commit.input_hash, provenance=commit.provenance
        )


def test_all_is_well(lake, check):
    """On exported months every check passes and says so in words."""
    assert check("row_parity", "freshness", "strays", "stalls") == {
        "row_parity": (True, "32 events in the store and in the lake"),
        "freshness": (True, "0 events to export"),
        "strays": (True, "every event is in its month's partition"),
        "stalls": (True, "no transaction holds anything back"),
    }


@pytest.mark.parametrize(
    "replaced",
    [
        "if(stream_version = 8, unhex(repeat('ab', 32)), hash) AS hash",
        "if(stream_version = 8, position + 1000, position) AS position",
        "if(stream_version = 8, 9, stream_version) AS stream_version",
    ],
)
def test_parity_finds_other_events_in_the_same_number(lake, check, replaced):
    """As many rows with another hash, position or head than the store's are not the same events."""
    tamper(lake, replaced)
    assert check("row_parity") == {
        "row_parity": (False, "2026-01: 24 events in the store, 24 in the lake, not the same ones")
    }


def test_parity_is_of_what_the_export_saw(lake, store, conversations, check):
    """Events appended since, and a transaction that was open then and has ended since, are no difference; a rollback is none."""
    with connect(store.dsn) as slow, connect(store.dsn) as undone:
        for conn in (slow, undone):
            conn.execute("BEGIN")
            Store(conn, store.dsn).append(uuid4(), "conversation", [said("slow")], "any")
        store.append(conversations[0], "conversation", [said("new")], "any")
        export_month(store.dsn, lake, "2026-02")
        slow.execute("COMMIT")
        undone.execute("ROLLBACK")
        store.append(conversations[0], "conversation", [said("newer")], "any")
        assert check("row_parity")["row_parity"] == (True, "33 events in the store and in the lake")
        parity = compare_month(store.conn, lake, "2026-02")
    assert (parity.lake.events, parity.lake.streams) == (9, 2)
    export_month(store.dsn, lake, "2026-02")
    assert check("row_parity")["row_parity"] == (True, "35 events in the store and in the lake")


def said(text: str) -> NewEvent:
    return NewEvent("user.utterance.v1", {"text": text}, {}, NOON)


def test_freshness_knows_what_waits_and_since_when(lake, store, conversations, check):
    """New events may wait for the night; what waits since before the last night, or was never exported, is reported."""
    store.append(conversations[0], "conversation", [said("new")], "any")
    passed, told = check("freshness")["freshness"]
    assert passed
    assert told.startswith("1 event to export, waiting for at most ")
    exported_days_ago(lake, 3)
    passed, told = check("freshness")["freshness"]
    assert (passed, told.split(" since ")[0]) == (False, "2026-02: 1 event waiting")
    export_month(store.dsn, Lake(lake.root), "2026-02")
    assert check("freshness")["freshness"] == (True, "0 events to export")
    march = datetime(2026, 3, 5, 8, 15, tzinfo=UTC)
    store.ensure_months([march])
    store.append(uuid4(), "conversation", [NewEvent("user.utterance.v1", {"text": "x"}, {}, march)], "any")
    assert check("freshness")["freshness"] == (False, "2026-03: 1 event waiting since 2026-03-05 08:15 UTC")


def test_strays_are_counted_by_month(lake, store, check):
    """Events without a partition are named with their month and how to move them; once moved, the check passes."""
    at = datetime(1999, 7, 1, tzinfo=UTC)
    store.append(uuid4(), "conversation", [NewEvent("user.utterance.v1", {"text": "x"}, {}, at)] * 2, "any")
    told = "1999-07: 2 events without a partition; move them with SELECT refold.ensure_month('1999-07')"
    assert check("strays")["strays"] == (False, told)
    store.ensure_months([at])
    assert check("strays")["strays"][0]


def test_stalls_are_named(lake, store, check, monkeypatch):
    """An open or prepared transaction is no fault while it is young; one that stays is named with what ends it."""
    with connect(store.dsn) as slow, connect(store.dsn) as prepared:
        for conn in (slow, prepared):
            conn.execute("BEGIN")
            Store(conn, store.dsn).append(uuid4(), "conversation", [said("x")], "any")
        prepared.execute("PREPARE TRANSACTION 'forgotten'")
        passed, told = check("stalls")["stalls"]
        assert passed
        assert told.endswith("transactions at work")
        monkeypatch.setattr(assets.checks, "STALL_SECONDS", 0.0)
        passed, told = check("stalls")["stalls"]
        prepared.execute("ROLLBACK PREPARED 'forgotten'")
        assert not passed
        assert f"pid {slow.info.backend_pid} of refold in {store.conn.info.dbname} for " in told
        assert "prepared transaction 'forgotten' of refold in " in told
        slow.execute("ROLLBACK")
    assert check("stalls")["stalls"][0]


def test_a_run_records_how_the_export_went(store_settings, conversations):
    """Rows, rows a second, files, row groups, watermark and peak memory are in the run's metadata, as numbers."""
    from assets.runs import materialize  # noqa: PLC0415 - the only test here that makes a run of the command line

    metadata = materialize(store_settings, ["events"], "2026-01").require().metadata["events"]
    numbers = {name: metadata[name] for name in ("row_count", "rows_per_second", "files", "row_groups", "peak_bytes")}
    assert numbers["row_count"] == 24
    assert all(value > 0 for value in numbers.values())
    assert (metadata["watermark_epoch"], metadata["watermark_xid"] > 0, metadata["last_position"]) == (1, True, 24)
    assert json.dumps(metadata)


def test_redactions_that_name_nothing_are_found(store, lake, check):
    """Appended in SQL or by whomever: an event that is not there, a path that leads nowhere, a span outside its text."""
    assert check("redactions_hold", asset="redacted_events") == {
        "redactions_hold": (True, "every redaction hides what it names")
    }
    stream = uuid4()
    places = (
        (1, {"path": "/text"}),
        (1, {"path": "/txt"}),
        (1, {"span": {"path": "/text", "start": 7, "end": 9}}),
        (99, {"path": ""}),
    )
    redactions = [
        NewEvent(
            "redaction.applied.v1",
            {"target": {"stream_version": target}, "method": "mask", "reason": "r", **place},
            {},
            NOON,
        )
        for target, place in places
    ]
    store.append(stream, "conversation", [NewEvent("user.utterance.v1", {"text": "abcd"}, {}, NOON), *redactions], 0)
    export_month(store.dsn, lake, "2026-02")
    faults = [(fault.stream_version, fault.fault) for fault in find_faults(lake)]
    assert faults == [(3, "no_path"), (4, "no_span"), (5, "no_target")]
    (passed, told) = check("redactions_hold", asset="redacted_events")["redactions_hold"]
    assert not passed
    assert told.startswith("1 redaction of an event that is not there: hides nothing; 1 redaction with a path")
    assert str(stream) in told
