"""An agent's walk: it acts as it likes, and what it asks of models and tools becomes the steps of its unit.

The agent drives. Each model call is a step beside the recorded decision at its place; all tool calls of the answer are looked up at
once, and the agent then fetches each result by name and arguments. What it does of its own (handing over to another agent, a tool
that only it knows) is neither looked up nor judged. When nothing more can be answered, every further request is turned down, and
what the agent makes of that does not matter.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.canonical.content import text_of
from pipelines.experiment.decision import Reply
from pipelines.experiment.sides import Api
from pipelines.replay.agents.host import Host
from pipelines.replay.agents.likeness import find_missing, list_differences
from pipelines.replay.agents.order import LastFirst
from pipelines.replay.agents.request import AgentRequest, Spelled
from pipelines.replay.agents.session import AgentStopped, Session, Tool
from pipelines.replay.agents.stage import AgentFailedError, Fetched, Over, Refused, Served, Task
from pipelines.replay.asking.fault import storable
from pipelines.replay.asking.sendable import Answered
from pipelines.replay.cassette import Lookup
from pipelines.replay.failure import Failure, Reason
from pipelines.replay.ledger import Call, Outcome, Row, read_calls
from pipelines.replay.recording import Segment, Step
from pipelines.replay.request import Ask
from pipelines.replay.rollout import STUB, Walk
from pipelines.replay.wires.agent_request import Asked, UnreadableRequestError, read_asked
from pipelines.replay.wires.answer import word
from pipelines.replay.wires.calls import JsonText
from pipelines.replay.wires.chat import wire_message
from pipelines.replay.wires.registry import find_wire
from pipelines.replay.wires.tools import custom_names

NO_RESULT = "replay: no result was recorded for this call"
"""What a tool call reads that the recording left without a result, beside others that have one."""
_NONE = "{}"
"""No arguments; they were recorded as null here and there."""
_MOST_REFUSED = 100
_SHOWN = 300


@dataclass(slots=True)
class _Occurrence:
    """One model call: the n-th with its content in the unit.

    Attributes:
        call: Its number among all.
        served: The answer, once there is one.
        is_lost: Whether the answer did not reach the agent.
    """

    call: int
    served: asyncio.Task[Served]
    is_lost: bool = False


@dataclass(slots=True)
class _Results:
    """What was recorded for equal tool calls, in order; the last one is given again to whoever asks once more."""

    contents: list[Any] = field(default_factory=list)
    given: int = 0

    def next(self) -> Any:
        content = self.contents[min(self.given, len(self.contents) - 1)]
        self.given += 1
        return content


@dataclass(slots=True)
class AgentWalk(Walk):
    """One agent on its way through one unit; the `Stage` that it acts on.

    Attributes:
        host: Where it is at home.
        replies: What the recorded agent did, by decision; needed where the recording answers.
    """

    host: Host = field(kw_only=True)
    replies: Mapping[int, Reply] = field(kw_only=True, default_factory=dict)
    _segment: Segment = field(init=False)
    _place: int = 0
    _over: Over | None = None
    _why: str = ""
    _broken: BaseException | None = None
    _asked: dict[str, list[_Occurrence]] = field(default_factory=dict)
    _occurrences: list[_Occurrence] = field(default_factory=list)
    _results: dict[bytes, _Results] = field(default_factory=dict)
    _refused: list[Row] = field(default_factory=list)
    _begun: int = 0
    _is_shown: bool = True
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _order: LastFirst | None = None

    async def run(self, segments: Sequence[Segment], unit: Row, ask: Ask) -> Outcome:
        """Let the agent act in segments, behind a gateway of its own."""
        self._order = self.host.make_order and self.host.make_order()
        outcome = await Walk.run(self, segments, unit, ask)
        outcome.row["refused"] = self._refused
        return outcome

    async def act(self, segment: Segment, ask: Ask) -> int:  # noqa: ARG002 -- an agent's requests come by another way
        """Let the agent act after one segment's input; how many of the recorded steps it stands beside."""
        if not self.steps:
            self._begun = len(self.lines) - len([each for each in segment.inputs if isinstance(each, dict)])
        self._segment, self._place, self._over = segment, 0, None
        self._results.clear()
        self.lines = self.lines.under(self.scene.head_at(segment.steps[0].decision))
        failed: AgentFailedError | None = None
        text: str | None = None
        with self.host.gateway.unit(self) as urls:
            try:
                text = await self.host.run(Task(self._session(urls.model_url, urls.mcp_url), self))
            except AgentFailedError as error:
                failed = error
        if self._broken is not None:
            raise self._broken
        self._end(text, failed)
        return len(segment.steps) if self.is_diverged else min(self._place, len(segment.steps))

    def _session(self, model_url: str, mcp_url: str) -> Session:
        messages = [_in_own_words(message) for message in self.lines.messages]
        last = messages[-1] if messages else {}
        content = last.get("content")
        is_text = isinstance(content, str) or all(
            isinstance(part, Mapping) and part.get("type") in ("text", "input_text") for part in content or [{}]
        )
        user = text_of(content) if last.get("role") == "user" and is_text else None
        return Session(
            messages=messages if user is None else messages[:-1],
            user=user,
            tools=[_tool(schema, self._fetch_or_stop) for schema in self.tools if _function(schema)],
            model=self.host.model or self.scene.metadata.get("model"),
            model_url=model_url,
            mcp_url=mcp_url,
            metadata={**self.scene.metadata, "aggregate_id": self.scene.aggregate_id, "turn": self._segment.turn},
            _ask=_nobody,
            _fetch=self._fetch_or_stop,
        )

    @property
    def tools(self) -> Sequence[Mapping[str, Any]]:
        """Tool schemas offered where the agent stands."""
        return self.lines.head.tools

    @property
    def waits(self) -> bool:
        """Whether results come in an order of their own; see `Stage`."""
        return self._order is not None

    async def answer(self, api: Api, body: dict[str, Any], *, is_retry: bool = False) -> Served:
        """Answer one model call; see `Stage`."""
        try:
            spelled = Spelled(read_asked(api, body), find_wire(api))
        except (UnreadableRequestError, ValueError, RecursionError) as error:
            return self._turn_down(api, "rejected", f"what was sent over {api} is no request: {error}")
        same = self._asked.setdefault(spelled.identity, [])
        if same and (is_retry or same[-1].is_lost):
            same[-1].is_lost = False
        else:
            served = asyncio.create_task(self._serve(api, body, spelled, len(same), len(self._occurrences)))
            same.append(_Occurrence(len(self._occurrences), served))
            self._occurrences.append(same[-1])
        return await asyncio.shield(same[-1].served)

    def delivered(self, call: int) -> None:
        """The agent has the answer; see `Stage`."""
        if 0 <= call < len(self._occurrences):
            self._occurrences[call].is_lost = False

    def lost(self, call: int) -> None:
        """The answer did not reach the agent; see `Stage`."""
        if 0 <= call < len(self._occurrences):
            self._occurrences[call].is_lost = True

    def fetch(self, name: str, arguments: Any) -> Fetched:
        """What was recorded for a tool call that the model made; see `Stage`."""
        given = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        key = self._key(name, given)
        with self._lock:
            if self._over is not None:
                return Fetched(None, self._over)
            results = self._results.get(key)
            if results is None:
                why = f"{name[:_SHOWN]!r} was called with arguments that no message asked for"
                self._finish("unrequested_call", why)
                return Fetched(None, "unrequested_call")
            fetched = Fetched(results.next())
        if self._order is not None:
            self._order.wait()
        return fetched

    def refuse(self, why: Refused, method: str, target: str) -> None:
        """Note that a request was turned away; see `Stage`."""
        with self._lock:
            if len(self._refused) < _MOST_REFUSED:
                self._refused.append(
                    {"why": why, "method": storable(method[:_SHOWN]), "target": storable(target[:_SHOWN])}
                )

    def look_up(self, calls: Sequence[Call], turn: int) -> Sequence[Lookup]:
        """What the recording has for one block; a tool that nobody offered and nobody ever called is the agent's own."""
        known = {_function(schema).get("name") for schema in self.tools}
        known |= {taped.call.name for taped in self.scene.cassette.tape}
        found = iter(Walk.look_up(self, [call for call in calls if call[0] in known], turn))
        return [next(found) if name in known else Lookup("not_applicable") for name, _ in calls]

    async def _serve(self, api: Api, body: dict[str, Any], spelled: Spelled, occurrence: int, call: int) -> Served:
        """The answer to a call that was not made before."""
        asked = spelled.asked
        if self._over is None:
            self._require_askable(asked)
        if self._over is not None:
            return self._turn_down(api, self._over, self._why, call)
        self._show_last()
        differences = list_differences(self.lines.messages, asked.messages)
        try:
            said = await self._ask_model(api, body, spelled, occurrence)
        except Exception as error:  # noqa: BLE001 -- what breaks the machine is raised where the unit is waited for
            self._broken = self._broken or error
            return self._turn_down(api, "unavailable", "the replay is being stopped", call)
        self._take(spelled, said, differences)
        if said.body is not None:
            return Served(200, said.body, call)
        reply = said.answer.reply if isinstance(said.answer, Failure) else said.answer
        if reply is None:
            return self._turn_down(api, self._over or "rejected", self._why, call)
        custom = custom_names(asked.tools)
        document = find_wire(api).write(_with_objects(reply), model=asked.model, number=len(self.lines), custom=custom)
        return Served(200, json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"), call)

    def _require_askable(self, asked: Asked) -> None:
        """End the unit where a call must not be made."""
        most = self.most_steps(self._segment)
        if self._place >= most:
            self._finish("step_limit", f"{self._place} messages without a final one")
        elif asked.state:
            named = ", ".join(sorted(asked.state))
            self._finish(
                "rejected", f"{named}: what the endpoint keeps is no part of the recording; send the whole context"
            )
        elif asked.params.get("background"):
            self._finish("rejected", "background: an answer that is fetched later is not kept; wait for it")
        elif self.host.model is not None and asked.model != self.host.model:
            self._finish("rejected", f"asks for {asked.model!r}; the experiment names {self.host.model!r}")
        elif self.host.exchange is None and not self.host.is_recorded:
            self._finish(
                "rejected", "asks a model, and the experiment names no endpoint; write base_url, or answers: recorded"
            )

    async def _ask_model(self, api: Api, body: dict[str, Any], spelled: Spelled, occurrence: int) -> Answered:
        if self.host.is_recorded:
            return Answered(self._recorded(spelled.asked))
        assert self.host.exchange is not None
        if api == "responses":
            body.setdefault("store", False)
        asked = spelled.asked
        key = spelled.key(self.draw, occurrence)
        request = AgentRequest(
            self.side,
            self.scene.aggregate_id,
            key,
            find_wire(api),
            asked.model,
            asked.params,
            {**body, "stream": False},
        )
        return await self.host.exchange(request)

    def _recorded(self, asked: Asked) -> Reply | Failure:
        """The recorded decision at this place, where the request holds what was said by then."""
        missing = find_missing(self.lines.messages[self._begun :], asked.messages)
        if missing is not None:
            return Failure("incomplete_request", missing)
        if self._place >= len(self._segment.steps):
            return Failure(
                "diverged", f"{len(self._segment.steps)} decisions were recorded here, and the agent asks for more"
            )
        return self.replies[self._segment.steps[self._place].decision]

    def _take(self, spelled: Spelled, said: Answered, differences: list[str]) -> None:
        """Make a step of an answer, and its tools' results ready to be fetched."""
        segment, recorded = self._segment, self._recorded_step()
        step = self.step_at(segment, recorded, spelled.sha256, word(spelled.asked.model))
        step.differences = differences
        is_step = self.take(step, segment, recorded, said.answer)
        self.steps.append(step)
        self._place += 1
        self._is_shown = not is_step
        with self._lock:
            if is_step and step.calls and any(look.source != "not_applicable" for look in step.found):
                over = self.is_over(step, segment, self._place)
                self._finish("ended" if step.reason is None else step.reason, self.detail or "") if over else None
                self._make_ready(step.calls, step.found)
            elif step.reason is not None:
                self._finish(step.reason, self.detail or "")

    def _make_ready(self, calls: Sequence[Call], found: Sequence[Lookup]) -> None:
        for (name, arguments), lookup in zip(calls, found, strict=True):
            if lookup.source == "not_applicable":
                continue
            key = self._key(name, arguments)
            call = lookup.recorded
            content = STUB if call is None else NO_RESULT if self.is_waiting(lookup) else _read_of(call.content)
            results = self._results.setdefault(key, _Results())
            results.contents.append(content)
        if self._order is not None:
            self._order.begin(sum(lookup.source != "not_applicable" for lookup in found))

    def _key(self, name: str, arguments: str) -> bytes:
        return self.scene.cassette.book.key(name, _NONE if arguments.strip() == "null" else arguments).exact

    def _recorded_step(self) -> Step | None:
        steps = self._segment.steps
        return steps[self._place] if self._place < len(steps) and not self.is_diverged else None

    def _show_last(self) -> None:
        """Let what was said last be a part of what is said next."""
        if not self._is_shown and (reply := self.steps[-1].reply) is not None:
            self.show_reply(reply, self.steps[-1].found)
        self._is_shown = True

    def _end(self, text: str | None, failed: AgentFailedError | None) -> None:
        """What the agent returned, or why it did not, as the end of its steps."""
        if failed is None:
            try:
                read_calls(Reply(text))
            except ValueError as error:
                failed = AgentFailedError("candidate_error", f"{type(error).__name__}: {error}")
        if self._over is None and failed is None:
            self._say(text)
        elif self._over != "ended":
            reason: Reason = self._over or (failed.reason if failed is not None else "candidate_error")
            self._fail_last(reason, self._why if self._over is not None else str(failed))
        self._show_last()

    def _say(self, text: str | None) -> None:
        last = self.steps[-1] if self._place else None
        if last is not None and last.reply is not None and not last.calls:
            if text is not None and text != last.reply.text:
                last.reply = replace(last.reply, text=text)
            return
        if text is None:
            self._fail_last("candidate_error", "the agent returned no text, and the model had said none")
            return
        recorded = self._recorded_step()
        self._show_last()
        step = self.step_at(self._segment, recorded, self.lines.sha256, None)
        self._is_shown = not self.take(step, self._segment, recorded, Reply(text))
        self.steps.append(step)
        self._place += 1

    def _fail_last(self, reason: Reason, detail: str) -> None:
        """Let the unit fail with its last step; one that asked nothing has one for that."""
        if not self._place:
            self.steps.append(self.step_at(self._segment, self._recorded_step(), self.lines.sha256, None))
            self._place = 1
        if self.steps[-1].reason is None:
            self.fail(self.steps[-1], reason, detail)

    def _finish(self, over: Over, why: str) -> None:
        """Answer nothing more in this unit."""
        if self._over is None:
            self._over, self._why = over, why

    def _turn_down(self, api: Api, over: Over, why: str, call: int = -1) -> Served:
        self._finish(over, why)
        document = find_wire(api).error(over, why)
        return Served(400, json.dumps(document).encode(), call)

    def _fetch_or_stop(self, name: str, arguments: Any) -> Any:
        fetched = self.fetch(name, arguments)
        if fetched.over is not None:
            raise AgentStopped(fetched.over, f"no result for {name[:_SHOWN]!r}")
        return fetched.content


def _with_objects(reply: Reply) -> Reply:
    """A recorded reply as models give it: tool calls without arguments have an empty object, which frameworks ask for."""
    calls = [
        replace(call, arguments=JsonText(_NONE)) if call.arguments in (None, "null") else call
        for call in reply.tool_calls
    ]
    return replace(reply, tool_calls=calls)


def _in_own_words(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recorded message whose content and arguments are as endpoints take them; tools and tool calls keep their names here."""
    sent = wire_message(message)
    if sent is message:
        return message
    changed: dict[str, Any] = {**message, "content": sent.get("content")} if "content" in message else {**message}
    if "tool_calls" in message:
        pairs = zip(message["tool_calls"], sent["tool_calls"], strict=True)
        changed["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": other["function"]["arguments"]}}
            if "function" in call
            else call
            for call, other in pairs
        ]
    return changed


def _read_of(content: Any) -> Any:
    """A recorded result as the agent reads it: what would be put into its next request."""
    return _in_own_words({"role": "tool", "content": content})["content"]


def _function(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a tool schema says of its function; nothing where it is of a tool that the provider runs."""
    inner = schema.get("function") or schema.get("custom")
    return inner if isinstance(inner, Mapping) and isinstance(inner.get("name"), str) else {}


def _tool(schema: Mapping[str, Any], fetch: Any) -> Tool:
    function = _function(schema)
    parameters = function.get("parameters")
    return Tool(
        function["name"],
        str(function.get("description") or ""),
        parameters if isinstance(parameters, Mapping) else {"type": "object", "properties": {}},
        fetch,
    )


def _nobody(_api: str, _body: Mapping[str, Any]) -> Any:
    raise AgentStopped("unavailable", "this agent is run elsewhere; it asks by its URL")
