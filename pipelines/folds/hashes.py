"""Hash what each decision did, so that equal actions are recognised without comparing JSON again and again.

One row per different list of calls, not per decision: real logs repeat. The calls of one message are one parallel
block, so their order within the message is no part of the hash. What the hashes mean is `pipelines.canonical.calls`'s.
"""

from __future__ import annotations

import duckdb
import pyarrow as pa

from pipelines.canonical.calls import Canonicaliser
from pipelines.folds.plan import Span
from pipelines.folds.tables import create_table

_BATCH = 10_000  # lists of calls; bounds what is in Python at once
_SIGNATURE = pa.list_(pa.struct([("name", pa.string()), ("arguments", pa.string())]))
_SCHEMA = pa.schema(
    [("signature", _SIGNATURE), ("l0_hash", pa.string()), ("l1_hash", pa.string()), ("l2_hash", pa.string())]
)
_SIGNATURES = """
SELECT DISTINCT signature FROM fold_actions
UNION ALL
SELECT CAST([] AS STRUCT("name" VARCHAR, arguments VARCHAR)[])
"""


def create_call_hashes(connection: duckdb.DuckDBPyConnection, _month: str, _span: Span) -> None:
    """Create `fold_call_hashes` from `fold_actions`: every different list of calls, the empty one too, and its hashes."""
    canonical = Canonicaliser()
    hashed = []
    reader = connection.sql(_SIGNATURES).to_arrow_reader(_BATCH)
    for batch in reader:
        signatures = batch.column(0)
        hashes = [
            canonical.hash_list([(0, call["name"], call["arguments"]) for call in signature])
            for signature in signatures.to_pylist()
        ]
        columns = [
            signatures.cast(_SIGNATURE),
            *(pa.array([getattr(each, level) for each in hashes], pa.string()) for level in ("l0", "l1", "l2")),
        ]
        hashed.append(pa.record_batch(columns, schema=_SCHEMA))
    create_table(connection, "fold_call_hashes", pa.Table.from_batches(hashed, schema=_SCHEMA))
