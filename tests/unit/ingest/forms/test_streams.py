"""Forms that are streams already, and logs of calls: what the samples hold, judged by counts and readers that were made apart."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipelines.ingest.assemble.accounting import Tally
from tests.support.foreign_lines import foreign_lines, raw_values
from tests.support.formats import Sample, arguments_text, leaf_values, samples, stream_sha256, streams_of

FOLDERS = ("05-openai", "06-anthropic", "07-coding", "08-voice", "09-datasets")
FORMS = {
    "05": "responses", "06": "anthropic", "08": "voice", "09": "dataset",
    "atif": "atif", "claude": "claude-code", "codex": "codex", "litellm": "litellm", "openhands": "openhands", "swe": "swe-agent",
}  # fmt: skip
COUNTED = ("system", "user", "agent_text", "tool_calls", "tool_results")

ODD: dict[str, dict[str, Any]] = {
    # The spans hold the whole conversation; the counts are of spans alone.
    "emitted.tau2-chat.agents-traces.jsonl.gz": {"user": 14, "agent_text": 14},
    # An excerpt without the answers' usage: each group of actions with one `llm_response_id` is a call of the model nevertheless.
    "openhands-sdk-events.jsonl": {"model_calls": 2},
    # An inventory of record types, whose ids and texts are all one: a file is one session, `base_instructions` are a system message,
    # nine answers are calls, and the provider's own tools (web search, tool search, pictures) are calls of tools. Models of contexts
    # in which nothing was answered are none of a call's.
    "codex-0.146-record-types.jsonl.gz": {
        "conversations": 1, "model_calls": 9, "system": 2, "tool_calls": 8, "stream_sha256": None,
        "models": ["gpt-5.5", "gpt-5.6-luna", "gpt-5.6-sol"],
    },
}  # fmt: skip
"""What is otherwise than counted, and why."""

LEAVES = {
    "emitted.tau2-chat.agents-session.db": (312, 52, 0),
    "emitted.tau2-chat.agents-traces.jsonl.gz": (368, 1023, 798),
    "responses-rollouts-calendar-1-2.jsonl.gz": (116, 2, 4),
    "code-execution-multi-turn.exchanges.jsonl": (56, 25, 20),
    "managed-agent-builtin-tools.events.jsonl": (28, 77, 0),
    "managed-agent-custom-tools.events.jsonl": (28, 113, 0),
    "thinking-two-turns.exchanges.jsonl": (42, 16, 9),
    "tool-search-round-trip.exchanges.jsonl": (92, 24, 106),
    "litellm-calls-claude-sonnet-4.jsonl.gz": (217, 66, 852),
    "claude-code-2026-record-types.jsonl.gz": (97, 1518, 0),
    "claude-code-5c0375b4.jsonl.gz": (422, 1024, 0),
    "codex-0.146-record-types.jsonl.gz": (1938, 2723, 10),
    "atif-1.5-openhands.trajectory.json.gz": (137, 12, 0),
    "swe-agent-marshmallow-function-calling.traj.gz": (107, 185, 44),
    "openhands-sdk-events.jsonl": (39, 175, 4),
    "elevenlabs-post-call-1.json": (161, 98, 0),
    "elevenlabs-post-call-2.json": (160, 98, 0),
    "livekit-session-report-1.json": (160, 74, 0),
    "livekit-session-report-2.json": (160, 74, 0),
    "retell-call-analyzed-1.json": (256, 39, 192),
    "retell-call-analyzed-2.json": (268, 39, 204),
    "vapi-end-of-call-1.json": (114, 77, 22),
    "vapi-end-of-call-2.json": (114, 77, 22),
    "content-parts-reason-tool-use-25.jsonl.gz": (632, 0, 0),
    "sharegpt-glaive-toolcall-en-100.json.gz": (1480, 0, 0),
}
"""Scalars that a field of a run line says, that are kept, and that say something again: a field that is mapped no more moves them."""


def form_of(sample: Sample) -> str:
    return FORMS.get(sample.form[:2]) or next(form for begin, form in FORMS.items() if sample.name.startswith(begin))


def own_samples(shared_data: Path) -> list[Sample]:
    return [sample for folder in FOLDERS for sample in samples(shared_data, folder)]


def test_samples(shared_data: Path, tmp_path: Path) -> None:
    """Every sample gives the counts that were made of it apart, its hash, and its leaves by where they went."""
    for sample in own_samples(shared_data):
        tally = Tally()
        lines = foreign_lines(form_of(sample), [sample.path], tmp_path, tally)
        expected = {**sample.counts, **ODD.get(sample.name, {})}
        found = tally.as_json()
        for name in (*COUNTED, "conversations", "model_calls", "wrapper_calls", "tokens", "models"):
            assert found[name] == expected[name], (sample.name, name)
        if expected["stream_sha256"] is not None:
            assert stream_sha256(lines) == expected["stream_sha256"], sample.name
        assert tuple(found["leaves"].values()) == LEAVES[sample.name], sample.name
        assert found["leaves"]["mapped"] >= 0, sample.name
    assert {sample.name for sample in own_samples(shared_data)} == LEAVES.keys()


def test_one_conversation_in_several_forms(shared_data: Path, tmp_path: Path) -> None:
    """Call logs, sessions, traces and rollouts give the hash that other instrumentations of the same conversations have."""
    known = {sample.name: sample for sample in samples(shared_data)}
    session, traces = (known[f"emitted.tau2-chat.agents-{name}"] for name in ("session.db", "traces.jsonl.gz"))
    assert stream_sha256(foreign_lines("responses", [traces.path], tmp_path)) == session.counts["stream_sha256"]
    for name, like in (
        ("litellm-calls-claude-sonnet-4.jsonl.gz", "emitted.openhands-semconv.otlp.jsonl.gz"),
        ("responses-rollouts-calendar-1-2.jsonl.gz", "emitted.calendar-semconv.otlp.jsonl.gz"),
    ):
        lines = foreign_lines(form_of(known[name]), [known[name].path], tmp_path)
        assert stream_sha256(lines) == known[like].counts["stream_sha256"]


WORDS = {
    "message", "reasoning", "output_text", "function_call", "function_call_output", "custom_tool_call", "custom_tool_call_output",
    "compaction", "server_tool_use", "bash_code_execution_tool_result", "tool_use", "tool_result", "text", "thinking",
    "agent", "bot", "tool_calls", "tool_call", "tool_call_invocation", "tool_call_result", "human", "gpt", "observation",
}  # fmt: skip
"""Types and roles of forms, which run lines say by their own names."""


def test_every_scalar_is_found_again(shared_data: Path, tmp_path: Path) -> None:
    """What a file says stands on its run lines: as it is, or as the time, the milliseconds or the count that it was turned into."""
    for sample in own_samples(shared_data):
        lines = foreign_lines(form_of(sample), [sample.path], tmp_path)
        made = set(leaf_values(lines))
        numbers = {each for each in made if isinstance(each, (int, float)) and not isinstance(each, bool)}
        times = {time for each in made if isinstance(each, str) and (time := moment(each)) is not None}
        starts = times | {time - number / 1000 for time in times for number in numbers if number < 10**5}
        for value in {each for raw in raw_values(sample.path) for each in leaf_values(raw)} - made - WORDS:
            assert is_turned(value, numbers, starts), (sample.name, value)


def moment(text: str) -> float | None:
    if not re.match(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", text):
        return None
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def is_turned(value: Any, numbers: set[float], times: set[float]) -> bool:
    """Whether a value is a time that is told otherwise, a number in another unit, or a count that is part of a sum."""

    def near(number: float, among: set[float]) -> bool:
        return any(abs(number - each) < 2e-6 * max(1.0, abs(each) / 10**9) for each in among)

    if isinstance(value, str):
        time = moment(value)
        return time is not None and near(time, times)
    if isinstance(value, bool):
        return True  # what is not so: not an error, not interrupted
    is_part = value < 100 and any(
        abs(one + value - other) < 1e-9 for one in numbers for other in numbers if one and other > one
    )
    return (
        near(value, times) or near(value / 1000, times) or near(value * 1000, numbers) or near(value + min(times, default=0), times)
    ) or is_part  # fmt: skip


Told = list[list[Any]]


def _called(name: str, arguments: Any) -> list[Any]:
    return [name, arguments_text(arguments)]


def read_elevenlabs(call: Any) -> Iterator[list[Any]]:
    for turn in call["data"]["transcript"]:
        calls = [_called(each["tool_name"], each["params_as_json"]) for each in turn["tool_calls"]]
        if turn["message"] or calls:
            meant = turn["original_message"] or turn["message"]  # the agent may have been interrupted
            yield ["user" if turn["role"] == "user" else "assistant", meant or "", calls]
        yield from (["tool", each["result_value"], []] for each in turn["tool_results"])


def read_retell(call: Any) -> Iterator[list[Any]]:
    for turn in call["call"]["transcript_with_tool_calls"]:
        if turn["role"] == "tool_call_invocation":
            yield ["assistant", "", [_called(turn["name"], turn["arguments"])]]
        else:
            yield [
                {"agent": "assistant", "tool_call_result": "tool"}.get(turn["role"], turn["role"]),
                turn["content"],
                [],
            ]


def read_vapi(call: Any) -> Iterator[list[Any]]:
    for turn in call["message"]["artifact"]["messages"]:
        calls = [_called(each["function"]["name"], each["function"]["arguments"]) for each in turn.get("toolCalls", [])]
        role = {"bot": "assistant", "tool_calls": "assistant", "tool_call_result": "tool"}.get(
            turn["role"], turn["role"]
        )
        yield [role, turn.get("message", turn.get("result")), calls]


def read_livekit(call: Any) -> Iterator[list[Any]]:
    for item in call["chat_history"]["items"]:
        if item["type"] == "message":
            yield [item["role"], "".join(item["content"]), []]
        elif item["type"] == "function_call":
            yield ["assistant", "", [_called(item["name"], item["arguments"])]]
        elif item["type"] == "function_call_output":
            yield ["tool", item["output"], []]


def read_atif(trajectory: Any) -> Iterator[list[Any]]:
    for step in trajectory["steps"]:
        calls = [_called(each["function_name"], each["arguments"]) for each in step.get("tool_calls", [])]
        yield ["assistant" if step["source"] == "agent" else step["source"], step["message"], calls]
        yield from (["tool", each["content"], []] for each in step.get("observation", {}).get("results", []))


def read_sharegpt(row: Any) -> Iterator[list[Any]]:
    for turn in row["conversations"]:
        if turn["from"] == "function_call":
            call = json.loads(turn["value"])
            yield ["assistant", "", [_called(call["name"], call["arguments"])]]
        else:
            yield [{"human": "user", "gpt": "assistant", "observation": "tool"}[turn["from"]], turn["value"], []]


def read_parts(row: Any) -> Iterator[list[Any]]:
    for message in row["messages"]:
        by_type = {
            kind: [part["value"] for part in message["content"] if part["type"] == kind]
            for kind in ("text", "tool_call")
        }
        calls = [json.loads(each) for each in by_type["tool_call"]]
        called = [one for each in calls for one in (each if isinstance(each, list) else [each])]
        told = [_called(each["name"], each["arguments"]) for each in called]
        yield [message["role"], "".join(by_type["text"]), sorted(told)]


def read_openhands(events: list[Any]) -> Iterator[list[Any]]:
    for event in events:
        if event["kind"] == "ActionEvent":
            text = "".join(part["text"] for part in event["thought"])
            yield ["assistant", text, [_called(event["tool_call"]["name"], event["tool_call"]["arguments"])]]
        elif event["kind"] == "ObservationEvent":
            yield ["tool", "".join(part["text"] for part in event["observation"]["content"]), []]


READERS: dict[str, Callable[[Any], Iterator[list[Any]]]] = {
    "elevenlabs": read_elevenlabs, "retell": read_retell, "vapi": read_vapi, "livekit": read_livekit, "atif": read_atif,
    "sharegpt": read_sharegpt, "content-parts": read_parts,
}  # fmt: skip


@pytest.mark.parametrize("begin", READERS)
def test_what_was_said(begin: str, shared_data: Path, tmp_path: Path) -> None:
    """Samples without a hash: a second reader finds the same said and called."""
    found = [sample for sample in own_samples(shared_data) if sample.name.startswith(begin)]
    assert found
    for sample in found:
        rows = [each for value in raw_values(sample.path) for each in (value if isinstance(value, list) else [value])]
        told = [[[role, (text or "").strip(), calls] for role, text, calls in READERS[begin](row)] for row in rows]
        assert streams_of(foreign_lines(form_of(sample), [sample.path], tmp_path)) == told, sample.name


def test_what_openhands_did(shared_data: Path, tmp_path: Path) -> None:
    """An excerpt of events: a second reader finds the same thoughts, actions and observations."""
    sample = next(each for each in own_samples(shared_data) if each.name == "openhands-sdk-events.jsonl")
    told = [[role, text.strip(), calls] for role, text, calls in read_openhands(list(raw_values(sample.path)))]
    assert streams_of(foreign_lines("openhands", [sample.path], tmp_path)) == [told]


def test_growth(shared_data: Path, tmp_path: Path) -> None:
    """The lines of a file's first records begin those of the whole file, wherever an answer is not cut in two."""
    for name, form, cuts in (
        ("litellm-calls-claude-sonnet-4.jsonl.gz", "litellm", (1, 3, 5)),
        ("tool-search-round-trip.exchanges.jsonl", "anthropic", (1, 2)),
        ("code-execution-multi-turn.exchanges.jsonl", "anthropic", (1,)),
        ("managed-agent-custom-tools.events.jsonl", "anthropic", (5, 12, 17)),
        ("claude-code-5c0375b4.jsonl.gz", "claude-code", (11, 24, 41, 50)),
        ("openhands-sdk-events.jsonl", "openhands", (5, 7)),
        ("emitted.tau2-chat.agents-traces.jsonl.gz", "responses", (1, 2)),  # where a trace is whole
        ("content-parts-reason-tool-use-25.jsonl.gz", "dataset", (3,)),
    ):
        sample = next(each for each in own_samples(shared_data) if each.name == name)
        rows = list(raw_values(sample.path))
        stem = name.removesuffix(".gz")
        whole = {line["conversation_id"]: line for line in foreign_lines(form, [sample.path], tmp_path)}
        for cut in cuts:
            first = tmp_path / f"first-{cut}" / stem
            first.parent.mkdir(exist_ok=True)
            first.write_text("".join(json.dumps(row) + "\n" for row in rows[:cut]))
            for line in foreign_lines(form, [first], tmp_path):
                later = whole[line["conversation_id"]]["messages"]
                assert line["messages"] == later[: len(line["messages"])], (name, cut)
