"""The batches of a version: who is asked in one, what is under way, and what became of its units in the end.

Nobody waits here. `go_on` looks after the batches that were begun, submits what has no answer and is in none, and says what is
under way. What brought nothing (expired, an error of the provider) goes into the next batch, a few times; what is turned
down is its unit's failure, as it would be if it had been asked alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

from pipelines.console import counted
from pipelines.errors import BadInputError, UnfinishedError
from pipelines.experiment.sides import Side
from pipelines.replay.answer import replay_now
from pipelines.replay.asking.asker import Asker, EndpointError
from pipelines.replay.batch.client import BatchError, NotNowError
from pipelines.replay.batch.ledger import Asked, Batch, Key, Ledger, Purpose, Standing, price_text
from pipelines.replay.batch.providers import PROVIDERS
from pipelines.replay.batch.session import Session, describe
from pipelines.replay.batch.spool import Spool
from pipelines.replay.failure import Answer, Failure
from pipelines.replay.ledger import Outcome
from pipelines.replay.request import Request
from pipelines.replay.wires.notes import CannotExpressError
from pipelines.replay.work import Unit

_TOGETHER = 100
"""Units looked up together."""


class Batches:
    """The batches of one version.

    Args:
        asker: Who knows the sides, the store, the budget and what was paid for; it makes no calls itself.
        folder: Where there is room for what is sent.
        tell: Told what happens.
        attempt_of: Number of the attempt at a unit.
        is_retry: Whether the units are those that had failed.
    """

    def __init__(
        self,
        asker: Asker,
        folder: Path,
        tell: Callable[[str], None],
        *,
        attempt_of: Callable[[Unit], int] = lambda _unit: 1,
        is_retry: bool = False,
    ) -> None:
        self._asker, self._folder, self._tell = asker, folder, tell
        self._attempt_of, self._is_retry = attempt_of, is_retry
        self._ledger = Ledger(asker.store)
        self._session = Session(self._ledger, asker.budget.timeout_seconds, tell)
        self._spools: dict[Side, Spool] = {}
        self._models: dict[Side, str] = {}
        self._seen: set[int] = set()
        self._elsewhere: Counter[tuple[str, str]] = Counter()

    def go_on(self, units: Callable[[], Iterable[Unit]]) -> None:
        """Do what can be done now.

        Args:
            units: The units of all sides, from the beginning each time.

        Raises:
            UnfinishedError: Something is under way.
            BatchError: A provider turned a batch down.
            EndpointError: All that was asked of a side was turned down.
        """
        asyncio.run(self._go_on(units))
        self._require_finished()
        self._require_answers()

    def outcomes(self, units: Iterable[Unit]) -> Iterator[Outcome]:
        """What became of the units, once nothing is under way."""
        source = iter(units)
        while some := list(islice(source, _TOGETHER)):
            for unit, answer, standing in self._looked_up(some):
                if unit.request is None:
                    yield replay_now(unit, _nobody)
                else:
                    yield unit.take(answer if answer is not None else self._failure(unit.request, standing))
        self._count()

    async def _go_on(self, units: Callable[[], Iterable[Unit]]) -> None:
        async with self._session:
            is_to_submit = await self._look_after()
            under_way = self._under_way()
            if is_to_submit or not all(batch.is_listed for batch in under_way):
                await self._submit_all(units)
                self._ledger.note_listed(self._asker.version)

    async def _look_after(self) -> bool:
        """Go on with every batch at these endpoints, whoever submitted it; whether there may be something to submit then."""
        is_to_submit = not self._under_way()
        for base_url in sorted({model.base_url for model in self._asker.sides.values()}):
            for batch in self._ledger.list_open(base_url):
                before = self._session.requests, self._session.usd
                try:
                    gone = await self._session.go_on(batch)
                    is_to_submit |= gone.state in ("done", "released")
                except NotNowError as error:
                    self._tell(f"{describe(batch)}: {error}")
                except (BatchError, BadInputError) as error:
                    if self._is_own(batch):
                        raise
                    self._tell(f"{describe(batch)}: {error}")
                if self._is_own(batch):
                    requests, usd = self._session.requests - before[0], self._session.usd - before[1]
                    self._asker.account.give_back(requests, usd)
        return is_to_submit

    async def _submit_all(self, units: Callable[[], Iterable[Unit]]) -> None:
        """Submit what has no answer and is not being asked for."""
        source = iter(units())
        try:
            while some := await asyncio.to_thread(lambda: list(islice(source, _TOGETHER))):
                for unit, answer, standing in self._looked_up(some):
                    if unit.request is not None and answer is None:
                        tries = self._tries(unit, standing)
                        if tries is not None:
                            await self._take(unit.request, self._attempt_of(unit), tries)
            for side in list(self._spools):
                await self._submit(side)
        finally:
            for spool in self._spools.values():
                spool.close()
            self._spools.clear()

    def _looked_up(self, some: Sequence[Unit]) -> Iterator[tuple[Unit, Answer | None, Standing | None]]:
        """Units with their answers, where these are kept, and else with how their requests stand."""
        answers = self._asker.recall([unit.request for unit in some])
        wanted: dict[int, list[Key]] = {}
        for unit, answer in zip(some, answers, strict=True):
            if unit.request is not None and answer is None:
                wanted.setdefault(self._asker.number_of(unit.request.side), []).append(_key(unit.request))
        known = {number: self._ledger.standing(number, keys) for number, keys in wanted.items()}
        for unit, answer in zip(some, answers, strict=True):
            standing = None
            if unit.request is not None and answer is None:
                standing = known[self._asker.number_of(unit.request.side)].get(_key(unit.request))
            yield unit, answer, standing

    def _tries(self, unit: Unit, standing: Standing | None) -> int | None:
        """Batches in which a unit's request brought nothing so far; None where it is not to be asked for now."""
        if standing is None or standing.state == "answered":  # what was kept is no answer in today's reading
            return 0
        is_ours = standing.version == self._asker.version
        if standing.state == "open":
            self._elsewhere.update([standing.version] if not is_ours else ())
            return None
        is_this_attempt = is_ours and standing.attempt >= self._attempt_of(unit)
        if not is_this_attempt:
            return 0
        return standing.tries if standing.state == "again" else None

    async def _take(self, request: Request, attempt: int, tries: int) -> None:
        """Put one request into the batch that is being filled, once, if the budget has room for it."""
        key = _key(request)
        seen = hash((self._asker.number_of(request.side), key))
        if seen in self._seen:
            return
        self._seen.add(seen)
        try:
            body = request.body()
        except CannotExpressError:
            return  # said of the unit in the end
        most = self._asker.most_usd(request, len(body))
        if not self._asker.account.take(most):
            return
        asked = Asked(key, request.aggregate_id, attempt, tries, most)
        path = request.head.wire.path
        if not self._spool(request.side).add(asked, path, body):
            await self._submit(request.side)
            self._spool(request.side).add(asked, path, body)
        self._models[request.side] = request.head.model or ""

    def _spool(self, side: Side) -> Spool:
        spool = self._spools.get(side)
        if spool is None:
            spool = self._spools[side] = Spool(PROVIDERS[self._asker.sides[side].api], self._folder)
        return spool

    async def _submit(self, side: Side) -> None:
        """Submit the batch that was filled for a side."""
        model = self._asker.sides[side]
        await self._asker.tell_sending(model.base_url)
        experiment, version_id = self._asker.version
        purpose = Purpose(
            experiment=experiment,
            version_id=version_id,
            side=side,
            endpoint=self._asker.number_of(side),
            api=model.api,
            model=self._models[side],
            api_key_env=model.api_key_env,
            price=price_text(model.price),
            is_retry=self._is_retry,
        )
        with closing(self._spools.pop(side)) as spool:
            await self._session.submit(model.base_url, purpose, spool)

    def _is_own(self, batch: Batch) -> bool:
        return (batch.purpose.experiment, batch.purpose.version_id) == self._asker.version

    def _under_way(self) -> list[Batch]:
        return [batch for batch in self._ledger.list_open() if self._is_own(batch)]

    def _require_finished(self) -> None:
        """Raise UnfinishedError as long as something is under way."""
        under_way = self._under_way()
        if under_way or self._elsewhere:
            raise UnfinishedError(describe_under_way(under_way, self._elsewhere))

    def _require_answers(self) -> None:
        """Refuse a run in which all that was asked of a side was turned down; it is asked anew the next time."""
        for side, model in self._asker.sides.items():
            counts = Counter(self._ledger.counts(self._asker.version, side))
            # what looks at an input and refuses it would answer others
            has_answered = counts["answered"] or counts["refused"] or self._asker.has_answered(side)
            if counts.total() > counts["again"] and not has_answered:
                self._ledger.forget_failures(self._asker.version)
                first = next(iter(self._session.details.values()), "every request was turned down")
                raise EndpointError(f"nothing was answered: {model.base_url}: {first}; nothing is written")

    def _failure(self, request: Request, standing: Standing | None) -> Failure:
        """Why a request has no answer in the end."""
        if standing is not None and standing.reason is not None:
            return Failure(standing.reason, self._session.details.get(standing.reason, ""))
        try:
            request.body()
        except CannotExpressError as error:
            return Failure("not_expressible", str(error))
        return Failure("budget_exhausted", "the budget does not cover it")

    def _count(self) -> None:
        """Have the asker's tally say what batches brought to this version."""
        tally, sides = self._asker.tally, self._asker.sides
        counts: Counter[str] = Counter()
        for side in sides:
            counts.update(self._ledger.counts(self._asker.version, side))
        tally.asked = counts["answered"]
        tally.hits = max(tally.hits - tally.asked, 0)
        tally.failed = counts.total() - counts["answered"]
        tally.calls = counts.total()
        tally.input_tokens, tally.output_tokens = self._session.input_tokens, self._session.output_tokens


def describe_under_way(batches: Sequence[Batch], elsewhere: Counter[tuple[str, str]] | None = None) -> str:
    """What is under way, in words, and what to do about it."""
    told = [
        f"{describe(batch)}: {batch.told or 'being created'}" + (f", {batch.answered:,} done" if batch.answered else "")
        for batch in batches
    ]
    told += [
        f"{counted(count, 'request')} in batches of version {version_id} of {experiment}"
        for (experiment, version_id), count in sorted((elsewhere or {}).items())
    ]
    return (
        f"not complete yet, {'; '.join(told)}. Batches take up to 24 hours; run the same again then, or let the sensor "
        "`finished_batches` go on by itself"
    )


def _key(request: Request) -> Key:
    return bytes.fromhex(request.key)


async def _nobody(_request: Request) -> Answer:
    raise RuntimeError("a unit that is no request asked for something")
