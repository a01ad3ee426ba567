"""The files of sql/postgres: applied once, in order, whole or not at all, and one object a file."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from pipelines.settings import Settings
from pipelines.sqlfiles import list_sql
from pipelines.store import (
    EventType,
    EventTypeChanged,
    MigrationFailed,
    NewEvent,
    Registry,
    SchemaOutdated,
    Store,
    connect,
    migrate,
    pending,
)
from pipelines.store.migrations import SqlFile, shipped_files
from tests.support.waiting import PATIENCE

CATALOG = """
SELECT 'column', c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod) || a.attnotnull::text
    || a.attidentity::text || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid LEFT JOIN pg_attrdef AS d ON (d.adrelid, d.adnum) = (c.oid, a.attnum)
WHERE c.relnamespace = 'refold'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'refold'::regnamespace
UNION ALL
SELECT 'function', p.oid::regprocedure::text, md5(pg_get_functiondef(p.oid)) || proowner::regrole::text || proacl::text FROM pg_proc AS p
WHERE pronamespace = 'refold'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass::text || '.' || tgname, tgenabled::text || pg_get_triggerdef(oid) FROM pg_trigger
UNION ALL
SELECT 'event trigger', evtname, evtenabled::text || evtevent FROM pg_event_trigger
UNION ALL
SELECT 'table', c.relname, relowner::regrole::text || coalesce(relacl::text, '') FROM pg_class AS c WHERE c.relnamespace = 'refold'::regnamespace
ORDER BY 1, 2
"""


def test_migrating_twice_changes_nothing(empty_dsn: str) -> None:
    """The first run applies every file, the second none, and the catalog stays as it is."""
    with connect(empty_dsn) as conn:
        first = migrate(conn)
        assert (*first.migrations, *first.objects) == tuple(f.name for f in shipped_files())
        catalog = conn.execute(CATALOG).fetchall()
        assert migrate(conn).is_empty
        assert pending(conn) == ()
        assert conn.execute(CATALOG).fetchall() == catalog


def test_applying_all_objects_again_gives_the_same_schema(empty_dsn: str) -> None:
    """Objects may be applied any number of times: replacing them is the same as making them."""
    with connect(empty_dsn) as conn:
        migrate(conn)
        catalog = conn.execute(CATALOG).fetchall()
        conn.execute("UPDATE refold.migrations SET checksum = 'old' WHERE name NOT LIKE 'migrations/%'")
        report = migrate(conn)
        assert report.migrations == ()
        assert len(report.objects) == len([f for f in shipped_files() if not f.is_migration])
        assert conn.execute(CATALOG).fetchall() == catalog


def test_processes_that_migrate_at_once_do_it_once(empty_dsn: str) -> None:
    """Several processes that find an empty database leave one schema."""
    reports = []

    def run() -> None:
        with connect(empty_dsn) as conn:
            reports.append(migrate(conn))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(report.is_empty for report in reports) == [False, True, True]


def test_a_failing_file_leaves_nothing_of_itself(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that fails half-way is undone, those before it stay, and the error names the file."""
    good = shipped_files()
    bad = SqlFile("migrations/9999_bad.sql", "CREATE TABLE refold.half (n int); SELECT 1 / 0;", "x")
    monkeypatch.setattr("pipelines.store.migrations.shipped_files", lambda: (*good, bad))
    with connect(empty_dsn) as conn:
        with pytest.raises(MigrationFailed, match=r"9999_bad\.sql did not apply: division by zero"):
            migrate(conn)
        assert conn.execute(
            "SELECT to_regclass('refold.half'), to_regclass('refold.events') IS NOT NULL"
        ).fetchone() == (
            None,
            True,
        )
        monkeypatch.setattr("pipelines.store.migrations.shipped_files", lambda: good)
        assert migrate(conn).migrations == ()


def test_a_changed_migration_is_refused(store: Store) -> None:
    """A migration that was applied in another form is an error, not a silent difference."""
    store.conn.execute("UPDATE refold.migrations SET checksum = 'other' WHERE name LIKE 'migrations/0001_%'")
    with pytest.raises(SchemaOutdated, match="a migration never changes"):
        pending(store.conn)


def test_a_newer_database_is_refused(store: Store) -> None:
    """A database that a newer version migrated is not written by this one."""
    store.conn.execute("INSERT INTO refold.migrations VALUES ('migrations/9998_later.sql', 'x')")
    with pytest.raises(SchemaOutdated, match=r"newer Refold \(migrations/9998_later\.sql\)"):
        pending(store.conn)


def test_an_outdated_database_of_ones_own_is_not_touched(settings: Settings, empty_dsn: str) -> None:
    """Opening a database by DSN never migrates it; the error names the command."""
    with pytest.raises(SchemaOutdated, match="refold db migrate"), Store.open(replace(settings, dsn=empty_dsn)):
        pass
    with connect(empty_dsn) as conn:
        assert conn.execute("SELECT to_regnamespace('refold')").fetchone() == (None,)


def test_names_order_migrations() -> None:
    """Migrations are numbered without gap or repetition from 0001."""
    numbers = [path.name[:4] for path in list_sql("postgres/migrations")]
    assert numbers == [f"{n:04d}" for n in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("path", list_sql("postgres/functions"), ids=lambda p: p.stem)
def test_a_function_file_holds_its_function(path) -> None:
    """Each file creates one function, named like it, says what it is for, and pins the search path."""
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^CREATE OR REPLACE FUNCTION refold\.(\w+)", text, re.MULTILINE) == [path.stem]
    assert text.startswith("-- ")
    assert "SET search_path = pg_catalog, pg_temp" in text


def test_function_bodies_are_valid(store: Store) -> None:
    """Bodies that are not checked while migrating are checked here, against the finished schema."""
    store.conn.execute("SET check_function_bodies = on")
    for file in shipped_files():
        if file.is_function:
            store.conn.execute(file.text.encode())


def test_every_table_is_described(store: Store) -> None:
    """Each table of the schema has a comment."""
    rows = store.conn.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'refold'::regnamespace AND relkind IN ('r', 'p') "
        "AND obj_description(oid, 'pg_class') IS NULL"
    ).fetchall()
    assert rows == []


def test_shipped_types_are_registered_once(store: Store) -> None:
    """The table holds exactly the shipped types; registering them again adds nothing."""
    registry = Registry.shipped()
    rows = store.conn.execute("SELECT event_type, event_version, schema FROM refold.event_types").fetchall()
    assert {(name, version) for name, version, _ in rows} == {(t.name, t.version) for t in registry.types.values()}
    assert registry.register(store.conn) == ()


def test_a_registered_schema_never_changes(store: Store) -> None:
    """The same name with another schema is refused, and nothing of that registration stays."""
    changed = EventType("user.utterance.v1", "changed", {"type": "object"})
    new = EventType("order.placed.v1", "An order.", {"type": "object"})
    with pytest.raises(EventTypeChanged, match=r"user\.utterance\.v1"):
        Registry([changed, new]).register(store.conn)
    assert Registry([new]).register(store.conn) == ("order.placed.v1",)


def test_a_log_of_another_format_is_refused(store: Store) -> None:
    """Its events cannot be hashed again; the error says how they come into a new home."""
    store.conn.execute(
        "UPDATE refold.migrations SET name = 'migrations/0001_event_store.sql' WHERE name LIKE '%/0001_%'"
    )
    with pytest.raises(SchemaOutdated, match=r"older format.*`refold lines -o FILE`.*new home"):
        pending(store.conn)


def test_values_are_not_kept_in_statistics(store: Store) -> None:
    """ANALYZE keeps nothing of what events say, in a month, in DEFAULT or over all; where it would, the guard says so."""
    store.ensure_months([datetime(2026, 1, 1, tzinfo=UTC)])
    for at in (datetime(2026, 1, 2, tzinfo=UTC), datetime(1999, 1, 2, tzinfo=UTC)):
        events = [NewEvent("user.utterance.v1", {"text": "Ada Lovelace"}, {"subject_id": "ada"}, at)] * 400
        store.append(uuid4(), "conversation", events, "any")
    store.conn.execute("ANALYZE refold.events")
    columns = {
        row[0] for row in store.conn.execute("SELECT attname FROM pg_stats WHERE schemaname = 'refold'").fetchall()
    }
    assert "event_type" in columns
    assert not columns & {"payload", "metadata"}
    with store.conn.transaction(force_rollback=True):
        store.conn.execute("SET LOCAL session_replication_role = replica")
        for guard in ("ddl_start", "ddl_end", "drop", "rewrite"):
            store.conn.execute(f"ALTER EVENT TRIGGER refold_guard_{guard} DISABLE".encode())
        store.conn.execute("ALTER TABLE ONLY refold.events_2026_01 ALTER COLUMN payload SET STATISTICS 100")
        assert "ANALYZE keeps values of events_2026_01.payload in clear" in store.guard_problems()
