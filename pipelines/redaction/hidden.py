"""What redactions hide: the texts that must stand nowhere else, as the log still has them.

A short text is looked for by itself, wherever it was copied to. Of a long one, of a whole object and of a single character that cannot
be done: parts of a sentence may be repeated, and a digit is everywhere. They are *coarse*, and who holds copies of their conversation
hides all that was said there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pipelines.log.redaction import HIDDEN, Redaction, cut, hidden_part, target_version
from pipelines.redaction.payload import leaves, read
from pipelines.redaction.spelling import Spelled, readings
from pipelines.redaction.value import Value, can_be_found
from pipelines.store import Store
from pipelines.store.sqlstate import typed_errors

_CODE_POINTS, _WORDS = 80, 8
"""A text of at most so many is a thing (a name, a number, an address); a longer one is a sentence, whose parts may be repeated."""
_STREAM = """
SELECT r.payload::text FROM refold.events AS r
WHERE r.aggregate_id = %s AND starts_with(r.event_type, 'redaction.applied.v') AND octet_length(r.digest) = 0
ORDER BY r.stream_version
"""
_TARGETS = """
SELECT e.stream_version, e.payload::text FROM refold.events AS e
WHERE e.aggregate_id = %s AND e.stream_version = ANY(%s::integer[]) AND octet_length(e.digest) = 0
"""


@dataclass(frozen=True, slots=True)
class Hidden:
    """What the redactions of a stream hide.

    Attributes:
        values: Texts that can be looked for, the longest first.
        is_coarse: Something is hidden that cannot be looked for.
    """

    values: tuple[Value, ...] = ()
    is_coarse: bool = False

    def __or__(self, other: Hidden) -> Hidden:
        """What either hides."""
        texts = {each.text: each for each in (*self.values, *other.values)}
        ordered = sorted(texts.values(), key=lambda value: (-len(value.text), value.text))
        return Hidden(tuple(ordered), self.is_coarse or other.is_coarse)

    def cut(self, text: str) -> str:
        """A text without them."""
        if not self.values:
            return text
        spelled = Spelled(text)
        ranges = [found for value in self.values if value.stands_in(spelled) for found in value.find(text)]
        return cut(text, ranges) if ranges else text


def applied_redactions(store: Store, stream: UUID | str) -> dict[int, list[Redaction]]:
    """The redactions of a stream, by the version of the event that they hide a part of, in order."""
    with typed_errors():
        rows = store.conn.execute(_STREAM, [str(stream)]).fetchall()
    found: dict[int, list[Redaction]] = {}
    for (text,) in rows:
        payload = json.loads(text)
        version = target_version(payload)
        if version is not None:
            found.setdefault(version, []).append(Redaction.from_payload(payload))
    return found


def hidden_in_stream(store: Store, stream: UUID | str) -> Hidden:
    """What all redactions of a stream hide, as the store still has it; nothing of what is erased."""
    applied = applied_redactions(store, stream)
    with typed_errors():
        rows = store.conn.execute(_TARGETS, [str(stream), list(applied)]).fetchall()
    found = Hidden()
    for version, text in rows:
        found |= hidden_by(read(text), applied[version])
    return found


def hidden_by(payload: Mapping[str, Any], redactions: Iterable[Redaction]) -> Hidden:
    """What redactions hide of one payload, as recorded."""
    texts = {text for each in redactions for text in _texts(payload, each) if text.strip() and text != HIDDEN}
    values = [Value(text) for text in texts if can_be_found(text)]
    is_coarse = any(not can_be_found(text) or _is_sentence(text) for text in texts)
    return Hidden(tuple(sorted(values, key=lambda value: (-len(value.text), value.text))), is_coarse)


def _is_sentence(text: str) -> bool:
    return len(text) > _CODE_POINTS or len(text.split()) > _WORDS


def _texts(payload: Mapping[str, Any], redaction: Redaction) -> Iterator[str]:
    """The texts that a redaction hides: a part of a string, or all strings and numbers of a value, JSON in them, too."""
    for text, _ in leaves(hidden_part(payload, redaction)):
        yield from readings(text)
        with suppress(ValueError, RecursionError):
            inner = json.loads(text)
            if isinstance(inner, list | dict):
                yield from (text for text, _ in leaves(inner))
