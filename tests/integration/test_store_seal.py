"""Closing and sealing months: from then on nothing of the month can appear."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from pipelines.audit.home_log import audit_redactions
from pipelines.settings import Settings
from pipelines.store import AppendOnly, InvalidEvent, MonthSealed, NewEvent, Signed, Store, StoreBusy
from pipelines.store.sqlstate import typed_errors
from tests.support.waiting import PATIENCE

MAY = datetime(2026, 5, 31, 23, 59, tzinfo=UTC)


def say(at: datetime) -> NewEvent:
    return NewEvent("user.utterance.v1", {"text": "x"}, {}, at)


def manifest(generation: int = 1, **more: int) -> str:
    return json.dumps({"month": "2026-05", "generation": generation, **more})


def seal(store: Store, text: str, signature: bytes | None = None) -> int:
    """Seal May with a manifest; the list of its files says no more than of which month and generation it is."""
    return store.seal_month("2026-05", Signed(text, signature), Signed(text, signature))


def state(store: Store) -> tuple[str, int]:
    return next((m.state, m.generation) for m in store.months() if m.month == "2026-05")


@pytest.fixture
def may(store: Store) -> Store:
    """A store with one event in May 2026."""
    store.ensure_months([MAY])
    store.append(uuid4(), "conversation", [say(MAY)], "any")
    return store


def test_a_month_goes_from_open_over_closing_to_sealed_and_back(may: Store) -> None:
    """Only open months close, only closing ones are sealed; unsealing needs a reason and begins a new generation."""
    with pytest.raises(InvalidEvent, match="is open, it must be closing"):
        seal(may, manifest(rows=1))
    assert (may.close_month("2026-05"), state(may)) == (1, ("closing", 1))
    with pytest.raises(InvalidEvent, match="is closing, it must be open"):
        may.close_month("2026-05")
    assert (seal(may, manifest(rows=1)), state(may)) == (1, ("sealed", 1))
    with pytest.raises(InvalidEvent, match="needs a reason"):
        may.unseal_month("2026-05", " ")
    assert (may.unseal_month("2026-05", "a late file"), state(may)) == (2, ("open", 2))
    may.append(uuid4(), "conversation", [say(MAY)], "any")
    may.close_month("2026-05")
    seal(may, manifest(2, rows=2), bytes(64))
    log = [each for each in may.home_log() if each.month == "2026-05"]
    assert [(each.kind, each.generation) for each in log] == [
        ("opened", 1),
        ("closing", 1),
        ("sealed", 1),
        ("files", 1),
        ("unsealed", 2),
        ("closing", 2),
        ("sealed", 2),
        ("files", 2),
    ]
    assert json.loads(log[4].signed.text)["reason"] == "a late file"
    assert [each.signed for each in log if each.kind == "sealed"] == [
        Signed(manifest(rows=1), None),
        Signed(manifest(2, rows=2), bytes(64)),
    ]
    assert [each.entry for each in may.home_log()] == list(range(len(may.home_log())))
    assert may.guard_problems() == []


def test_a_closed_month_takes_no_event(may: Store) -> None:
    """An append into it is refused by type, whole batch, in every replication role; other months go on."""
    may.close_month("2026-05")
    for role in ("origin", "replica"):
        may.conn.execute("SELECT set_config('session_replication_role', %s, false)", [role])
        with pytest.raises(MonthSealed, match=r"2026-05 is sealed.*occurred_at"):
            may.append(uuid4(), "conversation", [say(MAY - timedelta(days=90)), say(MAY), say(MAY)], "any")
    assert len(may.read_all()) == 1
    may.append(uuid4(), "conversation", [say(MAY + timedelta(minutes=1))], "any")
    assert may.guard_problems() == []


@pytest.mark.parametrize("prepared", [False, True])
def test_closing_waits_for_writers_and_names_them(may: Store, store_settings: Settings, prepared: bool) -> None:
    """An open or prepared transaction with events of the month is waited for, and named when it takes too long."""
    with Store.open(store_settings) as writer:
        gid = f"seal in {may.conn.info.dbname}"
        writer.conn.execute("BEGIN")
        writer.append(uuid4(), "conversation", [say(MAY)], "any")
        if prepared:
            writer.conn.execute(f"PREPARE TRANSACTION '{gid}'")
        name = f"prepared transaction {gid}" if prepared else f"pid {writer.conn.info.backend_pid}"
        with pytest.raises(StoreBusy, match=name):
            may.close_month("2026-05", wait_seconds=0.1)
        assert state(may) == ("open", 1)
        writer.conn.execute(f"COMMIT PREPARED '{gid}'" if prepared else "COMMIT")
    may.close_month("2026-05")
    assert len(may.read_all()) == 2


def test_the_trigger_of_a_sealed_month_is_guarded(may: Store) -> None:
    """Neither the trigger nor the log of a sealed month can be taken away."""
    may.close_month("2026-05")
    seal(may, manifest())
    for statement in (
        "DROP TRIGGER refold_sealed ON refold.events_2026_05",
        "ALTER TABLE refold.events_2026_05 DISABLE TRIGGER refold_sealed",
        "UPDATE refold.home_log SET document = 'forged'",
        "DELETE FROM refold.home_log",
        "TRUNCATE refold.home_log",
        "ALTER TABLE refold.home_log DISABLE TRIGGER refold_append_only",
    ):
        with pytest.raises(AppendOnly), typed_errors():
            may.conn.execute(statement.encode())


@pytest.mark.parametrize("other", [manifest(2), '{"month": "2026-06", "generation": 1}', "{}", "[]", "null"])
def test_a_manifest_is_of_its_month_and_generation(may: Store, other: str) -> None:
    """The manifest of another month or generation seals nothing."""
    may.close_month("2026-05")
    with pytest.raises(InvalidEvent, match=r"not of 2026-05 generation 1"):
        seal(may, other)
    assert state(may) == ("closing", 1)
    assert "sealed" not in {each.kind for each in may.home_log()}


def test_what_is_no_month_cannot_be_closed(may: Store) -> None:
    """A month without a partition is refused by name."""
    for month in ("2020-01", "x'; DROP TABLE y", ""):
        with pytest.raises(InvalidEvent, match="has no partition"):
            may.close_month(month)


def redaction(target: int) -> NewEvent:
    payload = {"target": {"stream_version": target}, "path": "/text", "method": "mask", "reason": "asked for"}
    return NewEvent("redaction.applied.v1", payload, {}, MAY)


def test_redactions_are_noted(may: Store) -> None:
    """Each gets an entry that names its event and hash, in the transaction that appends it; one that fails leaves none."""
    stream = uuid4()
    may.append(stream, "conversation", [say(MAY), redaction(1), say(MAY), redaction(3)], "any")
    with pytest.raises(InvalidEvent):
        may.append(stream, "call", [redaction(1)], "any")
    events = list(may.read_stream(stream))
    noted = [json.loads(each.signed.text) for each in may.home_log() if each.kind == "redacted"]
    assert [(said["stream"], said["version"], said["hash"]) for said in noted] == [
        (str(stream), 2, events[1].hash.hex()),
        (str(stream), 4, events[3].hash.hex()),
    ]
    assert list(audit_redactions(may.home_log(), may)) == []
    forged = [
        replace(each, signed=Signed(each.signed.text.replace('"version": 4', '"version": 3'), None))
        for each in may.home_log()
    ]
    assert [(each.code, each.version) for each in audit_redactions(forged, may)] == [("entry_differs", 3)]


def test_entries_of_writers_at_once_have_no_gap(may: Store, store_settings: Settings) -> None:
    """Months made and redactions appended by many at once, some rolled back: entries are numbered without a gap."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        with Store.open(store_settings) as own:
            for turn in range(5):
                try:
                    stream = uuid4()
                    with own.conn.transaction(force_rollback=turn % 3 == 2):
                        own.append(stream, "conversation", [say(MAY), redaction(1)], "any")
                    own.make_month(f"20{10 + number}-{turn + 1:02d}")
                except BaseException as error:  # noqa: BLE001 - told below
                    failures.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []
    entries = may.home_log()
    assert [each.entry for each in entries] == list(range(len(entries)))
    assert sum(each.kind == "redacted" for each in entries) == 24
