"""The versions in which events are written, held to the schemas that are registered."""

from __future__ import annotations

import json
from itertools import product
from typing import Any

import pytest

from pipelines.log import versions
from pipelines.log.upcasters import load_upcasters
from pipelines.log.versions import DECISION, name_of, written_type
from pipelines.sqlfiles import list_sql

TYPES = {path.name.removesuffix(".json"): json.loads(path.read_text()) for path in list_sql("events", ".json")}
CONSTANTS = [getattr(versions, each) for each in dir(versions) if each.isupper() and each[0] != "_"]
WRITTEN = sorted(each for each in CONSTANTS if isinstance(each, str))


def members(event_type: str) -> set[str]:
    """Members that a type's schema names."""
    return set(TYPES[event_type]["schema"]["properties"])


@pytest.mark.parametrize("name", WRITTEN)
def test_a_payload_has_the_oldest_version_that_names_all_that_it_says(name: str) -> None:
    """Of every member that some version names, alone, the type is the first version that names it."""
    latest = load_upcasters().latest[name]
    first = 2 if name == DECISION else 1
    for member in sorted(members(f"{name}.v{latest}") - {"subject_id"}):
        since = next(n for n in range(first, latest + 1) if member in members(f"{name}.v{n}"))
        assert written_type(name, {member: None}) == f"{name}.v{since}", member
    assert written_type(name, {}) == f"{name}.v{first}"
    assert name_of(f"{name}.v{latest}") == name


@pytest.mark.parametrize("name", WRITTEN)
def test_a_later_version_takes_all_that_an_earlier_one_took(name: str) -> None:
    """Members keep their schemas, but for an object that names more; so an upcaster that changes nothing is right."""
    latest = load_upcasters().latest[name]
    for version in range(2 if name == DECISION else 1, latest):
        before, after = (TYPES[f"{name}.v{n}"]["schema"] for n in (version, version + 1))
        assert before["required"] == after["required"]
        for member, schema in before["properties"].items():
            assert grown(schema, after["properties"][member]), member


def grown(before: Any, after: Any) -> bool:
    """Whether one schema is another, with more properties."""
    return all(
        after.get(key) == value or (key == "properties" and value.items() <= after[key].items())
        for key, value in before.items()
    )


@pytest.mark.parametrize(("kind", "usage"), list(product(("cache_write_tokens", "reasoning_tokens"), (0, None))))
def test_kinds_of_tokens_make_a_decision_of_version_3(kind: str, usage: int | None) -> None:
    """They stand inside of `usage`."""
    assert written_type(DECISION, {"model": "m", "usage": {kind: usage}}) == "model.decision.v3"
    assert written_type(DECISION, {"model": "m", "usage": {"input_tokens": 1}}) == "model.decision.v2"
