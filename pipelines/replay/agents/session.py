"""What an agent is given to act in one recorded turn: the types that a user's own agent code imports.

Nothing here knows about the lake, the store or how agents are run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from pipelines.experiment.sides import Api

Fetch = Callable[[str, Any], Any]
"""What a recorded tool answered, given its name and arguments."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A recorded tool: its schema, and a callable that gives what it answered. Nothing is executed.

    Attributes:
        name: The tool's name.
        description: What the recorded agent was told of it.
        parameters: JSON Schema of its arguments.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    _fetch: Fetch = field(repr=False, compare=False)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as chat completions offer it."""
        function = {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    def __call__(self, arguments: Any = None, /, **named: Any) -> Any:
        """What was recorded for this call, in any thread; it never waits.

        Args:
            arguments: A mapping, or JSON text as a model writes it.
            named: Or the arguments by name.

        Returns:
            Text, or a list of parts, as the recorded agent read it.

        Raises:
            AgentStopped: The recording has no result for it, and the unit is over.
        """
        return self._fetch(self.name, named if arguments is None else arguments)


@dataclass(frozen=True, slots=True)
class Session:
    """One recorded turn as the agent meets it. The agent acts, and returns its final text.

    Attributes:
        messages: The recorded past, chat-completions messages, oldest first, the system message included.
        user: The user's text that is to be answered; None where something else made the recorded agent act: then the last of
            `messages` is that.
        tools: The recorded tools.
        model: Real name of the model; frameworks choose their wire by it.
        model_url: Base URL of the gateway for this unit, with `/v1`: what an OpenAI client takes. Anthropic's wants it without `/v1`.
        mcp_url: The recorded tools as an MCP server (streamable HTTP).
        metadata: `aggregate_id`, `turn`, `source`, `agent`, `variant`, `vertical`, `channel`, `task`.
    """

    messages: Sequence[Mapping[str, Any]]
    user: str | None
    tools: Sequence[Tool]
    model: str | None
    model_url: str
    mcp_url: str
    metadata: Mapping[str, Any]
    _ask: Callable[[Api, Mapping[str, Any]], Any] = field(repr=False, compare=False)
    _fetch: Fetch = field(repr=False, compare=False)

    def result(self, name: str, arguments: Any) -> Any:
        """What was recorded for a tool call that the model made; as calling the `Tool` of that name, for tools that have no schema.

        Raises:
            AgentStopped: The recording has no result for it, and the unit is over.
        """
        return self._fetch(name, arguments)

    def ask(self, api: Api, body: Mapping[str, Any]) -> Any:
        """Ask the model without HTTP.

        Args:
            api: `chat`, `responses` or `messages`.
            body: The request, as the API takes it.

        Returns:
            The response's JSON as an object; of an agent that is declared `async`, something to await for it.

        Raises:
            AgentStopped: The unit is over: its budget, the recording or its steps ended, or the request was refused for good.
            ValueError: There is no such API.
        """
        if api not in get_args(Api):
            raise ValueError(f"api is {api!r}; it is {', '.join(get_args(Api))}")
        return self._ask(api, body)


class AgentStopped(Exception):  # noqa: N818 -- reads as what happened
    """Nothing more is answered in this unit; let it pass, there is nothing to be done.

    Attributes:
        reason: Why, as the unit's row says it; `ended` where the recording ends there.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
