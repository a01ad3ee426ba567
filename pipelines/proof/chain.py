"""The link of a stream's hash chain, as the store computes it: in Python, and as an expression of DuckDB.

link = SHA-256(link before ‖ UTF-8 of '1', stream, kind, version, type, type's version, microseconds since 1970, payload,
metadata, joined by line feeds); before a stream's first event are 32 zero bytes. The texts of payload and metadata are those
of the store, verbatim.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

START = bytes(32)
"""The link before a stream's first event."""

EVENT_TEXT = (
    "concat_ws(chr(10), '1', aggregate_id, aggregate_type, stream_version::VARCHAR, event_type, event_version::VARCHAR, "
    "epoch_us(created_at)::VARCHAR, payload, metadata)"
)
"""DuckDB: what of an event is hashed, as text."""


def link(prev_hash: bytes, event: Mapping[str, Any]) -> bytes:
    """The link of one event; `created_us` in it is its time in microseconds since 1970."""
    names = ("aggregate_type", "stream_version", "event_type", "event_version", "created_us", "payload", "metadata")
    text = "\n".join(["1", str(event["aggregate_id"]), *(str(event[name]) for name in names)])
    return hashlib.sha256(prev_hash + text.encode()).digest()
