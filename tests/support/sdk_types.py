"""The official SDKs' own types as judges of a request: every key known, every required one there, every value of its type.

Their types are `TypedDict`s, which nothing checks at run time, and whose iterables pydantic reads lazily; so this walks them.
"""

from __future__ import annotations

import types
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin

import typing_extensions

_REQUIRED = (Required, typing_extensions.Required)
_TRANSPARENT = (*_REQUIRED, NotRequired, Annotated, typing_extensions.NotRequired)
_OTHER_KIND, _OTHER_LITERAL, _DETAIL = 1_000, 100, 1
"""How far off a value is: of several types, the faults by the nearest one are told."""

Fault = tuple[int, str]


def faults_of(value: Any, kind: Any) -> list[str]:
    """What of a JSON value an SDK's type does not know; empty where it is one.

    Args:
        value: A JSON value.
        kind: A type, such as `openai.types.responses.ResponseInputItemParam`.
    """
    return [text for _, text in _faults(value, kind, "$")]


def _faults(value: Any, kind: Any, place: str) -> list[Fault]:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in _TRANSPARENT:
        return _faults(value, arguments[0], place)
    if origin in (Union, types.UnionType):
        found = [_faults(value, each, place) for each in arguments]
        return min(found, key=lambda faults: sum(weight for weight, _ in faults))
    if origin is Literal:
        return [] if value in arguments else [(_OTHER_LITERAL, f"{place}: {value!r} is none of {arguments}")]
    if typing_extensions.is_typeddict(kind):
        return _of_object(value, kind, place)
    if origin is not None and origin is not dict:  # lists, by the names that SDKs have for them
        if not isinstance(value, list):
            return [(_OTHER_KIND, f"{place}: {value!r} is no list")]
        return [fault for n, each in enumerate(value) for fault in _faults(each, arguments[0], f"{place}[{n}]")]
    if origin is dict:
        if not isinstance(value, dict):
            return [(_OTHER_KIND, f"{place}: {value!r} is no object")]
        return [fault for n, each in value.items() for fault in _faults(each, arguments[1], f"{place}.{n}")]
    return _of_plain(value, kind, place)


def _of_plain(value: Any, kind: Any, place: str) -> list[Fault]:
    if kind in (Any, object):
        return []
    if kind is None:
        kind = type(None)
    if not isinstance(kind, type):
        raise TypeError(f"{place}: the SDK's type {kind!r} is none that is known here")
    if not issubclass(kind, (str, bool, int, float, type(None), list, dict)):  # a model of an answer, which JSON is not
        return [(_OTHER_KIND, f"{place}: {value!r} is JSON and no {kind.__name__}")]
    taken = (int, float) if kind is float else kind
    is_one = isinstance(value, taken) and (kind is bool or not isinstance(value, bool))
    return [] if is_one else [(_OTHER_KIND, f"{place}: {value!r} is no {kind.__name__}")]


def _of_object(value: Any, kind: Any, place: str) -> list[Fault]:
    if not isinstance(value, dict):
        return [(_OTHER_KIND, f"{place}: {value!r} is no object")]
    known = typing_extensions.get_type_hints(kind, include_extras=True)
    required = [name for name, each in known.items() if get_origin(each) in _REQUIRED]
    faults = [(_DETAIL, f"{place}: {name} is missing") for name in required if name not in value]
    faults += [(_DETAIL, f"{place}: {name} is not known of {kind.__name__}") for name in value if name not in known]
    kept = [(name, each) for name, each in value.items() if name in known]
    return faults + [fault for name, each in kept for fault in _faults(each, known[name], f"{place}.{name}")]
