"""Find the prompts and the lists of tools that decisions name by their hash, wherever in the log they were registered.

The log is searched for registrations by type alone; what one says is then read from its own stream, redactions applied.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.duck import scratch
from pipelines.evidence.parts import Prompt, Tool
from pipelines.evidence.parts_of_events import as_text, text_or_none
from pipelines.evidence.stream_events import load_event
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.log.erased import IS_ERASED
from pipelines.log.upcasters import load_upcasters

_PROMPT, _TOOLS = "prompt.registered", "tools.registered"
# a text that is registered again, in a stream of its own, is the same version of the prompt
_FOUND = f"""
WITH registered AS (
    SELECT
        aggregate_id, stream_version, created_at, position, event_type,
        payload ->> '$.sha256' AS sha256, payload ->> '$.name' AS name
    FROM read_parquet($files)
    WHERE list_contains($types, event_type) AND NOT {IS_ERASED.format("")}
),

firsts AS (
    SELECT *
    FROM registered
    QUALIFY row_number() OVER (PARTITION BY event_type, name, sha256 ORDER BY created_at, position, aggregate_id) = 1
),

numbered AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY event_type, name ORDER BY created_at, position, aggregate_id) AS number,
        count(*) OVER (PARTITION BY event_type, name) AS count
    FROM firsts
)

SELECT sha256, aggregate_id, stream_version, created_at, number, count
FROM numbered
WHERE list_contains($wanted, sha256)
ORDER BY created_at, position, aggregate_id
"""


@dataclass(frozen=True, slots=True)
class Registrations:
    """What is known of hashes that decisions name.

    Attributes:
        prompts: By hash; those that were found.
        tools: By hash, the lists in their order; those that were found.
    """

    prompts: Mapping[str, Prompt]
    tools: Mapping[str, tuple[Tool, ...]]


def find_registrations(
    lake: Lake, prompts: Collection[str], tools: Collection[str], *, is_original: bool
) -> Registrations:
    """Look for the registrations of prompts and lists of tools.

    Args:
        lake: Holds `events`.
        prompts: Hashes, hex.
        tools: Hashes, hex.
        is_original: Whether texts are as recorded, redactions not applied.
    """
    found_prompts: dict[str, Prompt] = {}
    found_tools: dict[str, tuple[Tool, ...]] = {}
    for sha256, stream, version, at, number, count in _find(lake, {*prompts, *tools}):
        event = load_event(lake, stream, version)
        payload = event.recorded if is_original else event.shown
        if event.event_name == _PROMPT:
            name, text = as_text(payload.get("name")), as_text(payload.get("text"))
            found_prompts.setdefault(sha256, Prompt(sha256, name, number, count, at, text))
        elif isinstance(payload.get("tools"), list):  # a redaction may have left a text
            found_tools.setdefault(sha256, tuple(map(_tool, payload["tools"])))
    return Registrations(found_prompts, found_tools)


def _find(lake: Lake, wanted: Collection[str]) -> list[tuple[Any, ...]]:
    """The registrations of the wanted hashes, the first first: hash, stream, version, time, number under its name, and of how many."""
    files = lake.files(EVENTS.name)
    if not wanted or not files:
        return []
    types = [stored for stored, name, _ in load_upcasters().known_types() if name in (_PROMPT, _TOOLS)]
    with scratch() as connection:
        params = {"files": files, "types": types, "wanted": sorted(wanted)}
        return connection.sql(_FOUND, params=params).fetchall()


def _tool(tool: Any) -> Tool:
    """A tool as a chat completion offers it, or as other requests do: name, description and schema on one level."""
    inner = tool.get("function") if isinstance(tool, Mapping) else None
    said = inner if isinstance(inner, Mapping) else tool
    if not isinstance(said, Mapping):
        return Tool(as_text(tool), None, None)
    schema = said.get("parameters", said.get("input_schema"))
    return Tool(
        as_text(said.get("name")),
        text_or_none(said.get("description")),
        text_or_none(schema),
    )
