"""The fold by itself, without DuckDB: what a log's months leave, from its events as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipelines.fold.batch import make_batch
from pipelines.fold.fold import fold
from pipelines.fold.identity import code_hash
from pipelines.fold.lists import add_lists, shown
from pipelines.fold.lookup import redactions_hash
from pipelines.fold.pieces import cut
from pipelines.fold.snapshots import build_snapshots
from pipelines.fold.states import count_states
from pipelines.log.redaction import target_version
from tests.support.event_columns import fold_columns

Row = dict[str, Any]


def snapshots_of(log: Sequence[Row], every: int) -> list[Row]:
    """The snapshots of a log, folded month by month, each from the first event; redactions are those of the whole log."""
    found: list[Row] = []
    hidden: dict[str, list[tuple[int, str]]] = {}
    for event in log:
        target = target_version(event["payload"]) if event["event_type"].startswith("redaction.applied.") else None
        if target is not None:
            text = f"{event['stream_version']} {event['hash'].hex().upper()}"
            hidden.setdefault(event["aggregate_id"], []).append((target, text))
    links = {(event["aggregate_id"], event["stream_version"]): event["hash"] for event in log}
    for month in sorted({event["month"] for event in log}):
        touched = {event["aggregate_id"] for event in log if event["month"] == month}
        wanted = [event["month"] <= month and event["aggregate_id"] in touched for event in log]
        folded = fold(make_batch(fold_columns(log, month).filter(pa.array(wanted, pa.bool_())), 1))
        pieces = cut(folded, every)
        ends = add_lists(folded, pieces, build_snapshots(folded, pieces, count_states(folded, pieces)), every)
        for row in ends.take(shown(pieces)).to_pylist():
            stream, version = row["aggregate_id"], row["stream_version"]
            applied = (text for target, text in hidden.get(stream, ()) if target <= version)
            hashes = {"last_hash": links[stream, version], "redactions_hash": redactions_hash(applied)}
            found.append({**row, **hashes, "code_hash": code_hash(every)})
    return found
