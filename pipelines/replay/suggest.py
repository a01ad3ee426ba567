"""Draft a tool manifest from the log: what each tool's schema and name say it does, and what its recorded calls show.

A draft is for a person to read: every line says why. Names are hints, and where they say nothing the tool stays unknown,
which is safe: what follows such a call is answered, counted apart and left out of headlines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from pipelines.experiment.manifest import Effect, ToolBook, ToolPolicy
from pipelines.experiment.tool_schemas import registered_tools
from pipelines.lake.lake import Lake
from pipelines.log.readable import create_readable_events

_READS = frozenset(
    [
        "get",
        "list",
        "search",
        "find",
        "read",
        "check",
        "show",
        "view",
        "lookup",
        "look",
        "fetch",
        "query",
        "describe",
        "count",
        "browse",
        "inspect",
        "can",
        "is",
        "has",
        "open",
        "retrieve",
        "status",
        "track",
    ]
)
_WRITES = frozenset(
    [
        "send",
        "create",
        "update",
        "delete",
        "remove",
        "add",
        "set",
        "post",
        "put",
        "patch",
        "book",
        "cancel",
        "reserve",
        "schedule",
        "modify",
        "change",
        "insert",
        "write",
        "edit",
        "append",
        "submit",
        "pay",
        "refund",
        "transfer",
        "exchange",
        "return",
        "invite",
        "enable",
        "disable",
        "toggle",
        "reset",
        "reboot",
        "resume",
        "suspend",
        "refuel",
        "grant",
        "revoke",
        "issue",
        "place",
        "finish",
        "close",
        "escalate",
        "order",
        "buy",
        "make",
        "upload",
        "rename",
        "move",
        "register",
        "make",
    ]
)
_PURES = frozenset(["calculate", "compute", "convert", "think", "format", "parse", "validate"])
_CALL_OWN = re.compile(r"(request|trace|idempotency|correlation|nonce|uuid|timestamp)", re.IGNORECASE)
_MANY = 5
"""Calls from which on an argument that never repeats says something."""
_REMEMBERED = 1_000
"""Values of one argument that are told apart; it is asked only whether any repeats."""
_BATCH = 20_000

_CALLS = """
SELECT
    name, actor, arguments, aggregate_id,
    md5(coalesce(output, '') || chr(10) || coalesce(error, '')) AS result,
    result_version IS NOT NULL AS is_answered,
    lag(name || chr(10) || arguments) OVER (PARTITION BY aggregate_id ORDER BY stream_version) = name || chr(10) || arguments
        AS is_repeated,
    lag(result) OVER (PARTITION BY aggregate_id ORDER BY stream_version) = result AS is_same_result
FROM tool_calls
WHERE NOT coalesce(is_erased, FALSE)
ORDER BY name, aggregate_id, stream_version
"""


@dataclass(slots=True)
class SuggestedTool:
    """One tool as the log shows it.

    Attributes:
        name: Its name.
        effect: What it probably does.
        because: Why: `schema`, `name`, or nothing that says so.
        calls: Recorded calls.
        conversations: Conversations that have one.
        by_user: Calls of the user's own.
        repeated: Calls that directly repeat the call before, arguments included.
        repeated_same: Those of them that got the same result.
        ignore_args: Arguments that look as if every call had a value of its own.
    """

    name: str
    effect: Effect = "unknown"
    because: str = "nothing says"
    calls: int = 0
    conversations: int = 0
    by_user: int = 0
    repeated: int = 0
    repeated_same: int = 0
    ignore_args: tuple[str, ...] = ()


@dataclass(slots=True)
class _Seen:
    """What the calls of one tool showed so far."""

    tool: SuggestedTool
    streams: set[str] = field(default_factory=set)
    values: dict[str, set[str]] = field(default_factory=dict)
    repeating: set[str] = field(default_factory=set)

    def add(self, row: Mapping[str, Any]) -> None:
        tool = self.tool
        tool.calls += 1
        tool.by_user += row["actor"] == "user"
        self.streams.add(row["aggregate_id"])
        if row["is_repeated"]:
            tool.repeated += 1
            tool.repeated_same += bool(row["is_same_result"])
        arguments = _members(row["arguments"])
        for name, value in arguments.items():
            if name in self.repeating or not _CALL_OWN.search(name):
                continue
            known = self.values.setdefault(name, set())
            text = json.dumps(value, sort_keys=True)
            if text in known:
                self.repeating.add(name)
            elif len(known) < _REMEMBERED:
                known.add(text)

    def finish(self) -> SuggestedTool:
        own = {name for name, values in self.values.items() if name not in self.repeating and len(values) >= _MANY}
        self.tool.conversations = len(self.streams)
        self.tool.ignore_args = tuple(sorted(own))
        return self.tool


def suggest_tools(lake: Lake) -> list[SuggestedTool]:
    """Every tool of the log, by name, with what it probably does."""
    with lake.connect() as connection:
        create_readable_events(connection)
        schemas = [tool for tools in registered_tools(connection).values() for tool in tools]
        book = ToolBook(ToolPolicy(), schemas)
        seen: dict[str, _Seen] = {}
        for batch in connection.sql(_CALLS).to_arrow_reader(_BATCH):
            for row in batch.to_pylist():
                name = row["name"]
                if name not in seen:
                    seen[name] = _Seen(_guess(name, book.effect(name)))
                seen[name].add(row)
    return [each.finish() for _, each in sorted(seen.items())]


def render_manifest(tools: Iterable[SuggestedTool]) -> str:
    """The draft as a manifest file, every tool with the reason in a comment."""
    tools = list(tools)
    calls = sum(tool.calls for tool in tools)
    lines = [
        f"# Drafted from {calls:,} recorded calls of {len(tools):,} tools. Read it before relying on it: a write that is called",
        "# a read lets a candidate read what it has changed as if it had not.",
        "tools:" if tools else "tools: {}",
    ]
    for tool in tools:
        settings: dict[str, Any] = {"effect": tool.effect}
        settings |= {"ignore_args": list(tool.ignore_args)} if tool.ignore_args else {}
        entry = yaml.safe_dump({tool.name: settings}, default_flow_style=True, allow_unicode=True, width=10_000).strip()
        lines += [f"  # {_evidence(tool)}", f"  {entry[1:-1]}"]
    return "\n".join(lines) + "\n"


def _guess(name: str, hinted: Effect) -> SuggestedTool:
    if hinted != "unknown":
        return SuggestedTool(name, hinted, "its schema says")
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    for word in words:
        for effect, verbs in (("read", _READS), ("write", _WRITES), ("pure", _PURES)):
            if word in verbs:
                return SuggestedTool(name, effect, f"{word!r} in its name says")  # type: ignore[arg-type]
    return SuggestedTool(name)


def _members(arguments: str | None) -> Mapping[str, Any]:
    try:
        value = json.loads(arguments or "null")
        value = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return value if isinstance(value, Mapping) else {}


def _evidence(tool: SuggestedTool) -> str:
    who = f", {tool.by_user:,} by the user" if tool.by_user else ""
    parts = [f"{tool.because} {tool.effect}", f"{tool.calls:,} calls in {tool.conversations:,} conversations{who}"]
    if tool.repeated:
        parts.append(f"{tool.repeated:,} repeated at once, {tool.repeated_same:,} of these with the same result")
        if tool.effect in ("read", "pure") and tool.repeated_same < tool.repeated:
            parts.append("LOOK: a read that answers differently")
    return "; ".join(parts)
