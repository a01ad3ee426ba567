"""What a wire is: how requests are written and answers read, and how answers are written for an agent that asks over it.

`registry` has those that there are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from pipelines.experiment.decision import Reply
from pipelines.experiment.prices import Price
from pipelines.experiment.sides import Api
from pipelines.replay.asking.fault import Again, Broken, judge
from pipelines.replay.asking.usage import Usage, read_usage
from pipelines.replay.failure import Answer
from pipelines.replay.wires.answer import NoAnswerError, Said, counted, no_answer, read_object
from pipelines.replay.wires.frame import Frame
from pipelines.replay.wires.notes import Note

Message = Mapping[str, Any]
Found = tuple[Said, Usage]
"""What an answer says, and what it counts."""


class Wire(ABC):
    """How requests and answers are written and answers read on one wire; without state.

    Attributes:
        api: Its name in an experiment.
        path: Of its calls, below the endpoint's address.
    """

    api: ClassVar[Api]
    path: ClassVar[str]

    @abstractmethod
    def headers(self, key: str | None) -> Mapping[str, str]:
        """Those that name the version of the wire, and carry the key, where there is one."""

    @abstractmethod
    def frame(self, model: str | None, params: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> Frame:
        """What surrounds the messages."""

    @abstractmethod
    def body(self, frame: Frame, messages: Sequence[Message], lines: Sequence[bytes]) -> bytes:
        """The body of a call.

        Args:
            frame: Made by this wire.
            messages: In the form of chat completions, as they are rendered and hashed.
            lines: The same, each as one line of JSON.

        Raises:
            CannotExpressError: This wire has no form for them.
        """

    @abstractmethod
    def notes(self, frame: Frame, messages: Sequence[Message]) -> Iterable[Note]:
        """What `body` changes on the way, or has no form for; each kind once."""

    @abstractmethod
    def read_usual(self, body: bytes) -> Found | None:
        """What a body of the shape that nearly all have says and counts; None of another one.

        Raises:
            ValueError: It is of another shape.
        """

    @abstractmethod
    def read_document(self, document: Mapping[str, Any], body: bytes) -> Said:
        """What an answer of whatever shape says.

        Args:
            document: The body, parsed.
            body: Its bytes, for words of errors.

        Raises:
            NoAnswerError: It is no complete answer; the message says why.
        """

    @abstractmethod
    def write(
        self, reply: Reply, *, model: str | None, number: int, custom: frozenset[str] = frozenset()
    ) -> dict[str, Any]:
        """An answer that says what a reply says, as JSON; `read_answer` gives the reply back, as far as the wire has words for it.

        Args:
            reply: The reply; ids of its calls are made anew, and what is not counted is zero.
            model: Which answers, where the reply does not say it.
            number: Of the answer in its unit, from which its ids are made: equal numbers, equal ids.
            custom: Names of offered tools that take free text.
        """

    @abstractmethod
    def events(self, document: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[bytes]:
        """The server-sent events by which an answer would have come, had the request asked for a stream.

        Args:
            document: The answer's JSON: an endpoint's, or of `write`.
            asked: The request's JSON.
        """

    def error(self, reason: str, detail: str) -> dict[str, Any]:
        """A refusal as this wire has it.

        Args:
            reason: Code, with which the message begins.
            detail: What happened, for people.
        """
        message = f"{reason}: {detail}"
        return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": reason}}

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
        if not 200 <= status < 300:
            return judge(status, body, location)
        try:
            return self.read_answer(body, price=price, latency_ms=latency_ms)
        except NoAnswerError as error:
            return no_answer(f"HTTP {status}: {error}", error, body, price)

    def read_answer(
        self, body: bytes, *, price: Price | None = None, cost_usd: float | None = None, latency_ms: float | None = None
    ) -> Answer:
        """A body that is an answer, also one that was kept: a reply, or `refused` where a filter took it back.

        Args:
            body: The JSON of the response.
            price: What tokens cost; None when not known, or when the cost is given.
            cost_usd: What it cost, when that was found out before.
            latency_ms: How long it took.

        Raises:
            NoAnswerError: It is no complete answer; the message says why.
        """
        try:
            found = self.read_usual(body)
        except (ValueError, RecursionError):  # odd, or none: read with more patience
            found = None
        said, usage = self.read_patiently(body) if found is None else found
        return counted(said, usage, price, cost_usd, latency_ms)

    def read_patiently(self, body: bytes) -> Found:
        """What a body says and counts, read as a whole.

        Raises:
            NoAnswerError: It is no complete answer.
        """
        document = read_object(body)
        return self.read_document(document, body), read_usage(document)
