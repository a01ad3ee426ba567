"""Streams and events of the store by the names that people give them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from uuid import UUID

from pipelines.errors import BadInputError
from pipelines.folds.state import only_stream, possible_ids
from pipelines.store import Store
from pipelines.store.sqlstate import typed_errors

_STREAMS = "SELECT s.aggregate_id FROM refold.streams AS s WHERE s.aggregate_id = ANY(%s::uuid[]) ORDER BY 1"
_EVENT = re.compile(r"(.+)@([1-9][0-9]{0,8})", re.DOTALL)


def find_streams(store: Store, names: Sequence[str], done: str) -> tuple[UUID, ...]:
    """The streams that a person means, each by its id or as source/conversation_id, in their order.

    Args:
        store: The store.
        names: As typed.
        done: What is done with them, for the refusal, for example `erased`.

    Raises:
        BadInputError: There is none of a name, or more than one.
    """
    found = []
    for name in names:
        with typed_errors():
            ids = [str(row[0]) for row in store.conn.execute(_STREAMS, [possible_ids(name)]).fetchall()]
        if not ids:
            raise BadInputError(
                f"there is no stream {name!r}; give its id, or source/conversation_id. Nothing was {done}"
            )
        found.append(UUID(only_stream(name, ids)))
    return tuple(found)


def find_event(store: Store, name: str, done: str) -> tuple[UUID, int]:
    """The place that a person means by STREAM@VERSION, the stream as in `find_streams`; whether an event is there is not asked.

    Raises:
        BadInputError: It is not written so, or there is no such stream.
    """
    match = _EVENT.fullmatch(name)
    if match is None:
        raise BadInputError(
            f"--event {name!r}: write STREAM@VERSION, the stream by its id or as source/conversation_id"
        )
    (stream,) = find_streams(store, [match[1]], done)
    return stream, int(match[2])
