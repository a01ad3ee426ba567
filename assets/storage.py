"""Dagster's databases for runs in this process: the same files, whose connections stay open until the instance is left.

Dagster 1.13 opens a file, and compiles every statement, anew for each of the hundred things that a run notes, and executes all of its
migrations, several times, for every database that it makes or opens: together half of what a small run costs. Here a new home reads
them once, and a run's database is made as the common one is. The web server and the daemon keep Dagster's way.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Self

import sqlalchemy as db
from sqlalchemy.dialects import sqlite

from assets.internals import (
    OPTIONAL_DATA_MIGRATIONS,
    OPTIONAL_SCHEDULE_DATA_MIGRATIONS,
    REQUIRED_DATA_MIGRATIONS,
    REQUIRED_SCHEDULE_DATA_MIGRATIONS,
    SQLITE_BUSY_TIMEOUT_SECONDS,
    DagsterSqliteStorage,
    DagsterStorage,
    RunStorageSqlMetadata,
    ScheduleStorageSqlMetadata,
    SqlEventLogStorageMetadata,
    SqliteEventLogStorage,
    SqliteRunStorage,
    SqliteScheduleStorage,
    create_db_conn_string,
    create_engine,
    newest_revision,
)

_REVISION = "SELECT version_num FROM alembic_version"
_REVISION_TABLE = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
_TABLES = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
_CONVERTED = "INSERT INTO secondary_indexes (name, migration_completed) VALUES (?, ?)"
_INDEX = "index"
"""The event log's database that all runs have in common."""


class Storage(DagsterSqliteStorage):
    """What Dagster's own storage is, with the two parts that a run writes to kept open."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self.base_dir = base_dir
        history = Path(base_dir) / "history"
        self._run_storage = _RunStorage.from_local(str(history))
        self._event_log_storage = _EventLog(str(history / "runs"))
        self._schedule_storage = _ScheduleStorage.from_local(str(Path(base_dir) / "schedules"))
        self._inst_data = inst_data
        DagsterStorage.__init__(self)  # type: ignore[no-untyped-call, arg-type]

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> Storage:
        """The storage that an instance's configuration names."""
        return cls(config_value["base_dir"], inst_data)


class _RunStorage(SqliteRunStorage):
    _engine: db.engine.Engine | None = None

    @classmethod
    def from_local(cls, base_dir: str, inst_data: Any = None) -> Self:
        path = Path(base_dir) / "runs.db"
        if not _make(path, RunStorageSqlMetadata, [*REQUIRED_DATA_MIGRATIONS, *OPTIONAL_DATA_MIGRATIONS]):
            return super().from_local(base_dir, inst_data)
        return cls(_address(path), inst_data)

    @contextmanager
    def connect(self) -> Iterator[db.engine.Connection]:
        if self._engine is None:
            self._engine = _open(self._conn_string)
        with self._engine.connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        super().dispose()


class _ScheduleStorage(SqliteScheduleStorage):
    @classmethod
    def from_local(cls, base_dir: str, inst_data: Any = None) -> SqliteScheduleStorage:
        path = Path(base_dir) / "schedules.db"
        conversions = [*REQUIRED_SCHEDULE_DATA_MIGRATIONS, *OPTIONAL_SCHEDULE_DATA_MIGRATIONS]
        if not _make(path, ScheduleStorageSqlMetadata, conversions):
            return super().from_local(base_dir, inst_data)
        return cls(_address(path), inst_data)


class _EventLog(SqliteEventLogStorage):
    def __init__(self, base_dir: str) -> None:
        self._engines: dict[str, db.engine.Engine] = {}
        self._columns: dict[str, bool] = {}
        super().__init__(base_dir)

    def _initdb(self, engine: db.engine.Engine, for_index_shard: bool = False) -> None:
        """Make the common database; or a run's, as the common one is."""
        path, index = Path(str(engine.url.database)), Path(self.path_for_shard(_INDEX))
        is_made = _make(path, SqlEventLogStorageMetadata) if for_index_shard else _make_like(index, path)
        if not is_made:
            super()._initdb(engine, for_index_shard)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[db.engine.Connection]:
        with self._db_lock:
            if shard not in self._engines:
                self._engines[shard] = _open(self.conn_string_for_shard(shard))
            engine = self._engines[shard]
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _has_asset_key_col_on_connection(self, conn: db.engine.Connection, column_name: str) -> bool:
        """Dagster reads the schema anew for every note of an asset; it stays as it is while the database is open."""
        if column_name not in self._columns:
            self._columns[column_name] = super()._has_asset_key_col_on_connection(conn, column_name)
        return self._columns[column_name]

    def dispose(self) -> None:
        for engine in self._engines.values():
            engine.dispose()
        super().dispose()


def _make(path: Path, tables: db.MetaData, conversions: Iterable[str] = ()) -> bool:
    """Make a database of the newest revision, whole or not at all, where nothing is.

    Args:
        path: Where.
        tables: Of it.
        conversions: Of rows of older releases: noted as done, since it holds none.

    Returns:
        Whether there is one now; Dagster mends one that was not made to its end.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.db")
        _stamp(new, newest_revision(), _statements(tables))
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            now = f"{datetime.now():%Y-%m-%d %H:%M:%S.%f}"  # noqa: DTZ005 - as Dagster notes it
            connection.executemany(_CONVERTED, [(name, now) for name in conversions])
        with suppress(FileExistsError):  # another process was first
            os.link(new, path)
        new.unlink()
    return _revision(path) is not None


@cache
def _statements(tables: db.MetaData) -> tuple[str, ...]:
    """What makes tables and their indexes."""
    made: list[db.schema.ExecutableDDLElement] = []
    for table in tables.sorted_tables:
        made += [db.schema.CreateTable(table), *map(db.schema.CreateIndex, table.indexes)]
    return tuple(str(statement.compile(dialect=sqlite.dialect())) for statement in made)


def _make_like(index: Path, path: Path) -> bool:
    """Make a database with the tables and of the revision of another, unless it is there; whether there is one now."""
    revision = _revision(index)
    if revision is not None and _revision(path) is None:
        with closing(sqlite3.connect(index, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)) as connection:
            tables = [sql for (sql,) in connection.execute(_TABLES) if not sql.startswith("CREATE TABLE alembic")]
        _stamp(path, revision, tables)
    return revision is not None


def _stamp(path: Path, revision: str, tables: Sequence[str] = ()) -> None:
    """Note a database's revision, with the tables that it lacks."""
    with closing(sqlite3.connect(path, timeout=SQLITE_BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in [*tables, _REVISION_TABLE]:
            connection.execute(statement)
        connection.execute("INSERT INTO alembic_version VALUES (?)", [revision])
        connection.execute("COMMIT")


def _revision(path: Path) -> str | None:
    """The revision that a database says it is of; None for one that is not there, or not made to its end."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(path, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)) as connection:
        try:
            row = connection.execute(_REVISION).fetchone()
        except sqlite3.OperationalError:  # no such table
            return None
    return None if row is None else str(row[0])


def _address(path: Path) -> str:
    return str(create_db_conn_string(str(path.parent), path.stem))


def _open(address: str) -> db.engine.Engine:
    engine: db.engine.Engine = create_engine(address, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    @db.event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        # with a write-ahead log a crash of the machine may undo the last notes, and damages nothing
        connection.execute("PRAGMA synchronous = NORMAL")

    return engine
