"""Recorded traffic of providers, imported and rendered back: the request that was sent, as JSON.

What a log does not tell a model apart from is made alike first: names that a provider gave to calls, items and reasoning, a text and
the list of its one part, and flags that say what is so anyway (`is_error: false`). Nothing else.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.experiment.sides import Api
from pipelines.ingest.convert import Conversation, Place, convert
from pipelines.log.context import Context
from pipelines.replay.request import Head, Lines
from tests.support.foreign_lines import foreign_lines

AT = datetime(2026, 1, 1, tzinfo=UTC)
FILES: list[tuple[str, str, Api, str]] = [
    ("06-anthropic/thinking-two-turns.exchanges.jsonl", "anthropic", "messages", "request"),
    ("06-anthropic/tool-search-round-trip.exchanges.jsonl", "anthropic", "messages", "request"),
    ("05-openai/responses-rollouts-calendar-1-2.jsonl.gz", "responses", "responses", "responses_create_params"),
]


def contexts_of(conversation: Conversation) -> Iterator[tuple[list[dict[str, Any]], str | None]]:
    """(Messages, hash of the tools) of every model call of a conversation, as a replay renders them."""
    context = Context()
    for event in conversation.events:
        if event.event_type.startswith("model.decision."):
            yield json.loads(json.dumps(context.messages)), event.payload.get("tools_sha256")
        metadata = event.metadata
        context.apply(event.event_type, event.payload, metadata)
        if event.event_type.startswith("agent.reasoning."):
            form = metadata.get("source_form", {}).get("reasoning", {})
            context.give_back({"thought": event.payload, "field": form.get("field")})
        elif isinstance(metadata.get("source_fields"), dict):
            context.give_back(metadata["source_fields"])


def alike(value: Any, names: dict[str, str]) -> Any:
    """The value with names by their first appearance, and texts as parts; see above."""
    if isinstance(value, list):
        return [alike(each, names) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: alike(each, names) for key, each in value.items()}
    for key in ("id", "call_id", "tool_use_id"):
        if isinstance(made.get(key), str):
            made[key] = names.setdefault(made[key], f"name {len(names)}")
    if made.get("type") == "reasoning":
        made.pop("id", None)
    if made.get("type") == "message":
        made.pop("type")
    if isinstance(made.get("content"), str) and "role" in made:
        made["content"] = [{"type": "text", "text": made["content"]}]
    if made.get("is_error") is False:
        made.pop("is_error")
    return made


def recorded(path: Path, member: str) -> list[dict[str, Any]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    return [json.loads(line)[member] for line in text.split("\n") if line.strip()]


@pytest.mark.parametrize(("name", "form", "api", "member"), FILES)
def test_a_recorded_request_is_rendered_back(name, form, api, member, shared_data: Path, tmp_path):
    """Messages with signed thoughts, tools, results with references, encrypted reasoning: what was sent is sent again."""
    path = shared_data / "formats" / "dev" / name
    sent = recorded(path, member)
    turns = "messages" if api == "messages" else "input"
    made = []
    for number, line in enumerate(foreign_lines(form, [path], tmp_path)):
        conversation = convert(line, place=Place(name, number), at=AT)
        tools = {event.payload["sha256"]: event.payload["tools"] for _, event in conversation.tools}
        for messages, sha256 in contexts_of(conversation):
            lines = Lines(Head("m", {"max_tokens": 4096}, tools.get(sha256 or "", ()), api))
            lines.add(*messages)
            body = json.loads(lines.request("u", "candidate", 0, ("s", 1), lambda: (1, {})).body())
            made.append({"turns": alike(body[turns], {}), "tools": body.get("tools") or []})
    expected = [{"turns": alike(each[turns], {}), "tools": each.get("tools") or []} for each in sent]
    assert made == expected
