"""Agents of tests, walked through small recorded conversations without a server: models are asked by `Session.ask`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from pipelines.experiment.code import PythonCandidate
from pipelines.experiment.decision import Reply
from pipelines.experiment.sides import Api
from pipelines.replay.agents.functions import FunctionAgents
from pipelines.replay.agents.host import Host
from pipelines.replay.agents.order import LastFirst
from pipelines.replay.agents.session import Session
from pipelines.replay.agents.walk import AgentWalk
from pipelines.replay.asking.sendable import Answered, Sendable
from pipelines.replay.failure import Failure
from pipelines.replay.ledger import Outcome
from pipelines.replay.request import Request
from pipelines.replay.rollout import Scene, walk_conversation, walk_turn
from pipelines.replay.wires.registry import find_wire
from pipelines.replay.work import replies_of

Models = Callable[[Sendable], Awaitable[Answered]]


class NoGateway:
    """Where no request can arrive."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @contextmanager
    def unit(self, _stage: Any) -> Iterator[Any]:
        yield SimpleNamespace(model_url="http://127.0.0.1:9/none/v1", mcp_url="http://127.0.0.1:9/none/mcp")


def act(
    setting: Scene,
    agent: Callable[[Session], Any],
    turn: int | None = None,
    *,
    models: Models | None = None,
    model: str | None = None,
    seconds: float = 30,
    make_order: Callable[[], LastFirst] | None = None,
) -> Outcome:
    """Walk an agent through one turn, or the conversation; the recorded decisions answer it, or `models`."""
    candidate = PythonCandidate("tests:agent", "0", agent, Path(__file__).parent)
    host = Host(
        "candidate",
        NoGateway(),  # type: ignore[arg-type]
        lambda _gateway: FunctionAgents(candidate, 2, seconds),
        models,
        model,
        is_recorded=models is None,
        make_order=make_order,
    )
    unit: dict[str, Any] = {
        "unit_id": "s" if turn is None else f"s/t{turn}",
        "aggregate_id": "s",
        "side": "candidate",
        "draw": 0,
    }
    walk = AgentWalk(setting, unit["unit_id"], "candidate", 0, host=host, replies=replies_of(setting.recording))

    async def nobody(_request: Request) -> Any:
        raise AssertionError("an agent asks by itself")

    async def work() -> Outcome:
        async with host:
            if turn is None:
                return await walk_conversation(walk, unit, nobody)
            return await walk_turn(walk, turn, unit, nobody)

    return asyncio.run(work())


def answering(*answers: Reply | Failure) -> tuple[Models, list[Mapping[str, Any]]]:
    """Models that answer in this order, the last one again and again; and the bodies that they are sent, as they come."""
    sent: list[Mapping[str, Any]] = []

    async def exchange(request: Sendable) -> Answered:
        sent.append(json.loads(request.body()))
        answer = answers[min(len(sent), len(answers)) - 1]
        if isinstance(answer, Failure):
            return Answered(answer)
        document = find_wire(request.wire.api).write(answer, model=request.model, number=len(sent))
        body = json.dumps(document).encode()
        return Answered(request.wire.read_answer(body), body)

    return exchange, sent


def plain_loop(api: Api = "chat", most: int = 20) -> Callable[[Session], str | None]:
    """An agent as people write it by hand over one API: ask, call what is asked for, until there is a text."""

    def run(session: Session) -> str | None:
        messages = [dict(each) for each in session.messages]
        if session.user is not None:
            messages.append({"role": "user", "content": session.user})
        for _ in range(most):
            answer = session.ask(api, _body(api, messages, session))
            said = find_wire(api).read_answer(json.dumps(answer).encode())
            assert isinstance(said, Reply)
            if not said.tool_calls:
                return said.text
            messages += _turn(said, session)
        return None

    return run


def _turn(said: Reply, session: Session) -> list[dict[str, Any]]:
    """What was said, and what its tools answered, as chat completions."""
    calls = [
        {
            "id": call.call_id,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for call in said.tool_calls
    ]
    results = [
        {"role": "tool", "tool_call_id": call.call_id, "content": session.result(call.name, call.arguments)}
        for call in said.tool_calls
    ]
    return [{"role": "assistant", "content": said.text, "tool_calls": calls}, *results]


def _body(api: Api, messages: list[dict[str, Any]], session: Session) -> Mapping[str, Any]:
    """A request as the API takes it, written by the same wire that a replay asks over."""
    from pipelines.log.context import message_lines  # noqa: PLC0415

    wire = find_wire(api)
    params = {"max_tokens": 100} if api == "messages" else {}
    frame = wire.frame(session.model or "m", params, [tool.schema for tool in session.tools])
    lines = message_lines(messages).split(b"\n")[:-1]
    body: Mapping[str, Any] = json.loads(wire.body(frame, messages, lines))
    return body
