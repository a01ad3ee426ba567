"""The event types: their JSON Schemas, validation before append, and the table `event_types`.

Shipped types are the files of `sql/events`. A registered schema never changes; a change is a new version `vN+1` and an
upcaster. Fields marked `x-personal` in a schema hold personal data or free text.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs
import psycopg

from pipelines.sqlfiles import list_sql
from pipelines.store.errors import EventTypeChanged, InvalidPayload, UnknownEventType
from pipelines.store.sqlstate import typed_errors


@dataclass(frozen=True, slots=True)
class EventType:
    """One event type.

    Attributes:
        name: `noun.verb.vN`.
        description: One line on what it means.
        schema: JSON Schema (2020-12) of the payload; personal fields carry `"x-personal": true`.
    """

    name: str
    description: str
    schema: Mapping[str, Any]

    @property
    def version(self) -> int:
        """N of `noun.verb.vN`."""
        return int(self.name.rsplit(".v", 1)[1])


class Registry:
    """A set of event types, with their validators compiled once."""

    def __init__(self, types: Iterable[EventType]) -> None:
        self.types: dict[str, EventType] = {t.name: t for t in types}
        self._validators = {
            name: jsonschema_rs.Draft202012Validator(dict(t.schema), validate_formats=False)
            for name, t in self.types.items()
        }

    @classmethod
    def shipped(cls) -> Registry:
        """The types of `sql/events`; read and compiled once per process."""
        return _shipped()

    def missing(self, names: Iterable[str]) -> set[str]:
        """Those of `names` that are not in this registry."""
        return {name for name in names if isinstance(name, str)}.difference(self.types)

    def extended(self, types: Iterable[EventType]) -> Registry:
        """This registry with `types` added; those it has already stay as they are."""
        new = Registry(t for t in types if t.name not in self.types)
        new.types |= self.types
        new._validators |= self._validators
        return new

    def validate(self, event_type: str, payload: Mapping[str, Any], hidden: str | None = None) -> None:
        """Check a payload against its type's schema.

        Args:
            event_type: The type.
            payload: The payload.
            hidden: What stands in it in place of what was redacted, and fits wherever it stands; None if nothing was.

        Raises:
            UnknownEventType: The type is not in this registry.
            InvalidPayload: The payload does not fit; the error carries the JSON Pointer of the first misfit.
        """
        validator = self._validators.get(event_type)
        if validator is None:
            near = ", ".join(sorted(self.types))
            raise UnknownEventType(f"event type {event_type!r} is not registered; there are {near}")
        document = payload if isinstance(payload, dict) else dict(payload)
        try:
            if validator.is_valid(document):
                return
            misfits = (each for each in validator.iter_errors(document) if hidden is None or each.instance != hidden)
            if (problem := next(misfits, None)) is None:
                return
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InvalidPayload("", str(error), what=f"payload of {event_type}") from error
        path = "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in problem.instance_path)
        raise InvalidPayload(path, problem.message[:500], what=f"payload of {event_type}")

    def personal_paths(self, event_type: str) -> tuple[str, ...]:
        """JSON Pointers of the type's personal fields, sorted; `*` stands for every item of an array.

        Raises:
            UnknownEventType: The type is not in this registry.
        """
        if event_type not in self.types:
            raise UnknownEventType(f"event type {event_type!r} is not registered")
        return tuple(sorted(_personal(self.types[event_type].schema, "")))

    def register(self, conn: psycopg.Connection) -> tuple[str, ...]:
        """Put the types into the database's table; those already there must be the same.

        Returns:
            Names that were new, sorted.

        Raises:
            EventTypeChanged: A type is registered with another schema.
        """
        names = sorted(self.types)
        schemas = [json.dumps(self.types[name].schema) for name in names]
        with typed_errors(), conn.transaction():
            added = conn.execute(
                "INSERT INTO refold.event_types (event_type, event_version, description, schema) "
                "SELECT * FROM unnest(%s::text[], %s::integer[], %s::text[], %s::text[]::jsonb[]) "
                "ON CONFLICT (event_type) DO NOTHING RETURNING event_type",
                [
                    names,
                    [self.types[name].version for name in names],
                    [self.types[name].description for name in names],
                    schemas,
                ],
            ).fetchall()
            changed = conn.execute(
                "SELECT t.event_type FROM unnest(%s::text[], %s::text[]::jsonb[]) AS n (event_type, schema) "
                "JOIN refold.event_types AS t USING (event_type) WHERE t.schema <> n.schema ORDER BY 1",
                [names, schemas],
            ).fetchall()
            if changed:
                raise EventTypeChanged(
                    f"{', '.join(row[0] for row in changed)}: registered with another schema; "
                    "a registered schema never changes, register the next version"
                )
        return tuple(sorted(row[0] for row in added))


_SELECT = "SELECT event_type, description, schema FROM refold.event_types"


def read_types(conn: psycopg.Connection, names: Collection[str] | None = None) -> list[EventType]:
    """The types that a database has registered: all, or those of `names` that it has."""
    with typed_errors():
        rows = conn.execute(*_select(names)).fetchall()
    return [EventType(*row) for row in rows]


async def read_types_async(conn: psycopg.AsyncConnection, names: Collection[str] | None = None) -> list[EventType]:
    """The async twin of `read_types`."""
    with typed_errors():
        rows = await (await conn.execute(*_select(names))).fetchall()
    return [EventType(*row) for row in rows]


def _select(names: Collection[str] | None) -> tuple[str, Sequence[Any]]:
    return (_SELECT, ()) if names is None else (f"{_SELECT} WHERE event_type = ANY(%s)", [sorted(names)])


@cache
def _shipped() -> Registry:
    types = []
    for path in list_sql("events", ".json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        types.append(EventType(document["event_type"], document["description"], document["schema"]))
    return Registry(types)


def _personal(schema: object, at: str) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    if schema.get("x-personal") is True:
        yield at
        return
    for key, child in schema.get("properties", {}).items():
        yield from _personal(child, f"{at}/{key.replace('~', '~0').replace('/', '~1')}")
    yield from _personal(schema.get("items"), f"{at}/*")
