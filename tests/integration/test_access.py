"""Access is an event: what is recorded, by whom it can be, and what refuses."""

from __future__ import annotations

import os
import pwd
import socket
from uuid import uuid4

import psycopg
import pytest

from pipelines.errors import BadInputError
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import InvalidEvent, NewEvent, PermissionDenied, Store
from pipelines.store.access import Accessed, record_access, require_reason
from pipelines.store.sqlstate import typed_errors
from tests.support.erasing import erase_streams
from tests.support.roles import logged_in

STREAM = "3b0c7a52-5f0e-4c5b-9a44-0f1d6a1f2c11"


def test_an_access_says_who_why_and_of_what(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stream of one event: verb, reason, account, host, the role that logged in, REFOLD_ACTOR, endpoint, version, targets."""
    monkeypatch.setenv("REFOLD_ACTOR", "nightly")
    targets = [Accessed(STREAM, 2, 5), Accessed(uuid4())]
    access = record_access(
        store, "replay", "ticket 7", targets, endpoint="https://models.example/v1", version_id="3594ec5cebd46150"
    )
    (event,) = store.read_stream(access)
    assert (event.aggregate_type, event.event_type, event.stream_version) == ("access", "access.recorded.v1", 1)
    assert event.payload == {
        "verb": "replay",
        "reason": "ticket 7",
        "account": pwd.getpwuid(os.geteuid()).pw_name,
        "host": socket.gethostname(),
        "database_role": store.conn.info.user,
        "actor": "nightly",
        "endpoint": "https://models.example/v1",
        "version_id": "3594ec5cebd46150",
        "targets": [{"stream": STREAM, "first": 2, "last": 5}, {"stream": str(targets[1].stream)}],
    }


def test_many_targets_are_several_events_of_bounded_size(store: Store) -> None:
    """An access of 100,000 streams is 100 events of one stream, each of 1,000 targets in order; all of them or none."""
    targets = [Accessed(uuid4(), 1, number + 1) for number in range(100_000)]
    events = list(store.read_stream(record_access(store, "audit", "a year's audit", targets)))
    told = [Accessed(**target) for event in events for target in event.payload["targets"]]
    assert (len(events), told) == (100, [Accessed(str(each.stream), each.first, each.last) for each in targets])
    with store.conn.transaction(force_rollback=True):
        undone = record_access(store, "audit", "a year's audit", targets)
    assert list(store.read_stream(undone)) == []


def test_an_access_of_no_stream_names_a_month(store: Store) -> None:
    """What is about a month alone has no targets."""
    (event,) = store.read_stream(record_access(store, "unseal", "late facts", [], month="2026-03"))
    assert (event.payload["month"], event.payload["targets"]) == ("2026-03", [])


@pytest.mark.parametrize("group", ["refold_writer", "refold_exporter", "refold_eraser"])
def test_roles_that_do_something_record_it_under_their_own_name(store: Store, group: str) -> None:
    """Writer, exporter and eraser record accesses; each has its own name in them, whatever role it takes on afterwards."""
    with logged_in(store, group) as conn:
        conn.execute(f"SET ROLE {group}")
        access = record_access(Store(conn, store.dsn), "hold", "ticket 7", [Accessed(STREAM)])
        name = conn.info.user
    (event,) = store.read_stream(access)
    assert event.payload["database_role"] == name


def test_a_reader_cannot_record_and_is_told_what_it_takes(store: Store) -> None:
    """`refold_reader` appends nothing, so what must be recorded is refused, with the roles that may."""
    with logged_in(store, "refold_reader") as conn:
        other = Store(conn, store.dsn)
        with pytest.raises(PermissionDenied, match=r"nothing was shown or done.*refold_writer, refold_exporter or"):
            record_access(other, "show", "ticket 7", [Accessed(STREAM)])


@pytest.mark.parametrize("role", ["somebody", None])
def test_nobody_records_an_access_of_somebody_else(store: Store, role: str | None) -> None:
    """An access that names another role than the one that logged in is refused, from whatever program it comes."""
    payload = {"verb": "show", "reason": "x", "account": "a", "host": "h", "targets": []}
    payload |= {} if role is None else {"database_role": role}
    with logged_in(store, "refold_writer") as conn:
        other = Store(conn, store.dsn)
        with pytest.raises(InvalidEvent, match="an access names who logged in"):
            other.append(uuid4(), "access", [NewEvent("access.recorded.v1", payload)], "no_stream")


def test_an_access_cannot_be_changed(store: Store) -> None:
    """Accesses are events like others: neither updated nor deleted, by whoever owns the database."""
    access = record_access(store, "show", "ticket 7", [Accessed(STREAM)])
    for statement in (b"UPDATE refold.events SET payload = '{}'", b"DELETE FROM refold.events"):
        with pytest.raises(psycopg.Error):
            store.conn.execute(statement)
    assert len(list(store.read_stream(access))) == 1


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (None, "--reason is missing: why is it shown?"),
        ("", "--reason is empty: why is it shown?"),
        (" \n\t", "--reason is empty"),
        ("x" * 2_001, "2,001 characters"),
        ("a\ud800", "no text that can be kept"),
        ("a\x00", "no text that can be kept"),
    ],
)
def test_a_reason_that_says_nothing_is_refused(reason: str | None, told: str) -> None:
    """Missing, blank, too long or not to be stored: one sentence says what was wrong."""
    with pytest.raises(BadInputError) as refused:
        require_reason(reason, "why is it shown?")
    assert told in str(refused.value)


def test_a_reason_loses_the_blanks_around_it() -> None:
    """Else the same reason could be told in two spellings."""
    assert require_reason("  ticket 7\n", "why?") == "ticket 7"


@pytest.mark.parametrize("actor", ["x" * 201, "two\nlines", "\x1b[31mred"])
def test_an_actor_is_one_printable_line(store: Store, monkeypatch: pytest.MonkeyPatch, actor: str) -> None:
    """REFOLD_ACTOR is shown to people: what is no name is refused, and nothing is recorded."""
    monkeypatch.setenv("REFOLD_ACTOR", actor)
    with pytest.raises(BadInputError, match="REFOLD_ACTOR"):
        record_access(store, "show", "ticket 7", [Accessed(STREAM)])
    with typed_errors():
        assert store.conn.execute("SELECT count(*) FROM refold.events").fetchone() == (0,)


def test_the_view_has_a_row_for_each_stream_and_says_what_is_erased(store: Store, store_settings: Settings) -> None:
    """Targets of all parts; a month without a stream; an access that was erased is still there and says nothing."""
    targets = [Accessed(uuid4(), 1, number + 1) for number in range(20_500)]
    large = record_access(store, "audit", "a year's audit", targets, endpoint="https://models.example/v1")
    unsealed = record_access(store, "unseal", "late facts", [], month="2026-03")
    gone = record_access(store, "show", "Joe asked", [Accessed(STREAM, 3, 3)])
    erase_streams(store, [gone])
    lake = Lake.from_settings(store_settings)
    for month in months_to_export(store, lake):
        export_month(store.dsn, lake, month)
    query = "SELECT access, verb, reason, endpoint, opened_month, aggregate_id, first_version, last_version, is_erased FROM access"
    with lake.connect(query) as connection:
        rows = connection.sql(query).fetchall()
    told = {row[5:8] for row in rows if row[0] == str(large)}
    assert told == {(str(each.stream), each.first, each.last) for each in targets}
    assert {row[1:5] for row in rows if row[0] == str(large)} == {
        ("audit", "a year's audit", "https://models.example/v1", None)
    }
    assert [row[1:] for row in rows if row[0] == str(unsealed)] == [
        ("unseal", "late facts", None, "2026-03", None, None, None, False)
    ]
    assert [row[1:] for row in rows if row[0] == str(gone)] == [(None,) * 7 + (True,)]
    assert len(rows) == 20_502
