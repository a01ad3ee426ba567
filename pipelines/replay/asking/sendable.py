"""What may be sent to a model, whoever made it, and what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from pipelines.experiment.sides import Side
from pipelines.replay.failure import Answer
from pipelines.replay.wires.wire import Wire


class Sendable(Protocol):
    """One request: made from a recording, or by an agent."""

    @property
    def side(self) -> Side:
        """Candidate or control: whose endpoint it goes to."""

    @property
    def aggregate_id(self) -> str:
        """The stream whose text it holds."""

    @property
    def key(self) -> str:
        """Under which its answer is kept, hex."""

    @property
    def wire(self) -> Wire:
        """The wire that it goes over."""

    @property
    def model(self) -> str | None:
        """The model that is asked."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Parameters of the body, among which are bounds of the reply."""

    def body(self) -> bytes:
        """The body of a call.

        Raises:
            CannotExpressError: The wire has no form for it.
        """

    def read(self, answer: Answer) -> Answer:
        """An answer in the words of the recording."""


class Answered(NamedTuple):
    """An answer, and the body in which the endpoint gave it.

    Attributes:
        answer: What it means.
        body: Its JSON, as it came; None where nothing was answered.
    """

    answer: Answer
    body: bytes | None = None
