"""Hash what each decision did, so that equal actions are recognised without comparing JSON again and again.

What the hashes mean is `pipelines.canonical.calls`'s, which hashes any call; SQL hashes those whose canonical form can be
read off their text. The calls of one message are one parallel block, so their order within the message is no part of the
hash.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from pipelines.canonical.calls import Canonicaliser
from pipelines.duck import create_table
from pipelines.sqlfiles import read_sql

_BATCH = 10_000  # calls; bounds what is in Python at once
_SCHEMA = pa.schema([(name, pa.string()) for name in ("name", "arguments", "l0", "l1", "l2")])
_ASKED = """
CREATE OR REPLACE TEMP VIEW fold_asked AS
SELECT stream_no, decision, call.stream_version, call.name, coalesce(call.recorded, call.arguments) AS arguments
FROM (SELECT stream_no, decision, unnest(tool_calls) AS call FROM fold_actions) AS acted
WHERE call.arguments IS NOT NULL -- else it is erased
"""
_ODD = "SELECT DISTINCT name, arguments FROM fold_plain_hashes WHERE l1 IS NULL"
_HASHES = """
CREATE OR REPLACE TEMP TABLE fold_call_hashes AS
SELECT
    plain.stream_no, plain.decision,
    sha256(array_to_string(list_sort(list(coalesce(plain.l0, odd.l0))), ',')) AS l0_hash,
    sha256(array_to_string(list_sort(list(coalesce(plain.l1, odd.l1))), ',')) AS l1_hash,
    sha256(array_to_string(list_sort(list(coalesce(plain.l2, odd.l2))), ',')) AS l2_hash
FROM fold_plain_hashes AS plain
LEFT JOIN fold_odd_hashes AS odd
    ON plain.l1 IS NULL AND plain.name IS NOT DISTINCT FROM odd.name AND plain.arguments = odd.arguments
GROUP BY plain.stream_no, plain.decision
"""


def create_call_hashes(connection: duckdb.DuckDBPyConnection) -> None:
    """Create `fold_call_hashes` from `fold_actions`: the hashes of every decision that called tools."""
    connection.execute(_ASKED)
    query = read_sql("folds/steps/call_hashes.sql").strip().rstrip(";")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE fold_plain_hashes AS {query}")
    canonical = Canonicaliser()
    hashed = []
    for batch in connection.sql(_ODD).to_arrow_reader(_BATCH):
        names, arguments = (batch.column(place).to_pylist() for place in range(2))
        hashes = canonical.hash_calls(names, arguments)
        levels = [[getattr(each, level) for each in hashes] for level in ("l0", "l1", "l2")]
        hashed.append(pa.record_batch([names, arguments, *levels], schema=_SCHEMA))
    create_table(connection, "fold_odd_hashes", pa.Table.from_batches(hashed, schema=_SCHEMA))
    connection.execute(_HASHES)
    connection.execute("DROP TABLE fold_plain_hashes")
    connection.execute("DROP VIEW fold_asked")
