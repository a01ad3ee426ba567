"""One conversation's events as they are recorded: envelope, context, request hash, cost.

What is said and done belongs to `session`. The context is kept by the same `Context` that a replay uses and the agent is
asked with exactly its messages, so a replay of the recorded agent gives the recording back.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any, Literal
from uuid import UUID

from pipelines.demo.policies import agent_v1
from pipelines.demo.span import from_ms
from pipelines.demo.toolbox import Vertical, prompt_hash, tools, tools_hash
from pipelines.experiment.decision import Decision, Reply
from pipelines.log.context import Context, message_bytes, request_head
from pipelines.store.events import NewEvent

SOURCE = "demo"
MODEL = "desk-rules-1"
PARAMS = {"temperature": 0}
_USD_PER_INPUT_TOKEN = 0.4e-6
_USD_PER_OUTPUT_TOKEN = 1.6e-6
_CHARACTERS_PER_TOKEN = 4
_tools = cache(tools)

Actor = Literal["agent", "user", "system", "service"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What the envelope of all events of one stream shares.

    Attributes:
        stream_id: The stream.
        source_id: Its id in the demo's own numbering.
        source_ordinal: Its place in the source: 1, 2, 3 …
        subject_id: Stream of the customer, as text; None where the stream is about nobody.
    """

    stream_id: UUID
    source_id: str
    source_ordinal: int
    subject_id: str | None

    def envelope(self, actor: Actor, message_id: str) -> dict[str, Any]:
        """The metadata of one event; events of one message share `message_id`."""
        metadata: dict[str, Any] = {
            "actor": actor,
            "source": SOURCE,
            "source_id": self.source_id,
            "message_id": message_id,
            "time_source": "message",
            "source_ordinal": self.source_ordinal,
        }
        if self.subject_id is not None:
            metadata["subject_id"] = self.subject_id
        return metadata


class Recording:
    """The events of one conversation or call, written in order.

    Attributes:
        identity: Its envelope.
        at_ms: Time of the newest event, milliseconds since 1970; whoever records moves it forward.
        events: What was recorded so far.
        context: What the agent has seen so far.
    """

    def __init__(self, identity: Identity, vertical: Vertical, at_ms: int, middle_ms: int, rng: Random) -> None:
        self.identity = identity
        self.at_ms = at_ms
        self.events: list[NewEvent] = []
        self.context = Context()
        self._vertical: Vertical = vertical
        self._middle_ms = middle_ms
        self._rng = rng
        self._aggregate_id = str(identity.stream_id)
        self._written_ms, self._written_at = at_ms, from_ms(at_ms)
        self._digest = _head_digest(vertical)
        self._hashed = 0
        self._request_bytes = 0
        self._messages = 0
        self._calls = 0
        self._decisions = 0

    def next_message_id(self) -> str:
        """The id of a new message, unique in the stream."""
        self._messages += 1
        return f"m{self._messages}"

    def add(self, event_type: str, payload: dict[str, Any], actor: Actor, message_id: str) -> int:
        """Record one event at the present time and return its stream version."""
        metadata = self.identity.envelope(actor, message_id)
        if self.at_ms != self._written_ms:
            self._written_ms, self._written_at = self.at_ms, from_ms(self.at_ms)
        self.events.append(NewEvent(event_type, payload, metadata, self._written_at))
        self.context.apply(event_type, payload, metadata)
        return len(self.events)

    def decide(self) -> tuple[Reply, list[str]]:
        """Ask the agent and record its message.

        Returns:
            The reply, and the recorded ids of its tool calls.
        """
        context = self.context
        request_sha256 = self._request_sha256()
        self._decisions += 1
        reply = agent_v1(Decision(self._aggregate_id, self._decisions, context.turn, context.messages))
        written = len(reply.text or "") + sum(20 + 16 * len(call.arguments) for call in reply.tool_calls)
        output_tokens = written // _CHARACTERS_PER_TOKEN + 1
        latency_ms = 250 + 12 * output_tokens + int(400 * self._rng.random())
        self.at_ms += latency_ms
        message_id = self.next_message_id()
        event_type, usage = self._usage(self._request_bytes // _CHARACTERS_PER_TOKEN, output_tokens)
        decision = {
            "model": MODEL,
            "params": PARAMS,
            "prompt_sha256": prompt_hash(self._vertical),
            "tools_sha256": tools_hash(self._vertical),
            "request_sha256": request_sha256,
            "usage": usage,
            "latency_ms": latency_ms,
            "cost_usd": self._cost_usd(output_tokens),
            "finish_reason": "tool_calls" if reply.tool_calls else "stop",
        }
        self.add(event_type, decision, "agent", message_id)
        if reply.text is not None:
            self.add("agent.utterance.v1", {"text": reply.text}, "agent", message_id)
        call_ids = []
        for call in reply.tool_calls:
            self._calls += 1
            call_ids.append(f"call_{self._calls}")
            payload = {"call_id": call_ids[-1], "name": call.name, "arguments": call.arguments}
            self.add("tool.call.v1", payload, "agent", message_id)
        return reply, call_ids

    def _request_sha256(self) -> str:
        """`request_sha256` of the context: each message is hashed once, as messages already sent never change."""
        messages = self.context.messages
        for message in messages[self._hashed :]:
            line = message_bytes(message) + b"\n"
            self._digest.update(line)
            self._request_bytes += len(line)
        self._hashed = len(messages)
        sha256: str = self._digest.hexdigest()
        return sha256

    def _usage(self, input_tokens: int, output_tokens: int) -> tuple[str, dict[str, int]]:
        """Type and usage of a decision made now: the recorder was upgraded half-way through the history."""
        if self.at_ms < self._middle_ms:
            return "model.decision.v1", {"prompt_tokens": input_tokens, "completion_tokens": output_tokens}
        return "model.decision.v2", {"input_tokens": input_tokens, "output_tokens": output_tokens}

    def _cost_usd(self, output_tokens: int) -> float:
        input_tokens = self._request_bytes // _CHARACTERS_PER_TOKEN
        return round(input_tokens * _USD_PER_INPUT_TOKEN + output_tokens * _USD_PER_OUTPUT_TOKEN, 7)


def _head_digest(vertical: Vertical) -> Any:
    return _first_digest(vertical).copy()


@cache
def _first_digest(vertical: Vertical) -> Any:
    return hashlib.sha256(request_head(MODEL, PARAMS, tools_hash(vertical)) + b"\n")
