"""Dialects of OpenTelemetry of which there is no sample: spans as the emitters' sources and documentation have them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_lines import form_lines
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otlp import FORM
from tests.support.changed import changed

TRACE = "0af7651916cd43dd8448eb211c80319c"
START = 1_700_000_000_000_000_000
ODD_DOCUMENTS = 5


def any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [any_value(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": attributes(value)}}
    return {{str: "stringValue", bool: "boolValue", int: "intValue", float: "doubleValue"}[type(value)]: value}


def attributes(given: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": any_value(value)} for name, value in given.items()]


def span(number: int, name: str, given: dict[str, Any], parent: int | None = None, **more: Any) -> dict[str, Any]:
    made = {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "name": name,
        "startTimeUnixNano": str(START + number * 1_000_000),
        "endTimeUnixNano": str(START + number * 1_000_000 + 500_000),
        "attributes": attributes(given),
        **more,
    }
    return made if parent is None else {**made, "parentSpanId": f"{parent:016x}"}


def log(number: int, name: str, given: dict[str, Any], body: Any = None) -> dict[str, Any]:
    made = {
        "traceId": TRACE,
        "spanId": f"{number:016x}",
        "eventName": name,
        "observedTimeUnixNano": str(START),
        "attributes": attributes(given),
    }
    return made if body is None else {**made, "body": any_value(body)}


def read(
    folder: Path, spans: list[dict[str, Any]], logs: list[dict[str, Any]] | None = None
) -> tuple[list[dict[str, Any]], Tally]:
    """The lines and counts of a document; with anything anywhere in it, it is read with no scalar lost, or refused by name."""
    document = {
        "resourceSpans": [{"scopeSpans": [{"spans": spans}]}],
        "resourceLogs": [{"scopeLogs": [{"logRecords": logs or []}]}],
    }
    for seed in range(ODD_DOCUMENTS):
        odd = folder / f"odd-{seed}"
        odd.mkdir()
        try:
            _, tally = _read(odd, changed(document, seed, 1 + seed % 3))
        except BadInputError as error:
            assert str(error).startswith("spans.json"), error  # noqa: PT017
        else:
            assert tally.mapped + tally.kept + tally.repeated == tally.leaves, seed
    return _read(folder, document)


def _read(folder: Path, document: dict[str, Any]) -> tuple[list[dict[str, Any]], Tally]:
    path, scratch, tally = folder / "spans.json", folder / "scratch", Tally()
    scratch.mkdir()
    path.write_text(json.dumps(document))
    return list(form_lines(FORM, [path], Options(folder=scratch), tally)), tally


def said(line: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(each["role"], each.get("content")) for each in line["messages"]]


def decisions(line: dict[str, Any]) -> list[dict[str, Any]]:
    return [each["decision"] for each in line["messages"] if "decision" in each]


def test_vercel(tmp_path: Path) -> None:
    """The outer span of the Vercel AI SDK wraps the calls that it makes; tools are spans between them."""
    asked = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Weather?"}]},
    ]
    called = [{"type": "tool-call", "toolCallId": "c1", "toolName": "weather", "args": {"city": "Oslo"}}]
    answered = [{"type": "tool-result", "toolCallId": "c1", "toolName": "weather", "result": {"degrees": 3}}]
    first = {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.id": "gpt-4o",
        "ai.model.provider": "openai.chat",
        "ai.prompt.messages": json.dumps(asked),
        "ai.prompt.tools": ['{"type":"function","name":"weather","parameters":{"type":"object"}}'],
        "ai.response.toolCalls": json.dumps([{"toolCallId": "c1", "toolName": "weather", "args": '{"city":"Oslo"}'}]),
        "ai.response.finishReason": "tool-calls",
        "ai.usage.promptTokens": 10,
        "ai.usage.completionTokens": 5,
    }
    second = {
        "ai.operationId": "ai.generateText.doGenerate",
        "ai.model.id": "gpt-4o",
        "ai.prompt.messages": json.dumps(
            [*asked, {"role": "assistant", "content": called}, {"role": "tool", "content": answered}]
        ),
        "ai.response.text": "Three degrees.",
        "ai.response.finishReason": "stop",
        "ai.response.msToFirstChunk": 120.5,
        "ai.usage.promptTokens": 20,
        "ai.usage.completionTokens": 4,
    }
    outer = {
        "ai.operationId": "ai.generateText",
        "ai.prompt": json.dumps({"messages": asked}),
        "ai.response.text": "Three degrees.",
        "ai.usage.promptTokens": 30,
        "ai.telemetry.metadata.sessionId": "s1",
    }
    tool = {
        "ai.operationId": "ai.toolCall",
        "ai.toolCall.name": "weather",
        "ai.toolCall.id": "c1",
        "ai.toolCall.args": '{"city":"Oslo"}',
        "ai.toolCall.result": '{"degrees":3}',
    }
    (line,), tally = read(tmp_path, [
        span(1, "ai.generateText", outer, endTimeUnixNano=str(START + 9_000_000)),
        span(2, "ai.generateText.doGenerate", first, 1),
        span(3, "ai.toolCall", tool, 1),
        span(4, "ai.generateText.doGenerate", second, 1),
    ])  # fmt: skip
    assert line["conversation_id"] == "s1"
    assert [role for role, _ in said(line)] == ["system", "user", "assistant", "tool", "assistant"]
    assert said(line)[-1] == ("assistant", "Three degrees.")
    assert (tally.model_calls, tally.wrapper_calls, tally.input_tokens) == (2, 1, 30)
    assert [each["finish_reason"] for each in decisions(line)] == ["tool_calls", "stop"]
    assert decisions(line)[1]["ttft_ms"] == 120.5


def test_details_in_a_log_record(tmp_path: Path) -> None:
    """Messages that stand in the log record of a call's details, as values and not as text, are the call's."""
    parts = [{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}]
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system_instructions": [{"type": "text", "content": "Be kind."}],
        "gen_ai.input.messages": parts,
        "gen_ai.output.messages": [
            {"role": "assistant", "parts": [{"type": "text", "content": "Hi"}], "finish_reason": "stop"}
        ],
    }
    spans = [
        span(
            1,
            "chat gpt",
            {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt", "gen_ai.usage.cache_read.input_tokens": 7},
        )
    ]
    (line,), _ = read(tmp_path, spans, [log(1, "gen_ai.client.inference.operation.details", given)])
    assert said(line) == [("system", "Be kind."), ("user", "Hello"), ("assistant", "Hi")]
    assert decisions(line)[0]["usage"] == {"cached_input_tokens": 7}
    assert decisions(line)[0]["finish_reason"] == "stop"


def test_details_without_a_span(tmp_path: Path) -> None:
    """Where only log records are exported, the one with a call's details is the call."""
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": "c7",
        "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Hello"}]}]),
    }
    (line,), tally = read(tmp_path, [], [log(1, "gen_ai.client.inference.operation.details", given)])
    assert line["conversation_id"] == "c7"
    assert said(line)[0] == ("user", "Hello")
    assert tally.model_calls == 1


def test_choices(tmp_path: Path) -> None:
    """Of several choices the first was said, and the others are kept; calls that stand in choices of their own are one message."""
    text = [
        {"role": "assistant", "parts": [{"type": "text", "content": each}], "finish_reason": "stop"}
        for each in ("one", "two")
    ]
    calls = [
        {
            "role": "assistant",
            "parts": [{"type": "tool_call", "id": each, "name": "f", "arguments": "{}"}],
            "finish_reason": "tool_call",
        }
        for each in ("a", "b")
    ]
    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Go"}]}])
    given = [
        {"gen_ai.operation.name": "chat", "gen_ai.input.messages": asked, "gen_ai.output.messages": json.dumps(each)}
        for each in (text, calls)
    ]
    (first,), _ = read(tmp_path, [span(1, "chat", given[0])])
    assert said(first) == [("user", "Go"), ("assistant", "one")]
    assert '"two"' in json.dumps(first)
    (tmp_path / "b").mkdir()
    (second,), _ = read(tmp_path / "b", [span(1, "chat", given[1])])
    assert [call["id"] for call in second["messages"][1]["tool_calls"]] == ["a", "b"]


def test_livekit(tmp_path: Path) -> None:
    """LiveKit's node holds the context; its request under it has usage."""
    context = {
        "items": [
            {"type": "message", "role": "user", "content": ["Hello"]},
            {"type": "agent_handoff", "new_agent_id": "x"},
        ]
    }
    node = {"lk.chat_ctx": json.dumps(context), "lk.response.text": "Hi", "lk.response.ttft": 0.2}
    request = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 3}
    tool = {
        "lk.function_tool.name": "look",
        "lk.function_tool.arguments": "{}",
        "lk.function_tool.output": "gone",
        "lk.function_tool.is_error": True,
    }
    (line,), tally = read(tmp_path, [
        span(1, "llm_node", node, endTimeUnixNano=str(START + 5_000_000)),
        span(2, "llm_request", request, 1),
        span(7, "function_tool", tool),
    ])  # fmt: skip
    assert said(line)[:2] == [("user", "Hello"), ("assistant", "Hi")]
    assert (tally.model_calls, tally.wrapper_calls, tally.input_tokens) == (1, 1, 3)
    assert any(each.get("error") for each in line["messages"])


def test_pipecat(tmp_path: Path) -> None:
    """Pipecat's model calls have plain names."""
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o",
        "input": json.dumps([{"role": "user", "content": "Hello"}]),
        "output": "Hi",
        "gen_ai.system_instructions": "Be kind.",
        "metrics.ttfb": 0.0002,
        "conversation.id": "call-1",
    }
    (line,), _ = read(tmp_path, [span(1, "stt", {"transcript": "Hello", "is_final": True}), span(2, "llm", given)])
    assert line["conversation_id"] == "call-1"
    assert [each for each in said(line) if each[1] is not None] == [
        ("system", "Be kind."),
        ("user", "Hello"),
        ("assistant", "Hi"),
    ]
    assert decisions(line)[0]["ttft_ms"] == 0.2


def test_mcp(tmp_path: Path) -> None:
    """A tool span under a tool span of the same name is the same execution, seen by the server."""
    tool = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "look",
        "gen_ai.tool.call.id": "c1",
        "gen_ai.tool.call.result": "found",
    }
    (line,), _ = read(
        tmp_path, [span(1, "execute_tool look", tool), span(2, "http", {}, 1), span(3, "tools/call look", tool, 2)]
    )
    assert sum(len(each.get("tool_calls") or ()) for each in line["messages"]) == 1


def test_scores(tmp_path: Path) -> None:
    """An evaluation that is told by an event or log record is a score of the conversation."""
    given = {
        "gen_ai.evaluation.name": "relevance",
        "gen_ai.evaluation.score.value": 0.8,
        "gen_ai.evaluation.score.label": "good",
        "gen_ai.evaluation.explanation": "to the point",
    }
    (line,), _ = read(
        tmp_path,
        [span(1, "chat", {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"})],
        [log(1, "gen_ai.evaluation.result", given)],
    )
    (score,) = line["scores"]
    assert (score["name"], score["value"], score["label"], score["comment"]) == (
        "relevance",
        0.8,
        "good",
        "to the point",
    )


def test_content_not_captured(tmp_path: Path) -> None:
    """A call without content is a decision with model, usage and times; the import counts it and names the switch."""
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.system": "openai",
        "gen_ai.request.model": "gpt-4o",
        "gen_ai.response.model": "gpt-4o-2024",
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 2,
    }
    (line,), tally = read(tmp_path, [span(1, "chat gpt-4o", given)])
    (decision,) = decisions(line)
    assert (decision["model"], decision["model_requested"], decision["usage"]["input_tokens"]) == (
        "gpt-4o-2024",
        "gpt-4o",
        9,
    )
    assert tally.contentless == 1
    assert any("CAPTURE_MESSAGE_CONTENT" in each for each in tally.switches)


def test_errors(tmp_path: Path) -> None:
    """A call that failed says how: its status, the type of its error, and its exception."""
    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "Go"}]}])
    given = {"gen_ai.operation.name": "chat", "gen_ai.input.messages": asked, "error.type": "RateLimitError"}
    event = {
        "name": "exception",
        "timeUnixNano": str(START),
        "attributes": attributes({"exception.type": "RateLimitError", "exception.message": "slow down"}),
    }
    (line,), _ = read(tmp_path, [span(1, "chat", given, status={"code": 2}, events=[event])])
    assert decisions(line)[0]["error"] == {"type": "RateLimitError", "message": "slow down"}


def test_messages_of_the_outer_span_alone(tmp_path: Path) -> None:
    """Where no call was recorded, the messages of the agent's span are the conversation's."""
    events = [
        {"name": "gen_ai.user.message", "timeUnixNano": str(START), "attributes": attributes({"content": "Hello"})},
        {
            "name": "gen_ai.choice",
            "timeUnixNano": str(START + 5),
            "attributes": attributes({"message": "Hi", "finish_reason": "end_turn"}),
        },
    ]
    (line,), tally = read(
        tmp_path,
        [span(1, "invoke_agent", {"gen_ai.operation.name": "invoke_agent"}, events=events), span(2, "step", {}, 1)],
    )
    assert said(line) == [("user", "Hello"), ("assistant", "Hi")]
    assert tally.model_calls == 1


def test_two_sessions_in_one_trace(tmp_path: Path) -> None:
    """The earliest session of a trace is the conversation's, and the line says that there was another."""
    given = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    (line,), _ = read(
        tmp_path, [span(2, "chat", {**given, "session.id": "b"}), span(1, "chat", {**given, "session.id": "a"})]
    )
    assert line["conversation_id"] == "a"
    assert "session_ambiguous" in line["fidelity"]
