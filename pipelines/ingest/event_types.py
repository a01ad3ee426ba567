"""Event types of the store's registry: list them, show one, register one from a file.

A file has the shape of those in `sql/events`: `{"event_type", "description", "schema"}`. What a registered type means
never changes, so registering is idempotent and a changed schema is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import jsonschema_rs

from pipelines.documents import parse_json, read_text
from pipelines.errors import BadInputError
from pipelines.ingest.canonical import digest
from pipelines.store import EventType, EventTypeChanged, Registry, Store, UnknownEventType
from pipelines.store.registry import read_types
from pipelines.store.sqlstate import typed_errors

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+\.v[1-9][0-9]{0,4}")
"""`noun.verb.vN`; the table `event_types` has the same rule."""
_SELECT = "SELECT event_type, description, schema, registered_at FROM refold.event_types"
_FIELDS = {"event_type", "description", "schema"}


@dataclass(frozen=True, slots=True)
class RegisteredType:
    """One type of the store's registry.

    Attributes:
        event_type: `noun.verb.vN`.
        description: What it means, one line.
        schema_sha256: SHA-256 (hex) of the schema's canonical JSON.
        personal: JSON Pointers of personal fields, sorted; `*` stands for every item of an array.
        registered_at: UTC.
        schema: JSON Schema of the payload.
    """

    event_type: str
    description: str
    schema_sha256: str
    personal: tuple[str, ...]
    registered_at: datetime
    schema: Mapping[str, Any]


def list_types(store: Store) -> list[RegisteredType]:
    """All types of the store's registry, by name."""
    with typed_errors():
        return [_registered(*row) for row in store.conn.execute(f"{_SELECT} ORDER BY event_type").fetchall()]


def show_type(store: Store, event_type: str) -> RegisteredType:
    """One type of the store's registry.

    Raises:
        UnknownEventType: It is not registered.
    """
    with typed_errors():
        row = store.conn.execute(f"{_SELECT} WHERE event_type = %s", [event_type]).fetchone()
    if row is None:
        raise UnknownEventType(
            f"event type {event_type!r} is not registered; `refold events list` shows those that are"
        )
    return _registered(*row)


def register_file(store: Store, path: Path) -> tuple[RegisteredType, bool]:
    """Register the type that a file describes.

    Returns:
        The type as registered, and whether it is new.

    Raises:
        BadInputError: The file does not describe an event type.
        EventTypeChanged: A type of this name is registered with another schema; both hashes are named.
    """
    given = read_type(path)
    try:
        added = Registry([given]).register(store.conn)
    except EventTypeChanged:
        stored = show_type(store, given.name)
        raise EventTypeChanged(
            f"{path}: {given.name} has schema {digest(given.schema)}, but it is registered with "
            f"{stored.schema_sha256}; a registered schema never changes, register {_next(given.name)}"
        ) from None
    return show_type(store, given.name), bool(added)


def read_type(path: Path) -> EventType:
    """The event type that a JSON file describes.

    Raises:
        BadInputError: It does not; the message says why.
    """
    document = parse_json(read_text(path, ""), str(path)).value
    if not isinstance(document, dict) or set(document) != _FIELDS:
        raise BadInputError(f"{path} must be one JSON object with {', '.join(sorted(_FIELDS))} and nothing else")
    name, description, schema = document["event_type"], document["description"], document["schema"]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadInputError(
            f"{path}: event_type is {name!r}; write noun.verb.vN in small letters, such as order.paid.v1"
        )
    if not isinstance(description, str) or not description.strip() or not isinstance(schema, dict):
        raise BadInputError(f"{path}: description must be a line of text and schema a JSON object")
    try:
        jsonschema_rs.Draft202012Validator(schema, validate_formats=False, retriever=_refuse)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise BadInputError(f"{path}: schema is not a JSON Schema (2020-12): {str(error).splitlines()[0]}") from error
    return EventType(name, description.strip(), schema)


def registry_of(store: Store, names: Collection[str]) -> Registry:
    """Those of `names` that the store's registry has, with validators."""
    return Registry(read_types(store.conn, names))


def register_open(store: Store, names: Iterable[str], description: str) -> tuple[str, ...]:
    """Register types with a schema that takes any object; those that were new."""
    return Registry(EventType(name, description, {"type": "object"}) for name in names).register(store.conn)


def _registered(name: str, description: str, schema: dict[str, Any], registered_at: datetime) -> RegisteredType:
    personal = Registry([EventType(name, description, schema)]).personal_paths(name)
    return RegisteredType(name, description, digest(schema), personal, registered_at, schema)


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"it refers to {uri}, and a schema must be whole by itself")


def _next(name: str) -> str:
    stem, _, version = name.rpartition(".v")
    return f"{stem}.v{int(version) + 1}"
