"""Where the agents of one side are at home while a replay goes on: who runs them, their gateway, and who answers their models."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from pipelines.experiment.plan import Plan
from pipelines.experiment.sides import Side
from pipelines.replay.agents.order import LastFirst
from pipelines.replay.agents.stage import Agents, Task
from pipelines.replay.asking.asker import Asker
from pipelines.replay.asking.sendable import Answered, Sendable
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.replay.agents.gateway import Gateway


@dataclass(slots=True)
class Host:
    """What the agents of one side share; an async context manager, used in the loop of the replay.

    Attributes:
        side: Candidate or control.
        gateway: Where their requests arrive.
        make_agents: Gives who runs them, once the gateway is open.
        exchange: Who answers their models; None where nobody does.
        model: The one model that they may ask; None for any.
        is_recorded: Whether the recorded decisions answer, by their place.
        make_order: Gives the order in which the results of parallel tool calls come, of one unit; None: as they are asked for.
    """

    side: Side
    gateway: Gateway
    make_agents: Callable[[Gateway], Agents]
    exchange: Callable[[Sendable], Awaitable[Answered]] | None = None
    model: str | None = None
    is_recorded: bool = False
    make_order: Callable[[], LastFirst] | None = None
    _agents: Agents = field(init=False)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack, init=False)

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.gateway)
        self._agents = await self._stack.enter_async_context(self.make_agents(self.gateway))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def run(self, task: Task) -> str | None:
        """Let an agent act once; see `Agents.run`."""
        return await self._agents.run(task)


def open_host(plan: Plan, side: Side, asker: Asker, settings: Settings) -> Host:
    """Where the agents of one side of a plan are at home; to be entered.

    Args:
        plan: Its side is an agent.
        side: Which.
        asker: Who answers its models, where an endpoint is named.
        settings: Say where recordings are, which an agent in a sandbox does not see.
    """
    from pipelines.replay.agents.gateway import Gateway  # noqa: PLC0415 -- a server, only where it serves

    asked = plan.experiment.sides[side]
    exchange = asker.exchange if asked.asks_models else None
    is_recorded = asked.answers is not None
    return Host(side, Gateway(), _maker(plan, side, settings), exchange, asked.model, is_recorded=is_recorded)


def _maker(plan: Plan, side: Side, settings: Settings) -> Callable[[Gateway], Agents]:
    asked, width = plan.experiment.sides[side], plan.experiment.budget.concurrency

    def commands(gateway: Gateway) -> Agents:
        from pipelines.replay.agents.commands import Command, CommandAgents  # noqa: PLC0415 -- only where there are any

        program = plan.programs[side]
        command = Command(
            program.words,
            program.folder,
            asked.env,
            asked.timeout_seconds,
            asked.memory_mb,
            is_confined=asked.sandbox,
            readable=program.allowed,
            hidden=(settings.home, settings.lake),
        )
        return CommandAgents(command, gateway, width)

    def functions(_gateway: Gateway) -> Agents:
        from pipelines.replay.agents.functions import FunctionAgents  # noqa: PLC0415 -- likewise

        return FunctionAgents(plan.callables[side], width, asked.timeout_seconds)

    return commands if side in plan.programs else functions
