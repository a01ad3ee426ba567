"""Endpoints that answer nobody, or not everybody: given up soon, billed for answers alone, and said in their own words."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import socket
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.experiment.budget import Budget
from pipelines.experiment.decision import Reply
from pipelines.experiment.prices import Price
from pipelines.replay.asking import patience as asking
from pipelines.replay.asking.asker import Asker, EndpointError, ModelSide
from pipelines.replay.asking.endpoint import MAX_RESPONSE_BYTES
from pipelines.replay.asking.responses import ResponseStore
from pipelines.replay.drive import drive
from pipelines.replay.failure import Answer, Failure
from pipelines.replay.request import Request
from pipelines.replay.wires.chat import Chat
from tests.support.asking_child import VERSION, OneRequest, request_of
from tests.support.model_server import ModelServer, echo_answer, serving

PRICE = Price(input_usd=1.0, output_usd=10.0, max_output_tokens=100_000)
KEY = "sk-test-0123456789abcdef"
Response = tuple[int, dict[str, str], bytes]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResponseStore]:
    with ResponseStore(tmp_path / "responses.sqlite") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_BACKOFF", lambda _state: 0.0)


def asker_of(base_url: str, store: ResponseStore, **budget: Any) -> Asker:
    return Asker({"candidate": ModelSide(base_url, KEY, PRICE)}, store, Budget(**budget), VERSION)


def ask_all(asker: Asker, requests: list[Request]) -> dict[str, Answer]:
    outcomes = drive(asker, [OneRequest(request) for request in requests], lambda _line: None)
    return {request.unit_id: answer for request, answer in outcomes}


def fixed(status: int, body: bytes, **headers: str) -> Callable[..., Response]:
    return lambda _body, _times: (status, {name.replace("_", "-"): text for name, text in headers.items()}, body)


ERROR = b'{"error": {"message": "upstream went away", "code": 502}}'
BROKEN: dict[str, tuple[Callable[..., Response], str]] = {
    "a page": (fixed(200, b"<html>Sign in</html>", Content_Type="text/html"), "Sign in"),
    "nothing": (fixed(200, b""), "an empty body"),
    "no content": (fixed(204, b""), "HTTP 204"),
    "a list of nothing": (fixed(200, b'{"choices": []}'), "no choice"),
    "an error in a 200": (fixed(200, ERROR), "upstream went away"),
    "moved for good": (fixed(301, b"", Location="https://new.example/v1/chat/completions"), "https://new.example/v1"),
    "moved": (fixed(302, b"", Location="/login"), "/login"),
    "kept elsewhere": (fixed(307, b"", Location="https://new.example/v1"), "https://new.example/v1"),
    "kept elsewhere for good": (fixed(308, b"", Location="/v2/chat/completions"), "/v2/chat/completions"),
    "a wrong key": (fixed(401, b'{"error": {"message": "Incorrect API key provided"}}'), "Incorrect API key"),
    "a key without rights": (fixed(403, b'{"error": {"message": "forbidden for you"}}'), "forbidden for you"),
    "no model": (fixed(404, b'{"error": {"code": "model_not_found", "message": "no m"}}'), "no m"),
    "no page": (fixed(404, b"<h1>Not Found</h1>"), "Not Found"),
    "no model, as a 400": (fixed(400, b'{"error": {"code": "model_not_found", "message": "no m"}}'), "no m"),
    "a wrong parameter": (
        fixed(400, b'{"error": {"message": "temperature is not allowed"}}'),
        "temperature is not allowed",
    ),
    "no such method": (fixed(405, b"Method Not Allowed"), "Method Not Allowed"),
    "not made": (fixed(501, b"Not Implemented"), "Not Implemented"),
    "a proxy's page": (fixed(502, b"<html>Bad Gateway</html>"), "Bad Gateway"),
    "a quota": (fixed(429, b'{"error": {"code": "insufficient_quota", "message": "quota"}}'), "quota"),
    "no money": (fixed(402, b'{"error": {"message": "pay first"}}'), "pay first"),
    "what is no gzip": (fixed(200, b'{"choices": 1}', Content_Encoding="gzip"), "decompressed"),
    "what nobody asked for": (fixed(200, b"xyz", Content_Encoding="br"), "encoded as br"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_endpoint_that_answers_nobody_is_given_up_after_a_handful(store, kind):
    """Whatever it does instead of answering: few calls, no answer booked, and one error with the endpoint's own words."""
    respond, words = BROKEN[kind]
    with serving(respond=respond) as server:
        asker = asker_of(server.base_url, store)
        with pytest.raises(EndpointError, match=re.escape(words)) as raised:
            ask_all(asker, [request_of(n) for n in range(500)])
    assert server.calls.total() <= 60
    assert "answers nobody" in str(raised.value)
    if "gzip" not in kind and "nobody asked" not in kind:  # those may be answers that cannot be read
        assert store.charged(*VERSION)[1] == 0.0
    assert len(str(raised.value)) < 600


def test_nobody_listening_is_given_up_after_a_handful(store):
    """A refused connection costs nothing, and a name that nobody knows likewise."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for base_url in (f"http://127.0.0.1:{port}/v1", "http://no-such-host.invalid/v1"):
        asker = asker_of(base_url, store)
        with pytest.raises(EndpointError, match="in a row"):
            ask_all(asker, [request_of(n) for n in range(500)])
        assert asker.tally.calls <= 60
    assert store.charged(*VERSION)[1] == 0.0


def test_a_handshake_that_fails_is_given_up(store):
    """An endpoint that speaks no TLS where it should."""
    with serving() as server:
        asker = asker_of(server.base_url.replace("http://", "https://"), store)
        with pytest.raises(EndpointError, match="answers nobody"):
            ask_all(asker, [request_of(n) for n in range(500)])
    assert asker.tally.calls <= 60
    assert store.charged(*VERSION)[1] == 0.0


def test_a_rate_that_is_never_granted_is_given_up(store, monkeypatch):
    """Refused for their rate, all of them, for longer than a minute's limit lasts."""
    monkeypatch.setattr("pipelines.replay.asking.health._LIMITED_SECONDS", 0.0)
    with serving(respond=fixed(429, b'{"error": {"message": "slow down"}}')) as server:
        with pytest.raises(EndpointError, match="rate_limited: HTTP 429: slow down"):
            ask_all(asker_of(server.base_url, store), [request_of(n) for n in range(500)])
        assert server.calls.total() <= 200


@pytest.mark.parametrize(
    ("kind", "share"), [("a page", 0.5), ("an error in a 200", 0.5), ("a proxy's page", 0.3), ("nothing", 0.05)]
)
def test_an_endpoint_that_answers_now_and_then_is_not_given_up(store, kind, share):
    """Faults mixed in at random, in a row now and then: everything is answered, and paid for once."""

    def respond(body: dict[str, Any], times: int) -> Response | None:
        place = int.from_bytes(hashlib.sha256(f"{body}{times}".encode()).digest()[:4]) / 2**32
        return BROKEN[kind][0](body, times) if place < share and times < 8 else None

    with serving(respond=respond) as server:
        answers = ask_all(asker_of(server.base_url, store, concurrency=32), [request_of(n) for n in range(80)])
    assert all(isinstance(answer, Reply) for answer in answers.values())
    assert set(server.paid.values()) == {1}
    assert len(server.paid) == 80
    assert store.charged(*VERSION)[1] == pytest.approx(sum(answer.cost_usd or 0 for answer in answers.values()))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "content_filter", "message": "the prompt was filtered"}),
        (400, {"message": "no", "innererror": {"code": "ResponsibleAIPolicyViolation"}}),
        (403, {"code": 403, "message": "input was flagged", "metadata": {"reasons": ["violence"]}}),
        (403, {"message": "access denied"}),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_one_input_that_is_turned_down_is_that_unit_alone(store, status, error, first):
    """One conversation's requests are refused, the others answered, whoever comes first; the next run asks those again."""
    turned_down = range(10) if first else range(40, 50)

    def respond(body: dict[str, Any], _times: int) -> Response | None:
        number = int(body["messages"][-1]["content"].split()[-1])
        return (status, {}, json.dumps({"error": error}).encode()) if number in turned_down else None

    with serving(respond=respond) as server:
        for _ in range(2):
            answers = ask_all(asker_of(server.base_url, store), [request_of(n) for n in range(100)])
            reasons = Counter(answer.reason for answer in answers.values() if isinstance(answer, Failure))
            assert reasons == {"refused": 10}
            assert len(answers) == 100
    assert set(server.paid.values()) == {1}


def test_an_input_that_is_called_wrong_is_that_unit_alone(store):
    """A long conversation's last requests are rejected in a row, after others were answered."""

    def respond(body: dict[str, Any], _times: int) -> Response | None:
        number = int(body["messages"][-1]["content"].split()[-1])
        error = {"error": {"message": f"{number + 8_000} tokens are too many"}}
        return (400, {}, json.dumps(error).encode()) if 100 <= number < 200 else None

    with serving(respond=respond) as server:
        answers = ask_all(asker_of(server.base_url, store, concurrency=4), [request_of(n) for n in range(250)])
    reasons = Counter(answer.reason for answer in answers.values() if isinstance(answer, Failure))
    assert reasons == {"rejected": 100}
    assert len(answers) == 250


def test_an_endpoint_that_ends_in_the_middle_is_given_up_and_what_is_paid_for_is_kept(store):
    """After some answers nothing but errors: soon over, and the next run goes on from there."""
    server = ModelServer()
    server.status = lambda number: (503, {}, b"busy") if number >= 50 else None
    with serving(server):
        with pytest.raises(EndpointError, match="in a row"):
            ask_all(asker_of(server.base_url, store), [request_of(n) for n in range(500)])
        assert server.calls.total() <= 150
        server.status = lambda _number: None
        answers = ask_all(asker := asker_of(server.base_url, store), [request_of(n) for n in range(100)])
    assert asker.tally.hits == 50
    assert all(isinstance(answer, Reply) for answer in answers.values())
    assert set(server.paid.values()) == {1}


def ask_for_answers(asker: Asker, requests: list[Request]) -> None:
    ask_all(asker, requests)
    asker.require_answers()


@pytest.mark.parametrize("kind", ["an error in a 200", "a proxy's page", "a wrong parameter", "a quota", "a page"])
def test_a_small_run_without_an_answer_says_so(store, kind):
    """Too few units to give the endpoint up on the way: in the end nothing was answered, and that is an error."""
    respond, words = BROKEN[kind]
    with serving(respond=respond) as server:
        asker = asker_of(server.base_url, store)
        with pytest.raises(EndpointError, match=re.escape(words)):
            ask_for_answers(asker, [request_of(0)])
    assert store.charged(*VERSION)[1] == 0.0


def test_an_error_in_a_200_is_asked_again(store):
    """Twice too many requests, then the answer: one answer is paid for, and kept."""

    def respond(_body: dict[str, Any], times: int) -> Response | None:
        error = {"error": {"code": 429, "message": "too many requests upstream"}}
        return (200, {}, json.dumps(error).encode()) if times < 2 else None

    with serving(respond=respond) as server:
        answers = ask_all(asker_of(server.base_url, store), [request_of(n) for n in range(9)])
        assert server.calls.total() == 27
    assert all(isinstance(answer, Reply) for answer in answers.values())
    spent = sum(answer.cost_usd or 0 for answer in answers.values() if isinstance(answer, Reply))
    assert store.charged(*VERSION) == (27, pytest.approx(spent))


def test_what_was_kept_and_is_no_answer_is_asked_for_anew(store):
    """An earlier reading took half an answer for a whole one: now it is asked again, and what comes is kept in its place."""
    half = {"choices": [{"finish_reason": "error", "message": {"content": "Parcel P-"}}]}
    with serving(answer=lambda _body: {"role": "assistant", "content": "whole"}) as server:
        ask_all(asker_of(server.base_url, store), [request_of(0), request_of(1)])
        store._reader.execute("UPDATE responses SET body = ? WHERE id = 1", (json.dumps(half).encode(),))
        answers = ask_all(asker := asker_of(server.base_url, store), [request_of(0), request_of(1)])
        assert (asker.tally.asked, asker.tally.hits) == (1, 1)
        assert [answer.text for answer in answers.values()] == ["whole", "whole"]  # type: ignore[union-attr]
        ask_all(asker := asker_of(server.base_url, store), [request_of(0), request_of(1)])
        assert (asker.tally.asked, asker.tally.hits) == (0, 2)


def compressed(content: bytes, wrapper: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wrapper)
    return packer.compress(content) + packer.flush()


def completion(body: dict[str, Any]) -> bytes:
    choice = {"message": echo_answer(body), "finish_reason": "stop"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


ENCODINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "gzip in members": ("GZIP", lambda body: gzip.compress(body[:50]) + gzip.compress(body[50:])),
    "deflate": ("deflate", lambda body: compressed(body, 15)),
    "deflate without header": ("deflate", lambda body: compressed(body, -15)),
    "identity": ("identity", lambda body: body),
}


@pytest.mark.parametrize("kind", ENCODINGS)
def test_an_answer_that_is_compressed_is_read(store, kind):
    """Unasked, but known."""
    name, pack = ENCODINGS[kind]

    def respond(body: dict[str, Any], _times: int) -> Response:
        return 200, {"Content-Encoding": name, "Content-Type": "application/json"}, pack(completion(body))

    with serving(respond=respond) as server:
        answers = ask_all(asker_of(server.base_url, store), [request_of(n) for n in range(3)])
    assert all(isinstance(answer, Reply) and answer.cost_usd for answer in answers.values())
    assert server.headers["Accept-Encoding"] == "identity"


BOMB = 64 * 2**20
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("gzip", lambda: compressed(bytes(BOMB), 31)),
    "raw deflate": ("deflate", lambda: compressed(bytes(BOMB), -15)),
    "members": ("gzip", lambda: gzip.compress(bytes(2**20)) * 64),
    "gzip in gzip": ("gzip, gzip", lambda: gzip.compress(compressed(bytes(BOMB), 31))),
    "empty members": ("gzip", lambda: gzip.compress(b"") * (MAX_RESPONSE_BYTES // 20 + 1)),
    "plain": ("identity", lambda: b"[" * (MAX_RESPONSE_BYTES + 1)),
    "brackets": ("gzip", lambda: compressed(b'{"choices":[' + b"{}," * (MAX_RESPONSE_BYTES // 3 - 9) + b"{}]}", 31)),
    "messages": ("gzip", lambda: compressed(b'{"choices":[' + b'{"message":{}},' * 200_000 + b'{"message":{}}]}', 31)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_what_an_answer_becomes_is_bounded_while_it_is_read(store, kind):
    """A few kilobytes that become hundreds of megabytes are a failed unit, at the cost of a few times the bound."""
    name, make = BOMBS[kind]
    respond = fixed(200, make(), Content_Encoding=name)
    with serving(respond=respond) as server:
        tracemalloc.start()
        answers = ask_all(asker_of(server.base_url, store, concurrency=1, requests=1), [request_of(0)])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    (answer,) = answers.values()
    assert isinstance(answer, Failure)
    assert peak < 12 * MAX_RESPONSE_BYTES


def test_a_trickle_without_end_is_cut_off(store):
    """Byte by byte, without a length and never done: a call has its time, whatever still comes."""
    with serving(fault_share=1.0, faults=("drip",), hang=60.0) as server:
        began = time.monotonic()
        answers = ask_all(asker_of(server.base_url, store, timeout_seconds=0.3, requests=2), [request_of(0)])
        assert time.monotonic() - began < 20
    assert next(iter(answers.values())).reason == "budget_exhausted"  # type: ignore[union-attr]


def test_the_key_in_escapes_is_kept_nowhere(tmp_path):
    """An endpoint that repeats the key in escapes, in an answer or in an error, finds it taken out of what is kept and shown."""
    spelt = KEY.replace("s", "\\u0073").replace("-", "\\u002D")
    message = f'{{"choices": [{{"message": {{"content": "key {spelt}"}}, "finish_reason": "stop"}}]}}'
    with ResponseStore(tmp_path / "r.sqlite") as store, serving(respond=fixed(200, message.encode())) as server:
        answers = ask_all(asker_of(server.base_url, store), [request_of(0)])
        assert next(iter(answers.values())).text == "key [api key]"  # type: ignore[union-attr]
        kept = store.get(store.endpoint(server.base_url), [request_of(0).key])[request_of(0).key]
        assert Chat().read_answer(kept.body).text == "key [api key]"  # type: ignore[union-attr]
        server.respond = fixed(308, b"", Location=f"https://x.example/?key={KEY.replace('-', '%2d')}")
        with pytest.raises(EndpointError) as raised:
            ask_all(asker_of(server.base_url, store), [request_of(1)])
    assert "[api key]" in str(raised.value)
    assert "0123456789abcdef" not in str(raised.value)
    assert not any(b"0123456789abcdef" in path.read_bytes() for path in tmp_path.iterdir())
