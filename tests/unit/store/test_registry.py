"""The shipped event types and their schemas, without a database."""

from __future__ import annotations

import re

import pytest

from pipelines.store import InvalidPayload, Registry, UnknownEventType


@pytest.fixture(scope="module")
def registry() -> Registry:
    """The shipped types."""
    return Registry.shipped()


def test_names_and_files_agree(registry: Registry) -> None:
    """A type's file is named after it, and its name is noun.verb.vN."""
    from pipelines.sqlfiles import list_sql  # noqa: PLC0415 - only here

    assert {path.name.removesuffix(".json") for path in list_sql("events", ".json")} == set(registry.types)
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+\.v[1-9]\d*", name) for name in registry.types)
    assert all(t.description.endswith(".") for t in registry.types.values())


def test_a_fitting_payload_passes(registry: Registry) -> None:
    """Fields that the schema does not know are kept."""
    registry.validate("tool.call.v1", {"call_id": None, "name": "f", "arguments": "{not json", "extra": [1]})


@pytest.mark.parametrize(
    ("event_type", "payload", "path"),
    [
        ("user.utterance.v1", {}, ""),
        ("user.utterance.v1", {"text": None}, "/text"),
        (
            "conversation.started.v1",
            {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": ""}]},
            "/messages/1/role",
        ),
        ("model.decision.v2", {"model": "m", "usage": {"input_tokens": -1}}, "/usage/input_tokens"),
        ("model.decision.v2", {"model": "m", "request_sha256": "ABC"}, "/request_sha256"),
        ("redaction.applied.v1", {"target": {"stream_version": 1}, "method": "m", "reason": "r"}, ""),
    ],
)
def test_a_misfit_is_named_by_its_place(registry: Registry, event_type: str, payload: dict, path: str) -> None:
    """The error carries the JSON Pointer of what does not fit."""
    with pytest.raises(InvalidPayload, match=event_type.replace(".", r"\.")) as caught:
        registry.validate(event_type, payload)
    assert caught.value.path == path


def test_unknown_types_are_refused(registry: Registry) -> None:
    """Another version of a known type is unknown too."""
    for name in ("user.utterance.v3", "user.utterance", ""):
        with pytest.raises(UnknownEventType):
            registry.validate(name, {"text": "x"})
        with pytest.raises(UnknownEventType):
            registry.personal_paths(name)


def test_personal_fields_are_known_by_pointer(registry: Registry) -> None:
    """Every field marked personal is listed, inside arrays with a star."""
    assert registry.personal_paths("conversation.started.v1") == ("/messages/*/content", "/variables")
    assert registry.personal_paths("user.utterance.v1") == ("/content", "/name", "/text")
    assert registry.personal_paths("row.changed.v1") == ("/after", "/before", "/key")
    assert registry.personal_paths("model.decision.v2") == ()
