"""Ask a judge about the pairs of a complete version, and keep what it said: asked once, whatever is run again.

A judge is no part of a version: its choices stand in a table of their own, under an id of its own, and no `ab_*` table moves by it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.diff.versions import Version
from pipelines.documents import find_file, read_text
from pipelines.errors import BadInputError
from pipelines.experiment.decision import Reply
from pipelines.experiment.file import Experiment
from pipelines.experiment.models import list_models
from pipelines.experiment.sides import Judge
from pipelines.judge.prompt import FORM, Choice, choice_of, combine, is_alike, read_winner, write_messages
from pipelines.lake.datasets import JUDGEMENTS
from pipelines.lake.lake import Lake
from pipelines.replay.asking.asker import BYTES_PER_TOKEN
from pipelines.replay.asking.models import OnSending, asking
from pipelines.replay.asking.responses import ResponseStore
from pipelines.replay.drive import drive
from pipelines.replay.failure import Answer
from pipelines.replay.request import Ask, Head, Lines, Request
from pipelines.review.pair import Pair, load_pairs
from pipelines.settings import Settings
from pipelines.verdicts.frame import load_frame
from pipelines.verdicts.sampling import Design, draw

_TOGETHER = 50
"""Pairs whose texts are read at once."""
_UNREADABLE = "unreadable"
"""Reason of an answer that names no winner."""
_FIRST_ANSWER = 20
"""Tokens of an answer that says what it is asked for."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What a run came to.

    Attributes:
        judge_id: Names the judge.
        pairs: Pairs that it was asked about.
        failed: Those of them without a choice.
        is_written: False when all was there already.
    """

    judge_id: str
    pairs: int
    failed: int
    is_written: bool


@dataclass(frozen=True, slots=True)
class Price:
    """What asking a judge about a version would come to: requests, those of them paid for, tokens in, US dollars (None: not known)."""

    requests: int
    kept: int
    input_tokens: int
    usd: float | None


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer to one order of one pair."""

    unit_id: str
    is_a_first: bool
    choice: Choice | None
    reason: str | None
    cost_usd: float | None


@dataclass(slots=True)
class _Unit:
    """One order of one pair, as `drive` takes it."""

    unit_id: str
    is_a_first: bool
    request: Request

    async def _replay(self, ask: Ask) -> _Said:
        return self.take(await ask(self.request))

    def replay(self, ask: Ask) -> Coroutine[Any, Any, _Said]:
        return self._replay(ask)

    def take(self, answer: Answer, /) -> _Said:
        if not isinstance(answer, Reply):
            cost = answer.reply.cost_usd if answer.reply is not None else None
            return _Said(self.unit_id, self.is_a_first, None, answer.reason, cost)
        winner = read_winner(answer.text)
        if winner is None:
            return _Said(self.unit_id, self.is_a_first, None, _UNREADABLE, answer.cost_usd)
        choice = choice_of(winner, is_a_first=self.is_a_first)
        return _Said(self.unit_id, self.is_a_first, choice, None, answer.cost_usd)


class Judging:
    """A judge before a version.

    Args:
        lake: Where the version is.
        experiment: Names the judge.
        folder: Folder of its file, where the rubric is.
        version: A complete version of it.
        settings: Where the judge may be asked, and where answers are kept.

    Raises:
        BadInputError: The rubric cannot be read, or the version has no pair that both sides answered.
    """

    def __init__(self, lake: Lake, experiment: Experiment, folder: Path, version: Version, settings: Settings) -> None:
        assert experiment.judge is not None
        self._lake, self._experiment, self._version, self._settings = lake, experiment, version, settings
        self._judge = experiment.judge
        self._rubric = read_rubric(self._judge, folder, settings.allow_files)
        self._rubric_sha256 = hashlib.sha256(self._rubric.encode()).hexdigest()
        self.judge_id = self._name()
        frame = load_frame(lake, version)
        self._alike: set[str] = set()
        self._design = Design(size=min(self._judge.pairs, len(frame)), seed=self._judge.seed)
        # another chance than that of people's samples, so that one says nothing of the other
        self._chances = draw(f"judge of {version.version_id}", frame, self._design)

    def _name(self) -> str:
        judge = self._judge
        parts = [
            self._version.version_id,
            FORM,
            judge.model,
            judge.api,
            judge.base_url,
            judge.params,
            self._rubric_sha256,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def run(self, tell: Callable[[str], None] = lambda _line: None, on_sending: OnSending | None = None) -> Judged:
        """Ask about all pairs of the sample, unless that was done; pairs without a choice are asked about again.

        Args:
            tell: Told when the work waits, and why.
            on_sending: As of `asking`.

        Raises:
            BadInputError: The judge cannot be asked as the experiment says; nothing was asked.
            EndpointError: Its endpoint answers nobody; what was paid for is kept.
        """
        inputs = [self.judge_id, self._version.result_hash, self._design.text]
        input_hash = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
        last = self._lake.last_commit(JUDGEMENTS.name, self._version.partition)
        if last is not None and last.input_hash == input_hash and not last.provenance.get("failed"):
            return Judged(self.judge_id, last.row_count, 0, is_written=False)
        asked = self._experiment.for_judge()
        said: dict[str, dict[bool, _Said]] = {}
        with asking(asked, self.judge_id, self._settings, tell, on_sending) as asker:
            for each in drive(asker, self._units(), tell):
                said.setdefault(each.unit_id, {})[each.is_a_first] = each
            asker.require_answers()
        rows = [self._row(unit, chance, said.get(unit, {})) for unit, chance in sorted(self._chances.items())]
        failed = sum(row["choice"] is None for row in rows)
        with self._lake.replacing(JUDGEMENTS, self._version.partition) as writer:
            writer.write(JUDGEMENTS.sort(pa.Table.from_pylist(rows, schema=JUDGEMENTS.data_schema())))
            writer.commit(input_hash=input_hash, provenance={"judge_id": self.judge_id, "failed": failed})
        return Judged(self.judge_id, len(rows), failed, is_written=True)

    def streams(self) -> list[str]:
        """The conversations of which texts are sent."""
        return sorted({unit_id.partition("/")[0] for unit_id in self._chances})

    def price(self) -> Price:
        """What `run` would ask and pay, without asking.

        Raises:
            BadInputError: The judge cannot be asked as the experiment says.
        """
        (model,) = list_models(self._experiment.for_judge(), self._settings)
        requests = {unit.request.key: unit.request for unit in self._units()}
        kept: Collection[str] = ()
        if self._settings.responses.exists():
            with ResponseStore(self._settings.responses) as store:
                kept = store.get(store.endpoint(model.base_url), list(requests)).keys()
        left = {key: request for key, request in requests.items() if key not in kept}
        tokens = sum(sum(map(len, each.lines)) for each in left.values()) // BYTES_PER_TOKEN
        usd = None if model.price is None else model.price.cost(tokens, _FIRST_ANSWER * len(left))
        return Price(len(requests), len(kept), tokens, usd)

    def _units(self) -> Iterator[_Unit]:
        head = Head(self._judge.model, self._experiment.for_judge().params_of("candidate"), api=self._judge.api)
        drawn = sorted(self._chances)
        for start in range(0, len(drawn), _TOGETHER):
            for pair in load_pairs(self._lake, self._version, drawn[start : start + _TOGETHER]):
                if is_alike(pair):
                    self._alike.add(pair.unit_id)
                    continue
                for is_a_first in (True, False):
                    yield _Unit(pair.unit_id, is_a_first, self._request(head, pair, is_a_first=is_a_first))

    def _request(self, head: Head, pair: Pair, *, is_a_first: bool) -> Request:
        lines = Lines(head)
        lines.add(*write_messages(pair, self._rubric, is_a_first=is_a_first))
        place = (pair.aggregate_id, pair.decision or 0)
        return lines.request(pair.unit_id, "candidate", 0, place, lambda: (pair.turn or 0, {}))

    def _row(self, unit_id: str, chance: float, said: Mapping[bool, _Said]) -> dict[str, Any]:
        if unit_id in self._alike:
            said = {order: _Said(unit_id, order, "same", None, 0.0) for order in (True, False)}
        a_first, b_first = said.get(True), said.get(False)
        choices = [None if each is None else each.choice for each in (a_first, b_first)]
        costs = [None if each is None else each.cost_usd for each in (a_first, b_first)]
        reasons = [each.reason for each in (a_first, b_first) if each is not None and each.reason is not None]
        return {
            "unit_id": unit_id,
            "judge_id": self.judge_id,
            "model": self._judge.model,
            "rubric_sha256": self._rubric_sha256,
            "choice": combine(*choices),
            "choice_a_first": choices[0],
            "choice_b_first": choices[1],
            "reason": reasons[0] if reasons else None,
            "design": self._design.text,
            "probability": chance,
            "cost_usd": None if None in costs else sum(cost for cost in costs if cost is not None),
        }


def read_rubric(judge: Judge, folder: Path, allowed: Sequence[Path] = ()) -> str:
    """What a judge judges by.

    Raises:
        BadInputError: The file cannot be read, is elsewhere, or says nothing.
    """
    text = read_text(find_file(judge.rubric_file, folder, "judge.rubric_file", allowed), "judge.rubric_file")
    if not text.strip():
        raise BadInputError(
            f"judge.rubric_file: {judge.rubric_file} says nothing; write what makes one reply better than another"
        )
    return text
