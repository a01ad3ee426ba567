"""What storage says against the files and tables that are there, and the verbs on a home with types of its own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from pipelines.demo.load import load_demo
from pipelines.export.month import export_month
from pipelines.export.storage import measure_storage
from pipelines.folds.run import fold_month
from pipelines.ingest.event_types import register_file
from pipelines.lake.lake import Lake
from pipelines.store import NewEvent

STATES = ("conversation_months", "call_months", "customer_months")


def test_storage_is_what_is_there(store, store_settings, refold):
    """Bytes add up to the tables and the files on disk, by month and in all."""
    empty = measure_storage(store.conn, Lake(store_settings.lake))
    assert (empty.months[-1].month, empty.lake_bytes, empty.superseded_bytes) == (None, 0, 0)
    months = load_demo(store, 1_500).months
    lake = Lake(store_settings.lake)
    for month in months:
        export_month(store.dsn, lake, month)
        fold_month(lake, month, STATES)
    found = measure_storage(store.conn, lake)
    on_disk = sum(path.stat().st_size for path in lake.root.rglob("part-*.parquet"))
    assert found.lake_bytes + found.superseded_bytes == on_disk
    assert found.superseded_bytes == 0
    by_month = {month.month: month for month in found.months}
    for month in months:
        current = sum(Path(path).stat().st_size for path in lake.files("events", {"month": month}))
        assert 0 < current < by_month[month].lake_bytes  # the folds' too
        assert by_month[month].postgres_bytes > 0
    whole = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'refold' AND c.relkind = 'r'"
    row = store.conn.execute(whole).fetchone()
    assert row is not None
    assert found.postgres_bytes == row[0]
    with lake.connect() as connection:  # the same rows again: the file before it is replaced
        [dataset] = [each for each in lake.datasets().values() if each.name == "call_months"]
        query = "SELECT * FROM call_months WHERE month = $month"
        lake.write_partition(dataset, {"month": months[0]}, connection, query, {"month": months[0]}, input_hash="x")
    again = measure_storage(store.conn, Lake(store_settings.lake))
    [replaced] = [month for month in again.months if month.superseded_bytes]
    assert (replaced.month, again.superseded_bytes) == (months[0], replaced.superseded_bytes)
    code, out, _ = refold("storage", "--json")
    assert (code, json.loads(out)["superseded_bytes"]) == (0, again.superseded_bytes)
    code, out, _ = refold("storage")
    assert set(months) < {month.month for month in again.months}
    assert [line.split()[0] for line in out.splitlines()[1:]] == [
        *(month.month or "(none)" for month in again.months),
        "all",
    ]


def test_unknown_types_are_counted_and_named_by_their_own_upcasters(store, store_settings, refold, tmp_path):
    """Events of types that the folds do not know are skipped_events: in the run, the state and the view; upcasts are checked."""
    for version in (1, 2):
        schema = {"type": "object", "required": ["usd" if version == 2 else "amount"]}
        described = {"event_type": f"order.paid.v{version}", "description": "Paid.", "schema": schema}
        path = tmp_path / f"order.paid.v{version}.json"
        path.write_text(json.dumps(described), encoding="utf-8")
        register_file(store, path)
    stream = uuid4()
    at = datetime(2026, 1, 5, tzinfo=UTC)
    events = [
        NewEvent("user.utterance.v1", {"text": "Hello"}, {}, at),
        NewEvent("order.paid.v1", {"amount": 5}, {}, at),
        NewEvent("order.paid.v1", {"amount": "five"}, {}, at),
    ]
    store.ensure_months([at])
    store.append(stream, "conversation", events, "any", validate=False)
    assert refold("export")[0] == 0
    months = json.loads(refold("fold", "--json")[1])["months"]
    for name in ("conversation_months", "utterances"):
        assert months[0]["tables"][name]["skipped_events"] == 2
    assert json.loads(refold("state", str(stream), "--json")[1])["skipped_events"] == 2
    query = "SELECT event_count, skipped_events FROM conversations"
    assert json.loads(refold("sql", query, "--json")[1])["rows"] == [{"event_count": 3, "skipped_events": 2}]

    code, _, err = refold("events", "upcast")
    assert (code, "events are never rewritten" in err) == (2, True)
    assert refold("events", "upcast", "--check")[0] == 0
    folder = store_settings.home / "upcasters"
    folder.mkdir()
    step = folder / "order.paid.v1.sql"
    step.write_text("SELECT json_object('usd', (payload ->> '$.amount')::DOUBLE)", encoding="utf-8")
    code, out, _ = refold("events", "upcast", "--check", "order.paid", "--json")
    found = json.loads(out)
    assert (code, found["events"], found["failed"]) == (3, {"order.paid.v1": 2}, {"order.paid.v1": 1})
    assert found["failures"][0]["stream_version"] == 3
    assert "five" not in out
    step.rename(folder / "order.paid.v2.sql")
    code, _, err = refold("events", "upcast", "--check")
    assert (code, "order.paid.v1 cannot be lifted to v2" in err) == (2, True)
