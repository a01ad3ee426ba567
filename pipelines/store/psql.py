"""Run psql on the store: the one of the embedded server's own version, or the one on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress

from psycopg.conninfo import conninfo_to_dict

from pipelines.store.errors import StoreUnavailable
from pipelines.store.postmaster import binaries


def run_psql(dsn: str, arguments: Sequence[str]) -> int:
    """Run psql in the foreground; its exit code.

    The connection string goes through the environment of the child, so a password is in no process list.

    Raises:
        StoreUnavailable: There is no psql.
    """
    bundled = None
    with suppress(StoreUnavailable):  # the wheel is not there on every platform
        bundled = shutil.which("psql", path=str(binaries()))
    program = bundled or shutil.which("psql")
    if program is None:
        raise StoreUnavailable("there is no psql on PATH; install PostgreSQL's client")
    env = {**os.environ, "PGTZ": "UTC"}
    return subprocess.run([program, *_connection(dsn, env), *arguments], env=env, check=False).returncode  # noqa: S603 -- a fixed program


def _connection(dsn: str, env: dict[str, str]) -> list[str]:
    """Connection settings as environment variables of libpq; nothing secret is left for the command line."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    rest = []
    for key, value in conninfo_to_dict(dsn).items():
        if key in names:
            env[names[key]] = str(value)
        else:
            rest.append(f"{key}={value}")
    return ["-d", " ".join(rest)] if rest else []
