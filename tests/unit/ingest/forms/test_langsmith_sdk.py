"""What LangSmith's own wrappers send of calls that a local model answered, read back: the conversation as the program had it."""

from __future__ import annotations

import gzip
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
import requests
from langsmith import Client, traceable
from langsmith.schemas import RunBase

from tests.support.foreign import lines_of, written
from tests.support.formats import streams_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of an integration that has moved, and that it loads itself
    from langsmith.wrappers import wrap_anthropic, wrap_openai

USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "track", "arguments": '{"parcel": 7}'}},
    {"id": "c2", "type": "function", "function": {"name": "list", "arguments": "{}"}},
]
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("track", "list")
]


def completed(message: dict[str, Any], reason: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return {
        "id": "cc",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-x-1",
        "choices": [choice],
        "usage": USAGE,
    }


def streamed() -> str:
    """An answer in chunks, the last of which has the usage."""
    deltas: list[tuple[dict[str, str], str | None]] = [
        ({"role": "assistant"}, None),
        ({"content": "It is "}, None),
        ({"content": "there."}, "stop"),
    ]
    head = {"id": "cs", "object": "chat.completion.chunk", "created": 1, "model": "gpt-x-1"}
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas]
    chunks.append({**head, "choices": [], "usage": USAGE})
    return "".join(f"data: {json.dumps(each)}\n\n" for each in chunks) + "data: [DONE]\n\n"


def answer(request: httpx.Request) -> httpx.Response:
    """What a model server says, by the path and the last message."""
    body = json.loads(request.content)
    if request.url.path.endswith("/messages"):
        content = [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "c1", "name": "track", "input": {"parcel": 7}},
        ]
        usage = {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 0}
        return httpx.Response(200, json={"id": "m1", "type": "message", "role": "assistant", "model": "claude-x-1", "content": content,
                                         "stop_reason": "tool_use", "stop_sequence": None, "usage": usage})  # fmt: skip
    if request.url.path.endswith("/responses"):
        said = {"type": "message", "id": "m", "role": "assistant", "status": "completed"}
        text = {"type": "output_text", "text": "It is there.", "annotations": []}
        usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7, "input_tokens_details": {"cached_tokens": 0},
                 "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
        return httpx.Response(200, json={"id": "r1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-x-1",
                                         "output": [{**said, "content": [text]}], "usage": usage, "parallel_tool_calls": True,
                                         "tool_choice": "auto", "tools": []})  # fmt: skip
    if body["messages"][-1]["content"] == "fail":
        return httpx.Response(400, json={"error": {"message": "no"}})
    if body.get("stream"):
        return httpx.Response(200, text=streamed(), headers={"content-type": "text/event-stream"})
    is_asked = body["messages"][-1]["role"] == "user"
    made = (
        completed({"content": None, "tool_calls": CALLS}, "tool_calls")
        if is_asked
        else completed({"content": "Both."}, "stop")
    )
    return httpx.Response(200, json=made)


class Kept(requests.Session):
    """Takes what the SDK sends, and sends nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[dict[str, Any]] = []

    def request(self, method: str, url: str, **given: Any) -> requests.Response:  # type: ignore[override]
        data = given.get("data")
        if url.endswith("/runs/batch") and isinstance(data, bytes):
            self.bodies.append(json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data))
        response = requests.Response()
        response.status_code = 202
        response._content = b"{}"
        return response


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Kept, Client, httpx.Client]]:
    """A client of LangSmith whose bodies are kept, and a way to the model."""
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    session, limits = Kept(), {"use_multipart_endpoint": False, "size_limit": 100, "size_limit_bytes": 10**7}
    info = {"batch_ingest_config": {**limits, "scale_up_nthreads_limit": 1, "scale_up_qsize_trigger": 1000}}
    client = Client(api_url="http://127.0.0.1:1", api_key="k", session=session, info=info)  # type: ignore[arg-type]
    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        yield session, client, http
    client.close()


def test_a_conversation_with_tools_streaming_and_a_failure(sent: Any, tmp_path: Path) -> None:
    """Four calls in one trace: parallel tools, their answers, chunks, an error; each call by what the program sent."""
    session, client, http = sent
    model = wrap_openai(
        openai.OpenAI(api_key="k", base_url="http://m/v1", max_retries=0, http_client=http),
        tracing_extra={"client": client},
    )
    messages: list[Any] = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Where?"}]

    @traceable(client=client, run_type="chain", name="desk", metadata={"thread_id": "s1", "user_id": "ann"})
    def talk() -> None:
        ask = model.chat.completions.create
        messages.append(ask(model="gpt-x", messages=messages, tools=TOOLS).choices[0].message)
        messages.extend(
            {"role": "tool", "tool_call_id": call["id"], "content": f"{call['id']} is fine"} for call in reversed(CALLS)
        )
        messages.append(
            {"role": "assistant", "content": ask(model="gpt-x", messages=messages).choices[0].message.content}
        )
        messages.append({"role": "user", "content": "And now?"})
        for _ in ask(model="gpt-x", messages=messages, stream=True, stream_options={"include_usage": True}):
            pass
        messages.append({"role": "assistant", "content": "It is there."})
        messages.append({"role": "user", "content": "fail"})
        with pytest.raises(openai.BadRequestError):
            ask(model="gpt-x", messages=messages)

    talk()
    client.flush()
    rows = [row for body in session.bodies for each in ("post", "patch") for row in body.get(each, ())]
    read = [RunBase.model_validate(row) for row in rows if "inputs" in row]
    (line,), tally = lines_of("langsmith", [written(tmp_path / "sent.jsonl", session.bodies)])
    program = [each if isinstance(each, dict) else each.model_dump() for each in messages]
    assert [(each["role"], each.get("content")) for each in line["messages"][:-1]] == [
        (m["role"], m["content"]) for m in program
    ]
    assert streams_of([line])[0][2] == ["assistant", "", [["list", "{}"], ["track", '{"parcel":7}']]]
    assert (line["conversation_id"], line["agent"], line["subject_id"]) == ("s1", "desk", "ann")
    assert tally.model_calls == sum(run.run_type == "llm" for run in read) == 4
    assert (tally.input_tokens, tally.output_tokens, dict(tally.histories)) == (15, 6, {"opened": 1, "exact": 3})
    decisions = [each["decision"] for each in line["messages"] if "decision" in each]
    assert [each.get("model_requested", each["model"]) for each in decisions] == ["gpt-x"] * 4
    assert "BadRequestError" in decisions[-1]["error"]


def test_other_apis(sent: Any, tmp_path: Path) -> None:
    """Responses and Messages through their wrappers: system text, question and answer, and input tokens with those of the cache."""
    session, client, http = sent
    ours = openai.OpenAI(api_key="k", base_url="http://m/v1", http_client=http)
    wrap_openai(ours, tracing_extra={"client": client}).responses.create(
        model="gpt-x", input="Where?", instructions="Be kind."
    )
    theirs = anthropic.Anthropic(api_key="k", base_url="http://m", http_client=http)
    asked: list[Any] = [{"role": "user", "content": "Where?"}]
    wrap_anthropic(theirs, tracing_extra={"client": client}).messages.create(
        model="claude-x", max_tokens=9, system="Be kind.", messages=asked
    )
    client.flush()
    lines, tally = lines_of("langsmith", [written(tmp_path / "sent.jsonl", session.bodies)])
    begin = [["system", "Be kind.", []], ["user", "Where?", []]]
    assert sorted(streams_of(lines), key=str) == sorted(
        [[*begin, ["assistant", "It is there.", []]], [*begin, ["assistant", "I look.", [["track", '{"parcel":7}']]]]],
        key=str,
    )
    assert (tally.model_calls, tally.open_tool_calls, tally.models) == (2, 1, {"gpt-x", "claude-x"})
    assert tally.input_tokens == 5 + 6
