"""Spans for the benchmark of imports: recorded conversations in five dialects of OpenTelemetry, again and again with fresh ids."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

DIALECTS = ("semconv", "semconv-events", "openllmetry", "openllmetry-0.30", "openinference")
CONVERSATIONS = ("openhands", "tau2", "calendar")
_IDS = re.compile(rb'"(traceId|spanId|parentSpanId)": ?"([0-9a-f]+)"')
_SESSION_KEYS = rb"gen_ai\.conversation\.id|session\.id|traceloop\.association\.properties\.session_id"
_SESSIONS = re.compile(rb'("key": ?"(?:' + _SESSION_KEYS + rb')", ?"value": ?\{"stringValue": ?")([^"]+)"')


def write_spans(shared_data: Path, path: Path, spans: int) -> int:
    """Write export requests of at least so many spans, a request a line; all dialects and conversations in turn.

    Args:
        shared_data: The folder that has `formats/dev/01-otlp`.
        path: The file to write.
        spans: How many.

    Returns:
        Spans written.
    """
    samples = [
        gzip.decompress(
            (shared_data / "formats" / "dev" / "01-otlp" / f"emitted.{talk}-{dialect}.otlp.jsonl.gz").read_bytes()
        )
        for dialect in DIALECTS
        for talk in CONVERSATIONS
    ]
    counts = [len(re.findall(rb'"startTimeUnixNano"', sample)) for sample in samples]
    written, copy = 0, 0
    with path.open("wb") as file:
        while written < spans:
            for number, (sample, count) in enumerate(zip(samples, counts, strict=True)):
                file.writelines(_fresh(sample, f"{copy}/{number}"))
                written += count
                if written >= spans:
                    break
            copy += 1
    return written


def _fresh(sample: bytes, salt: str) -> Iterator[bytes]:
    """A file's lines with ids that no other copy has, alike within the copy."""
    key = salt.encode()

    def fresh_id(found: re.Match[bytes]) -> bytes:
        size = len(found[2]) // 2
        made = hashlib.blake2b(found[2], key=key, digest_size=size).hexdigest().encode()
        return b'"%s":"%s"' % (found[1], made)

    def fresh_session(found: re.Match[bytes]) -> bytes:
        return b'%s%s-%s"' % (found[1], found[2], key)

    for line in sample.splitlines():
        yield _SESSIONS.sub(fresh_session, _IDS.sub(fresh_id, line)) + b"\n"
