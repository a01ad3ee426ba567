"""Asking an endpoint: every request once, through every fault, within the budget, stopped and resumed."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.experiment.budget import Budget
from pipelines.experiment.decision import Reply
from pipelines.experiment.prices import Price
from pipelines.experiment.sides import Side
from pipelines.replay.asking import patience as asking
from pipelines.replay.asking.asker import Asker, EndpointError, ModelSide
from pipelines.replay.asking.limiter import Limiter
from pipelines.replay.asking.responses import ResponseStore, ResponseStoreError
from pipelines.replay.drive import drive
from pipelines.replay.failure import Answer, Failure
from pipelines.replay.request import Ask, Request
from tests.support.asking_child import VERSION, OneRequest, request_of
from tests.support.model_server import FAULTS, ModelServer, serving
from tests.support.waiting import wait_until

PRICE = Price(input_usd=1.0, output_usd=10.0, max_output_tokens=100)
KEY = "sk-test-0123456789abcdef"


@dataclass(frozen=True)
class Several:
    """A unit that asks one request after the other, as a walk does."""

    requests: list[Request]
    request: None = None

    def replay(self, ask: Ask) -> Coroutine[Any, Any, list[Answer]]:
        async def walk() -> list[Answer]:
            return [await ask(request) for request in self.requests]

        return walk()

    def take(self, answer: Answer) -> list[Answer]:
        raise AssertionError


def side_of(server: ModelServer, price: Price | None = None) -> dict[Side, ModelSide]:
    return {"candidate": ModelSide(server.base_url, KEY, price), "control": ModelSide(server.base_url, KEY, price)}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ResponseStore]:
    with ResponseStore(tmp_path / "responses.sqlite") as opened:
        yield opened


def ask_all(
    server: ModelServer, store: ResponseStore, given: list[Request], price: Price | None = None, **budget: Any
) -> tuple[dict[tuple[str, int], Answer], Asker]:
    asker = Asker(side_of(server, price), store, Budget(**budget), VERSION)
    units = [OneRequest(request) for request in given]
    outcomes = drive(asker, units, lambda _line: None)
    answered = {(request.unit_id, request.draw): answer for request, answer in outcomes}
    return answered, asker


def meaning(answers: dict[tuple[str, int], Answer]) -> dict[tuple[str, int], Any]:
    """What was answered, without how long it took."""
    return {
        key: (answer.text, [(call.name, call.arguments) for call in answer.tool_calls])
        for key, answer in answers.items()
        if isinstance(answer, Reply)
    }


def test_faults_change_nothing_but_the_time(tmp_path, monkeypatch):
    """With 5 % of each of ten faults mixed in, every unit is answered as without them, and paid for once."""
    monkeypatch.setattr(asking, "_BACKOFF", lambda _state: 0.01)
    requests = [request_of(number) for number in range(100)]
    with serving() as server, ResponseStore(tmp_path / "a.sqlite") as store:
        wanted, _ = ask_all(server, store, requests, concurrency=32)
    with serving(fault_share=0.05, hang=1.5) as server, ResponseStore(tmp_path / "b.sqlite") as store:
        answered, asker = ask_all(server, store, requests, concurrency=32, timeout_seconds=0.7)
    assert len(wanted) == 100
    assert meaning(answered) == meaning(wanted)
    assert {fault for fault in FAULTS if server.seen[fault]} == set(FAULTS)
    assert set(server.paid.values()) == {1}
    assert len(server.paid) == 100
    assert asker.tally.calls == sum(server.calls.values()) == sum(server.seen.values())


def test_what_is_paid_for_is_never_asked_again(tmp_path):
    """A second run answers everything from the store, in whatever order, and the third draw alone is new."""
    requests = [request_of(number, draw=draw) for number in range(40) for draw in (0, 1)]
    path = tmp_path / "responses.sqlite"
    with serving() as server:
        with ResponseStore(path) as store:
            first, _ = ask_all(server, store, requests)
        with ResponseStore(path) as store:
            again, asker = ask_all(server, store, requests[::-1])
            assert (asker.tally.hits, asker.tally.asked, asker.tally.hit_rate) == (80, 0, 1.0)
            more = [request_of(number, draw=2) for number in range(40)]
            _, third = ask_all(server, store, [*requests, *more])
            assert (third.tally.hits, third.tally.asked) == (80, 40)
    assert again == first
    assert set(server.paid.values()) == {1}


def test_units_with_the_same_request_share_one_call(store):
    """Requests that are equal are asked once also when they are under way at the same time; another draw is another call."""
    with serving(latency=0.05) as server:
        walks = [Several([request_of(7), request_of(8), request_of(7, draw=1)]) for _ in range(20)]
        asker = Asker(side_of(server), store, Budget(), VERSION)
        answers = list(drive(asker, walks, lambda _line: None))
    assert len(answers) == 20
    assert all(each == answers[0] for each in answers)
    assert sorted(server.paid.values()) == [1, 1, 1]
    assert (asker.tally.asked, asker.tally.hits) == (3, 57)


def test_another_endpoint_is_another_answer(store):
    """The same request at two endpoints is two responses."""
    for _ in range(2):
        with serving() as server:
            ask_all(server, store, [request_of(1)])
            assert server.paid.total() == 1


def test_the_budget_of_requests_is_exact(store):
    """No call goes beyond it, over two runs of the version; units that it does not cover say so."""
    with serving() as server:
        answered, _ = ask_all(server, store, [request_of(n) for n in range(30)], requests=12)
        reasons = Counter(answer.reason for answer in answered.values() if isinstance(answer, Failure))
        assert (server.calls.total(), reasons) == (12, {"budget_exhausted": 18})
        answered, _ = ask_all(server, store, [request_of(n) for n in range(30)], requests=20)
        assert server.calls.total() == 20
        assert len(meaning(answered)) == 20


def test_the_budget_of_dollars_is_never_passed(store):
    """What was spent stays within the limit whatever is under way, and reaches what one call more could have passed."""
    requests = [request_of(n, text="x" * 4_000) for n in range(200)]
    with serving(latency=0.01) as server:
        answered, asker = ask_all(server, store, requests, PRICE, usd=0.05, concurrency=16)
        most = PRICE.cost(5_000, 100)
        assert 0.05 - most < asker.account.usd <= 0.05
        assert asker.account.usd == pytest.approx(
            sum(a.cost_usd or 0 for a in answered.values() if isinstance(a, Reply))
        )
        assert any(isinstance(a, Failure) and a.reason == "budget_exhausted" for a in answered.values())
        assert store.charged(*VERSION) == (server.calls.total(), pytest.approx(asker.account.usd))


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, b'{"error": {"message": "context too long"}}', "rejected"),
        (400, b'{"error": {"code": "content_filter", "message": "no"}}', "refused"),
        (403, b'{"error": {"message": "input was flagged"}}', "refused"),
        (200, b'{"choices": [{"message": {"content": ""}, "finish_reason": "content_filter"}]}', "refused"),
        (500, b"", "unavailable"),
        (429, b"", "rate_limited"),
        (200, b"{", "invalid_json"),
    ],
)
def test_a_failure_is_an_answer_with_a_reason(store, monkeypatch, status, body, reason):
    """What cannot be answered has the code of why; what a filter stopped in the middle is paid for, and kept."""
    monkeypatch.setattr(asking, "_BACKOFF", lambda _state: 0.0)
    with serving(status=lambda _number: (status, {}, body)) as server:
        answered, _ = ask_all(server, store, [request_of(1)])
        (answer,) = answered.values()
        assert isinstance(answer, Failure)
        assert answer.reason == reason
        attempts = {"unavailable": asking.MAX_ATTEMPTS, "invalid_json": asking.MAX_ATTEMPTS, "rate_limited": 50}
        assert server.calls.total() == attempts.get(reason, 1)
        again, asker = ask_all(server, store, [request_of(1)])
        assert asker.tally.hits == (reason == "refused" and status == 200)
        assert next(iter(again.values())).reason == reason  # type: ignore[union-attr]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_endpoint_that_answers_nobody_ends_the_run(store, status):
    """A wrong key or address is no unit's failure: the run ends, and soon."""
    with (
        serving(status=lambda _number: (status, {}, b'{"error": "no: ' + KEY.encode() + b'"}')) as server,
        pytest.raises(EndpointError, match="answers nobody") as raised,
    ):
        ask_all(server, store, [request_of(n) for n in range(500)])
    assert server.calls.total() < 100
    assert KEY not in str(raised.value)


def test_an_endpoint_that_is_down_ends_the_run(store, monkeypatch):
    """When request after request fails at every attempt, the others are not burnt; what is kept is kept."""
    monkeypatch.setattr(asking, "_BACKOFF", lambda _state: 0.0)
    with serving() as server:
        ask_all(server, store, [request_of(n) for n in range(10)])
    with pytest.raises(EndpointError, match="in a row"):
        ask_all(server, store, [request_of(n) for n in range(500)])


def test_the_level_falls_on_objections_and_rises_again(store):
    """An endpoint that admits four at once is soon asked little more than that, and everything is answered."""
    server = ModelServer(latency=0.01)
    server.status = lambda _number: (429, {"retry-after-ms": "30"}, b"") if server.under_way > 4 else None
    with serving(server):
        answered, _ = ask_all(server, store, [request_of(n) for n in range(300)], concurrency=64)
    assert len(meaning(answered)) == 300
    assert server.calls.total() < 450
    assert server.most_under_way <= 40


def test_retry_after_stops_all_calls(store):
    """After a 429 that says when to come back, nothing is sent before that."""
    at: list[float] = []

    def limit(number: int) -> tuple[int, dict[str, str], bytes] | None:
        at.append(time.monotonic())
        return (429, {"Retry-After": "1"}, b"") if number == 0 else None

    with serving(status=limit) as server:
        answered, _ = ask_all(server, store, [request_of(n) for n in range(8)], concurrency=1)
    assert len(meaning(answered)) == 8
    assert at[1] - at[0] >= 0.99


def test_an_answer_that_comes_between_looking_and_asking_is_not_paid_for_twice(store):
    """What was looked up in vain is not looked up again before it is asked for, unless it was answered since."""

    async def work(server: ModelServer) -> Asker:
        async with Asker(side_of(server), store, Budget(), VERSION) as asker:
            first, other = request_of(1), request_of(2)
            flight = asyncio.create_task(asker.ask(first))
            while not asker.tally.calls:  # noqa: ASYNC110 -- nothing tells that a call has begun
                await asyncio.sleep(0)
            assert asker.recall([request_of(1), other]) == [None, None]
            answers = [
                await flight,
                await asker.ask(request_of(1)),
                await asker.ask(other),
                await asker.ask(request_of(2)),
            ]
            assert all(isinstance(each, Reply) for each in answers)
            return asker

    with serving(latency=0.05) as server:
        asker = asyncio.run(work(server))
        assert set(server.paid.values()) == {1}
    assert (asker.tally.calls, asker.tally.asked, asker.tally.hits) == (2, 2, 2)
    assert store.charged(*VERSION)[0] == 2


def test_where_all_answers_are_kept_no_session_is_opened(store):
    """The client of HTTP is imported, and a session opened, by what is going to be sent."""
    with serving() as server:
        given = [request_of(number) for number in range(3)]
        _, asker = ask_all(server, store, given)
        assert [endpoint._session for endpoint in asker._endpoints.values()] != [None]
        answered, asker = ask_all(server, store, given)
    assert len(answered) == asker.tally.hits == 3
    assert not asker._endpoints


def test_calls_per_minute_are_spread(store):
    """With 600 calls a minute, one goes out every 100 ms; with tokens a minute, what was used is waited for."""
    at: list[float] = []

    def note(_number: int) -> None:
        at.append(time.monotonic())

    with serving(status=note) as server:
        began = time.monotonic()  # the first call may be late on its way
        ask_all(server, store, [request_of(n) for n in range(8)], rpm=600)
        assert at[-1] - began >= 0.69
        began = time.monotonic()
        ask_all(server, store, [request_of(n, draw=1, text="y" * 4_000) for n in range(4)], tpm=300_000)
        assert at[-1] - began >= 3 * 0.19


def test_outside_the_window_nothing_is_sent(store):
    """The work waits until the window opens, says so, and goes on by itself."""
    opened = datetime(2026, 1, 1, 21, 59, 59, 700_000, tzinfo=UTC)
    began = time.monotonic()
    told: list[str] = []
    budget = Budget(off_peak="22:00-06:00 UTC")
    with serving() as server:
        limiter = Limiter(budget, told.append, lambda: opened + timedelta(seconds=time.monotonic() - began))
        asker = Asker(side_of(server), store, budget, VERSION, told.append, limiter)
        outcomes = list(drive(asker, [OneRequest(request_of(1))], told.append))
    assert isinstance(outcomes[0][1], Reply)
    assert time.monotonic() - began >= 0.29
    assert told == ["outside 22:00-06:00 UTC: waiting until the window opens"]


@pytest.mark.parametrize("when", ["asking", "waiting"])
def test_a_stop_keeps_what_is_under_way(tmp_path, when):
    """Ctrl-C sends nothing more, waits for what is under way, keeps it, and then is an interrupt like any other."""
    budget = Budget(concurrency=4, off_peak=None if when == "asking" else _closed_window())
    before = signal.getsignal(signal.SIGINT)
    told: list[str] = []
    waits: list[str] = []
    with serving(latency=0.2) as server, ResponseStore(tmp_path / "r.sqlite") as store:
        asker = Asker(side_of(server), store, budget, VERSION, waits.append)

        def stop_then() -> None:
            wait_until(lambda: server.calls.total() if when == "asking" else waits)
            signal.raise_signal(signal.SIGINT)

        with ThreadPoolExecutor(1) as pool:
            stopped = pool.submit(stop_then)
            began = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                list(drive(asker, [OneRequest(request_of(n)) for n in range(1_000)], told.append))
            stopped.result()
        assert time.monotonic() - began < 30  # all of them take 50 s
        calls = server.calls.total()
        assert server.paid.total() == asker.tally.asked == calls
        assert (calls > 0) == (when == "asking")
        assert len(told) == 1
        _, again = ask_all(server, store, [request_of(n) for n in range(40)])
        assert again.tally.hits == calls
        assert set(server.paid.values()) == {1}
    assert signal.getsignal(signal.SIGINT) is before


@dataclass(frozen=True)
class Endless:
    """A unit that two interrupts come to, and that would wait for ever."""

    left: list[str]
    request: None = None

    async def replay(self, _ask: Ask) -> None:
        loop = asyncio.get_running_loop()
        for seconds in (0, 0.01):
            loop.call_later(seconds, signal.raise_signal, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.left.append("unit")

    def take(self, answer: Answer) -> None:
        raise AssertionError


def test_a_second_stop_does_not_wait(store):
    """What is under way is left at once, wherever the signal comes, and what was open is closed; it is an interrupt, and no fault."""
    left: list[str] = []

    @asynccontextmanager
    async def host() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            left.append("host")

    def interrupt(*_: object) -> None:  # as a program's own handler does, in the middle of the loop
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with serving() as server:
            outcomes = drive(Asker(side_of(server), store, Budget(), VERSION), [Endless(left)], left.append, [host()])
            with pytest.raises(KeyboardInterrupt):
                list(outcomes)
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGINT, before)
    assert left[1:] == ["host", "unit"]


def _closed_window() -> str:
    """A window that opens in twelve hours."""
    opens = datetime.now(UTC) + timedelta(hours=12)
    return f"{opens:%H:%M}-{opens + timedelta(minutes=5):%H:%M} UTC"


def test_the_ledger_says_whose_text_went_where(store):
    """Every conversation of which something was sent is there once per side and model, hits are not."""
    with serving() as server:
        ask_all(server, store, [request_of(n) for n in range(25)])
        sent = store.sent(*VERSION)
        assert [row["aggregate_id"] for row in sent] == ["stream-0", "stream-1", "stream-2"]
        assert {(row["base_url"], row["model"], row["side"]) for row in sent} == {(server.base_url, "m", "candidate")}
        other = Asker(side_of(server), store, Budget(), ("test", "v2"))
        list(drive(other, [OneRequest(request_of(n)) for n in range(25)], lambda _line: None))
        assert store.sent("test", "v2") == []


def test_the_key_is_sent_and_kept_nowhere(tmp_path):
    """The key goes into one header; an endpoint that repeats it in an answer finds it taken out of what is kept."""
    with (
        serving(answer=lambda _body: {"role": "assistant", "content": f"your key is {KEY}"}) as server,
        ResponseStore(tmp_path / "r.sqlite") as store,
    ):
        answered, asker = ask_all(server, store, [request_of(1)])
    assert server.headers["Authorization"] == f"Bearer {KEY}"
    assert next(iter(answered.values())).text == "your key is [api key]"  # type: ignore[union-attr]
    assert KEY not in repr(asker._sides) + repr(asker._endpoints)
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.iterdir())


def test_the_store_is_readable_while_it_is_written(store, tmp_path):
    """Another process sees what is committed, without waiting."""
    with serving() as server:
        ask_all(server, store, [request_of(n) for n in range(5)])
        with closing(sqlite3.connect(f"file:{tmp_path / 'responses.sqlite'}?mode=ro", uri=True)) as reader:
            bodies = [json.loads(body) for (body,) in reader.execute("SELECT body FROM responses")]
    assert len(bodies) == 5
    assert (tmp_path / "responses.sqlite").stat().st_mode & 0o077 == 0


def test_a_store_of_another_layout_is_refused_and_left_as_it_is(tmp_path):
    """Its answers are kept under other keys: they would silently be paid for once more."""
    path = tmp_path / "responses.sqlite"
    with closing(sqlite3.connect(path)) as earlier, earlier:
        earlier.execute("CREATE TABLE responses (id INTEGER PRIMARY KEY, endpoint, draw, request BLOB, body BLOB)")
        earlier.execute("INSERT INTO responses VALUES (1, 1, 0, x'00', x'7b7d')")
    with pytest.raises(ResponseStoreError, match="keeps paid answers in layout 0, and this version reads layout 2"):
        ResponseStore(path)
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute("SELECT * FROM responses").fetchall() == [(1, 1, 0, b"\0", b"{}")]
        assert reader.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)
