"""Where the agents of one side are at home while a replay goes on: who runs them, their gateway, and who answers their models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from pipelines.experiment.sides import Side
from pipelines.experiment.plan import Plan
from pipelines.replay.agents.commands import CommandAgents
from pipelines.replay.agents.functions import FunctionAgents
from pipelines.replay.agents.gateway import Gateway
from pipelines.replay.agents.stage import Agents
from pipelines.replay.asking.asker import Asker
from pipelines.replay.asking.sendable import Answered, Sendable


@dataclass(slots=True)
class Host:
    """What the agents of one side share; an async context manager, used in the loop of the replay.

    Attributes:
        side: Candidate or control.
        agents: Who runs them.
        exchange: Who answers their models; None where nobody does.
        model: The one model that they may ask; None for any.
        is_recorded: Whether the recorded decisions answer, by their place.
        gateway: Where their requests arrive.
    """

    side: Side
    agents: Agents
    exchange: Callable[[Sendable], Awaitable[Answered]] | None
    model: str | None = None
    is_recorded: bool = False
    gateway: Gateway = field(default_factory=Gateway)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.gateway)
        await self._stack.enter_async_context(self.agents)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


def open_host(plan: Plan, side: Side, asker: Asker) -> Host:
    """Where the agents of one side of a plan are at home; not open yet.

    Args:
        plan: Its side is an agent.
        side: Which.
        asker: Who answers its models, where an endpoint is named.
    """
    asked = plan.experiment.sides[side]
    width = plan.experiment.budget.concurrency
    agents: Agents
    if side in plan.programs:
        agents = CommandAgents(plan.programs[side], asked, width)
    else:
        agents = FunctionAgents(plan.callables[side], width, asked.timeout_seconds)
    exchange = asker.exchange if asked.asks_models else None
    return Host(side, agents, exchange, asked.model, is_recorded=asked.answers is not None)
