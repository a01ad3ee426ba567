"""Logs of calls: LiteLLM, Anthropic's exchanges, batches and events, OpenAI's responses, sessions and traces."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from openai.types.responses import Response

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from tests.support.foreign_lines import foreign_lines, raw_values, refusal, written
from tests.support.formats import samples, streams_of

ASK = {"role": "user", "content": "Hi"}


def lines_of(form: str, folder: Path, *rows: Any, tally: Tally | None = None, **options: Any) -> list[dict[str, Any]]:
    return foreign_lines(form, [written(folder / "log.jsonl", *rows)], folder, tally, **options)


def completion(text: str, name: str, *before: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = {
        "id": name,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
    }
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 4}}
    return {"messages": [*before, ASK], "kwargs": {"temperature": 0}, "response": answer | {"usage": usage}, **more}


def test_litellm_calls_and_their_sessions(tmp_path: Path) -> None:
    """Calls that name a session are of it; those of a file that name none are one conversation, called after the first answer."""
    rows = [
        completion("A", "r1", timestamp=1_767_225_605.5, latency_sec=2.5, cost=0.25),
        completion("B", "r2", ASK, {"role": "assistant", "content": "A"}),
        completion("C", "r3", kwargs={"metadata": {"session_id": "s1"}, "user": "u1"}),
    ]
    tally = Tally()
    own, named = lines_of("litellm", tmp_path, *rows, tally=tally)
    assert (own["conversation_id"], named["conversation_id"], named["subject_id"]) == ("r1", "s1", "u1")
    assert [each["content"] for each in own["messages"]] == ["Hi", "A", "Hi", "B"]
    decision = own["messages"][1]["decision"]
    assert (decision["params"], decision["cost_usd"], decision["latency_ms"]) == ({"temperature": 0}, 0.25, 2500)
    assert decision["usage"] == {"input_tokens": 9, "output_tokens": 2, "cached_input_tokens": 4}
    assert own["messages"][0]["timestamp"].startswith("2026-01-01T00:00:03")
    assert (tally.nameless, dict(tally.histories)) == (1, {"opened": 2, "exact": 1})
    (asked,) = lines_of("litellm", tmp_path / "asked", *rows[2:], conversation_key="kwargs.user")
    assert asked["conversation_id"] == "u1"


def exchange(asked: dict[str, Any], content: Any, name: str = "msg_1", **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 2, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 1, "output_tokens": 3}
    answer = {
        "id": name,
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": content,
        "usage": usage,
        "stop_reason": "end_turn",
    }
    return {"request": {"model": "claude", "max_tokens": 9, **asked}, "response": answer | more}


def test_anthropic_usage_tools_and_thought(tmp_path: Path) -> None:
    """Cached tokens are in the input, schemas are in the shape of chat completions, thought and its signature survive."""
    asked = {
        "messages": [ASK],
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "tools": [
            {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}},
            {"type": "bash_2025", "name": "bash"},
        ],
        "metadata": {"user_id": "u1"},
    }
    thought = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "eHh4"},
    ]
    (line,) = lines_of("anthropic", tmp_path, exchange(asked, [*thought, {"type": "text", "text": "Yes."}]))
    assert [each["role"] for each in line["messages"]] == ["system", "user", "assistant"]
    answer = line["messages"][2]
    assert answer["reasoning"] == [{"text": "Hm.", "signature": "c2ln"}, {"encrypted": "eHh4", "redacted": True}]
    assert answer["decision"]["usage"]["input_tokens"] == 8
    assert answer["decision"]["finish_reason"] == "stop"
    assert answer["decision"]["request_sha256"]
    assert line["tools"] == [
        {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}},
        {"type": "bash_2025", "name": "bash"},
    ]
    assert line["subject_id"] == "u1"


def test_anthropic_errors_and_turns_that_pause(tmp_path: Path) -> None:
    """A request that was refused is a decision with its error; a turn that pauses goes on in the next call."""
    refused = {
        "request": {"model": "claude", "messages": [ASK]},
        "response": {"type": "error", "error": {"type": "overloaded_error"}},
    }
    searched = {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "x"}}
    first = exchange({"messages": [ASK]}, [searched], stop_reason="pause_turn")
    second = exchange(
        {"messages": [ASK, {"role": "assistant", "content": [searched]}]}, [{"type": "text", "text": "Found."}], "msg_2"
    )
    tally = Tally()
    (line,) = lines_of("anthropic", tmp_path, refused, first, second, tally=tally)
    assert tally.model_calls == 3
    assert any(
        "error" in each["decision"] or each["decision"].get("retries")
        for each in line["messages"]
        if "decision" in each
    )
    said = [
        each
        for each in line["messages"]
        if each["role"] == "assistant" and (each.get("content") or each.get("tool_calls"))
    ]
    assert [each.get("content") for each in said] == [None, "Found."]
    assert said[0]["tool_calls"][0]["executor"] == "provider"
    assert said[0]["decision"]["finish_reason"] == "pause_turn"


def test_anthropic_batches(tmp_path: Path) -> None:
    """Results of a batch are conversations by their `custom_id`; the file of its requests says what they were sent."""
    results = [
        {
            "custom_id": "a",
            "result": {"type": "succeeded", "message": exchange({}, [{"type": "text", "text": "Yes."}])["response"]},
        },
        {"custom_id": "b", "result": {"type": "errored", "error": {"type": "invalid_request"}}},
    ]
    asked = [{"custom_id": name, "params": {"model": "claude", "max_tokens": 9, "messages": [ASK]}} for name in "ab"]
    alone = lines_of("anthropic", tmp_path, *results)
    assert [[each.get("content") for each in line["messages"]] for line in alone] == [["Yes."], [None]]
    made = []
    for folder, order in (("1", (results, asked)), ("2", (asked, results))):
        tally = Tally()
        files = [written(tmp_path / folder / f"{n}.jsonl", *rows) for n, rows in enumerate(order)]
        made.append(
            [(line["conversation_id"], line["messages"]) for line in foreign_lines("anthropic", files, tmp_path, tally)]
        )
        assert tally.kept + tally.repeated + tally.mapped == tally.leaves == 26
    assert made[0] == made[1]
    assert [each.get("content") for each in made[0][0][1]] == ["Hi", "Yes."]
    assert made[0][1][1][1]["decision"]["error"] == {"type": "invalid_request"}


def test_anthropic_events_that_come_twice(shared_data: Path, tmp_path: Path) -> None:
    """A stream that was read twice says what it says once; events in a list are events."""
    sample = next(
        each for each in samples(shared_data, "06-anthropic") if each.name == "managed-agent-custom-tools.events.jsonl"
    )
    rows = list(raw_values(sample.path))
    once, twice = Tally(), Tally()
    (line,) = lines_of("anthropic", tmp_path, *rows, tally=once)
    (again,) = lines_of("anthropic", tmp_path / "again", *rows, *rows[2:], tally=twice)
    assert again["messages"] == line["messages"]
    assert (twice.mapped, twice.model_calls) == (once.mapped, once.model_calls)
    assert twice.duplicates == 16
    events = [row[1] for row in rows if isinstance(row[1], dict)]
    (listed,) = lines_of("anthropic", tmp_path / "listed", {"data": events})
    assert streams_of([listed]) == streams_of([line])


def response(name: str, *output: dict[str, Any], **more: Any) -> dict[str, Any]:
    usage = {
        "input_tokens": 9, "output_tokens": 2, "total_tokens": 11,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 1},
    }  # fmt: skip
    base = {
        "id": name,
        "object": "response",
        "created_at": 1_767_225_600,
        "model": "gpt-x",
        "output": list(output),
        "usage": usage,
    }
    return {**base, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], **more}


def said(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg", "role": "assistant", "status": "completed", "content": [part]}


def test_responses_are_what_the_sdk_reads(tmp_path: Path) -> None:
    """A stored response says the text, calls and counts that OpenAI's own type finds in it."""
    call = {
        "type": "function_call",
        "id": "fc",
        "call_id": "c1",
        "name": "look",
        "arguments": '{"a": 1}',
        "status": "completed",
    }
    value = response("resp_1", said("Let me look."), call)
    own = Response.model_validate(value)
    (line,) = lines_of("responses", tmp_path, value)
    (answer,) = line["messages"]
    assert answer["content"] == own.output_text
    assert answer["tool_calls"][0]["function"]["arguments"] == own.output[1].arguments  # type: ignore[union-attr]
    assert own.usage is not None
    assert answer["decision"]["usage"] == {
        "input_tokens": own.usage.input_tokens,
        "output_tokens": own.usage.output_tokens,
        "cached_input_tokens": own.usage.input_tokens_details.cached_tokens,
        "cache_write_tokens": 0,
        "reasoning_tokens": own.usage.output_tokens_details.reasoning_tokens,
    }
    assert answer["decision"]["response_id"] == own.id


def test_responses_whose_history_the_provider_has(tmp_path: Path) -> None:
    """Responses that go on from others are one conversation, each with what was new."""
    rows = [
        {
            "request": {"model": "gpt", "input": "Hi", "instructions": "Be brief."},
            "response": response("r1", said("A")),
        },
        {
            "request": {"model": "gpt", "input": "More", "previous_response_id": "r1"},
            "response": response("r2", said("B")),
        },
        {
            "request": {"model": "gpt", "input": "Other", "conversation": {"id": "conv_2"}},
            "response": response("r3", said("C")),
        },
    ]
    tally = Tally()
    lines = lines_of("responses", tmp_path, *rows, tally=tally)
    assert [[each["content"] for each in line["messages"]] for line in lines] == [
        ["Be brief.", "Hi", "A", "More", "B"],
        ["Other", "C"],
    ]
    assert [line["conversation_id"] for line in lines] == ["r1", "conv_2"]
    assert tally.model_calls == 3


def test_sessions_are_not_written_to(tmp_path: Path) -> None:
    """A session that is being written is read with what its writer has not yet put into the file, and left as it was."""
    path = tmp_path / "sessions" / "chat.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute("PRAGMA journal_mode = WAL")
        store.execute("CREATE TABLE talks (session_id TEXT PRIMARY KEY)")
        store.execute(
            'CREATE TABLE "talk items" (id INTEGER PRIMARY KEY, session_id TEXT, message_data TEXT, created_at TEXT)'
        )
        for number, item in enumerate(
            (ASK, said("A"), {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"})
        ):
            row = (number, "s1", json.dumps(item), f"2026-01-01 00:00:0{number}")
            store.execute('INSERT INTO "talk items" VALUES (?, ?, ?, ?)', row)
        before = {each.name: each.read_bytes() for each in path.parent.iterdir()}
        assert len(before["chat.db-wal"]) > 0
        (line,) = foreign_lines("responses", [path], tmp_path)
        assert {each.name: each.read_bytes() for each in path.parent.iterdir()} == before
    assert [(each["role"], each["content"]) for each in line["messages"]] == [("user", "Hi"), ("assistant", "A")]
    assert line["messages"][1]["tool_calls"][0]["id"] == "c"
    assert line["conversation_id"] == "s1"


def test_traces_without_content(tmp_path: Path) -> None:
    """Spans of responses say usage and no text: decisions without utterances; handoffs and guardrails are events."""

    def span(name: str, data: dict[str, Any], second: int) -> dict[str, Any]:
        times = {"started_at": f"2026-01-01T00:00:0{second}+00:00", "ended_at": f"2026-01-01T00:00:0{second + 1}+00:00"}
        return {
            "object": "trace.span",
            "id": name,
            "trace_id": "t1",
            "parent_id": None,
            "span_data": data,
            "error": None,
            **times,
        }

    usage = {"input_tokens": 5, "output_tokens": 2}
    rows = [
        {"data": [span("s1", {"type": "response", "response_id": "resp_1", "usage": usage}, 1)]},
        {"data": [span("s2", {"type": "handoff", "from_agent": "a", "to_agent": "b"}, 2)]},
        {"data": [span("s3", {"type": "guardrail", "name": "safe", "triggered": False}, 3)]},
        {
            "data": [
                {"object": "trace", "id": "t1", "group_id": "g1", "workflow_name": "w", "metadata": {"user_id": "u1"}}
            ]
        },
    ]
    tally = Tally()
    (line,) = lines_of("responses", tmp_path, *rows, tally=tally)
    assert (line["conversation_id"], line["subject_id"]) == ("g1", "u1")
    assert (tally.contentless, tally.model_calls, tally.input_tokens) == (1, 1, 5)
    assert line["messages"][0]["decision"]["response_id"] == "resp_1"
    assert [("handoff" in each, "event" in each) for each in line["messages"][1:]] == [(True, False), (False, True)]


@pytest.mark.parametrize(
    ("form", "text", "told"),
    [
        ("litellm", '{"messages": []}', "log.jsonl:1: is no logged call"),
        ("anthropic", '{"request": {"messages": []}, "response": {}}\n{"a": 1}', "log.jsonl:2: is an object and no exchange"),
        ("responses", '{"type": "message"}\n"text"', 'log.jsonl:2: is a string "text" and no response'),
        ("responses", "SQLite format 3\0 and nothing else", "log.jsonl: cannot be read as SQLite"),
        ("litellm", '{"messages": [{"role": "user", "content": "a\\u0000"}], "response": {}}', "$.messages[0].content: the string holds"),
    ],
)  # fmt: skip
def test_damage(form: str, text: str, told: str, tmp_path: Path) -> None:
    """What is damaged, or of no such form, is refused with its place."""
    assert told in refusal(form, text, tmp_path)


def test_a_session_without_items(tmp_path: Path) -> None:
    """An SQLite file of something else, and an item that is no JSON."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute("CREATE TABLE other (a)")
    with pytest.raises(BadInputError, match="without a table of items"):
        foreign_lines("responses", [path], tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as store:
        store.execute("CREATE TABLE items (id, session_id, message_data)")
        store.execute("INSERT INTO items VALUES (7, 's', '{\"a\":')")
    with pytest.raises(BadInputError, match=r"other.db#items\[7\]: \$"):
        foreign_lines("responses", [path], tmp_path)


@pytest.mark.parametrize("form", ["litellm", "anthropic"])
def test_calls_that_come_again(form: str, tmp_path: Path) -> None:
    """A call in two files is one; what its second record says otherwise is kept, and nothing of it is said twice."""
    asked = {"messages": [{"role": "user", "content": "And?"}]}
    first = exchange(asked, [{"type": "text", "text": "Yes."}], session_id="s")
    if form == "litellm":
        answer = {"id": "r1", "choices": [{"message": {"role": "assistant", "content": "Yes."}}]}
        first = {**asked, "response": answer, "session_id": "s"}
    tally = Tally()
    (once,) = lines_of(form, tmp_path, first)
    (again,) = lines_of(form, tmp_path, first, first, {**first, "host": "other"}, tally=tally)
    assert (again["messages"], tally.model_calls, tally.duplicates) == (once["messages"], 1, 1)
    assert again["records"] != once.get("records")
    assert "other" in json.dumps(again["records"])
