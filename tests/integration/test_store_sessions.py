"""Sessions of the store on servers that are set up for something else, and behind a pooler."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from pipelines.audit.verify import verify
from pipelines.export.month import export_month
from pipelines.export.seal import seal_month
from pipelines.home import find_behind
from pipelines.ingest.postgres.importing import import_postgres
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import AsyncStore, NewEvent, Store, StoreUnavailable
from pipelines.store.account import server_account
from tests.support.waiting import PATIENCE, wait_until

AT = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
EVENT = NewEvent("user.utterance.v1", {"text": "é"}, {"actor": "user"}, AT)
LATE = NewEvent("user.utterance.v1", {"text": "late"}, {"actor": "user"}, datetime(2026, 1, 1, tzinfo=UTC))
MONTH = "2026-01"
ODD = [
    {"default_transaction_isolation": "serializable"},
    {"default_transaction_isolation": "repeatable read", "default_transaction_read_only": "on"},
    {"datestyle": "German, DMY", "timezone": "America/Sao_Paulo", "intervalstyle": "sql_standard"},
    {"datestyle": "SQL, DMY", "bytea_output": "escape", "extra_float_digits": "-15", "intervalstyle": "iso_8601"},
    {"datestyle": "Postgres, MDY", "timezone": "Asia/Kathmandu", "standard_conforming_strings": "off"},
    {
        "search_path": "evil, pg_catalog",
        "statement_timeout": "300ms",
        "client_encoding": "LATIN1",
        "row_security": "off",
    },
]
EVIL = """
CREATE SCHEMA evil;
CREATE FUNCTION evil.count(x anyelement) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
CREATE FUNCTION evil.to_char(x timestamp, y text) RETURNS text LANGUAGE sql AS $$ SELECT '1999-01'::text $$;
CREATE FUNCTION evil.pg_backend_pid() RETURNS integer LANGUAGE sql AS 'SELECT 1';
"""


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ", ".join(odd.values()))
def test_a_database_that_is_set_up_for_others(store_settings: Settings, odd: dict[str, str]) -> None:
    """Import, append, export, seal and verify do the same whatever the database's own settings are."""
    assert store_settings.dsn is not None
    with psycopg.connect(store_settings.dsn, autocommit=True) as admin:
        admin.execute(EVIL)
        admin.execute(
            "CREATE TABLE public.foreign_events AS SELECT 1::bigint AS id, '00000000-0000-0000-0000-000000000001'::uuid AS aggregate_id, "
            "'call'::text AS aggregate_type, 'user.utterance'::text AS event_type, 1 AS event_version, "
            "'{\"text\": \"é\"}'::jsonb AS payload, '2026-01-31 23:59:59.123456+00'::timestamptz AS created_at"
        )
        for name, value in odd.items():
            quoted = value if name in ("datestyle", "search_path") else f"'{value}'"
            admin.execute(f'ALTER DATABASE "{admin.info.dbname}" SET {name} = {quoted}'.encode())
    lake = Lake.from_settings(store_settings)
    stream = uuid4()
    with Store.open(store_settings) as store:
        assert store.check_cluster()
        store.ensure_months([AT])
        store.append(stream, "conversation", [EVENT, LATE], "any")
        assert import_postgres(store, store_settings.dsn, "public.foreign_events").events == 1
        assert import_postgres(store, store_settings.dsn, "public.foreign_events").already_present == 1
        first, second = store.read_stream(stream)
        assert (first.created_at, second.created_at) == (AT, AT)
        assert second.metadata["occurred_at"] == "2026-01-01T00:00:00.000000Z"
        assert [month.events for month in store.months() if month.month == MONTH] == [3]
        assert find_behind(store_settings, lake).waiting == {MONTH: 3}
        assert export_month(store_settings.dsn, lake, MONTH).rows == 3
        seal_month(store, lake, MONTH)
        audit = verify(lake, store, deep=True)
        assert (audit.all_findings, audit.integrity, audit.completeness) == ([], "holds", "holds")
        assert asyncio.run(_read(store_settings, stream)) == [first, second]


async def _read(settings: Settings, stream) -> list:
    async with AsyncStore.open(settings) as store:
        return [event async for event in store.read_stream(stream)]


@pytest.fixture
def pooled(store_settings: Settings) -> Iterator:
    """Starts pgbouncer before the test's database, in a mode; answers its DSN."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed")
    running: list[subprocess.Popen[bytes]] = []
    folder = Path(tempfile.mkdtemp(prefix="refold-pool-"))  # not pytest's, which the pooler's account may not enter
    folder.chmod(0o755)

    def start(mode: str) -> str:
        with psycopg.connect(store_settings.dsn) as conn:
            host, port, user, name = conn.info.host, conn.info.port, conn.info.user, conn.info.dbname
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            at = free.getsockname()[1]
        config = folder / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n{name} = host={host} port={port} user={user}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {at}\nauth_type = any\npool_mode = {mode}\nunix_socket_dir =\n"
            "ignore_startup_parameters = extra_float_digits\n"
        )
        account = server_account()
        who = {} if account.is_self else {"user": account.uid, "group": account.gid}
        config.chmod(0o644)
        with (folder / "pgbouncer.log").open("wb") as log:
            running.append(subprocess.Popen([program, str(config)], stdout=log, stderr=log, **who))

        def answers() -> bool:
            with socket.socket() as asking:
                return asking.connect_ex(("127.0.0.1", at)) == 0

        wait_until(answers, (folder / "pgbouncer.log").read_text)
        return f"postgresql://{user}@127.0.0.1:{at}/{name}"

    yield start
    for process in running:
        process.terminate()
        process.wait(PATIENCE)
    shutil.rmtree(folder)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pool_that_lends_its_connections_is_refused(store_settings: Settings, pooled, mode: str) -> None:
    """One sentence says what stands before the store and what to do; nothing was set on the pool's connections."""
    dsn = pooled(mode)
    with pytest.raises(StoreUnavailable, match="pool_mode = session"), Store.open(replace(store_settings, dsn=dsn)):
        pass
    with psycopg.connect(dsn, autocommit=True) as conn:
        assert conn.execute("SHOW row_security").fetchone() == ("on",)


def test_a_pool_of_sessions_works(store_settings: Settings, pooled) -> None:
    """pgbouncer in session mode is a server like any other."""
    settings = replace(store_settings, dsn=pooled("session"))
    lake = Lake.from_settings(settings)
    with Store.open(settings) as store:
        store.ensure_months([AT])
        for _ in range(10):
            store.append(uuid4(), "conversation", [EVENT], "any")
        assert export_month(store.dsn, lake, MONTH).rows == 10
        assert verify(lake, store, deep=True).all_findings == []
