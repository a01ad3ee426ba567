"""Ask models: each request once, within the budget, at the pace that the endpoint admits.

A response is on disk before anybody sees it, so whatever happens to this process, what was paid for is never asked again.
Two units with the same request and draw share one call, also when both ask at the same time. A request that fails for good
is a `Failure` for its unit; an endpoint that answers nobody raises, since no unit's row could say anything about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self

from pipelines.errors import RefoldError, UnfinishedError
from pipelines.experiment.budget import Budget
from pipelines.experiment.prices import Price, max_output_tokens
from pipelines.experiment.sides import Api, Side
from pipelines.replay.asking.account import Account, BudgetExhausted
from pipelines.replay.asking.endpoint import CallFailed, Endpoint, Response
from pipelines.replay.asking.fault import Again, Broken
from pipelines.replay.asking.forgetting import forget
from pipelines.replay.asking.health import Health
from pipelines.replay.asking.limiter import Limiter, Slot
from pipelines.replay.asking.patience import AgainError, ask_patiently
from pipelines.replay.asking.responses import Charge, ResponseStore, Sent, Stored
from pipelines.replay.asking.sendable import Answered, Sendable
from pipelines.replay.failure import Answer, Failure, Reason
from pipelines.replay.request import Request
from pipelines.replay.wires.answer import NoAnswerError
from pipelines.replay.wires.notes import CannotExpressError
from pipelines.replay.wires.registry import find_wire
from pipelines.replay.wires.wire import Wire

BYTES_PER_TOKEN = 4
"""Of English text in JSON, about; what a call costs at most is counted with one token per byte instead."""
_REMEMBERED = 10_000
"""Conversations known to be in the ledger; noting one again changes nothing."""
_KEPT = "what was paid for is kept, so run again when that is mended"


class EndpointError(RefoldError):
    """An endpoint answers nobody: its key, address or account is wrong, or it is down."""


class Stopped(Exception):  # noqa: N818 -- reads as what happened
    """The work is being stopped; the request was not sent."""


@dataclass(frozen=True, slots=True)
class ModelSide:
    """Where one side's requests go.

    Attributes:
        base_url: Address of the endpoint.
        key: API key, or None.
        price: What tokens cost; None when not known.
        api: The wire that it speaks.
        api_key_env: Variable that holds the key; None for none.
    """

    base_url: str
    key: str | None
    price: Price | None
    api: Api = "chat"
    api_key_env: str | None = None

    @property
    def wire(self) -> Wire:
        """The wire itself."""
        return find_wire(self.api)

    def __repr__(self) -> str:  # the key is in no traceback, log or assertion
        return f"ModelSide({self.base_url!r})"


@dataclass(slots=True)
class Tally:
    """What asking came to so far, in this run.

    Attributes:
        hits: Answers that had been paid for, or were being paid for, when they were asked for.
        asked: Answers that were paid for.
        calls: Calls made, failed ones included.
        failed: Requests without an answer.
        input_tokens: Of the answers paid for.
        output_tokens: Likewise.
    """

    hits: int = 0
    asked: int = 0
    calls: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def hit_rate(self) -> float | None:
        """Share of the answers that cost nothing; None without answers."""
        answers = self.hits + self.asked
        return self.hits / answers if answers else None


class Asker:
    """Answers the requests of one version, as an async context manager; `ask` is an `Ask`.

    Args:
        sides: Where requests go, by side.
        store: Responses paid for.
        budget: Limits.
        version: Name of the experiment and version_id, for the ledger.
        tell: Told when the work waits, and why.
        limiter: When calls may be made; default: by the budget.
        daily_usd: US dollars that all versions together may cost on the UTC day on which this one begins.
        on_sending: Told the address of an endpoint, in a thread, before the first text is sent to it; what it raises ends the run.
    """

    def __init__(
        self,
        sides: Mapping[Side, ModelSide],
        store: ResponseStore,
        budget: Budget,
        version: tuple[str, str],
        tell: Callable[[str], None] = lambda _line: None,
        limiter: Limiter | None = None,
        daily_usd: float | None = None,
        on_sending: Callable[[str], None] = lambda _base_url: None,
    ) -> None:
        self.tally = Tally()
        self.width = 2 * budget.concurrency
        """Units to have under way at once: some wait for their turn, or for the disk, while others are being answered."""
        self._sides = sides
        self._store = store
        self._budget = budget
        self._version = version
        self._limiter = limiter or Limiter(budget, tell)
        requests, usd = store.charged(*version)
        left = [] if budget.usd is None else [budget.usd]
        if daily_usd is not None:
            _, today = store.charged(day=f"{datetime.now(UTC):%Y-%m-%d}")
            left.append(usd + daily_usd - today)
        self.account = Account(min(left, default=None), budget.requests, usd, requests)
        self._numbers = {side: store.endpoint(model.base_url) for side, model in sides.items()}
        self._in_batches = {number: store.in_batches(number) for number in self._numbers.values()}
        self._endpoints: dict[tuple[Side, Api], Endpoint] = {}
        self._flights: dict[tuple[int, str], asyncio.Task[Answered]] = {}
        self._unpaid: set[tuple[int, str]] = set()
        """Keys of the last batch that were looked up in vain, and have not been answered since."""
        self._noted: dict[tuple[Side, str], asyncio.Task[None]] = {}
        self._on_sending = on_sending
        self._told: dict[str, asyncio.Task[None]] = {}
        self._stack = AsyncExitStack()
        self.is_stopping = False
        """Whether nothing more is sent."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._health = {side: Health() for side in sides}
        self._usual_output = 256.0

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        under_way = [*self._flights.values(), *self._noted.values(), *self._told.values()]
        for flight in under_way:
            flight.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await self._stack.aclose()

    @property
    def sides(self) -> Mapping[Side, ModelSide]:
        """Where requests go, by side."""
        return self._sides

    @property
    def store(self) -> ResponseStore:
        """Responses paid for."""
        return self._store

    @property
    def budget(self) -> Budget:
        """Limits."""
        return self._budget

    @property
    def version(self) -> tuple[str, str]:
        """Name of the experiment and version_id."""
        return self._version

    def number_of(self, side: Side) -> int:
        """The number of a side's endpoint in the store."""
        return self._numbers[side]

    def has_answered(self, side: Side) -> bool:
        """Whether a side's endpoint is known to have answered anybody."""
        return self._health[side].has_answered

    def _endpoint(self, request: Sendable) -> Endpoint:
        """Where a request goes, over its wire."""
        key = request.side, request.wire.api
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            model = self._sides[request.side]
            limits = self._budget.timeout_seconds, self._budget.concurrency
            endpoint = self._endpoints[key] = Endpoint(model.base_url, model.key, *limits, request.wire)
            self._stack.push_async_exit(endpoint)
        return endpoint

    def most_usd(self, request: Sendable, size: int) -> float:
        """The most that a call can cost: one token per byte of the body, and the longest reply; 0 when no price is known."""
        price = self._sides[request.side].price
        return price.most(size, max_output_tokens(request.params, price) or 0) if price is not None else 0.0

    def forget(self, redactions: Mapping[str, int]) -> int:
        """Erase what was kept of conversations that were redacted since; see `forgetting.forget`."""
        return forget(self._store, redactions)

    def stop(self) -> None:
        """Send nothing more; what is under way is waited for by those who asked."""
        self.is_stopping = True
        self._limiter.interrupt()

    def stop_soon(self) -> None:
        """`stop`, from a signal handler or another thread."""
        self.is_stopping = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.stop)

    def recall(self, requests: Sequence[Request | None]) -> list[Answer | None]:
        """Per request of one batch its answer, if it was paid for before."""
        keys = [None if request is None else request.key for request in requests]
        wanted: dict[Side, set[str]] = {}
        for request, key in zip(requests, keys, strict=True):
            if request is not None and key is not None:
                wanted.setdefault(request.side, set()).add(key)
        known: dict[Side, dict[str, Answer]] = {}
        self._unpaid = set()
        for side, asked in wanted.items():
            wire, stored = self._sides[side].wire, self._store.get(self._numbers[side], list(asked))
            read = {key: _read(wire, each) for key, each in stored.items()}
            known[side] = {key: answer for key, answer in read.items() if answer is not None}
            self._unpaid |= {(self._numbers[side], key) for key in asked - stored.keys()}
            self._health[side].has_answered |= bool(known[side])
        found = [
            request.read(answer)
            if request is not None and key is not None and (answer := known[request.side].get(key)) is not None
            else None
            for request, key in zip(requests, keys, strict=True)
        ]
        self.tally.hits += len(found) - found.count(None)
        return found

    def has_kept(self, request: Sendable) -> bool:
        """Whether the answer to a request was paid for before."""
        return bool(self._store.get(self._numbers[request.side], [request.key]))

    async def ask(self, request: Request) -> Answer:
        """Answer one request, from what is paid for or by a call.

        Raises:
            EndpointError: The endpoint answers nobody.
            UnfinishedError: It is being asked for in a batch.
            Stopped: It was not sent any more.
        """
        return (await self.exchange(request)).answer

    async def exchange(self, request: Sendable) -> Answered:
        """Answer one request as `ask`, with what the endpoint said, word for word."""
        said = await self._answer(request)
        return Answered(request.read(said.answer), said.body)

    async def _answer(self, request: Sendable) -> Answered:
        key = (self._numbers[request.side], request.key)
        flight = self._flights.get(key)
        if flight is None:
            stored = self._store.get(key[0], key[1:]) if key not in self._unpaid else {}
            kept = _read(request.wire, stored[key[1]]) if stored else None
            if kept is not None:
                self.tally.hits += 1
                self._health[request.side].has_answered = True
                return Answered(kept, stored[key[1]].body)
            if request.key in self._in_batches[key[0]]:
                raise UnfinishedError(
                    "a request of this version is in a batch that is under way; it would be paid for twice: write `batch: true` "
                    "to go on with the batch, or wait until it is done"
                )
            flight = self._flights[key] = asyncio.create_task(self._fetch(request))
            flight.add_done_callback(lambda _done: self._landed(key))
            return await asyncio.shield(flight)
        said = await asyncio.shield(flight)
        self.tally.hits += not isinstance(said.answer, Failure) or said.answer.reply is not None
        return said

    def _landed(self, key: tuple[int, str]) -> None:
        """Who asks for it from now on finds the answer in the store, where there is one."""
        del self._flights[key]
        self._unpaid.discard(key)

    async def _fetch(self, request: Sendable) -> Answered:
        try:
            body = request.body()
        except CannotExpressError as error:
            self.tally.failed += 1
            return Answered(Failure("not_expressible", str(error)))
        try:
            return await ask_patiently(partial(self._attempt, request, body), self._limiter.sleep)
        except BudgetExhausted as error:
            return Answered(self._failed(request, "budget_exhausted", str(error)))
        except AgainError as error:
            return Answered(self._failed(request, error.again.reason, error.again.detail))

    async def _attempt(self, request: Sendable, body: bytes) -> Answered:
        """One call, charged whatever comes of it."""
        most = self.most_usd(request, len(body))
        if self.is_stopping:
            raise Stopped
        endpoint = self._endpoint(request)
        endpoint.open()
        await self._note_sent(request)
        tokens = len(body) // BYTES_PER_TOKEN + int(self._usual_output)
        async with self._limiter.admit(tokens) as slot:
            if self.is_stopping:
                raise Stopped
            await self.account.reserve(most)
            self.tally.calls += 1
            self._health[request.side].is_asked = True
            try:
                response = await endpoint.call(body, request.key)
            except CallFailed as error:
                spent = most if error.is_sent else 0.0
                self.account.settle(most, spent)
                again = Again(error.reason, error.detail)
                if error.is_certain:
                    self._give_up(request.side, f"answers nobody: {error.detail}")
            except BaseException:
                self.account.settle(most, most)
                raise
            else:
                spent, result = self._settle(request, slot, most, response)
                if not isinstance(result, Again):
                    return await self._finish(request, response, result, spent, slot)
                again = result
        # counted in the order in which calls ended: what is kept comes back in lumps, and answers between would be missed
        why = self._health[request.side].call_failed(again)
        await self._store.charge(Charge(*self._version, spent))
        self._give_up(request.side, why)
        raise AgainError(again)

    def _settle(
        self, request: Sendable, slot: Slot, most: float, response: Response
    ) -> tuple[float, Answer | Again | Broken]:
        """Read a response, count what it cost, and tell the limiter how it went."""
        side = request.side
        result = request.wire.read(
            response.status,
            response.body,
            price=self._sides[side].price,
            latency_ms=response.latency_ms,
            location=response.location,
        )
        reply = result.reply if isinstance(result, Failure) else None if isinstance(result, Again | Broken) else result
        spent = 0.0
        if reply is not None:
            spent = most if reply.cost_usd is None else reply.cost_usd
        elif isinstance(result, Again):
            spent = most if result.is_worked else result.cost_usd
        self.account.settle(most, spent)
        if isinstance(result, Again) and result.reason != "invalid_json":
            self._limiter.objected(slot, response.retry_after)
        elif reply is not None:
            self._limiter.succeeded(slot)
            self._health[side].answered()
            self._count(slot, reply.input_tokens, reply.output_tokens)
        return spent, result

    async def _finish(
        self, request: Sendable, response: Response, result: Answer | Broken, spent: float, slot: Slot
    ) -> Answered:
        """Keep what was paid for, then let it be seen."""
        charge = Charge(*self._version, spent)
        slot.free()  # the disk is not what the endpoint waits for
        health = self._health[request.side]
        if isinstance(result, Broken):
            if not (result.is_doubtful and health.has_answered):
                await self._store.charge(charge)
                self._give_up(request.side, f"answers nobody: {result.detail}")
            result = Failure("rejected", result.detail)
        reply = result.reply if isinstance(result, Failure) else result
        if isinstance(result, Failure) and reply is None:  # nothing was answered, so another time it is asked again
            await self._store.charge(charge)
            self.tally.failed += 1
            self._give_up(request.side, health.declined(result, request.aggregate_id))
            return Answered(result)
        assert reply is not None
        stored = Stored(response.body, response.latency_ms, reply.cost_usd)
        key = self._numbers[request.side], request.key, request.aggregate_id
        await self._store.put(*key, stored, charge)
        self.tally.asked += 1
        return Answered(result, response.body)

    def require_answers(self) -> None:
        """Refuse a run in which a side was asked and nobody was answered.

        Raises:
            EndpointError: So it was; the message has the endpoint's own words.
        """
        for side, health in self._health.items():
            if health.is_asked and not health.has_answered:
                raise EndpointError(
                    f"nothing was answered: {self._sides[side].base_url}: {health.first_fault}; nothing is written"
                )

    def _give_up(self, side: Side, why: str | None) -> None:
        """End the run, where there is a reason: nothing more is sent, and who waits is let go."""
        if why is not None:
            self.stop()
            raise EndpointError(f"{self._sides[side].base_url} {why}; {_KEPT}")

    def _count(self, slot: Slot, input_tokens: int | None, output_tokens: int | None) -> None:
        if input_tokens is None or output_tokens is None:
            return
        self.tally.input_tokens += input_tokens
        self.tally.output_tokens += output_tokens
        self._usual_output += (output_tokens - self._usual_output) / 32
        self._limiter.correct(slot, input_tokens + output_tokens)

    def _failed(self, request: Sendable, reason: Reason, detail: str) -> Failure:
        self.tally.failed += 1
        self._give_up(request.side, self._health[request.side].request_failed(reason, detail))
        return Failure(reason, detail)

    async def _note_sent(self, request: Sendable) -> None:
        """Have it on disk whose text goes to the endpoint, before it goes; once per conversation."""
        await self.tell_sending(self._sides[request.side].base_url)
        key = (request.side, request.aggregate_id)
        note = self._noted.get(key)
        if note is None:
            sent = Sent(*self._version, request.model or "", request.side, request.aggregate_id)
            note = self._noted[key] = asyncio.create_task(self._store.note_sent(self._numbers[request.side], sent))
            if len(self._noted) > _REMEMBERED:
                del self._noted[next(iter(self._noted))]
        await asyncio.shield(note)

    async def tell_sending(self, base_url: str) -> None:
        """Have it known that texts go to an endpoint, before the first does."""
        told = self._told.get(base_url)
        if told is None:
            told = self._told[base_url] = asyncio.create_task(asyncio.to_thread(self._on_sending, base_url))
        try:
            await asyncio.shield(told)
        except RefoldError:
            self.stop()
            raise


def _read(wire: Wire, stored: Stored) -> Answer | None:
    """A kept response as an answer; None for one that is none in today's reading, and is asked for anew."""
    try:
        return wire.read_answer(stored.body, cost_usd=stored.cost_usd, latency_ms=stored.latency_ms)
    except NoAnswerError:
        return None
