"""Samples of foreign forms, what is known of them, and an independent reading of the run lines that come of them.

The counts and hashes beside the samples were made by a program that shares no code with an importer; what they mean is said
there. `stream_sha256` and `counts` here read run lines, and are written anew from that definition.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

IMPORTERS = {
    "01-otlp": "otlp",
    "02-langfuse": "langfuse",
    "03-langsmith": "langsmith",
    "04-inspect": "inspect",
    "05-openai": "responses",
    "06-anthropic": "anthropic",
    "08-voice": "voice",
    "09-datasets": "dataset",
}
"""Forms by the folder of their samples; those of coding agents begin with their names."""
CODING = ("claude-code", "codex", "litellm", "swe-agent", "openhands", "atif")
SAID = ("text", "input_text", "output_text")
COUNTED = (
    "conversations",
    "model_calls",
    "wrapper_calls",
    "system",
    "user",
    "agent_text",
    "tool_calls",
    "tool_results",
    "tokens",
    "models",
)
"""What is known of every sample of a trace store."""


@dataclass(frozen=True)
class Sample:
    """One file and what is known of it: `counts` is its line of `counts-dev.jsonl`."""

    name: str
    path: Path
    counts: Mapping[str, Any]

    @property
    def form(self) -> str:
        """The folder that it lies in, as `01-otlp`."""
        return self.path.parent.name

    @property
    def importer(self) -> str:
        """The form that reads it."""
        return IMPORTERS.get(self.form) or next(name for name in CODING if self.name.startswith(name))


def samples(shared_data: Path, folder: str | None = None) -> list[Sample]:
    """The samples of a form, by their names; of all forms, where none is named."""
    root = shared_data / "formats"
    lines = (root / "counts-dev.jsonl").read_text().splitlines()
    known = [json.loads(line) for line in lines]
    found = [Sample(Path(each["file"]).name, root / each["file"], each) for each in known]
    return [each for each in found if folder is None or each.form == folder]


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def text_of(content: Any) -> str:
    """What a content says as text."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = (part if isinstance(part, str) else _part_text(part) for part in content)
    return "".join(texts)


def _part_text(part: Any) -> str:
    if not isinstance(part, dict) or part.get("type", "text") not in SAID:
        return ""
    return next((part[name] for name in ("text", "content", "value") if isinstance(part.get(name), str)), "")


def _is_parts(content: Any) -> bool:
    return isinstance(content, list) and all(isinstance(p, dict) and isinstance(p.get("type"), str) for p in content)


def arguments_text(arguments: Any) -> str:
    """Arguments as canonical JSON, whether they were written as text or given as an object; none are none."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return canonical(arguments)
    return canonical({} if arguments in (None, "") else arguments)


def hashed(message: Mapping[str, Any]) -> list[Any] | None:
    """A message as the hash has it; None where no model was sent it, and none said it by itself.

    What a provider's own tool answered is inside of the answer; what a service called was no model's call.
    """
    if message.get("executor") == "provider" or message.get("actor") == "service":
        return None
    if any(isinstance(message.get(name), dict) for name in ("compacted", "handoff", "event", "supplied")):
        return None
    content = message.get("content")
    if message["role"] == "assistant" and content is None and not message.get("tool_calls"):
        return None  # a decision of which nothing came, or reasoning alone
    text = text_of(content)
    if message["role"] == "tool" and not text and content not in (None, "", []) and not _is_parts(content):
        text = canonical(content)
    calls = sorted(
        [call["function"]["name"], arguments_text(call["function"]["arguments"])]
        for call in message.get("tool_calls") or ()
    )
    role = "system" if message["role"] == "developer" else message["role"]
    return [role, text.strip(), calls]


def streams_of(lines: Iterable[Mapping[str, Any]]) -> list[list[list[Any]]]:
    """What was said and called on each line, but for lines that say nothing."""
    found = []
    for line in lines:
        messages = [each for each in line["messages"] if each["role"] != "tool" or each.get("actor") != "service"]
        if any((each.get("decision") or {}).get("history") for each in messages):
            while messages and messages[-1]["role"] == "tool":
                messages.pop()  # of calls, it is the next one that says what the agent was sent; only a span says these
        told = [each for each in map(hashed, messages) if each is not None]
        if told:
            found.append(told)
    return found


def stream_sha256(lines: Iterable[Mapping[str, Any]]) -> str | None:
    """The hash of what was said and called, as `counts-dev.jsonl` has it; None where nothing was."""
    streams = streams_of(lines)
    if not streams:
        return None
    return hashlib.sha256(canonical(sorted(streams, key=canonical)).encode()).hexdigest()


@dataclass
class Counts:
    """Counts of run lines by the names of `counts-dev.jsonl`."""

    threads: int = 0
    system: int = 0
    user: int = 0
    agent_text: int = 0
    tool_calls: int = 0
    tool_results: int = 0
    models: set[str] = field(default_factory=set)
    model_calls: int = 0
    tokens: list[int] = field(default_factory=lambda: [0, 0])


def counts(lines: Iterable[Mapping[str, Any]]) -> Counts:
    """What run lines hold; model calls are decisions that a form recorded, with their tokens."""
    made = Counts()
    lines = list(lines)
    for stream in streams_of(lines):
        made.threads += 1
        for role, text, calls in stream:
            made.tool_calls += len(calls)
            made.system += role == "system"
            made.user += role == "user"
            made.tool_results += role == "tool"
            made.agent_text += role == "assistant" and bool(text)
    for line in lines:
        for message in line["messages"]:
            decision = message.get("decision")
            if isinstance(decision, dict):
                made.model_calls += 1
                usage = decision.get("usage") or {}
                made.tokens[0] += usage.get("input_tokens") or 0
                made.tokens[1] += usage.get("output_tokens") or 0
                made.models |= {decision["model"]} if decision.get("model") else set()
    return made


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines, compressed or not."""
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    yield from (json.loads(line) for line in text.splitlines() if line.strip())


def leaf_values(value: Any) -> Iterator[Any]:
    """Every scalar of a JSON value but null, at any depth, those inside of JSON texts included."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from leaf_values(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from leaf_values(inner)
    elif isinstance(value, str) and value[:1] in ("{", "["):
        try:
            yield from leaf_values(json.loads(value))
        except ValueError:
            yield value
    elif value is not None:
        yield value
