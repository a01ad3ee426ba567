"""The part of an export request that can be read: OTLP lets a receiver keep that, and say how many records it rejected."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otel.filling import entry_of, session_ranks
from pipelines.ingest.forms.otel.values import Block, blocks_of
from pipelines.ingest.reading.strict_json import parse

_UNREADABLE = (BadInputError, BadLineError, TypeError, KeyError, AttributeError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Records that are not kept, while the others of their request are.

    Attributes:
        count: How many.
        reason: Why the first one is not.
    """

    count: int
    reason: str


def sound_part(line: bytes, options: Options) -> tuple[bytes, int] | None:
    """A request without the records that the form cannot read, and how many these are.

    Args:
        line: The request as OTLP/JSON.
        options: Of the import.

    Returns:
        None where that is no request, or where none of its records can be read.
    """
    try:
        document = json.loads(line)
        blocks = list(blocks_of(document))
    except _UNREADABLE:
        return None
    ranks = session_ranks(options)
    kept = dropped = 0
    for block in blocks:
        sound = [record for record in block.records if _is_readable(block, record, ranks)]
        kept, dropped = kept + len(sound), dropped + len(block.records) - len(sound)
        block.records[:] = sound
    return (json.dumps(document, separators=(",", ":")).encode() + b"\n", dropped) if kept and dropped else None


def _is_readable(block: Block, record: Any, ranks: dict[str, int]) -> bool:
    try:
        parse(json.dumps(record))
        entry_of(block, record, ranks)
    except _UNREADABLE:
        return False
    return True
