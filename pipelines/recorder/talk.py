"""One conversation as it happens: what is said, decided, called and supplied becomes events of one stream.

A `Talk` keeps the context that a fold will rebuild, so it can record of a request what nobody recorded before (the
system messages, a tool's answer) and knows when a request is not what the log says. It is safe to use from threads.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar
from uuid import UUID, uuid4

from pipelines.canonical.content import text_of
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.messages import ACTORS, Draft
from pipelines.ingest.shape import SYSTEM_ROLES
from pipelines.log.context import Context
from pipelines.log.redaction import Fault, Redaction, find_fault
from pipelines.log.versions import DECISION, ENDED, STARTED, SUPPLIED, TOOL_RESULT
from pipelines.recorder import wire
from pipelines.recorder.asking import Asking
from pipelines.recorder.decided import answered, decision_payload, leading_system, notes_of
from pipelines.recorder.exchange import Api, Course, Request
from pipelines.recorder.history import Sent, first_difference, said, sent_by, unrecorded
from pipelines.recorder.opening import RESPONSE, Known, Opening, Outbox, Part
from pipelines.recorder.storable import Storable, text_of_any
from pipelines.store.events import NewEvent

P = ParamSpec("P")
R = TypeVar("R")
NOTHING = range(0)
_FAULTS: Mapping[Fault, str] = {
    "no_target": "hides nothing: there is no such event",
    "no_path": "hides more than it names: its path leads nowhere, so what is above it is hidden",
    "no_span": "hides more than it names: its span is outside the text, so all of it is hidden",
}


class Talk:
    """Records one conversation; make it with `Recorder.conversation`.

    Every method answers the stream versions of the events that it recorded (exact as long as nobody else writes to the
    stream), an empty range when it recorded none. None of them raises because of the store, or because of what it is
    given, unless the recorder was made with `when_full="raise"`.
    """

    def __init__(self, outbox: Outbox, opening: Opening, known: Known) -> None:
        self._outbox, self._opening, self._known = outbox, opening, known
        self._token = uuid4().hex[:8]
        self._messages = 0
        self._api: Api = "chat"
        self._left: deque[Asking] = deque()
        self._lock = threading.RLock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing ends here: a conversation is over when `end` says so."""

    @property
    def stream(self) -> UUID:
        """The conversation's stream."""
        return self._opening.stream

    def user(self, text: str | list[Any]) -> range:
        """The person said something: a text, or a list of content parts."""
        return self._guarded(lambda: [self._message("user", text)])

    def agent(self, text: str) -> range:
        """The agent said something that no model call produced, such as a greeting."""
        return self._guarded(lambda: [self._message("assistant", text)])

    def tool_result(self, call_id: str | None, output: Any, error: Any = None) -> range:
        """A tool answered. Give the text that the agent will read as `output`, or as `error` when there is no output."""
        payload = {"call_id": None if call_id is None else text_of_any(call_id), "output": output, "error": error}
        return self._guarded(lambda: [Part("service", [Draft(TOOL_RESULT, payload)])])

    def context(self, kind: str, content: Any, *, role: str = "system") -> range:
        """Something else was put before the agent: a document, a row, a late system message."""
        payload = {"kind": text_of_any(kind), "content": content, "role": text_of_any(role)}
        return self._guarded(lambda: [Part("system", [Draft(SUPPLIED, payload)])])

    def redact(
        self,
        version: int,
        *,
        path: str = "",
        span: tuple[int, int] | None = None,
        reason: str,
        method: str = "mask",
    ) -> range:
        """Part of an earlier event must not be shown. What names nothing is recorded, too, and told in the log as a warning.

        Args:
            version: Its stream version.
            path: JSON Pointer into its payload; the whole payload by default.
            span: First code point and the one after the last, of the string at `path`; None is all of it.
            reason: Why.
            method: How it is to be shown.
        """
        place: dict[str, Any] = {"path": path}
        if isinstance(span, list | tuple) and len(span) == 2:  # of anything else, all that is at the path is hidden
            place = {"span": {"path": path, "start": span[0], "end": span[1]}}
        target = {"target": {"stream_version": version}, "method": method, "reason": reason, **place}
        return self._guarded(lambda: self._redacted(version, target))

    def end(self, outcome: Any, reason: str | None = None) -> range:
        """The conversation is over; `outcome` is whatever is known of how it went."""
        return self._guarded(lambda: [Part("system", [Draft(ENDED, {"outcome": outcome, "reason": reason})])])

    def decision(
        self,
        *,
        request: Any,
        response: Any,
        latency_ms: float | None = None,
        cost_usd: float | None = None,
        error: str | None = None,
        ttft_ms: float | None = None,
        retries: int | None = None,
        api: Api | None = None,
    ) -> range:
        """The model was asked: record the call, what it said, the tools it called, and what of the request was not recorded yet.

        Args:
            request: What `chat.completions.create`, `responses.create` or `messages.create` was called with, as a mapping.
            response: What it answered, as a dict or the SDK's object, or the list of the pieces of a stream; None when it failed.
            latency_ms: How long it took, milliseconds.
            cost_usd: Its price in US dollars.
            error: Why it failed.
            ttft_ms: How long it took until its first piece came, milliseconds.
            retries: How often the client tried again.
            api: Which of the three it was; None tells it by the shape of the two.
        """
        return self._decide(request, response, Course(latency_ms, ttft_ms, cost_usd, retries, error), api)

    def ask(self, create: Callable[P, R], *args: P.args, **request: P.kwargs) -> R:
        """Call `create(**request)`, such as `client.chat.completions.create`, record the decision, return the response.

        `create` may be any of `create`, `parse` and `stream` of chat completions, Responses and Messages, of a synchronous client,
        and `stream` of an asynchronous one. An error of the call is recorded by its type's name and raised. A stream is returned
        as one, and recorded when it has ended, when it is closed, or, if it is left, before what this talk records next.
        """
        asking = self._asking(create, request)
        try:
            response = create(*args, **request)
        except Exception as error:
            asking.failed(error)
            raise
        return asking.answered(response)  # type: ignore[no-any-return] # a stream stands for itself

    async def ask_async(self, create: Callable[P, Awaitable[R]], *args: P.args, **request: P.kwargs) -> R:
        """`ask` for an asynchronous client."""
        asking = self._asking(create, request)
        try:
            response = await create(*args, **request)
        except Exception as error:
            asking.failed(error)
            raise
        return asking.answered(response)  # type: ignore[no-any-return]

    def _asking(self, create: Any, request: Mapping[str, Any]) -> Asking:
        return Asking(request, wire.api_of_call(create), self._decide, self._outbox.tell_once, self._left)

    def _decide(self, request: Any, response: Any, course: Course, api: Api | None) -> range:
        return self._guarded(lambda: self._decided(request, response, course, api))

    def _guarded(self, parts: Callable[[], list[Part]]) -> range:
        """Record what `parts` gives; whatever goes wrong is the recorder's to tell."""
        with self._lock:
            while self._left:
                self._left.popleft().end()
            try:
                return self._record(parts())
            except Exception as error:  # noqa: BLE001 -- the agent must not fail because of its recorder
                self._outbox.report(error)
                return NOTHING

    def _record(self, parts: list[Part]) -> range:
        """Send the events of some messages together, then count them in: nothing changes when sending fails."""
        if not self._known.has_started and parts[0].drafts[0].name != STARTED:
            parts = [self._start(self._opening.system or []), *parts]
        now = datetime.now(UTC)
        events: list[NewEvent] = []
        described = sum(part.described for part in parts)
        for number, part in enumerate(parts, start=self._messages + 1):
            for draft in part.drafts:
                storable = Storable()
                payload = storable(draft.payload)
                described += storable.described
                metadata = {
                    **self._opening.envelope,
                    "actor": draft.actor or part.actor,
                    "message_id": f"{self._token}-{number}",
                    **part.notes,
                    **draft.notes,
                }
                metadata = Storable()({**metadata, "escaped": storable.changed} if storable.changed else metadata)
                events.append(NewEvent(draft.event_type, payload, metadata, now))
        known = self._known
        self._outbox.send(self._opening.stream, self._opening.aggregate_type, known.version, events)
        if described:
            self._outbox.count_described(described)
        self._messages += len(parts)
        first = known.version + 1
        known.has_started = True
        for version, event in enumerate(events, start=first):
            known.version = version
            known.follow(event.event_type, event.payload, event.metadata)
        return range(first, known.version + 1)

    def _redacted(self, version: int, payload: dict[str, Any]) -> list[Part]:
        """A redaction; said aloud if it hides nothing, or more than it names."""
        known = self._known
        shape = known.shapes.get(version) if isinstance(version, int) else None
        fault = None if shape is None else find_fault(shape, Redaction.from_payload(payload))
        if shape is None and known.context is not None:
            fault = "no_target"
        if fault is not None:
            self._outbox.tell_once(
                f"redaction {self._opening.stream} {version} {payload}",
                "a redaction of version %s of stream %s %s",
                *(version, self._opening.stream, _FAULTS[fault]),
                level=logging.WARNING,
            )
        return [Part("service", [Draft("redaction.applied", payload)])]

    def _message(self, role: str, content: Any) -> Part:
        storable = Storable()
        if not isinstance(content, str):
            content = storable(content)
            if not isinstance(content, list):
                content = [content] if isinstance(content, dict) else text_of_any(content)
        notes = {"content_escaped": storable.changed} if storable.changed else {}
        actor = ACTORS[role]
        try:
            drafts = said({"role": role, "content": content}).drafts
        except BadLineError:
            drafts = [Draft(f"{actor}.utterance", {"text": text_of(content), "content": content})]
        return Part(actor, drafts, notes, storable.described)

    def _start(self, system: list[Any]) -> Part:
        messages = [{"role": "system", "content": m["content"] if isinstance(m, Mapping) else m} for m in system]
        return Part("system", [Draft(STARTED, {**self._opening.started, "messages": messages})])

    def _decided(self, request: Any, response: Any, course: Course, api: Api | None) -> list[Part]:
        self._api = api or wire.api_of(request, response) or self._api
        sent, answer = wire.read_request(request, self._api), wire.read_response(response, self._api)
        context = sent_by(sent, self._known.held_by(sent.state.get("previous_response_id")))
        parts = self._before(sent, context)
        if sent.tools is not None and sent.tools_sha256 is not None:
            self._outbox.register("tools", sent.tools_sha256, {"sha256": sent.tools_sha256, "tools": sent.tools})
        model = decision_payload(sent, answer, context, self._register_prompt(sent.messages), course)
        notes, described = notes_of(sent, answer), sent.described + answer.described
        spoken = [] if course.is_cut else [*map(answered, answer.messages)]
        first, then = (spoken[0].drafts, spoken[1:]) if spoken and spoken[0].actor == "agent" else ([], spoken)
        parts.append(Part("agent", [Draft(DECISION, model), *first], notes, described))
        of = {} if answer.response_id is None else {RESPONSE: answer.response_id}
        return [*parts, *(Part(each.actor, each.drafts, of) for each in then)]

    def _before(self, request: Request, sent: Sent) -> list[Part]:
        """What the request shows and the log does not have yet; the conversation's start, if this is its first event."""
        known = self._known
        if known.context is None:
            return []
        if known.has_started:
            return self._missing(request, sent, known.context.messages)
        system = self._opening.system
        start = self._start(leading_system(request.messages) if system is None else system)
        opened = Context()
        opened.apply(STARTED, Storable()(start.drafts[0].payload), {})
        return [start, *self._missing(request, sent, opened.messages)]

    def _missing(self, request: Request, sent: Sent, recorded: list[dict[str, Any]]) -> list[Part]:
        """What the request has beyond what is recorded; nothing when it does not continue that."""
        known = max(0, len(recorded) - sent.before)
        if sent.rendered is None or len(sent.rendered) != sent.before + len(sent.messages):
            self._outbox.tell_once(
                "shape", "a request has messages of an unknown shape; its context cannot be verified"
            )
            return [_as_can_be(message, n) for n, message in enumerate(sent.messages) if n >= known]
        if not sent.is_whole:
            self._outbox.tell_once(
                "state",
                "a request of stream %s goes on from a history that its provider has and this conversation does not know; its "
                "context is not verified",
                self._opening.stream,
            )
            known = unrecorded(sent, recorded, request.instructions)
        elif (different := first_difference(recorded, sent.rendered)) is not None:
            self._outbox.tell_once(
                "difference",
                "a request of stream %s is not what was recorded, first in message %d: its context cannot be verified "
                "(record what the agent is shown as it is sent; give the system messages to `conversation`)",
                *(self._opening.stream, different),
                level=logging.WARNING,
            )
            known = unrecorded(sent, recorded, 0) if request.state else len(sent.messages)
        parts = []
        for index, message in enumerate(sent.messages[known:], start=known):
            each = said(message, index)
            parts.append(Part(each.actor, each.drafts, {"recorded_from": "request"}))
        return parts

    def _register_prompt(self, messages: list[dict[str, Any]]) -> str | None:
        """Register the prompt that a request runs with; its hash, None when it has none."""
        text = self._opening.prompt
        if text is None and messages and messages[0].get("role") in SYSTEM_ROLES:
            text = text_of(messages[0].get("content"))
        if text is None:
            return None
        text = str(Storable()(text))
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        self._outbox.register("prompt", sha256, {"name": self._opening.prompt_name, "text": text, "sha256": sha256})
        return sha256


def _as_can_be(message: dict[str, Any], index: int) -> Part:
    """A message of a request that does not continue what was recorded: as its events, or whole if it has none."""
    notes = {"recorded_from": "request"}
    try:
        each = said(message, index)
    except BadLineError:
        unread = {"kind": "unread_message", "content": message, "role": text_of_any(message.get("role", "unknown"))}
        return Part("system", [Draft(SUPPLIED, unread)], notes)
    return Part(each.actor, each.drafts, notes)
