"""The protocol of a wire, and the wires that there are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pipelines.experiment.prices import Price
from pipelines.experiment.sides import Api
from pipelines.replay.asking.fault import Again, Broken
from pipelines.replay.failure import Answer
from pipelines.replay.wires.chat import Chat
from pipelines.replay.wires.frame import Frame
from pipelines.replay.wires.messages import Messages
from pipelines.replay.wires.notes import Note
from pipelines.replay.wires.responses import Responses

Message = Mapping[str, Any]


class Wire(Protocol):
    """How requests are written and answers read on one wire; without state."""

    @property
    def api(self) -> Api:
        """Its name in an experiment."""

    @property
    def path(self) -> str:
        """Of its calls, below the endpoint's address."""

    def headers(self, key: str | None) -> Mapping[str, str]:
        """Those that name the version of the wire, and carry the key, where there is one."""

    def frame(self, model: str | None, params: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> Frame:
        """What surrounds the messages."""

    def body(self, frame: Frame, messages: Sequence[Message], lines: Sequence[bytes]) -> bytes:
        """The body of a call.

        Args:
            frame: Made by this wire.
            messages: In the form of chat completions, as they are rendered and hashed.
            lines: The same, each as one line of JSON.

        Raises:
            CannotExpressError: This wire has no form for them.
        """

    def notes(self, frame: Frame, messages: Sequence[Message]) -> Iterable[Note]:
        """What `body` changes on the way, or has no form for; each kind once."""

    def read(
        self,
        status: int,
        body: bytes,
        *,
        price: Price | None = None,
        latency_ms: float | None = None,
        location: str | None = None,
    ) -> Answer | Again | Broken:
        """What a response means.

        Args:
            status: HTTP status.
            body: Its bytes.
            price: What tokens cost; None when not known.
            latency_ms: How long it took.
            location: Where a redirect points.
        """

    def read_answer(
        self, body: bytes, *, price: Price | None = None, cost_usd: float | None = None, latency_ms: float | None = None
    ) -> Answer:
        """A body that is an answer, also one that was kept.

        Raises:
            NoAnswerError: It is none.
        """


WIRES: Mapping[Api, Wire] = {wire.api: wire for wire in (Chat(), Responses(), Messages())}
"""Every wire, by its name."""


def find_wire(api: Api) -> Wire:
    """The wire of that name."""
    return WIRES[api]
