"""The gateway over real HTTP: clients that agents use, what is refused, and which answers arrived."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, Self
from urllib.parse import urlsplit

import anthropic
import httpx
import openai
import pytest
import requests

from pipelines.experiment.decision import Reply
from pipelines.replay.agents import gateway as gateway_module
from pipelines.replay.agents.gateway import Gateway, Slot, Urls
from pipelines.replay.agents.http_request import MAX_BODY
from pipelines.replay.agents.stage import Served
from pipelines.replay.wires.registry import find_wire
from tests.support.stages import ScriptedStage
from tests.support.waiting import PATIENCE, wait_until

HI = [{"role": "user", "content": "hi"}]
CHAT = {"model": "m", "messages": HI}
MESSAGES: dict[str, Any] = {"model": "m", "messages": HI, "max_tokens": 5}
KEY = "sk-of-the-agent"


class Open:
    """A gateway in a loop of its own, so that clients that block can be used."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.gateway = Gateway()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.run(self.gateway.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self.gateway.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()

    def run(self, made: Any) -> Any:
        """Wait for something in the loop."""
        return asyncio.run_coroutine_threadsafe(made, self.loop).result(PATIENCE)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call something in the loop."""

        async def called() -> Any:
            return function(*arguments)

        return self.run(called())

    @contextmanager
    def unit(self, stage: ScriptedStage) -> Iterator[Urls]:
        """A unit's own place."""
        made = self.gateway.unit(stage)
        urls = self.call(made.__enter__)
        try:
            yield urls
        finally:
            self.call(made.__exit__, None, None, None)


@pytest.fixture(scope="module")
def opened() -> Iterator[Open]:
    """A gateway."""
    with Open() as made:
        yield made


def raw(urls: Urls, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """What the server answers to these bytes."""
    address = ("127.0.0.1", urlsplit(urls.model_url).port or 0)
    with (
        socket.create_connection(address, PATIENCE) as connection,
        closing(http.client.HTTPResponse(connection)) as response,
    ):
        connection.sendall(request)
        response.begin()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def post(
    target: str, body: bytes, *headers: str, method: str = "POST", version: str = "1.1", host: str = "127.0.0.1"
) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {target} HTTP/{version}", f"Host: {host}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def hi(urls: Urls) -> Any:
    """What a chat completion says."""
    _, _, body = raw(urls, post(path_of(urls, "/v1/chat/completions"), json.dumps(CHAT).encode()))
    return json.loads(body)["choices"][0]["message"]["content"]


def path_of(urls: Urls, rest: str) -> str:
    """A target below a unit's path."""
    return urlsplit(urls.model_url).path.removesuffix("/v1") + rest


def _openai(urls: Urls) -> openai.OpenAI:
    return openai.OpenAI(api_key=KEY, base_url=urls.model_url)


def _anthropic(urls: Urls) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key=KEY, base_url=urls.model_url.removesuffix("/v1"))


def _chat(urls: Urls) -> Any:
    with _openai(urls) as client:
        return client.chat.completions.create(**CHAT).choices[0].message.content


def _chat_stream(urls: Urls) -> Any:
    with _openai(urls) as client:
        pieces = client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True})
        *said, counted = list(pieces)
        assert counted.usage is not None
        assert counted.usage.prompt_tokens == 3
        return "".join(each.choices[0].delta.content or "" for each in said)


def _responses(urls: Urls) -> Any:
    with _openai(urls) as client:
        return client.responses.create(model="m", input="hi").output_text


def _responses_stream(urls: Urls) -> Any:
    with _openai(urls) as client, client.responses.stream(model="m", input="hi") as stream:
        return stream.get_final_response().output_text


def _messages(urls: Urls) -> Any:
    with _anthropic(urls) as client:
        return client.messages.create(**MESSAGES).content[0].text


def _messages_stream(urls: Urls) -> Any:
    with _anthropic(urls) as client, client.messages.stream(**MESSAGES) as stream:
        return stream.get_final_text()


async def _asynchronous(urls: Urls) -> str:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=urls.model_url) as client:
        said = (await client.chat.completions.create(**CHAT)).choices[0].message.content
        streamed = [each async for each in await client.chat.completions.create(**CHAT, stream=True)]
        assert "".join(each.choices[0].delta.content or "" for each in streamed) == said
        items = [each async for each in await client.responses.create(model="m", input="hi", stream=True)]
        assert "".join(each.delta for each in items if each.type == "response.output_text.delta") == said
    async with anthropic.AsyncAnthropic(api_key=KEY, base_url=urls.model_url.removesuffix("/v1")) as other:
        assert (await other.messages.create(**MESSAGES)).content[0].text == said
        async with other.messages.stream(**MESSAGES) as stream:
            assert await stream.get_final_text() == said
        events = [each async for each in await other.messages.create(**MESSAGES, stream=True)]
        assert "".join(each.delta.text for each in events if each.type == "content_block_delta") == said
    return said


def _httpx(urls: Urls) -> Any:
    return httpx.post(f"{urls.model_url}/chat/completions", json=CHAT).json()["choices"][0]["message"]["content"]


def _requests(urls: Urls) -> Any:
    answer = requests.post(f"{urls.model_url}/messages?beta=true", json=MESSAGES, timeout=PATIENCE).json()
    return answer["content"][0]["text"]


def _urllib(urls: Urls) -> Any:
    request = urllib.request.Request(f"{urls.model_url}/chat/completions", json.dumps(CHAT).encode())
    with urllib.request.urlopen(request, timeout=PATIENCE) as answered:
        return json.load(answered)["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    "client",
    [
        _chat,
        _chat_stream,
        _responses,
        _responses_stream,
        _messages,
        _messages_stream,
        lambda urls: asyncio.run(_asynchronous(urls)),
        _httpx,
        _requests,
        _urllib,
    ],
)
def test_clients_are_answered(opened: Open, client: Callable[[Urls], Any]):
    """Plain and streaming: the stage is given the request, without the stream and without a key, and told that the answer arrived."""
    stage = ScriptedStage()
    with opened.unit(stage) as urls:
        assert client(urls) == "Hi"
        wait_until(lambda: len(stage.delivered_calls) == len(stage.asked))
    assert stage.delivered_calls == list(range(len(stage.asked)))
    assert (stage.lost_calls, stage.refused) == ([], [])
    for _, body, is_retry in stage.asked:
        assert body["model"] == "m"
        assert not {"stream", "stream_options"} & body.keys()
        assert KEY not in json.dumps(body)
        assert not is_retry


@pytest.mark.parametrize(
    ("rest", "changes", "status", "why", "words"),
    [
        ("/v1/embeddings", {}, 404, "path", "nothing else"),
        ("/v1/models", {"method": "GET"}, 404, "path", "nothing else"),
        ("/v1/files", {}, 404, "path", "nothing else"),
        ("/v1/messages/count_tokens", {}, 404, "path", "nothing else"),
        ("/v1/chat/completions", {"method": "GET"}, 405, "method", "POST"),
        ("/v1/messages", {"method": "DELETE"}, 405, "method", "POST"),
        ("/v1/chat/completions", {"headers": ("Origin: http://127.0.0.1",)}, 403, "host", "page"),
        ("/v1/chat/completions", {"host": "example.com"}, 403, "host", "Host"),
        ("/v1/responses", {"body": b"[1]"}, 400, "body", "no JSON object"),
        ("/v1/responses", {"body": b"{"}, 400, "body", "no JSON"),
        ("/v1/messages", {"body": b'{"a": NaN}'}, 400, "body", "no JSON"),
        ("/v1/messages", {"body": b"[" * 100_000}, 400, "body", "no JSON"),
        ("/v1/messages", {"body": b"no gzip at all", "headers": ("Content-Encoding: gzip",)}, 400, "body", "encoded"),
        ("/mcp", {"body": b"{"}, 400, "body", "no JSON"),
        ("/mcp", {"method": "PUT"}, 405, "method", "POST"),
    ],
)
def test_what_is_no_model_call_is_refused(opened: Open, rest, changes, status, why, words):
    """With a status, one sentence in the form of the wire, and a note at the unit; the agent's client does not ask again."""
    stage = ScriptedStage()
    told = {name: value for name, value in changes.items() if name in ("method", "host")}
    with opened.unit(stage) as urls:
        request = post(path_of(urls, rest), changes.get("body", b"{}"), *changes.get("headers", ()), **told)
        answered, headers, body = raw(urls, request)
    document = json.loads(body)
    assert (answered, headers["x-should-retry"]) == (status, "false")
    assert document.get("type") == ("error" if rest == "/v1/messages" else None)
    assert document["error"]["message"].startswith(f"{why}: ")
    assert words in document["error"]["message"]
    assert stage.refused == [(why, changes.get("method", "POST"), rest)]
    assert stage.asked == []


def test_a_body_is_bounded_also_when_it_is_compressed(opened: Open):
    """What is larger than providers take is refused, however small it is on the way."""
    stage = ScriptedStage()
    with opened.unit(stage) as urls:
        body = gzip.compress(b" " * (MAX_BODY + 1))
        status, _, said = raw(urls, post(path_of(urls, "/v1/responses"), body, "Content-Encoding: gzip"))
    assert (status, json.loads(said)["error"]["message"]) == (413, "body: a body has at most 32 MB")
    assert stage.refused == [("body", "POST", "/v1/responses")]


@pytest.mark.parametrize(
    ("request_line", "status", "why"),
    [
        ("CONNECT example.com:443 HTTP/1.1", 403, "proxy"),
        ("GET http://example.com/x HTTP/1.1", 403, "proxy"),
        ("OPTIONS * HTTP/1.1", 403, "proxy"),
        ("POST /v1/chat/completions HTTP/1.1", 404, "unit"),
        ("GET / HTTP/1.1", 404, "unit"),
    ],
)
def test_what_belongs_to_no_unit_is_a_stray(opened: Open, request_line, status, why):
    """A proxy's requests and foreign paths are noted at the gateway."""
    before = opened.gateway.stray_count
    with opened.unit(ScriptedStage()) as urls:
        answered, _, _ = raw(urls, f"{request_line}\r\nHost: 127.0.0.1\r\n\r\n".encode())
    method, target, _ = request_line.split(" ")
    assert answered == status
    assert opened.gateway.stray_count == before + 1
    assert opened.gateway.strays[-1] == (why, method, target)


def test_strays_are_bounded_and_counted(monkeypatch):
    """Somebody who asks on and on fills no memory, and no name of a place is kept."""
    monkeypatch.setattr(gateway_module, "MAX_STRAYS", 2)
    with Open() as opened:
        with opened.unit(ScriptedStage()) as urls:
            pass
        for _ in range(4):
            raw(urls, post(path_of(urls, "/v1/chat/completions"), b"{}"))
        assert opened.gateway.strays == [("unit", "POST", "/v1/chat/completions")] * 2
        assert opened.gateway.stray_count == 4
        assert (opened.gateway.stray_note or "").startswith(
            "4 requests of agents belong to no unit and were refused; the first (unit): POST"
        )


def test_a_final_refusal_reaches_the_agent_once(opened: Open):
    """Its client raises with the reason, and does not ask again."""
    error = json.dumps(find_wire("chat").error("budget_exhausted", "nothing is left")).encode()
    stage = ScriptedStage(lambda _api, _body: Served(400, error, 0))
    with opened.unit(stage) as urls, _openai(urls) as client:
        for is_stream in (False, True):
            with pytest.raises(openai.BadRequestError, match="budget_exhausted: nothing is left"):
                client.chat.completions.create(**CHAT, stream=is_stream)
    assert len(stage.asked) == len(stage.delivered_calls) == 2


def test_an_answer_that_nests_too_deeply_is_no_fault_of_ours(opened: Open):
    """It goes on as it came where nobody asks for a stream; else the agent is told, and the run goes on."""
    document = find_wire("chat").write(Reply("Hi"), model="m", number=0)
    body = json.dumps(document).encode()[:-1] + b', "more": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    stage = ScriptedStage(lambda _api, _body: Served(200, body, 0))
    with opened.unit(stage) as urls:
        plain, streamed = (
            httpx.post(f"{urls.model_url}/chat/completions", json={**CHAT, "stream": is_stream})
            for is_stream in (False, True)
        )
    assert (plain.status_code, plain.content) == (200, body)
    assert (streamed.status_code, streamed.headers["x-should-retry"]) == (400, "false")
    assert streamed.json()["error"]["message"].startswith("invalid_json: ")


class Waiting(ScriptedStage):
    """A stage that answers when it is asked again."""

    async def answer(self, api: Any, body: dict[str, Any], *, is_retry: bool = False) -> Served:
        """See `Stage`."""
        self.gate = self.gate or asyncio.Event()
        if is_retry:
            self.gate.set()
        return await super().answer(api, body, is_retry=is_retry)


def test_a_client_that_asks_again_says_so(opened: Open):
    """It gave up waiting: that answer is lost, and the next request is known as a retry."""
    stage = Waiting()
    with opened.unit(stage) as urls, openai.OpenAI(api_key=KEY, base_url=urls.model_url, timeout=0.2) as client:
        assert client.chat.completions.create(**CHAT).choices[0].message.content == "Hi"
        wait_until(lambda: stage.lost_calls)
    assert [is_retry for _, _, is_retry in stage.asked] == [False, True]
    assert (stage.lost_calls, stage.delivered_calls) == ([0], [1])


@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_was_not_taken_whole_is_lost(opened: Open, is_stream):
    """A client that goes away in the middle of a long answer, or before it."""
    stage = ScriptedStage(lambda _api, _body: Reply("long " * 2_000_000))
    body = json.dumps({**CHAT, "stream": is_stream}).encode()
    with opened.unit(stage) as urls:
        with socket.create_connection(("127.0.0.1", urlsplit(urls.model_url).port or 0), PATIENCE) as connection:
            connection.sendall(post(path_of(urls, "/v1/chat/completions"), body))
            assert connection.recv(1)
        wait_until(lambda: stage.lost_calls)
        stage.gate = opened.call(asyncio.Event)
        with socket.create_connection(("127.0.0.1", urlsplit(urls.model_url).port or 0), PATIENCE) as connection:
            connection.sendall(post(path_of(urls, "/v1/chat/completions"), body))
            wait_until(lambda: len(stage.asked) == 2)
        opened.call(stage.gate.set)
        wait_until(lambda: len(stage.lost_calls) == 2)
    assert stage.delivered_calls == []


def test_a_slow_reader_of_a_long_answer_has_it_all(opened: Open):
    """More than the connection buffers: delivered when the last of it is taken."""
    stage = ScriptedStage(lambda _api, _body: Reply("long " * 2_000_000))
    with opened.unit(stage) as urls:
        _, _, body = raw(urls, post(path_of(urls, "/v1/chat/completions"), json.dumps(CHAT).encode()))
        wait_until(lambda: stage.delivered_calls)
    assert len(json.loads(body)["choices"][0]["message"]["content"]) == 10_000_000
    assert stage.lost_calls == []


@pytest.mark.parametrize("rest", ["/chat/completions", "/v1/v1/chat/completions"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_old_and_plain_clients_are_served(opened: Open, rest, is_stream):
    """HTTP/1.0, with and without `/v1`, compressed, and one that asks before it sends the body."""
    stage = ScriptedStage()
    body = gzip.compress(json.dumps({**CHAT, "stream": is_stream}).encode())
    with opened.unit(stage) as urls:
        target = path_of(urls, rest)
        status, headers, said = raw(urls, post(target, body, "Content-Encoding: gzip", version="1.0"))
        assert (status, b"Hi" in said, said.endswith(b"[DONE]\n\n")) == (200, True, is_stream)
        assert headers["content-type"].startswith("text/event-stream" if is_stream else "application/json")
        begun, *_ = raw(urls, post(target, body, "Content-Encoding: gzip", "Expect: 100-continue"))
        assert begun == 200
    assert len(stage.delivered_calls) == 2


def test_a_connection_is_kept_and_ten_clients_are_served_at_once(opened: Open):
    """One connection asks twice; ten wait for their answers at the same time."""
    stage = ScriptedStage()
    body = json.dumps(CHAT).encode()
    with opened.unit(stage) as urls:
        kept = http.client.HTTPConnection("127.0.0.1", urlsplit(urls.model_url).port, timeout=PATIENCE)
        for _ in range(2):
            kept.request("POST", path_of(urls, "/v1/chat/completions"), body)
            assert json.load(kept.getresponse())["choices"][0]["message"]["content"] == "Hi"
            connection = kept.sock
        assert kept.sock is connection
        kept.close()
        stage.gate = opened.call(asyncio.Event)
        with ThreadPoolExecutor(10) as threads:
            answers = [threads.submit(hi, urls) for _ in range(10)]
            wait_until(lambda: len(stage.asked) == 12)
            opened.call(stage.gate.set)
            assert [each.result() for each in answers] == ["Hi"] * 10


def test_a_slot_has_one_unit_at_a_time(opened: Open):
    """Its address stays; what is asked while nobody is there, or after, is a stray."""
    slot: Slot = opened.call(opened.gateway.slot)
    first, second = ScriptedStage(), ScriptedStage()
    before = opened.gateway.stray_count
    for stage in (first, second):
        entered = slot.enter(stage)
        assert opened.call(entered.__enter__) == slot.urls
        with pytest.raises(RuntimeError, match="one unit at a time"):
            opened.call(slot.enter(ScriptedStage()).__enter__)
        assert hi(slot.urls) == "Hi"
        opened.call(entered.__exit__, None, None, None)
        assert raw(slot.urls, post(path_of(slot.urls, "/v1/chat/completions"), b"{}"))[0] == 404
    assert (len(first.asked), len(second.asked)) == (1, 1)
    assert opened.gateway.stray_count == before + 2


def test_a_fault_of_the_stage_is_no_answer_and_is_raised_where_the_unit_ends(opened: Open):
    """The agent is told that it is not its request's fault; the run learns of it."""

    def broken(_api: Any, _body: Any) -> Reply:
        raise ZeroDivisionError

    stage = ScriptedStage(broken)
    entered = opened.gateway.unit(stage)
    with _openai(opened.call(entered.__enter__)) as client, pytest.raises(openai.InternalServerError):
        client.chat.completions.create(**CHAT)
    with pytest.raises(ZeroDivisionError):
        opened.call(entered.__exit__, None, None, None)
    assert len(stage.asked) == 1


def test_recorded_tools_are_an_mcp_server(opened: Open):
    """Requests are answered, notifications are taken; there is no stream and no session to end, which is no fault of the client."""
    stage = ScriptedStage(results={"look_up": "found"})
    with opened.unit(stage) as urls:
        call = {
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": "look_up", "arguments": {"key": "a"}},
        }
        answer = httpx.post(urls.mcp_url, json=call)
        noted = httpx.post(urls.mcp_url, json={"jsonrpc": "2.0", "method": "notifications/initialized"})
        declined = [httpx.request(method, urls.mcp_url) for method in ("GET", "DELETE")]
    assert answer.json()["result"]["content"] == [{"type": "text", "text": "found"}]
    assert stage.fetched == [("look_up", {"key": "a"})]
    assert (noted.status_code, noted.content) == (202, b"")
    assert [(each.status_code, each.headers["allow"]) for each in declined] == [(405, "POST")] * 2
    assert stage.refused == []


def test_half_a_character_in_a_request_is_replaced(opened: Open):
    """JSON can say what UTF-8 cannot carry; the rest of the request stays what it is."""
    stage = ScriptedStage()
    body = b'{"model": "m", "messages": [{"role": "user", "content": "ok \\ud83d", "n": 12345678901234567890123}]}'
    with opened.unit(stage) as urls:
        status, *_ = raw(urls, post(path_of(urls, "/v1/chat/completions"), body))
    assert status == 200
    assert stage.asked[0][1]["messages"] == [{"role": "user", "content": "ok \ufffd", "n": 12345678901234567890123}]


def test_recorded_tools_are_had_by_their_names(opened: Open):
    """Who speaks no MCP posts the arguments, as the model wrote them, and reads the result as it was recorded; or why there is none."""
    parts = [{"type": "text", "text": "found"}]
    stage = ScriptedStage(results={"look up/it": parts})
    with opened.unit(stage) as urls:
        tool = f"{urls.tools_url}/look%20up%2Fit"
        answers = [httpx.post(tool, content=body) for body in (b'{"id": 1}', b"", b'"{}"')]
        other = httpx.post(f"{urls.tools_url}/other", content=b"{}")
        wrong = [httpx.get(tool), httpx.post(tool, content=b"{")]
    assert [answer.json() for answer in answers] == [{"content": parts}] * 3
    assert stage.fetched == [("look up/it", {"id": 1}), ("look up/it", None), ("look up/it", "{}"), ("other", {})]
    assert (other.status_code, other.headers["x-should-retry"]) == (400, "false")
    assert other.json()["error"]["message"].startswith("unrequested_call: ")
    assert [answer.status_code for answer in wrong] == [405, 400]
    assert [why for why, _, _ in stage.refused] == ["method", "body"]


def test_who_asks_again_without_saying_so_is_known(opened: Open):
    """A client that gave up asks the same: its connection is closed, so it is the same call, once; beside an open one it is another."""
    stage = ScriptedStage(gate=opened.call(asyncio.Event))
    assert stage.gate is not None
    body = json.dumps(CHAT).encode()
    with opened.unit(stage) as urls, ThreadPoolExecutor(2) as threads:
        request = post(path_of(urls, "/v1/chat/completions"), body)
        with socket.create_connection(("127.0.0.1", urlsplit(urls.model_url).port or 0), PATIENCE) as connection:
            connection.sendall(request)
            wait_until(lambda: len(stage.asked) == 1)
        answers = []
        for number in (2, 3):
            answers.append(threads.submit(raw, urls, request))
            wait_until(lambda number=number: len(stage.asked) == number)
        opened.call(stage.gate.set)
        assert [each.result()[0] for each in answers] == [200, 200]
    assert [is_retry for _, _, is_retry in stage.asked] == [False, True, False]


def test_an_answer_that_arrived_once_is_not_lost_again(opened: Open):
    """The first client stops reading in the middle, asks again elsewhere and has the answer; then its first connection goes."""

    class Same(ScriptedStage):
        async def answer(self, api: Any, body: dict[str, Any], *, is_retry: bool = False) -> Served:
            """See `Stage`; every request is the same call."""
            return (await super().answer(api, body, is_retry=is_retry))._replace(call=0)

    stage = Same(lambda _api, _body: Reply("long " * 2_000_000))
    with opened.unit(stage) as urls:
        request = post(path_of(urls, "/v1/chat/completions"), json.dumps(CHAT).encode())
        with socket.create_connection(("127.0.0.1", urlsplit(urls.model_url).port or 0), PATIENCE) as connection:
            connection.sendall(request)
            assert connection.recv(1)
            assert raw(urls, request)[0] == 200
            wait_until(lambda: stage.delivered_calls == [0])
        assert raw(urls, request)[0] == 200
        wait_until(lambda: stage.delivered_calls == [0, 0])
    assert stage.lost_calls == []


def test_a_gateway_ends_though_somebody_waits(opened: Open):
    """What is asked when the run ends is given up, and told to be lost or not answered."""
    stage = ScriptedStage(gate=opened.call(asyncio.Event))
    with ThreadPoolExecutor(1) as threads:
        with Open() as other, other.unit(stage) as urls:
            answer = threads.submit(hi, urls)
            wait_until(lambda: stage.asked)
        with pytest.raises(http.client.RemoteDisconnected):
            answer.result()
    assert stage.delivered_calls == []


def test_a_socket_of_its_own_belongs_to_its_place(opened: Open):
    """What comes there is its unit's: calls below its path, and whatever is refused, also what is meant for a proxy or for others."""
    slot: Slot = opened.call(opened.gateway.slot)
    stage, other, before = ScriptedStage(), ScriptedStage(), opened.gateway.stray_count
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = opened.run(opened.gateway.listen(listening, slot))
    entered = slot.enter(stage)
    opened.call(entered.__enter__)
    there = Urls(slot.urls.model_url.replace(str(urlsplit(slot.urls.model_url).port), str(port)), "")
    with opened.unit(other):
        assert hi(there) == hi(slot.urls) == "Hi"
        assert raw(there, b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n")[0] == 403
        assert raw(there, post("/v1/chat/completions", b"{}"))[0] == 404
    opened.call(entered.__exit__, None, None, None)
    assert raw(there, post(path_of(there, "/v1/chat/completions"), b"{}"))[0] == 404
    opened.call(server.close)
    assert len(stage.asked) == 2
    assert stage.refused == [("proxy", "CONNECT", "example.com:443"), ("unit", "POST", "/v1/chat/completions")]
    assert (other.asked, other.refused, opened.gateway.stray_count) == ([], [], before + 1)
