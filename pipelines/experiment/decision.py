"""What a candidate is given and what it returns: the types that a user's own agent code imports.

Nothing here knows about the lake, the store or how candidates are run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call that an agent message asks for. Nothing executes it.

    Attributes:
        name: The tool's name.
        arguments: A JSON object, or the raw string where the model sent something that is not JSON.
        call_id: The id the caller gave it; never used as a key.
        extra: Further members of the call that its vendor wants back with it, such as a signature of a thought.
    """

    name: str
    arguments: Any
    call_id: str | None = None
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """One recorded point at which the agent had to act: the context before it, without the answer.

    Attributes:
        aggregate_id: The stream, a UUID as text.
        decision: Place of the decision in its stream: 1, 2, 3 …
        turn: Number of user messages with text before it.
        messages: Chat-completions messages, oldest first, as the agent got them (redactions applied).
        tools: Tool schemas offered to the agent, when they were recorded or the experiment names them.
        metadata: `source`, `agent`, `variant`, `vertical`, `channel`, `task`, `model`, `created_at`.
    """

    aggregate_id: str
    decision: int
    turn: int
    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[Mapping[str, Any]] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """One agent message: text, tool calls, or both.

    Attributes:
        text: What the agent says, or None.
        tool_calls: The tools it asks for, in order, all in one parallel block.
        input_tokens: Tokens of the request, when known.
        output_tokens: Tokens of the reply, when known.
        cost_usd: Price of the reply in US dollars, when known.
        latency_ms: How long the reply took, in milliseconds, when known.
        finish_reason: Why the model stopped, by the names of chat completions (`stop`, `tool_calls`, `length`, `content_filter`), or
            in the endpoint's own word where they have none, when known.
        model: The model that answered, as it names itself, when known.
        is_refusal: Whether the endpoint marks the text as a refusal.
        extra: Further members of the message that its vendor wants back in later requests, such as `reasoning_content`;
            `content` where that has parts that are not said, `reasoning` with what is signed or encrypted in it.
        cached_input_tokens: Those of `input_tokens` that were read from the endpoint's cache, when known.
        cache_write_tokens: Those of `input_tokens` that were written to it, when known.
        reasoning_tokens: Those of `output_tokens` that were reasoning, when known.
    """

    text: str | None = None
    tool_calls: Sequence[ToolCall] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    finish_reason: str | None = None
    model: str | None = None
    is_refusal: bool = False
    extra: Mapping[str, Any] | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
