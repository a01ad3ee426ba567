"""What a peer of the export does: the month's rows to one zstd Parquet file, in whatever order they come.

    python peer_export.py connectorx|adbc|duckdb DSN START STOP FILE

Run by an environment that has the peer and nothing of this project. Prints seconds and peak memory as JSON.
"""

# ruff: noqa: PLC0415 -- an environment has one of the peers

import json
import re
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

COLUMNS = (
    "aggregate_id::text AS aggregate_id, aggregate_type, stream_version, event_type, event_version, payload{text} AS payload, "
    "metadata{text} AS metadata, created_at, epoch, xid::text::bigint AS xid, position, hash, salt, digest"
)


def by_connectorx(dsn, query, path):
    import connectorx
    import pyarrow.parquet as pq

    started = time.perf_counter()
    parts = urlsplit(dsn)
    host = quote(parse_qs(parts.query)["host"][0], safe="")  # it knows a socket only as the host itself
    port = parse_qs(parts.query).get("port", ["5432"])[0]
    address = f"postgresql://{parts.netloc.rstrip('@')}@{host}:{port}{parts.path}"
    table = connectorx.read_sql(address, query.format(text="::text"), return_type="arrow", protocol="binary")
    pq.write_table(table, path, compression="zstd")
    return started


def by_adbc(dsn, query, path):
    import adbc_driver_postgresql.dbapi as adbc
    import pyarrow.parquet as pq

    started = time.perf_counter()
    with adbc.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(query.format(text="::text"))
        batches = cursor.fetch_record_batch()
        with pq.ParquetWriter(path, batches.schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
    return started


def by_duckdb(dsn, query, path):
    import duckdb
    import duckdb_extension_postgres_scanner as extension

    started = time.perf_counter()
    with duckdb.connect() as connection:
        found = next(Path(extension.__file__).parent.rglob("*.duckdb_extension"))
        connection.execute(f"LOAD '{found}'")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH '{dsn}' AS store (TYPE postgres, READ_ONLY)")
        rows = query.replace("refold.events", "store.refold.events").replace(
            "xid::text::bigint", "xid::varchar::bigint"
        )
        connection.execute(f"COPY ({rows.format(text='')}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    return started


def main(peer, dsn, start, stop, path):
    query = f"SELECT {COLUMNS} FROM refold.events WHERE created_at >= '{start}' AND created_at < '{stop}'"
    started = {"connectorx": by_connectorx, "adbc": by_adbc, "duckdb": by_duckdb}[peer](dsn, query, path)
    seconds = time.perf_counter() - started
    status = Path("/proc/self/status")
    mark = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE) if status.exists() else None
    size = Path(path).stat().st_size
    Path(path).unlink()
    print(json.dumps({"seconds": seconds, "peak": 1024 * int(mark[1]) if mark else 0, "size_bytes": size}))


if __name__ == "__main__":
    main(*sys.argv[1:])
