"""Importing an events table of the article's shape from a real PostgreSQL: exact, resumable, nothing twice."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.ingest.clock import Days
from pipelines.ingest.postgres import importing as postgres
from pipelines.ingest.postgres.importing import PostgresImport, import_postgres
from pipelines.ingest.postgres.set_aside import write_report
from pipelines.ingest.postgres.source import identifier
from pipelines.settings import Settings
from pipelines.store import NewEvent, Store, UnknownEventType

A, B, C = (UUID(int=n) for n in (1, 2, 3))
# the article's table; its primary key is left out, as it cannot stand on a table partitioned by created_at
DDL = """
CREATE TABLE events (
  id bigserial, aggregate_id uuid NOT NULL, aggregate_type text NOT NULL, event_type text NOT NULL,
  event_version int NOT NULL, payload jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), UNIQUE (aggregate_id, id, created_at)
) PARTITION BY RANGE (created_at);
CREATE TABLE events_all PARTITION OF events DEFAULT;
CREATE INDEX events_agg ON events (aggregate_id, id);
"""
SAID = ("user.utterance.v1", 1, '{"text": "Hi"}', "2026-01-05 10:00+00")


class Table:
    """The source's table, in the same database as the store."""

    def __init__(self, conn: psycopg.Connection, dsn: str) -> None:
        self.conn, self.dsn = conn, dsn

    def add(self, aggregate_id: UUID, event_type: str, version: int, payload: str, at: str, kind: str = "call") -> int:
        row = self.conn.execute(
            "INSERT INTO events (aggregate_id, aggregate_type, event_type, event_version, payload, created_at) "
            "VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
            [aggregate_id, kind, event_type, version, payload, at],
        ).fetchone()
        assert row is not None
        return int(row[0])

    def run(self, query: str) -> list[Any]:
        cursor = self.conn.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def table(store_settings: Settings) -> Iterator[Table]:
    """An empty events table."""
    assert store_settings.dsn is not None
    with psycopg.connect(store_settings.dsn, autocommit=True) as conn:
        conn.execute("SET search_path = public")
        conn.execute(DDL)
        yield Table(conn, store_settings.dsn)


def run(store: Store, table: Table, **options: Any) -> PostgresImport:
    return import_postgres(store, table.dsn, "public.events", **options)


def imported(store: Store) -> list[Any]:
    """What the store has, in the source's words, by stream and version."""
    return store.conn.execute(
        "SELECT aggregate_id, (metadata ->> 'source_ordinal')::bigint, aggregate_type, payload::text, "
        "coalesce((metadata ->> 'occurred_at')::timestamptz, created_at) FROM refold.events ORDER BY aggregate_id, stream_version"
    ).fetchall()


def given_rows(table: Table) -> list[Any]:
    return table.run(
        "SELECT aggregate_id, id, aggregate_type, payload::text, created_at FROM events ORDER BY aggregate_id, id"
    )


def test_every_row_becomes_one_event(store: Store, table: Table) -> None:
    """Ids, order, types, times and the digits of payloads are kept; interleaved streams stay in order of `id`."""
    table.add(
        B,
        "user.utterance",
        1,
        '{"text": "Hi", "n": 0.12345678901234567890123, "big": 1e300}',
        "2026-01-31 23:59:59.999999+00",
    )
    table.add(A, "user.utterance.v1", 1, '{"text": "first"}', "2026-03-02 00:00+02")
    table.add(A, "agent.utterance.v1", 7, '{"text": null}', "2025-12-31 23:00-02", kind="call")
    table.add(B, "user.utterance", 1, '{"text": "back in time"}', "0001-01-01 00:00+00")
    result = run(store, table, days=Days(date.min, date.max))
    assert (result.rows, result.events, result.streams, result.already_present) == (4, 4, 2, 0)
    assert result.months == ("0001-01", "2026-01", "2026-03")
    assert imported(store) == given_rows(table)
    first, second = store.read_stream(A)
    assert (first.event_type, second.event_type, second.event_version) == ("user.utterance.v1", "agent.utterance.v1", 1)
    assert second.metadata["source"] == "postgres/public.events"
    assert (second.metadata["source_ordinal"], second.metadata["source_type"]) == (3, "agent.utterance.v1 7")
    assert second.metadata["actor"] == "agent"
    assert store.conn.execute("SELECT count(*) FROM refold.events_default").fetchone() == (0,)


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("0001-01-01 00:00+00", "is 0001-01-01T.*, before 2000-01-01.*--times-from 0001-01-01"),
        ("2000-01-01 00:30+01", "is 1999-12-31T.*, before 2000-01-01.*--times-from 1999-12-31"),
        ("1970-08-23 11:48:21+00", ".*--times-from 1970-08-23"),
        ("9999-12-31 23:59:59.999999+00", "is 9999-12-31T.*, after 20.*--times-until 9999-12-31"),
        ("2612-01-12 00:00+00", ".*--times-until 2612-01-12"),
    ],
)
def test_times_that_nobody_believes_are_refused(store: Store, table: Table, at: str, told: str) -> None:
    """Rows of years before such logs or far ahead are named, and nothing is stored, unless the user says that they are right."""
    table.add(A, *SAID)
    for _ in range(2):
        table.add(B, *SAID[:3], at)
    with pytest.raises(BadInputError, match=rf"created_at of row 2 of public.events {told} \(also id 3\)"):
        run(store, table)
    assert imported(store) == []
    assert run(store, table, days=Days(date.min, date.max)).events == 3


def test_columns_of_neighbouring_types_and_views_will_do(store: Store, table: Table) -> None:
    """json, ids as text, times without a zone (UTC whatever the session's is), a view instead of a table."""
    table.run("SET timezone = 'Asia/Tokyo'")
    table.run(
        "CREATE TABLE old (id int, aggregate_id text, aggregate_type varchar(9), event_type text, event_version smallint, "
        "payload json, created_at timestamp, more text)"
    )
    table.run(
        f"INSERT INTO old VALUES (2, '{A}', 'call', 'user.utterance', 1, '{{\"text\": \"b\", \"z\": 1.50}}', '2026-01-31 23:30'), "
        f"(1, '{A}', 'call', 'user.utterance', 1, '{{\"text\": \"a\"}}', '2026-01-31 23:30')"
    )
    table.run("CREATE VIEW seen AS SELECT * FROM old")
    result = import_postgres(store, table.dsn, "public.seen")
    assert result.months == ("2026-01",)
    assert import_postgres(store, table.dsn, "public.seen").already_present == 2
    first, second = store.read_stream(A)
    assert (first.payload["text"], second.payload["text"]) == ("a", "b")
    assert first.created_at == second.created_at == datetime(2026, 1, 31, 23, 30, tzinfo=UTC)


def test_running_again_appends_nothing_then_only_what_is_new(store: Store, table: Table) -> None:
    """A second run finds every row; rows added since are appended behind what others appended meanwhile."""
    for number in range(5):
        table.add((A, B)[number % 2], *SAID)
    assert run(store, table).events == 5
    again = run(store, table)
    assert (again.events, again.streams, again.already_present) == (0, 0, 5)
    store.append(A, "call", [NewEvent("user.utterance.v1", {"text": "live"})], 3)
    table.add(A, *SAID)
    table.add(C, *SAID)
    grown = run(store, table)
    assert (grown.events, grown.streams, grown.already_present) == (2, 2, 5)
    assert [e.metadata.get("source_ordinal") for e in store.read_stream(A)] == [1, 3, 5, None, 6]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ('payload = \'{"text": "bye"}\'', "payload"),
        ("created_at = created_at + interval '1 microsecond'", "created_at"),
        ("event_version = 2", "event_type and event_version"),
        ("event_type = 'agent.utterance.v1'", "event_type and event_version"),
    ],
)
def test_a_row_that_changed_is_named(store: Store, table: Table, change: str, what: str) -> None:
    """An imported row that says something else now stops the import, with its id and what changed; nothing is appended."""
    for number in range(4):
        table.add((A, B)[number % 2], *SAID)
    run(store, table)
    table.run(f"UPDATE events SET {change} WHERE id = 3")
    before = imported(store)
    table.add(C, *SAID)
    with pytest.raises(BadInputError, match=rf"row 3 of public.events has changed .*: {what}\)"):
        run(store, table)
    assert imported(store) == before


def test_a_row_between_imported_ones_is_set_aside(store: Store, table: Table) -> None:
    """A row committed late with an older id cannot be put between: it is named, each time, and the others go on."""
    for _ in range(3):
        table.add(A, *SAID)
    table.run("UPDATE events SET id = 20 WHERE id = 2")
    table.run("UPDATE events SET id = 30 WHERE id = 3")
    run(store, table)
    table.run(
        "INSERT INTO events SELECT 25, aggregate_id, aggregate_type, event_type, event_version, payload, created_at FROM events WHERE id = 1"
    )
    table.run("SELECT setval(pg_get_serial_sequence('events', 'id'), 100)")
    table.add(A, *SAID)
    table.add(B, *SAID)
    result = run(store, table)
    assert (result.events, result.already_present, result.set_aside_count) == (2, 3, 1)
    assert [(each.aggregate_id, each.row) for each in result.set_aside] == [(A, 25)]
    assert "after row 30" in result.set_aside[0].reason
    again = run(store, table)
    assert (again.events, again.already_present, again.set_aside) == (0, 5, result.set_aside)
    assert imported(store) == [row for row in given_rows(table) if row[1] != 25]


def test_rows_deleted_since_are_counted(store: Store, table: Table) -> None:
    """A source that forgets old rows can be imported further; the events stay and are counted as gone."""
    for number in range(6):
        table.add((A, B)[number % 2], *SAID)
    run(store, table)
    table.run("DELETE FROM events WHERE id IN (1, 6)")
    assert run(store, table).gone == 2
    assert len(imported(store)) == 6


def test_unknown_types_are_listed_or_registered(store: Store, table: Table) -> None:
    """Without `register` all unknown types are named and nothing happens; with it they take any object."""
    table.add(A, "order.paid", 2, '{"usd": 1}', SAID[3])
    table.add(A, "order.sent.v1", 1, "{}", SAID[3])
    table.add(A, *SAID)
    with pytest.raises(UnknownEventType, match=r"order\.paid\.v2 \(1 rows\), order\.sent\.v1 \(1 rows\)"):
        run(store, table)
    assert imported(store) == []
    result = run(store, table, register=True)
    assert result.registered == ("order.paid.v2", "order.sent.v1")
    assert [e.event_type for e in store.read_stream(A)] == ["order.paid.v2", "order.sent.v1", "user.utterance.v1"]
    assert run(store, table).events == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("OrderPaid", 1, "{}", SAID[3]), "OrderPaid.v1"),
        (("user.utterance.v1", 1, "[1]", SAID[3]), r"not a JSON object \(id 2\)"),
        (("user.utterance.v1", 1, '{"text": 5}', SAID[3]), r"row 2 of public.events: .*/text"),
        (("user.utterance.v1", 1, '{"text": "x"}', "infinity"), r"years 1 to 9999 \(id 2\)"),
        (("user.utterance.v1", 1, '{"text": "x"}', "0044-03-15 00:00+00 BC"), r"years 1 to 9999 \(id 2\)"),
        ((*SAID, "conversation"), "more than one aggregate_type"),
    ],
)
def test_rows_that_cannot_be_events_are_named(store: Store, table: Table, row: Any, message: str) -> None:
    """What the store cannot take is refused with the row or type, and nothing is appended."""
    table.add(A, *SAID)
    table.add(A, *row)
    with pytest.raises(BadInputError, match=message):
        run(store, table, register=True)
    assert imported(store) == []


def test_a_row_that_only_the_store_refuses_is_named(store: Store, table: Table) -> None:
    """A refusal of the database itself, in the middle of a pipelined chunk, still names the row."""
    for number in range(4):
        table.add((A, B)[number % 2], *SAID)
    store.append(B, "conversation", [NewEvent("user.utterance.v1", {"text": "live"})], "no_stream")
    with pytest.raises(BadInputError, match=r"row 2 of public.events .*aggregate_type"):
        run(store, table)
    assert imported(store)[0][0] == B
    assert len(imported(store)) == 1, "the chunk is undone"


def test_the_same_rows_under_another_source_are_refused(store: Store, table: Table) -> None:
    """Another name for the same table does not import it twice; however it is written."""
    table.add(A, *SAID)
    run(store, table)
    assert import_postgres(store, table.dsn, '"public"."events"').already_present == 1
    with pytest.raises(BadInputError, match=r"imported from source 'postgres/public\.events'"):
        run(store, table, source="another")


def test_names_are_quoted_and_the_connection_string_is_never_printed(store: Store, table: Table) -> None:
    """SQL in a table's name is a name; errors of the connection say neither password nor string."""
    table.add(A, *SAID)
    odd = 'ev"; DROP TABLE events; --'
    table.run('ALTER TABLE events RENAME TO "ev""; DROP TABLE events; --"')
    with pytest.raises(BadInputError, match="write a name or schema"):
        import_postgres(store, table.dsn, odd)
    assert import_postgres(store, table.dsn, 'public."ev""; DROP TABLE events; --"').events == 1
    for dsn in ("hunter2 secret", "postgresql://u:hunter2@127.0.0.1:1/x", "host=/nonexistent password=hunter2"):
        with pytest.raises(BadInputError) as caught:
            import_postgres(store, dsn, "events")
        assert "hunter2" not in str(caught.value)
    with pytest.raises(BadInputError, match="no column"):
        import_postgres(store, table.dsn, "pg_catalog.pg_class")
    with pytest.raises(BadInputError, match="does not exist"):
        import_postgres(store, table.dsn, "nowhere")


@given(
    st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1, max_size=2
    )
)
def test_any_name_can_be_written(parts: list[str]) -> None:
    """Every name of PostgreSQL has a quoted form that means it and nothing else."""
    table = ".".join('"' + part.replace('"', '""') + '"' for part in parts)
    assert identifier(table)._obj == tuple(parts)


KILLED = """
import os, sys
from pipelines.ingest.postgres import importing as postgres
from pipelines.settings import Settings
from pipelines.store import Store
from pathlib import Path
postgres.CHUNK_ROWS = 7
dsn, at = sys.argv[1], int(sys.argv[2])
with Store.open(Settings(home=Path("."), dsn=dsn, lake=Path("."))) as store:
    left = [at]
    real = postgres._Import._arguments
    def arguments(self, *given):
        left[0] -= 1
        if not left[0]: os.kill(os.getpid(), 9)
        return real(self, *given)
    postgres._Import._arguments = arguments
    postgres.import_postgres(store, dsn, "public.events", register=True)
"""


def test_killed_again_and_again_it_is_finished_exactly(
    store: Store, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kill -9` at several points, then once more: every row once, each stream in the order of its ids."""
    monkeypatch.setattr(postgres, "CHUNK_ROWS", 7)
    for number in range(60):
        table.add(
            UUID(int=number * number % 5),
            "note.taken",
            1,
            f'{{"n": {number}}}',
            f"2026-01-{1 + number % 28:02d} 00:00+00",
        )
    grown = [0]
    for at in (1, 4, 3, 4):
        command = [sys.executable, "-c", KILLED, table.dsn, str(at)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        grown.append(len(imported(store)))
    assert grown == sorted(grown)
    assert 0 < grown[-1] < 60, "it was killed in the middle"
    result = run(store, table)
    assert result.already_present == grown[-1]
    assert imported(store) == given_rows(table)


_events = st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["a", "b"]), st.integers(0, 40)), max_size=40)


@given(rounds=st.lists(_events, min_size=1, max_size=3), size=st.integers(1, 9))
@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_growing_table_is_followed(
    store: Store, table: Table, monkeypatch: pytest.MonkeyPatch, rounds: Any, size: int
) -> None:
    """Whatever is added between runs and however it is cut into transactions, the store has the table, in order."""
    monkeypatch.setattr(postgres, "CHUNK_ROWS", size)
    table.run("TRUNCATE events")
    known = {row[:2] for row in imported(store)}
    offset = 1 + max((aggregate.int for aggregate, _ in known), default=0)
    for added in rounds:
        for stream, word, day in added:
            table.add(
                UUID(int=offset + stream),
                "note.taken",
                1,
                f'{{"w": "{word}"}}',
                "2026-02-01 00:00+00".replace("02-01", f"0{1 + day // 28}-{1 + day % 28:02d}"),
            )
        result = run(store, table, register=True)
        assert result.events == len(added)
        assert [row for row in imported(store) if row[:2] not in known] == given_rows(table)


def test_memory_does_not_grow_with_the_table(store: Store, table: Table, tmp_path: Path) -> None:
    """40 MB of payload go through a process whose own growth stays far below that."""
    table.run(
        "INSERT INTO events (aggregate_id, aggregate_type, event_type, event_version, payload, created_at) "
        "SELECT lpad(to_hex(g % 4), 32, '0')::uuid, 'call', 'note.taken', 1, jsonb_build_object('t', repeat(md5(g::text), 313)), "
        "'2026-01-05' FROM generate_series(1, 4000) AS g"
    )
    script = (
        "import resource, sys\nfrom pathlib import Path\nfrom pipelines.ingest.postgres.importing import import_postgres\n"
        "from pipelines.settings import Settings\nfrom pipelines.store import Store\nimport jsonschema_rs\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with Store.open(Settings(home=Path('.'), dsn=sys.argv[1], lake=Path('.'))) as store:\n"
        "    before = peak()\n"
        "    print(import_postgres(store, sys.argv[1], 'public.events', register=True).events, peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, table.dsn],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    events, kilobytes = map(int, done.stdout.split())
    assert events == 4000
    assert kilobytes < 80_000, "chunks of 4 MB, their copies as arguments and as a fetch"


def test_a_late_row_of_a_closed_month_holds_nothing_back(store: Store, table: Table) -> None:
    """A new stream whose month is sealed is set aside whole; the others are imported, and it is, once the month is open again."""
    table.add(A, *SAID)
    run(store, table)
    store.close_month("2026-01")
    for stream, at in ((B, SAID[3]), (B, "2026-03-01"), (C, "2026-02-01"), (A, "2026-03-01")):
        table.add(stream, *SAID[:3], at)
    result = run(store, table)
    assert (result.events, result.set_aside_count) == (2, 2)
    assert {(each.aggregate_id, each.row) for each in result.set_aside} == {(B, 2), (B, 3)}
    assert "refold unseal" in result.set_aside[0].remedy
    store.unseal_month("2026-01", "late rows")
    assert (run(store, table).events, imported(store)) == (2, given_rows(table))


def test_the_report_of_what_was_set_aside_stays(store: Store, table: Table, tmp_path: Path) -> None:
    """One line a row in the home, as of the last run; it is gone when nothing is set aside any more."""
    table.add(A, *SAID)
    table.run("UPDATE events SET id = 30")
    run(store, table)
    table.add(A, *SAID)
    for _ in range(2):
        path = write_report(tmp_path, run(store, table))
        assert path is not None
        (row,) = map(json.loads, path.read_text().splitlines())
        assert (row["source"], row["stream"], row["row"]) == ("postgres/public.events", str(A), 2)
        assert path.stat().st_mode & 0o077 == 0
    table.run("DELETE FROM events WHERE id = 2")
    assert write_report(tmp_path, run(store, table)) is None
    assert not path.exists()


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        ("text", "2026-01-05T10:00:00+02:00", "2026-01-05 08:00:00+00"),
        ("text", "2026-01-05 10:00", "2026-01-05 10:00:00+00"),
        ("varchar(40)", "2026-01-05", "2026-01-05 00:00:00+00"),
        ("timestamp", "2026-01-05 10:00", "2026-01-05 10:00:00+00"),
        ("date", "2026-01-05", "2026-01-05 00:00:00+00"),
        ("text", "yesterday week", None),
        ("text", "05/13/2026", None),
        ("text", "infinity", None),
        ("text", "0044-03-15 BC", None),
        ("bigint", "1767600000", None),
        ("integer", "20260105", None),
        ("double precision", "1767600000.5", None),
        ("numeric", "1767600000000", None),
        ("jsonb", '"2026-01-05"', None),
    ],
)
def test_created_at_is_read_as_its_type_says(
    store: Store, table: Table, kind: str, value: str, stored: str | None
) -> None:
    """Text, times without a zone and dates are times, UTC; numbers are refused with what to write; nothing is guessed."""
    table.run(f"ALTER DATABASE \"{table.conn.info.dbname}\" SET datestyle = 'SQL, DMY'")
    table.run(
        f"CREATE TABLE odd AS SELECT 1 AS id, '{A}'::uuid AS aggregate_id, 'call' AS aggregate_type, 'user.utterance' AS event_type, "
        f"1 AS event_version, '{{\"text\": \"x\"}}'::jsonb AS payload, '{value}'::{kind} AS created_at"
    )
    if stored is None:
        with pytest.raises(BadInputError, match=r"created_at|cannot be read"):
            import_postgres(store, table.dsn, "public.odd")
        assert imported(store) == []
        return
    assert import_postgres(store, table.dsn, "public.odd").events == 1
    assert imported(store)[0][-1] == datetime.fromisoformat(stored)
    assert import_postgres(store, table.dsn, "public.odd").already_present == 1
