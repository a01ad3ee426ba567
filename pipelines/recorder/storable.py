r"""Any value as the JSON that the store gives back: a recorder hashes what a later reader will see.

PostgreSQL's jsonb orders keys, writes numbers out and refuses `\u0000`, lone surrogates, NaN and infinity. Here the same
is done beforehand, and what it would refuse, or what no JSON can be made of, is written in another way and named, so that
nothing is dropped silently and nothing breaks the agent.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date, time
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from pipelines.canonical.jsonb import in_order, written_out

MAX_DEPTH = 200
"""Deeper than any real message, and well inside the stacks of Python and PostgreSQL."""
MAX_VALUES = 250_000
"""More than any real message holds; a structure that shares its parts can hold more than there is memory for."""
_MAX_INT_BITS = 14_000
"""A little less than the 4,300 digits that Python turns into text."""
_REFUSED = re.compile("[\0\ud800-\udfff]")
_ADDRESS = re.compile(r"( at 0x[0-9a-fA-F]+| id=.[0-9]+.)")
_DESCRIBED = 500
"""Characters of a description; what is cut off could not have been read back anyway."""
_OMITTED = frozenset({"NotGiven", "Omit"})
"""Names of the SDKs' markers for "not part of the request"."""


@dataclass(slots=True)
class Storable:
    """Makes values storable and remembers what had to be written in another way. It never raises.

    Attributes:
        changed: JSON Pointers of the values that are not what was given, in the order met.
        described: How many of them are kept as a description alone, because they cannot be dumped.
    """

    changed: list[str] = field(default_factory=list)
    described: int = 0
    _open: set[int] = field(default_factory=set)
    _left: int = MAX_VALUES

    def __call__(self, value: Any, at: str = "") -> Any:
        """`value` as jsonb returns it: plain dicts, lists, strings, numbers, booleans and None.

        Mappings, sequences and objects with `model_dump` become JSON as the openai SDK would send them. Characters and
        numbers that jsonb refuses become text; a model's class becomes its JSON Schema; any other object, what is nested
        too deeply or in itself, and what raises when it is looked at become a short description.
        """
        self._left -= 1
        try:
            return self._made(value, at)
        except Exception:  # noqa: BLE001 -- the value's own code, whatever it is
            return self._described(value, at)

    def _made(self, value: Any, at: str) -> Any:
        if isinstance(value, Enum):
            return self(value.value, at)
        if value is None or isinstance(value, bool | str | int | float):
            return self._scalar(value, at)
        if at.count("/") >= MAX_DEPTH:
            return self._told(f"nested more than {MAX_DEPTH} levels deep", at)
        if id(value) in self._open:
            return self._told("nested in itself", at)
        if self._left < 0:
            return self._told(f"beyond {MAX_VALUES:,} values", at)
        self._open.add(id(value))
        try:
            return self._container(value, at)
        finally:
            self._open.discard(id(value))

    def _container(self, value: Any, at: str) -> Any:
        if isinstance(value, type):
            return self._class(value, at)
        if isinstance(value, Mapping):
            return self._object(value, at)
        if isinstance(value, list | tuple):
            items = [item for item in value if not is_omitted(item)]
            return [self(item, f"{at}/{index}") for index, item in enumerate(items)]
        return self._dumped(value, at)

    def _dumped(self, value: Any, at: str) -> Any:
        """An object, as what it says of itself."""
        dumped = _dump(value)
        if isinstance(dumped, Mapping | list | tuple | str | int | float):
            return self(dumped, at)
        self.changed.append(at)
        if isinstance(value, set | frozenset):
            return [self(item, f"{at}/{index}") for index, item in enumerate(sorted(value, key=_description))]
        if isinstance(value, date | time | UUID | Decimal | PurePath):
            return self._text(str(value), at)
        if is_dataclass(value):
            return self._object({each.name: getattr(value, each.name) for each in fields(value)}, at)
        self.changed.pop()
        return self._described(value, at)

    def _class(self, value: type, at: str) -> Any:
        """A class that describes an answer or a tool: its name, and its JSON Schema where it has one."""
        schema = getattr(value, "model_json_schema", None)
        self.changed.append(at)
        named: dict[str, Any] = {"name": value.__name__}
        return self({**named, "schema": schema()} if callable(schema) else named, at)

    def _described(self, value: Any, at: str) -> str:
        return self._told(_description(value), at)

    def _told(self, description: str, at: str) -> str:
        told = _REFUSED.sub("?", description)  # before it is counted: an agent's stack may have no room for it
        self.described += 1
        self.changed.append(at)
        return told

    def _scalar(self, value: bool | str | float | None, at: str) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(str(value), at)
        if isinstance(value, int):
            return int(value) if value.bit_length() <= _MAX_INT_BITS else self._changed(hex(value), at)
        return written_out(value) if math.isfinite(value) else self._changed(str(value), at)

    def _object(self, value: Mapping[Any, Any], at: str) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for given, inner in value.items():
            if is_omitted(inner):
                continue
            name = _key(given)
            place = f"{at}/{name.replace('~', '~0').replace('/', '~1')}"
            key = self._text(name, place)
            if key in result:  # two keys of other types that JSON writes alike
                key = str(self._changed(f"{key} ({len(result)})", place))
            result[key] = self(inner, _REFUSED.sub("?", place))
        return in_order(result.items())

    def _text(self, text: str, at: str) -> str:
        if not _REFUSED.search(text):
            return text
        return str(self._changed(_REFUSED.sub(lambda found: f"\\u{ord(found[0]):04x}", text), _REFUSED.sub("?", at)))

    def _changed(self, value: Any, at: str) -> Any:
        self.changed.append(at)
        return value


def text_of_any(value: Any) -> str:
    """A text as it is; of anything else a short description."""
    return (
        value if isinstance(value, str) else _description(value) if not isinstance(value, int | float) else str(value)
    )


def fields_of(value: Any) -> Mapping[str, Any] | None:
    """The fields of a mapping or of an SDK object; None of anything else."""
    if isinstance(value, Mapping):
        return value
    try:
        fields = _dump(value)
    except Exception:  # noqa: BLE001 -- the value's own code
        return None
    return fields if isinstance(fields, dict) else None


def _dump(value: Any) -> Any:
    """What an object says of itself, as the SDKs send it; None of one that does not."""
    dump = getattr(value, "model_dump", None)
    if not callable(dump):
        return None
    try:
        return dump(
            mode="json", exclude_unset=True, warnings=False
        )  # SDKs keep what was parsed in fields of other types
    except TypeError:
        return dump(mode="json", exclude_unset=True)


def member_of(value: Any, name: str) -> Any:
    """A member of a mapping or an attribute of an object; None where there is none, or it cannot be had."""
    try:
        return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    except Exception:  # noqa: BLE001 -- the value's own code
        return None


def is_omitted(value: Any) -> bool:
    """Whether a value stands for "leave this field out"."""
    return type(value).__name__ in _OMITTED


def _key(key: Any) -> str:
    """A key as JSON encoders write it."""
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return "null"
    return str(key) if isinstance(key, str | int | float) else _description(key)


def _description(value: Any) -> str:
    """A short text about an object, the same in every process; what it says of itself, if it says anything."""
    try:
        text = _ADDRESS.sub("", repr(value))
    except Exception:  # noqa: BLE001 -- the value's own code
        text = f"<{type(value).__name__} that cannot be shown>"
    return text if len(text) <= _DESCRIBED else text[:_DESCRIBED] + "…"
