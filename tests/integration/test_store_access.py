"""Who may do what: the three roles, the owner, and what a superuser is kept from by the guard on DDL."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from pipelines.export.month import export_month
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import AppendOnly, NewEvent, PermissionDenied, Store, StoreError, connect
from pipelines.store.sqlstate import typed_errors
from tests.support.roles import logged_in
from tests.support.verbs import run_verb

EVENT = NewEvent("user.utterance.v1", {"text": "x"}, {}, datetime(2026, 3, 5, tzinfo=UTC))

READS = [
    "SELECT * FROM refold.events",
    "SELECT * FROM refold.streams",
    "SELECT * FROM refold.months",
    "SELECT * FROM refold.store",
]
WRITES = [
    "INSERT INTO refold.events OVERRIDING SYSTEM VALUE SELECT * FROM refold.events",
    "UPDATE refold.streams SET stream_version = 0",
    "DELETE FROM refold.streams",
    "TRUNCATE refold.streams",
    "UPDATE refold.months SET state = 'open'",
    "UPDATE refold.store SET epoch = 2",
    "INSERT INTO refold.event_types VALUES ('a.b.v1', 1, '', '{}')",
    "DELETE FROM refold.migrations",
    "CREATE TABLE refold.mine (n int)",
    "ALTER TABLE refold.events DISABLE TRIGGER ALL",
    "DROP TABLE refold.events_default",
    "SET session_replication_role = 'replica'",
    "SET ROLE refold_owner",
    "SELECT refold.protect_table('refold.streams')",
    "SELECT refold.find_batch(gen_random_uuid(), 0, '{}', '{}', '{}', '{}')",
    "SELECT refold.move_strays('events_2026_03')",
]
GUARDED = [
    "ALTER TABLE refold.events DISABLE TRIGGER ALL",
    "ALTER TABLE refold.events_2026_03 DISABLE TRIGGER refold_append_only",
    "ALTER TABLE refold.events_2026_03 ENABLE REPLICA TRIGGER refold_append_only_row",
    "ALTER TABLE refold.events_default DISABLE TRIGGER USER",
    "DROP TRIGGER refold_append_only ON refold.events_2026_03",
    "ALTER TRIGGER refold_append_only ON refold.events_2026_03 RENAME TO other",
    "CREATE TRIGGER change BEFORE INSERT ON refold.events FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "ALTER TABLE refold.events DETACH PARTITION refold.events_2026_03",
    "ALTER TABLE refold.events DETACH PARTITION refold.events_2026_03 CONCURRENTLY",
    "ALTER TABLE refold.events DETACH PARTITION refold.events_2026_03 FINALIZE",
    "CREATE TABLE refold.events_x PARTITION OF refold.events FOR VALUES FROM ('1990-01-01') TO ('1991-01-01')",
    "DROP TABLE refold.events",
    "DROP TABLE refold.events_2026_03",
    "DROP TABLE refold.events CASCADE",
    "DROP SCHEMA refold CASCADE",
    "DROP OWNED BY refold_owner CASCADE",
    "DO $x$ BEGIN EXECUTE 'DROP ' || 'SCHEMA re' || 'fold CASCADE'; END $x$",
    "DO $x$ BEGIN EXECUTE 'DROP ' || 'OWNED BY refold' || '_owner CASCADE'; END $x$",
    "ALTER SCHEMA refold RENAME TO old",
    "DROP FUNCTION refold.refuse_change CASCADE",
    "DROP FUNCTION refold.guard_problems",
    "DROP INDEX refold.events_stream",
    "ALTER TABLE refold.events ALTER COLUMN payload TYPE text USING 'forged'",
    "ALTER TABLE refold.events_2026_03 ALTER COLUMN metadata TYPE jsonb USING '{}'",
    "ALTER TABLE refold.events DROP COLUMN payload",
    "ALTER TABLE refold.events ADD COLUMN verdict text",
    "ALTER TABLE refold.events RENAME COLUMN payload TO body",
    "ALTER TABLE refold.events_2026_03 RENAME TO old",
    "ALTER TABLE refold.events_2026_03 SET SCHEMA public",
    "ALTER TABLE refold.events ALTER COLUMN hash DROP NOT NULL",
    "CREATE RULE nothing AS ON DELETE TO refold.events DO INSTEAD NOTHING",
    "CREATE RULE nothing AS ON INSERT TO refold.events_2026_03 DO INSTEAD NOTHING",
    "ALTER TABLE refold.events ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE refold.streams ALTER COLUMN hash TYPE text",
    "DO $x$ BEGIN EXECUTE 'ALTER TABLE refold.events DISABLE TRIGGER ALL'; END $x$",
]


@pytest.fixture
def filled(store: Store) -> Store:
    """A store with one event in March 2026."""
    store.ensure_months([EVENT.created_at])
    store.append(uuid4(), "conversation", [EVENT], "any")
    return store


def refused(conn: psycopg.Connection, statement: str, error: type[Exception]) -> None:
    with pytest.raises(error), typed_errors():
        conn.execute(statement.encode())


def is_refused(store: Store, statement: str) -> bool:
    """Whether the statement is an error and left the structure whole; most are AppendOnly, some PostgreSQL refuses."""
    try:
        with typed_errors():
            store.conn.execute(statement.encode())
    except StoreError:
        return store.guard_problems() == []
    return False


def test_the_writer_appends_and_nothing_else(filled: Store) -> None:
    """A writer may call the append function; it reads no event and changes nothing in any other way."""
    with logged_in(filled, "refold_writer") as conn:
        writer = Store(conn, filled.dsn)
        assert writer.append(uuid4(), "conversation", [EVENT], "no_stream").first_version == 1
        assert writer.check_cluster()
        for statement in [*READS, *WRITES, "SELECT refold.ensure_month('2020-01')"]:
            refused(conn, statement, PermissionDenied)


def test_the_reader_reads_and_nothing_else(filled: Store) -> None:
    """A reader sees everything and changes nothing."""
    with logged_in(filled, "refold_reader") as conn:
        reader = Store(conn, filled.dsn)
        assert len(reader.read_all()) == 1
        assert reader.months()
        assert reader.check_cluster() is False
        for statement in READS:
            conn.execute(statement.encode())
        with pytest.raises(PermissionDenied):
            reader.append(uuid4(), "conversation", [EVENT], "any")
        for statement in [*WRITES, "SELECT refold.ensure_month('2020-01')"]:
            refused(conn, statement, PermissionDenied)


def test_the_exporter_reads_and_makes_months(filled: Store) -> None:
    """An exporter reads everything and makes months, and changes nothing in any other way."""
    with logged_in(filled, "refold_exporter") as conn:
        exporter = Store(conn, filled.dsn)
        assert len(exporter.read_all()) == 1
        assert exporter.ensure_months([datetime(2020, 1, 1, tzinfo=UTC)]) == ["2020-01"]
        for statement in WRITES:
            refused(conn, statement, PermissionDenied)
    assert not filled.guard_problems()


def test_nobody_else_sees_anything(filled: Store) -> None:
    """A role without a group has no access at all."""
    with logged_in(filled, "pg_monitor") as conn:
        for statement in [*READS, *WRITES]:
            refused(conn, statement, PermissionDenied)


def test_the_guard_keeps_a_superuser_from_changing_the_structure(filled: Store) -> None:
    """DDL that would open the log to change is refused for everybody, in every replication role, and leaves no trace."""
    for role in ("origin", "replica"):
        filled.conn.execute("SELECT set_config('session_replication_role', %s, false)", [role])
        assert [s for s in GUARDED if not is_refused(filled, s)] == []
    assert len(filled.read_all()) == 1


def test_the_owner_cannot_either(filled: Store) -> None:
    """The role that owns the tables meets the same refusals."""
    filled.conn.execute("SET ROLE refold_owner")
    assert [s for s in GUARDED if not is_refused(filled, s)] == []
    filled.conn.execute("RESET ROLE")
    assert filled.guard_problems() == []


def test_other_tables_are_free(filled: Store) -> None:
    """The guard does not concern other schemas of the database."""
    filled.conn.execute("CREATE TABLE public.mine (n int); INSERT INTO mine VALUES (1)")
    filled.conn.execute("ALTER TABLE public.mine ALTER COLUMN n TYPE text USING 'x'; DROP TABLE public.mine")


def test_a_missing_guard_is_reported(filled: Store) -> None:
    """Without the event triggers the store works and says that DDL is not guarded."""
    assert filled.guard_problems() == []
    filled.conn.execute("DROP EVENT TRIGGER refold_guard_drop")
    assert filled.guard_problems() == ["DDL is not guarded: event trigger refold_guard_drop is missing or off"]
    filled.conn.execute("ALTER EVENT TRIGGER refold_guard_ddl_end DISABLE")
    filled.conn.execute("ALTER TABLE refold.events_default DISABLE TRIGGER refold_append_only")
    problems = filled.guard_problems()
    assert len(problems) == 3
    assert any("triggers of events_default" in p for p in problems)
    filled.append(uuid4(), "conversation", [EVENT], "any")


def test_a_user_without_rights_can_migrate_a_database_of_its_own(store_settings: Settings, store: Store) -> None:
    """Where roles and event triggers may not be made, migrations go on, and the lack is reported."""
    name = f"plain_of_{store.conn.info.dbname}"
    store.conn.execute(f'CREATE ROLE "{name}" LOGIN')
    store.conn.execute(f'CREATE DATABASE "{name}" OWNER "{name}"')
    try:
        dsn = store.dsn.replace("refold@", f"{name}@", 1).replace(f"/{store.conn.info.dbname}?", f"/{name}?", 1)
        with connect(dsn) as conn:
            plain = Store(conn, dsn)
            plain.migrate()
            plain.append(uuid4(), "conversation", [EVENT], "any")
            assert len(plain.guard_problems()) == 4
            refused(conn, "DELETE FROM refold.events", AppendOnly)
    finally:
        store.conn.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        store.conn.execute(f'DROP ROLE "{name}"')


READING_VERBS = [
    ["db", "status"],
    ["db", "months"],
    ["events", "list"],
    ["events", "show", "user.utterance.v1"],
    ["events", "upcast", "--check"],
    ["verify"],
    ["verify", "--deep"],
    ["storage"],
]


def test_every_reading_verb_needs_a_reader_alone(
    filled: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`refold_reader` exports and runs every verb that reads the store, to its end."""
    lake = Lake.from_settings(settings)
    with logged_in(filled, "refold_reader") as conn:
        dsn = filled.dsn.replace("refold@", f"{conn.info.user}@", 1)
        assert export_month(dsn, lake, "2026-03").rows == 1
        monkeypatch.setenv("REFOLD_HOME", str(settings.home))
        monkeypatch.setenv("REFOLD_DSN", dsn)
        monkeypatch.delenv("REFOLD_LAKE", raising=False)
        ended = {}
        for verb in READING_VERBS:
            code = run_verb(monkeypatch, *verb, "--json")
            ended[" ".join(verb)] = (code, capsys.readouterr().err.strip().splitlines()[-1:])
    assert {verb: end for verb, end in ended.items() if end[0]} == {}
