"""Dagster's databases for runs in this process: the same files, whose connections stay open until the instance is left.

Dagster 1.13 opens a file, and compiles every statement, anew for each of the hundred things that a run notes, and reads all of its
migrations for every database that it opens: together half of what a small run costs. The web server and the daemon keep its way.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

import sqlalchemy as db

from assets.internals import (
    SQLITE_BUSY_TIMEOUT_SECONDS,
    DagsterSqliteStorage,
    DagsterStorage,
    SqlEventLogStorageMetadata,
    SqliteEventLogStorage,
    SqliteRunStorage,
    SqliteScheduleStorage,
    create_db_conn_string,
    create_engine,
)

_REVISION = "SELECT version_num FROM alembic_version"


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
        if _revision(Path(base_dir) / "runs.db") is None:
            return super().from_local(base_dir, inst_data)
        return cls(create_db_conn_string(base_dir, "runs"), inst_data)

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
        if _revision(Path(base_dir) / "schedules.db") is None:
            return super().from_local(base_dir, inst_data)
        return cls(create_db_conn_string(base_dir, "schedules"), inst_data)


class _EventLog(SqliteEventLogStorage):
    def __init__(self, base_dir: str) -> None:
        self._engines: dict[str, db.engine.Engine] = {}
        super().__init__(base_dir)

    def _initdb(self, engine: db.engine.Engine, for_index_shard: bool = False) -> None:
        """Make a run's database, of the revision that the common one is of."""
        revision = None if for_index_shard else _revision(Path(self.path_for_shard("index")))
        if revision is None:
            super()._initdb(engine, for_index_shard)
        elif _revision(Path(str(engine.url.database))) is None:
            SqlEventLogStorageMetadata.create_all(engine)
            with engine.connect() as connection:
                connection.execute(db.text("PRAGMA journal_mode = WAL"))
                connection.execute(
                    db.text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) PRIMARY KEY)")
                )
                connection.execute(
                    db.text("INSERT OR IGNORE INTO alembic_version VALUES (:revision)"), {"revision": revision}
                )
                connection.commit()

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

    def dispose(self) -> None:
        for engine in self._engines.values():
            engine.dispose()
        super().dispose()


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


def _open(address: str) -> db.engine.Engine:
    engine: db.engine.Engine = create_engine(address, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    @db.event.listens_for(engine, "connect")
    def _(connection: Any, _record: Any) -> None:
        # with a write-ahead log a crash of the machine may undo the last notes, and damages nothing
        connection.execute("PRAGMA synchronous = NORMAL")

    return engine
