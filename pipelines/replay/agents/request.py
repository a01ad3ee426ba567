"""A request that an agent made itself, ready to be sent on: over the wire that it came on, word for word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.experiment.sides import Side
from pipelines.log.context import request_sha256, tools_sha256
from pipelines.replay.failure import Answer
from pipelines.replay.key import finish_key, key_head, key_lines
from pipelines.replay.wires.agent_request import Asked
from pipelines.replay.wires.tools import custom_names
from pipelines.replay.wires.wire import Wire


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """One model call of an agent's.

    Attributes:
        side: Candidate or control.
        aggregate_id: The stream.
        key: Under which its answer is kept, hex.
        wire: The wire.
        model: Asked for by this name.
        params: Everything in its body beside messages, tools and model.
        sent: Its body.
    """

    side: Side
    aggregate_id: str
    key: str
    wire: Wire
    model: str | None
    params: Mapping[str, Any]
    sent: Mapping[str, Any]

    def body(self) -> bytes:
        """The body of the call, as the agent wrote it."""
        text = json.dumps(self.sent, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.encode("utf-8", "surrogatepass")

    def read(self, answer: Answer) -> Answer:
        """The answer as it is: the agent has no other words for its tools."""
        return answer


class Spelled:
    """What an agent asks, in the one spelling of keys and hashes.

    Attributes:
        asked: What it asks.
        sha256: Hash of the request as recordings have it, hex.
        identity: Names the request, whatever its draw, hex.
    """

    def __init__(self, asked: Asked, wire: Wire) -> None:
        self.asked = asked
        tools = tools_sha256(asked.tools) if asked.tools else None
        self.sha256 = request_sha256(asked.messages, model=asked.model, params=asked.params, tools_sha256=tools)
        custom = custom_names(asked.tools)
        self._digest = hashlib.sha256(
            key_head(wire.api, asked.model, asked.params, tools) + key_lines(asked.messages, custom)
        )
        self.identity = self._digest.hexdigest()

    def key(self, draw: int, occurrence: int) -> str:
        """The key of its answer, for one draw and the n-th time that it is asked in a unit."""
        return finish_key(self._digest, draw, occurrence)
