"""The event types of a foreign table, in the store's words: what they are called here, and that they are registered."""

from __future__ import annotations

from pipelines.errors import BadInputError
from pipelines.ingest.event_types import NAME, register_open, registry_of
from pipelines.ingest.postgres.source import SourceType
from pipelines.store import Store, UnknownEventType


def type_name(given: SourceType) -> str:
    """The registered name of a row's type."""
    stem, dot, version = given.event_type.rpartition(".v")
    if dot and stem and version.isascii() and version.isdigit():
        return given.event_type
    return f"{given.event_type}.v{given.event_version}"


def known_types(
    store: Store, types: dict[SourceType, str], rows: dict[SourceType, int], *, register: bool, table: str
) -> tuple[str, ...]:
    """See that every type of the table is registered, or register it."""
    known = registry_of(store, set(types.values())).types
    counts: dict[str, int] = {}
    for each, name in types.items():
        if name not in known:
            counts[name] = counts.get(name, 0) + rows[each]
    listed = ", ".join(f"{name} ({count:,} rows)" for name, count in sorted(counts.items()))
    if not counts:
        return ()
    if odd := sorted(name for name in counts if not NAME.fullmatch(name)):
        raise BadInputError(
            f"{table} has event types whose names the store cannot take: {', '.join(odd)}; a type is noun.verb.vN in "
            "small letters: rename them in a view of the table and import the view"
        )
    if not register:
        raise UnknownEventType(
            f"{table} has event types that are not registered: {listed}; describe them with `refold events register "
            "FILE`, or give --register to take any object for them"
        )
    return register_open(store, counts, f"Imported from {table}; any object.")
