"""What every file of an experiment has in common: unknown keys are refused, nothing is coerced, all faults are told at once."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.documents import Document, Place


class StrictModel(BaseModel):
    """Immutable, strict, and closed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=StrictModel)

_SHOWN = 60
"""Characters of a value in an error."""


def read_model(document: Document, model: type[Model]) -> Model:
    """The document as `model`.

    Raises:
        DocumentError: It is none; every fault is named, with its line.
    """
    try:
        return model.model_validate_json(json.dumps(document.value))
    except ValidationError as error:
        document.refuse(list(_findings(document, model, error)))


def known_keys(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that a place of a document may have; none where any may stand."""
    schema = _schema(model)
    nodes: list[Mapping[str, Any]] = [schema]
    for part in place:
        nodes = [inner for node in nodes for inner in _inside(schema, node, part)]
    return sorted({key for node in nodes for each in _choices(schema, node) for key in each.get("properties", {})})


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _choices(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What a node may be, references followed."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    yield node
    for each in node.get("anyOf", ()):
        yield from _choices(schema, each)


def _inside(schema: Mapping[str, Any], node: Mapping[str, Any], part: str | int) -> Iterator[Mapping[str, Any]]:
    for each in _choices(schema, node):
        if isinstance(part, int):
            inner = each.get("items")
        else:
            inner = each.get("properties", {}).get(part, each.get("additionalProperties"))
        if isinstance(inner, dict):
            yield inner


def _findings(document: Document, model: type[BaseModel], error: ValidationError) -> Iterator[tuple[Place, str]]:
    for fault in error.errors():
        place = _written(document.value, fault["loc"])
        if fault["type"] == "extra_forbidden":
            close = difflib.get_close_matches(str(place[-1]), known_keys(model, place[:-1]), n=1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known_keys(model, place[:-1]))}"
            yield place, f"{'.'.join(map(str, place))} is not a key that this version knows{hint}"
        elif fault["type"] == "missing":
            missing = ".".join(map(str, (*place, *fault["loc"][-1:])))
            yield place, f"{missing} is missing"
        else:
            yield place, _told(fault, document.doubtful.get(place))


def _told(fault: Any, doubt: str | None) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return str(message)
    given = fault["input"]
    seen = (
        "" if isinstance(given, dict | list) else f", not {json.dumps(given, ensure_ascii=False, default=str)[:_SHOWN]}"
    )
    return f"{message}{seen}{f' ({doubt})' if doubt else ''}"


def _written(value: Any, location: tuple[str | int, ...]) -> Place:
    """The part of pydantic's location that is a place of the document: it names choices among types, too."""
    place: list[str | int] = []
    for part in location:
        is_element = isinstance(value, list) and isinstance(part, int) and part < len(value)
        if is_element or (isinstance(value, dict) and part in value):
            value = value[part]
            place.append(part)
    return tuple(place)
