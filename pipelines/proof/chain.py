"""The link of a stream's hash chain, as the store computes it: in Python, and as expressions of DuckDB.

digest = SHA-256(salt ‖ payload ‖ LF ‖ metadata); link = SHA-256(link before ‖ header ‖ LF ‖ digest). The header is, joined by
line feeds: '2', stream, kind, version, type, type's version, microseconds since 1970. Before a stream's first event are 32 zero
bytes. The texts of payload and metadata are those of the store, verbatim, in UTF-8.

An event is whole, with a salt of 16 bytes and no digest of its own, or erased: content and salt are empty, and the digest that
they had is kept. So what stays of an erased event is bound as before, and nobody can tell by a guess what went.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

START = bytes(32)
"""The link before a stream's first event."""
FORMAT = 2
"""Of the log; the first field of every header."""
SALT_BYTES = 16
NOTHING = "{}"
"""Payload and metadata of an erased event."""

HEADER = (
    f"encode(concat_ws(chr(10), '{FORMAT}', aggregate_id, aggregate_type, stream_version::VARCHAR, event_type, "
    "event_version::VARCHAR, epoch_us(created_at)::VARCHAR, ''))"
)
"""DuckDB: an event's header and the line feed behind it, as bytes."""
CONTENT = "coalesce(salt, ''::BLOB) || encode(coalesce(payload, '') || chr(10) || coalesce(metadata, ''))"
"""DuckDB: salt and content, of which the digest is the hash, as bytes."""
IS_WHOLE = f"coalesce(octet_length(salt) = {SALT_BYTES} AND octet_length(digest) = 0, false)"
"""DuckDB: whether an event has its content."""
IS_ERASED = (
    "coalesce(octet_length(salt) = 0 AND octet_length(digest) = 32 "
    f"AND payload = '{NOTHING}' AND metadata = '{NOTHING}', false)"
)
"""DuckDB: whether an event is one whose content is gone, and has nothing in its place."""


def digest(event: Mapping[str, Any]) -> bytes | None:
    """The digest of an event's content: computed of a whole one, kept of an erased one; None of what is neither."""
    salt, kept, payload, content = event["salt"], event["digest"], event["payload"], event["metadata"]
    if salt is not None and len(salt) == SALT_BYTES and kept == b"":
        return hashlib.sha256(salt + f"{payload}\n{content}".encode()).digest()
    is_erased = salt == b"" and kept is not None and len(kept) == len(START) and payload == content == NOTHING
    return kept if is_erased else None


def link(prev_hash: bytes, event: Mapping[str, Any]) -> bytes | None:
    """The link of one event; `created_us` in it is its time in microseconds since 1970. None where it has no digest."""
    bound = digest(event)
    if bound is None:
        return None
    names = ("aggregate_id", "aggregate_type", "stream_version", "event_type", "event_version", "created_us")
    header = "\n".join([str(FORMAT), *(str(event[name]) for name in names), ""])
    return hashlib.sha256(prev_hash + header.encode() + bound).digest()
