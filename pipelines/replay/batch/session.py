"""One batch, from its intent to its results: what is done at the provider, and what the ledger says before and after.

Nothing waits: each call does what can be done now, and whoever comes next goes on from what is on disk.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from pipelines.console import counted
from pipelines.experiment.models import read_key
from pipelines.experiment.prices import Price
from pipelines.replay.asking.fault import Again, Broken
from pipelines.replay.asking.responses import Stored
from pipelines.replay.batch.client import BatchError, Client, NotNowError
from pipelines.replay.batch.ledger import Batch, Key, Ledger, Purpose, Result
from pipelines.replay.batch.provider import Kept, Line, Remote, Sending, Sought
from pipelines.replay.batch.providers import PROVIDERS
from pipelines.replay.batch.spool import Spool, custom_id
from pipelines.replay.failure import Failure, Reason
from pipelines.replay.wires.registry import find_wire

MOST_TRIES = 3
"""Batches in which a request brings nothing, before its unit fails."""
SETTLING = timedelta(minutes=2)
"""How long a batch that was being created may take to show itself at its provider."""
LOST = timedelta(days=30)
"""After which no provider knows a batch any more."""
_TOGETHER = 500
"""Results kept together."""


class Session:
    """Calls to the providers of one process, as an async context manager.

    Args:
        ledger: Where it is written what is done.
        timeout_seconds: For each part of what is sent and received.
        tell: Told what happens.

    Attributes:
        requests: Calls that were charged and not made after all.
        usd: US dollars that were charged and not spent.
        input_tokens: Of the answers that came.
        output_tokens: Likewise.
        details: What was said of the first request of each kind of failure, for people.
    """

    def __init__(self, ledger: Ledger, timeout_seconds: float, tell: Callable[[str], None]) -> None:
        self._ledger, self._timeout_seconds, self._tell = ledger, timeout_seconds, tell
        self._stack = AsyncExitStack()
        self._clients: dict[tuple[str, str, str | None], Client] = {}
        self.requests = self.input_tokens = self.output_tokens = 0
        self.usd = 0.0
        self.details: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def submit(self, base_url: str, purpose: Purpose, spool: Spool) -> Batch:
        """Submit a batch: each step is on disk before it is taken, and creation is tried once.

        Returns:
            The batch; it may be that it is not known whether it was created.

        Raises:
            BatchError: It was not created, and its requests cost nothing.
        """
        client = await self._client(base_url, purpose)
        provider = PROVIDERS[purpose.api]
        spool.finish()
        batch = self._ledger.intend(purpose, spool.token, spool.asked)
        try:
            sending = Sending(batch.token, find_wire(purpose.api).path, spool.file)
            upload = await provider.upload(client, sending)
            batch = self._ledger.advance(batch, "uploaded", upload=upload)
            batch = self._ledger.advance(batch, "creating")
            remote = await provider.create(client, replace(sending, upload=upload))
        except (BatchError, NotNowError) as error:
            if batch.state == "creating" and isinstance(error, NotNowError) and not error.is_undone:
                self._tell(f"{describe(batch)}: {error}; it is looked for")
                with suppress(NotNowError):
                    batch = await self.go_on(batch)
                return batch
            await self._release(client, batch)
            raise BatchError(f"a batch was not created, and costs nothing: {error}") from None
        batch = self._ledger.advance(batch, "created", remote=remote)
        self._tell(f"{describe(batch)} is submitted")
        return batch

    async def go_on(self, batch: Batch) -> Batch:
        """Do for a batch what can be done now.

        Raises:
            NotNowError: That is nothing, for now.
            BatchError: The provider turned it down, or does not know it.
            BadInputError: Its key is not there.
        """
        client = await self._client(batch.base_url, batch.purpose)
        if batch.state in ("intended", "uploaded"):  # its creation was not begun
            return await self._release(client, batch)
        if batch.state == "creating":
            remote = await self._find(client, batch)
            if remote is None:
                return await self._release(client, batch)
            batch = self._ledger.advance(batch, "created", remote=remote)
        remote = await self.poll(batch)
        if remote is None:
            return await self._release(client, batch)
        batch = self._ledger.advance(batch, "created", remote=remote)
        if remote.fault is not None:
            await self._release(client, batch)
            raise BatchError(f"{describe(batch)} was turned down, and costs nothing: {remote.fault}")
        return await self._collect(client, batch, remote) if remote.is_ended else batch

    async def poll(self, batch: Batch) -> Remote | None:
        """How far a batch that was created is; None where nobody knows it any more, and nothing more is to come of it."""
        client = await self._client(batch.base_url, batch.purpose)
        assert batch.remote is not None
        try:
            return await PROVIDERS[batch.purpose.api].poll(client, batch.remote)
        except BatchError as error:
            if not self._ledger.waiting(batch):
                return None  # somebody who was stopped right then had removed it
            if datetime.now(UTC) - batch.intended_at < LOST:
                raise
            self._tell(f"{describe(batch)} is lost: {error}")
            return None

    async def _client(self, base_url: str, purpose: Purpose) -> Client:
        name = (base_url, purpose.api, purpose.api_key_env)
        if name not in self._clients:
            key = read_key(purpose.api_key_env, os.environ)
            client = Client(base_url, find_wire(purpose.api).headers(key), key, self._timeout_seconds)
            self._clients[name] = await self._stack.enter_async_context(client)
        return self._clients[name]

    async def _find(self, client: Client, batch: Batch) -> Remote | None:
        """The batch that was being created when somebody was stopped; None where it was not."""
        known = self._ledger.known(batch.purpose.endpoint)
        sought = Sought(batch.token, batch.requests, batch.changed_at, known)
        found = await PROVIDERS[batch.purpose.api].find(client, sought)
        if found is None and datetime.now(UTC) - batch.changed_at < SETTLING:
            raise NotNowError("whether it was created is not known yet")
        return found

    async def _release(self, client: Client, batch: Batch) -> Batch:
        """Close a batch of which nothing came."""
        await self._remove(client, batch, None)
        requests, usd = self._ledger.release(batch)
        self.requests += requests
        self.usd += usd
        return self._ledger.find(batch.id)

    async def _remove(self, client: Client, batch: Batch, remote: Remote | None) -> None:
        with suppress(NotNowError, BatchError):  # what is kept at a provider expires there
            await PROVIDERS[batch.purpose.api].remove(client, Kept(batch.token, batch.upload, remote))

    async def _collect(self, client: Client, batch: Batch, remote: Remote) -> Batch:
        """Keep the results of a batch that has ended."""
        waiting = {custom_id(batch.token, key): (key, tries) for key, tries in self._ledger.waiting(batch).items()}
        outcome: Counter[str] = Counter()
        results: list[Result] = []

        def keep() -> None:
            self.usd += self._ledger.keep(batch, results)
            outcome.update(each.reason or each.state for each in results)
            results.clear()

        # results that are kept may be removed at the provider by somebody who was stopped then
        lines = PROVIDERS[batch.purpose.api].results(client, remote) if waiting else _none()
        async for line in lines:
            found = waiting.pop(line.custom_id, None)
            if found is None:
                outcome["of no request of it"] += 1
                continue
            results.append(self._result(batch, *found, line))
            if len(results) >= _TOGETHER:
                keep()
        missing = Line("", None, f"the batch is {remote.state} and has no result of it".encode())
        results += [self._result(batch, key, tries, missing) for key, tries in waiting.values()]
        keep()
        await self._remove(client, batch, remote)
        batch = self._ledger.advance(batch, "done")
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(outcome.items()))
        self._tell(f"{describe(batch)} is done: {told}")
        return batch

    def _result(self, batch: Batch, key: Key, tries: int, line: Line) -> Result:
        """What came of one request, read as if it had been asked alone."""
        if line.status is None:
            return self._again(key, tries, Again("timeout", line.body.decode("utf-8", "replace")))
        price = None if batch.purpose.price is None else Price.model_validate_json(batch.purpose.price)
        answer = find_wire(batch.purpose.api).read(line.status, line.body, price=price)
        if isinstance(answer, Again):
            return self._again(key, tries, answer)
        if isinstance(answer, Broken):
            return self._failed(key, "rejected", answer.detail, 0.0)
        reply = answer.reply if isinstance(answer, Failure) else answer
        if reply is None:
            assert isinstance(answer, Failure)
            return self._failed(key, answer.reason, answer.detail, 0.0)
        self.input_tokens += reply.input_tokens or 0
        self.output_tokens += reply.output_tokens or 0
        return Result(key, "answered", reply.cost_usd, Stored(line.body, None, reply.cost_usd))

    def _again(self, key: Key, tries: int, again: Again) -> Result:
        spent = None if again.is_worked else again.cost_usd
        if tries + 1 < MOST_TRIES:
            return Result(key, "again", spent)
        return self._failed(key, again.reason, again.detail, spent)

    def _failed(self, key: Key, reason: Reason, detail: str, spent: float | None) -> Result:
        self.details.setdefault(reason, detail)
        return Result(key, "failed", spent, reason=reason)


async def _none() -> AsyncIterator[Line]:
    """No results."""
    nothing: tuple[Line, ...] = ()
    for line in nothing:
        yield line


def describe(batch: Batch) -> str:
    """A batch in words."""
    named = f" {batch.remote}" if batch.remote is not None else ""
    return f"batch{named} of {counted(batch.requests, 'request')} to {batch.purpose.model} at {batch.base_url}"
