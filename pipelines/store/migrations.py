"""Bring a database to the schema of this version: `sql/postgres`, forward only.

`migrations/NNNN_name.sql` change tables; each runs once, in its own transaction, and may not change afterwards (its
checksum is kept). The first one names the log's format: a store whose first was another is refused. `functions`, `triggers` and `privileges` hold one object a file. When a file's checksum changes, the
function is replaced and all triggers and privileges, which look at what is there, are applied again, in one
transaction. What ran is in `refold.migrations`. The guard against DDL is off inside these transactions only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

import psycopg

from pipelines.sqlfiles import list_sql
from pipelines.store.errors import MigrationFailed, OlderFormat, SchemaOutdated
from pipelines.store.sqlstate import typed_errors

_LOCK = 0x7265666F6C64
"""Key of the advisory lock under which one process at a time migrates ("refold")."""
_OBJECT_FOLDERS = ("functions", "triggers", "privileges")
"""In the order in which they need each other."""
_CREATE_LEDGER = """
CREATE SCHEMA IF NOT EXISTS refold;
CREATE TABLE IF NOT EXISTS refold.migrations (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE refold.migrations IS 'One row per applied file of sql/postgres, with its SHA-256.';
"""
_GUARD = """
DO $$
DECLARE guard text;
BEGIN
    FOR guard IN SELECT evtname FROM pg_event_trigger WHERE evtname LIKE 'refold\\_guard\\_%' LOOP
        EXECUTE format('ALTER EVENT TRIGGER %I {action}', guard);
    END LOOP;
END
$$
"""


@dataclass(frozen=True, slots=True)
class SqlFile:
    """One file of `sql/postgres`: `folder/name.sql`, its text and its SHA-256."""

    name: str
    text: str
    checksum: str

    @property
    def is_migration(self) -> bool:
        """Whether it runs once for ever, not whenever it changes."""
        return self.name.startswith("migrations/")

    @property
    def is_function(self) -> bool:
        """Whether it creates or replaces one function."""
        return self.name.startswith("functions/")


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a run of `migrate` applied: names of migrations and of object files; both empty when all was there."""

    migrations: tuple[str, ...]
    objects: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether the database was up to date."""
        return not self.migrations and not self.objects


@cache
def shipped_files() -> tuple[SqlFile, ...]:
    """The files of this version, in the order in which they are applied."""
    files = []
    for folder in ("migrations", *_OBJECT_FOLDERS):
        for path in list_sql(f"postgres/{folder}"):
            text = path.read_text(encoding="utf-8")
            files.append(SqlFile(f"{folder}/{path.name}", text, hashlib.sha256(text.encode()).hexdigest()))
    return tuple(files)


def pending(conn: psycopg.Connection) -> tuple[SqlFile, ...]:
    """Files of this version that the database has not had, or has had in another form.

    Raises:
        OlderFormat: Its log has another format.
        SchemaOutdated: The database has a migration that this version does not know, or one that was changed since.
    """
    with typed_errors():
        exists = conn.execute("SELECT to_regclass('refold.migrations') IS NOT NULL").fetchone()
        if exists is None or not exists[0]:
            return shipped_files()
        applied: dict[str, str] = dict(conn.execute("SELECT name, checksum FROM refold.migrations").fetchall())
    shipped = shipped_files()
    known = {file.name for file in shipped}
    if applied and shipped[0].name not in applied:
        raise OlderFormat(
            "this store keeps its log in an older format, which this version does not go on with: write all of it to a file "
            "(`refold lines -o FILE`), and import that into a new home (`REFOLD_HOME=NEW refold import chat FILE`)"
        )
    if newer := sorted(name for name in applied if name.startswith("migrations/") and name not in known):
        raise SchemaOutdated(f"the database was migrated by a newer Refold ({newer[-1]}); install that version")
    for file in shipped:
        if file.is_migration and applied.get(file.name, file.checksum) != file.checksum:
            raise SchemaOutdated(
                f"{file.name} is not the file that was applied to this database; a migration never changes, "
                "restore it and put the change into a new one"
            )
    return tuple(file for file in shipped if applied.get(file.name) != file.checksum)


def migrate(conn: psycopg.Connection) -> MigrationReport:
    """Apply what is pending; running it again does nothing. `conn` must be in autocommit mode.

    Raises:
        MigrationFailed: A file did not apply; the files before it stay applied, of it nothing does.
        SchemaOutdated: See `pending`.
    """
    with typed_errors():
        conn.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
    try:
        with typed_errors(), conn.transaction():
            # Only where it is missing: the guard of a database between two of its migrations takes no DDL.
            if conn.execute("SELECT to_regclass('refold.migrations')").fetchone() == (None,):
                conn.execute(_CREATE_LEDGER)
        todo = pending(conn)
        migrations = [file for file in todo if file.is_migration]
        objects = [file for file in shipped_files() if file in todo or not file.is_function] if todo else []
        objects = [file for file in objects if not file.is_migration]
        for file in migrations:
            _apply(conn, [file])
        if objects:
            _apply(conn, objects)
    finally:
        if not conn.closed:
            conn.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    return MigrationReport(tuple(f.name for f in migrations), tuple(f.name for f in objects))


def _apply(conn: psycopg.Connection, files: list[SqlFile]) -> None:
    """Run `files` and note them, in one transaction."""
    name = files[0].name
    try:
        with conn.transaction():
            # Functions call each other and may be created in any order; their bodies are checked by the tests.
            conn.execute("SET LOCAL check_function_bodies = off")
            conn.execute("SET LOCAL timezone = 'UTC'")
            conn.execute(_GUARD.format(action="DISABLE").encode())
            for file in files:
                name = file.name
                conn.execute(file.text.encode())
                conn.execute(
                    "INSERT INTO refold.migrations (name, checksum) VALUES (%s, %s) "
                    "ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now()",
                    [file.name, file.checksum],
                )
            conn.execute(_GUARD.format(action="ENABLE ALWAYS").encode())
    except psycopg.Error as error:
        raise MigrationFailed(f"sql/postgres/{name} did not apply: {str(error).strip()}") from error
