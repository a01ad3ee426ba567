"""Where an agent acts: what is behind the gateway, whoever runs it and whatever way its requests come.

`Stage` is one unit under way. Model calls reach it from the gateway and from `Session.ask`, tool calls from `Tool`, MCP and the
lines of a command; it keeps the unit's steps. `Agents` are those who run the user's program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, NamedTuple, Protocol, Self

from pipelines.experiment.sides import Api
from pipelines.replay.agents.session import Session
from pipelines.replay.failure import Reason

Refused = Literal[
    "path",  # no model call and no MCP: embeddings, model lists, files and what else there is
    "method",  # another HTTP method than the path takes
    "proxy",  # CONNECT, or an absolute address: it would leave by the gateway
    "host",  # Host or Origin is not this gateway
    "unit",  # no such unit is under way
    "body",  # no JSON object, or too large
    "network",  # an attempt to reach anything else, seen in the sandbox
]
"""Why a request was turned away. Each is a row."""


class Served(NamedTuple):
    """The answer to a model call.

    Attributes:
        status: 200, or 400: nothing more is answered, and asking again would not help.
        body: JSON of the wire: the endpoint's own answer, or an error in the wire's form whose message begins with the reason.
        call: The step that it is; given back by `delivered`.
    """

    status: int
    body: bytes
    call: int


Over = Reason | Literal["ended"]
"""Why nothing more is answered in a unit; `ended` where the recording ends there, which is no failure."""


class Fetched(NamedTuple):
    """What a recorded tool answered.

    Attributes:
        content: Text or a list of parts, as the recorded agent read it.
        over: Why there is none, and the unit is over; None where there is a result.
    """

    content: Any
    over: Over | None = None


class Stage(Protocol):
    """One unit under way, as its agent reaches it."""

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """Tool schemas offered, in the form of chat completions."""

    @property
    def waits(self) -> bool:
        """Whether `fetch` may wait for other tool calls of the agent: then nobody calls it in a loop that they need."""

    async def answer(self, api: Api, body: dict[str, Any], *, is_retry: bool = False) -> Served:
        """Answer one model call; in the loop of the gateway. Never raises for the agent's sake.

        Args:
            api: The wire it came over; the answer is in its form.
            body: The request's JSON, without `stream`: whoever streams makes the stream of the answer. It is the stage's to change.
            is_retry: Whether the client says that it asks again: then it is the same call as before.
        """

    def delivered(self, call: int) -> None:
        """The agent has the whole answer; an equal request from now on is another call. In the loop of the gateway."""

    def lost(self, call: int) -> None:
        """The answer did not reach the agent; an equal request from now on is the same call. In the loop of the gateway."""

    def fetch(self, name: str, arguments: Any) -> Fetched:
        """What was recorded for a tool call that the model made; in any thread, and at once unless the stage `waits`.

        Args:
            name: The tool.
            arguments: A JSON value, or JSON text.
        """

    def refuse(self, why: Refused, method: str, target: str) -> None:
        """Note that a request was turned away; in any thread. Texts may be anything: they are bounded and stored as text."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run of the agent: one segment of a recording.

    Attributes:
        session: What it is given.
        stage: Where it acts.
        environment: What a program finds in its environment, beside what the experiment names.
    """

    session: Session
    stage: Stage
    environment: Mapping[str, str] = field(default_factory=dict)


class AgentFailedError(Exception):
    """The agent gave no text. The stage may know better why; else this is why.

    Args:
        reason: Code.
        detail: What happened, for people; it may hold anything.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Agents(Protocol):
    """Those who run the user's program, some at once; an async context manager, used in the loop of the gateway.

    Attributes:
        width: How many run at once, at most.
    """

    width: int

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def run(self, task: Task) -> str | None:
        """Let the agent act once.

        Returns:
            Its final text; None for none.

        Raises:
            AgentFailedError: It raised, ended, took too long or too much, or returned what is no text.
        """
