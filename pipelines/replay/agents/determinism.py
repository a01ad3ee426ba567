"""Whether an agent does the same again: units are replayed twice from kept answers.

The second time the results of parallel tool calls come in another order.
A model that is asked the same twice may answer otherwise; here it cannot, so what differs is the agent's own: the time in its prompt, a
random choice, results put down in the order in which they came. Nothing is sent, paid or written.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import duckdb

from pipelines.collecting import collecting_seldom
from pipelines.errors import BadInputError
from pipelines.experiment.plan import Plan
from pipelines.experiment.sides import Side
from pipelines.experiment.units import READS, create_plan_relations
from pipelines.lake.lake import Lake
from pipelines.replay.agents.host import open_host
from pipelines.replay.agents.order import LastFirst
from pipelines.replay.asking.asker import Asker
from pipelines.replay.asking.models import asking
from pipelines.replay.asking.sendable import Answered, Sendable
from pipelines.replay.disclosure import count_redactions
from pipelines.replay.drive import drive
from pipelines.replay.failure import Failure, Reason
from pipelines.replay.ledger import Outcome, Row
from pipelines.replay.sides import list_units
from pipelines.replay.streams import list_chunks
from pipelines.settings import Settings

_UNKEPT: Reason = "budget_exhausted"
"""What a request without a kept answer fails with; no request fails so for another reason, since none is sent."""
_MOST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a unit went another way the second time.

    Attributes:
        side: Candidate or control.
        unit_id: The unit.
        step: Number of its first step that differs.
        what: `request`, `tool_calls`, `text`, `reason`, or `steps` where one run has no such step.
        first: How that was in the first run; of a request, how it differs from the recording's.
        second: The same of the second run.
    """

    side: Side
    unit_id: str
    step: int
    what: str
    first: str
    second: str

    def describe(self) -> str:
        """In a line."""
        return f"{self.side} {self.unit_id} step {self.step}: {self.what}: {self.first} / {self.second}"


@dataclass(frozen=True, slots=True)
class Determinism:
    """What two runs of the same units had in common.

    Attributes:
        units: Units that were compared.
        unkept: Units beyond these of which an answer is not kept; they were not compared.
        blocks: Blocks of several tool calls in the second runs.
        turned: Those whose results came in another order; of the others the agent makes one call after the other.
        differences: Of each unit that differs, the first.
    """

    units: int
    unkept: int
    blocks: int
    turned: int
    differences: Sequence[Difference]

    def describe(self) -> str:
        """As a text of some lines."""
        blocks = f"{self.turned} of {self.blocks} blocks of several tool calls came in another order the second time"
        unkept = f"; {self.unkept} more have answers that are not kept: run the experiment first" if self.unkept else ""
        same = self.units - len(self.differences)
        lines = [f"{same} of {self.units} units did the same twice{unkept}", blocks]
        return "\n".join([*lines, *(each.describe() for each in self.differences)])


def check_determinism(
    lake: Lake, plan: Plan, count: int, *, settings: Settings, tell: Callable[[str], None]
) -> Determinism:
    """Replay units of each side that is an agent twice, and compare what it did.

    Args:
        lake: Where the folds are.
        plan: What to replay.
        count: Units of each side, the first ones.
        settings: Where answers are kept.
        tell: Told when the work waits, and why.

    Raises:
        BadInputError: No side is an agent, or a model cannot be asked as the experiment says.
    """
    sides = [side for side, asked in plan.experiment.sides.items() if asked.is_agent]
    if not sides:
        raise BadInputError("candidate: is no agent; everything else that is asked twice the same is answered the same")
    orders: list[LastFirst] = []

    def make_order() -> LastFirst:
        orders.append(LastFirst())
        return orders[-1]

    with lake.connect(READS) as connection, collecting_seldom():
        create_plan_relations(connection, plan)
        runs = _Runs(connection, lake, plan, count, settings, tell)
        pairs = [(side, runs.of(side), runs.of(side, make_order)) for side in sides]
    compared = [
        (side, first[unit_id], second[unit_id])
        for side, first, second in pairs
        for unit_id in first
        if unit_id in second and first[unit_id].row.get("reason") != _UNKEPT
    ]
    found = (find_difference(*each) for each in compared)
    return Determinism(
        units=len(compared),
        unkept=sum(len(first) for _, first, _ in pairs) - len(compared),
        blocks=sum(order.blocks for order in orders),
        turned=sum(order.turned for order in orders),
        differences=[difference for difference in found if difference is not None],
    )


@dataclass(frozen=True, slots=True)
class _Runs:
    """Replays the first units of a side, as often as it is asked to."""

    connection: duckdb.DuckDBPyConnection
    lake: Lake
    plan: Plan
    count: int
    settings: Settings
    tell: Callable[[str], None]

    def of(self, side: Side, make_order: Callable[[], LastFirst] | None = None) -> Mapping[str, Outcome]:
        """What became of each unit about which anybody could be asked, by its name and draw."""
        with asking(self.plan.experiment, self.plan.version_id, self.settings, self.tell, _never) as asker:
            asker.forget(count_redactions(self.connection))
            host = open_host(self.plan, side, asker, self.settings)
            host.make_order = make_order
            if host.exchange is not None:
                host.exchange = _kept_by(asker)
            units = list_units(self.connection, self.plan, side, list_chunks(self.connection, self.lake), host)
            outcomes = list(drive(asker, islice(units, self.count), self.tell, [host]))
        asked = [each for each in outcomes if each.row["status"] != "not_asked"]
        return {f"{each.row['unit_id']} draw {each.row['draw']}": each for each in sorted(asked, key=_place)}


def _place(outcome: Outcome) -> tuple[str, int]:
    return str(outcome.row["unit_id"]), int(outcome.row["draw"])


def _never(base_url: str) -> None:
    raise AssertionError(f"nothing is sent to {base_url}: only kept answers are read")


def _kept_by(asker: Asker) -> Callable[[Sendable], Awaitable[Answered]]:
    async def exchange(request: Sendable) -> Answered:
        if asker.has_kept(request):
            return await asker.exchange(request)
        return Answered(Failure(_UNKEPT, "no answer is kept"))

    return exchange


def find_difference(side: Side, first: Outcome, second: Outcome) -> Difference | None:
    """The first difference between two runs of a unit."""
    unit_id = str(first.row["unit_id"])
    for mine, other in zip(first.steps, second.steps, strict=False):
        for what, read in _READ.items():
            (ours, ours_shown), (theirs, theirs_shown) = read(mine), read(other)
            if ours != theirs:
                return Difference(side, unit_id, mine["step"], what, ours_shown, theirs_shown)
    ours, theirs = len(first.steps), len(second.steps)
    if ours != theirs:
        return Difference(side, unit_id, min(ours, theirs) + 1, "steps", f"{ours} steps", f"{theirs} steps")
    return None


def _request(step: Row) -> tuple[Any, str]:
    kinds = ", ".join(step["request_differences"] or ())
    return step["request_sha256"], f"differs from the recording's in {kinds}" if kinds else "as recorded"


def _tool_calls(step: Row) -> tuple[Any, str]:
    calls = [(call["name"], call["arguments"]) for call in step["tool_calls"]]
    return calls, _quoted(calls)


def _text(step: Row) -> tuple[Any, str]:
    return step["text"], _quoted(step["text"])


def _reason(step: Row) -> tuple[Any, str]:
    return step["reason"], step["reason"] or "none"


def _quoted(value: Any) -> str:
    """As JSON in ASCII, which no terminal obeys."""
    text = json.dumps(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"


_READ: Mapping[str, Callable[[Row], tuple[Any, str]]] = {
    "request": _request,
    "tool_calls": _tool_calls,
    "text": _text,
    "reason": _reason,
}
"""What is compared of a step, in this order: its value, and how it is shown."""
