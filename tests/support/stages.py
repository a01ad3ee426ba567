"""Stages that answer what a test says: where an agent's requests and tool calls arrive."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipelines.experiment.decision import Reply
from pipelines.experiment.sides import Api
from pipelines.replay.agents.stage import Fetched, Refused, Served
from pipelines.replay.wires.registry import find_wire

Script = Callable[[Api, dict[str, Any]], "Reply | Served"]


def say_hi(_api: Api, _body: dict[str, Any]) -> Reply:
    """The same answer to everybody."""
    return Reply("Hi", input_tokens=3, output_tokens=1)


@dataclass
class ScriptedStage:
    """A stage of a test, and what it saw.

    Attributes:
        script: Gives the answer to a model call: a reply, or what is served as it is.
        tools: Tool schemas offered.
        results: What tools answered, by name; another one has no result.
        waits: Whether its tool calls are made in threads.
        gate: Waited for before an answer; None for at once.
        asked: Model calls: wire, body, whether the client said that it asks again.
        delivered_calls: Numbers of the answers that arrived, in order.
        lost_calls: Of those that did not.
        fetched: Tool calls: name, arguments.
        refused: Requests that were turned away: why, method, target.
    """

    script: Script = say_hi
    tools: Sequence[Mapping[str, Any]] = ()
    results: Mapping[str, Any] = field(default_factory=dict)
    waits: bool = False
    gate: asyncio.Event | None = None
    asked: list[tuple[Api, dict[str, Any], bool]] = field(default_factory=list)
    delivered_calls: list[int] = field(default_factory=list)
    lost_calls: list[int] = field(default_factory=list)
    fetched: list[tuple[str, Any]] = field(default_factory=list)
    refused: list[tuple[Refused, str, str]] = field(default_factory=list)

    async def answer(self, api: Api, body: dict[str, Any], *, is_retry: bool = False) -> Served:
        """See `Stage`."""
        number = len(self.asked)
        self.asked.append((api, body, is_retry))
        if self.gate is not None:
            await self.gate.wait()
        said = self.script(api, body)
        if isinstance(said, Served):
            return said._replace(call=number)
        document = find_wire(api).write(said, model=body.get("model"), number=number)
        return Served(200, json.dumps(document).encode(), number)

    def delivered(self, call: int) -> None:
        """See `Stage`."""
        self.delivered_calls.append(call)

    def lost(self, call: int) -> None:
        """See `Stage`."""
        self.lost_calls.append(call)

    def fetch(self, name: str, arguments: Any) -> Fetched:
        """See `Stage`."""
        self.fetched.append((name, arguments))
        return Fetched(self.results[name]) if name in self.results else Fetched(None, "unrequested_call")

    def refuse(self, why: Refused, method: str, target: str) -> None:
        """See `Stage`."""
        self.refused.append((why, method, target))
