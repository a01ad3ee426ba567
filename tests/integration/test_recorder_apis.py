"""The SDKs' own clients, recorded call by call: each way of asking, by each API, gives one log that verifies.

The server is the one of the tests of replays; whatever it answers, the clients read it and send it back as theirs do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel

from pipelines.lake.lake import Lake
from pipelines.recorder import Recorder
from pipelines.recorder.chunks import assemble
from pipelines.recorder.talk import Talk
from pipelines.settings import Settings
from pipelines.store import Store
from tests.integration.echoes import assert_the_echo_is_the_recording
from tests.integration.recorded import decisions
from tests.support.agents import APIS, Api, Loop, plain
from tests.support.kept import Kept, folded, new_talk
from tests.support.model_server import ModelServer, serving
from tests.support.wires.scripted import scripted_answer

pytestmark = pytest.mark.filterwarnings(
    "ignore:Pydantic serializer warnings"
)  # of the openai SDK, sending back what it parsed
WAYS = ("create", "raw", "streamed", "helper", "parse")
_FINAL = {"chat": "get_final_completion", "responses": "get_final_response", "messages": "get_final_message"}
_SHAPE = {"chat": "response_format", "responses": "text_format", "messages": "output_format"}


class Step(BaseModel):
    """What `parse` is asked for."""

    title: str


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    """A server behind which one model decides by what was said."""
    with serving(answer=scripted_answer) as running:
        yield running


def client(server: ModelServer, api: Api, *, is_async: bool, **options: Any) -> Any:
    """The SDK's client of an API."""
    kinds = {
        ("messages", True): anthropic.AsyncAnthropic,
        ("messages", False): anthropic.Anthropic,
    }
    kind: Any = kinds.get((api, is_async), openai.AsyncOpenAI if is_async else openai.OpenAI)
    return kind(base_url=server.address(api), api_key="sk-never-recorded", **{"max_retries": 0, **options})


METHODS: Mapping[Api, Callable[[Any], Any]] = {
    "chat": lambda made: made.chat.completions,
    "responses": lambda made: made.responses,
    "messages": lambda made: made.messages,
}


def ask(talk: Talk, methods: Any, loop: Loop, way: str) -> Any:
    """The answer to the next request, as the SDK's object."""
    request = loop.request()
    if way == "raw":
        return talk.ask(methods.with_raw_response.create, **request).parse()
    if way == "streamed":
        return assemble(list(talk.ask(methods.create, stream=True, **_with_usage(loop, request))))
    if way == "helper":
        with talk.ask(methods.stream, **_with_usage(loop, request)) as stream:
            for _ in stream:
                pass
            return getattr(stream, _FINAL[loop.api])()
    if way == "parse":
        return talk.ask(methods.parse, **request, **{_SHAPE[loop.api]: Step})
    return talk.ask(methods.create, **request)


async def ask_async(talk: Talk, methods: Any, loop: Loop, way: str) -> Any:
    """The same by an asynchronous client."""
    request = loop.request()
    if way == "raw":
        found = (await talk.ask_async(methods.with_raw_response.create, **request)).parse()
        return await found if asyncio.iscoroutine(found) else found
    if way == "streamed":
        stream = await talk.ask_async(methods.create, stream=True, **_with_usage(loop, request))
        return assemble([event async for event in stream])
    if way == "helper":
        async with talk.ask(methods.stream, **_with_usage(loop, request)) as stream:
            return await getattr(stream, _FINAL[loop.api])()
    if way == "parse":
        return await talk.ask_async(methods.parse, **request, **{_SHAPE[loop.api]: Step})
    return await talk.ask_async(methods.create, **request)


def _with_usage(loop: Loop, request: dict[str, Any]) -> dict[str, Any]:
    return request | ({"stream_options": {"include_usage": True}} if loop.api == "chat" else {})


async def converse(talk: Talk, made: Any, api: Api, way: str, *, is_async: bool) -> None:
    """Two questions, each answered after a tool was called."""
    loop = Loop(api)
    if way == "parse":  # the SDKs parse what strict tools are called with, and only that
        loop.offer_nothing()
    methods = METHODS[api](made)
    for question in ("Where is A-1?", "Thanks. And B-2?"):
        loop.user(question)
        for _ in range(2):
            answer = await ask_async(talk, methods, loop, way) if is_async else ask(talk, methods, loop, way)
            calls = loop.took(answer)
            if not calls:
                break
            loop.results({call: f"found {n}" for n, call in enumerate(calls)})


@pytest.fixture(scope="module")
def logs(model: ModelServer) -> dict[tuple[str, ...], Kept]:
    """The conversation in each way."""
    found: dict[tuple[str, ...], Kept] = {}

    async def run(api: Api, mode: str) -> None:
        is_async = mode == "async"
        made = client(model, api, is_async=is_async)
        for way in WAYS:
            kept = found[api, way, mode] = Kept()
            await converse(new_talk(kept), made, api, way, is_async=is_async)
        closing = made.close()
        await closing if is_async else None

    for api, mode in product(APIS, ("sync", "async")):
        asyncio.run(run(api, mode))
    return found


def test_each_way_of_asking_is_one_log(logs: Mapping[tuple[str, ...], Kept]) -> None:
    """All contexts verify, nothing is told, and the events are those of the plain call of chat completions."""
    for (api, way, mode), kept in logs.items():
        rows = folded(kept)
        assert [row["context_verified"] for row in rows] == [True] * (2 if way == "parse" else 4), (api, way, mode)
        assert kept.told == [], (api, way, mode)
        same = _comparable(logs["chat", "parse" if way == "parse" else "create", "sync"])
        assert _comparable(kept) == same, (api, way, mode)
        assert "sk-never-recorded" not in json.dumps([[e.payload, e.metadata] for e in kept.events])


def _comparable(kept: Kept) -> list[Any]:
    """Events without counts and hashes, which each API has of its own spelling of the request."""
    found = [each for each in plain(kept.events) if each != ("agent.utterance.v1", {"text": ""})]  # as streams begin
    for _, payload in found:
        for name in ("usage", "latency_ms", "ttft_ms", "usage_basis", "tools_sha256", "prompt_sha256"):
            payload.pop(name, None)
    return found


@pytest.mark.parametrize("api", APIS)
def test_an_error_is_recorded_and_raised(api: Api) -> None:
    """Of a call, a stream and a helper that are refused, and of streams that break off, of which what came is kept."""
    kept = Kept()
    talk = new_talk(kept)
    loop = Loop(api)
    loop.user("Where is A-1?")
    ways = ("create", "streamed", "helper")
    errors = (openai.OpenAIError, anthropic.AnthropicError)
    with serving(status=lambda _number: (400, {}, b"{}")) as server, client(server, api, is_async=False) as made:
        for way in ways:
            with pytest.raises(errors):
                ask(talk, METHODS[api](made), loop, way)
    assert [event.payload["error"] for event in kept.events[2:]] == ["BadRequestError"] * 3
    with serving(events=4) as server, client(server, api, is_async=False) as made:
        for way in ways[1:]:
            with pytest.raises(
                Exception, match=r"closed|incomplete|peer|Connection"
            ):  # a kind of the SDK's, or of its client's
                ask(talk, METHODS[api](made), loop, way)
    assert [event.payload["error"]["truncated"] for event in kept.events[5:]] == [True, True]
    assert kept.told == []


@pytest.mark.parametrize("api", APIS)
def test_attempts_of_the_client_are_counted(api: Api) -> None:
    """A raw response says how often the client tried again, and the decision with it."""
    kept = Kept()
    loop = Loop(api)
    loop.user("Where is A-1?")
    busy = (429, {"retry-after-ms": "1"}, b"{}")
    with (
        serving(answer=scripted_answer, status=lambda number: busy if number < 2 else None) as server,
        client(server, api, is_async=False, max_retries=3) as made,
    ):
        ask(new_talk(kept), METHODS[api](made), loop, "raw")
    [decision] = [event.payload for event in kept.events if event.event_type == "model.decision.v3"]
    assert decision["retries"] == 2


def test_a_history_at_the_provider_is_the_same_log(model: ModelServer, logs: Mapping[tuple[str, ...], Kept]) -> None:
    """An agent that sends what is new and the response that it goes on from: its contexts verify, and its events are those."""
    kept = Kept()
    talk = new_talk(kept)
    loop = Loop("responses", store=True)
    with client(model, "responses", is_async=False) as made:
        before: str | None = None
        for question in ("Where is A-1?", "Thanks. And B-2?"):
            loop.user(question)
            for _ in range(2):
                request = loop.request() | ({} if before is None else {"previous_response_id": before})
                response = talk.ask(made.responses.create, **request)
                calls, before = loop.took(response), response.id
                loop.history = []
                loop.results({call: f"found {n}" for n, call in enumerate(calls)})
    assert [row["context_verified"] for row in folded(kept)] == [True] * 4
    assert _comparable(kept) == _comparable(logs["responses", "create", "sync"])


def test_what_was_recorded_is_replayed_as_it_was(model: ModelServer, store: Store, store_settings: Settings) -> None:
    """By each API, through the store: contexts verify in the lake, and the echo of the log is the log."""
    with Recorder(store, source="shop") as recorder:
        for api in APIS:
            with client(model, api, is_async=False) as made:
                talk = recorder.conversation(f"by {api}", agent="desk")
                asyncio.run(converse(talk, made, api, "helper", is_async=False))
                talk.end(None)
        assert recorder.flush(30)
    assert [row["context_verified"] for row in decisions(store, store_settings)] == [True] * 4 * len(APIS)
    lake = Lake.from_settings(store_settings)
    for mode in ("decision", "conversation"):
        assert_the_echo_is_the_recording(lake, mode)
