"""What an adapter makes of the records of one conversation: model calls, steps beside them, and facts about the whole.

Times are nanoseconds since 1970-01-01 UTC, as integers; None where nobody knows. `place` says where a row was read, as
`FILE:LINE` or `FILE#PATH`, without folders. `rest` is what no field says, verbatim: an adapter takes out of a record what it
maps, and leaves the rest in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

StepKind = Literal["tool", "utterance", "handoff", "compaction", "state", "mark"]


@dataclass(slots=True)
class Record:
    """One record of a file, parsed.

    Attributes:
        place: Where it was read.
        value: The JSON object; adapters take out of it what they map.
        leaves: Scalars in it before anything was taken out, those inside of decoded JSON texts included, and those of its copies.
        kind: What it is, where a form has records of several kinds; else empty.
        copies: Further copies of it that were read, from an export that overlaps or a delivery that was repeated.
        repeated: Scalars of those copies that it says itself.
        where: File and line for errors, where `place` is its id: the same however the files were written. Else empty.
    """

    place: str
    value: dict[str, Any]
    leaves: int = 0
    kind: str = ""
    copies: int = 0
    repeated: int = 0
    where: str = ""


@dataclass(slots=True)
class Group:
    """The records of one conversation.

    Attributes:
        key: What names the conversation in the form.
        is_named: Whether the form names the conversation; else the key is the trace's.
        records: In the order of their start, a parent before its child; may be read once.
    """

    key: str
    is_named: bool
    records: Iterator[Record]


@dataclass(slots=True)
class Message:
    """One message of a call's input or output.

    Attributes:
        chat: As the run line has it: role (system, user, assistant or tool), content, tool_calls, tool_call_id, name, error,
            reasoning, executor, and fields of the record that have no place, verbatim.
        id: What names it in the form for good, the same in every later input; None where the form has no such ids.
        at: Its own time.
        leaves: Scalars of the recorded message.
        key: What makes it the same as another one, once it was asked for; a reader that gives the same object again saves asking.
    """

    chat: dict[str, Any]
    id: str | None = None
    at: int | None = None
    leaves: int = 0
    key: tuple[Any, ...] | None = None


@dataclass(slots=True)
class Call:
    """One model call.

    Attributes:
        id: Its name in the file (span, observation, run).
        place: Where it was read.
        parent: Id of the row that it hangs under.
        start, end: When it was asked and had answered.
        thread: What the form itself calls the thread it belongs to; None where only its input tells.
        agent: Name of the agent that asked.
        model_requested, model: As asked for, and as the answer names itself.
        listed_model: How the form itself lists the model, where that is another name: it is the one that counts show.
        provider: Who was asked.
        params: Parameters, without those that say messages or tools.
        system: System messages that the form keeps apart from the input.
        input: What it was sent, in order; None where that was not recorded, as content that is not captured.
        output: What came back, usually one message of the role assistant.
        tools: Tool schemas on offer, in chat-completions shape; None where they were not recorded.
        usage: Tokens as the run line has them: input_tokens (with cached ones, unless `usage_basis` says otherwise),
            output_tokens, cached_input_tokens, cache_write_tokens, reasoning_tokens.
        usage_basis: `with_cache` or `without_cache`, as the form defines its input tokens; None where nobody knows.
        cost_usd, latency_ms, ttft_ms, finish_reason, response_id: As recorded; the finish reason by its chat-completions name.
        error: What went wrong, as text or object; None where it answered.
        request: The body that was sent over the wire, parsed, where the form keeps it; where it is a copy beside the messages, the
            adapter counts its leaves as repeated.
        prompt: What names its prompt: any of name, version, template, variables.
        content_switch: What turns content on in that emitter, where it recorded none.
        wrapped_by: Attributes of the outer calls that recorded the same one.
        is_aside: Whether it is no part of the conversation, as the call of a judge: it is counted and kept, and says nothing.
        rest: What no field says.
    """

    id: str
    place: str
    parent: str | None = None
    start: int | None = None
    end: int | None = None
    thread: str | None = None
    agent: str | None = None
    model_requested: str | None = None
    model: str | None = None
    listed_model: str | None = None
    provider: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    system: list[Message] = field(default_factory=list)
    input: list[Message] | None = None
    output: list[Message] = field(default_factory=list)
    tools: list[dict[str, Any]] | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    usage_basis: str | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    ttft_ms: float | None = None
    finish_reason: str | None = None
    response_id: str | None = None
    error: Any = None
    request: dict[str, Any] | None = None
    prompt: dict[str, Any] = field(default_factory=dict)
    content_switch: str | None = None
    wrapped_by: list[dict[str, Any]] = field(default_factory=list)
    is_aside: bool = False
    rest: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Step:
    """Something that happened beside the model calls.

    In a form that is a stream already, utterances (of any role: a tool's answer is one of the role tool) and calls without
    `input` come in the stream's own order, which is kept whatever their times say; each `thread` is a stream, None the main one.
    An utterance of the agent has its `decision` in `message.chat` where the form says of a message how it came to be (model,
    usage, latency) but does not record the model's requests: it is then no `Call`, and is not counted as one.

    Attributes:
        kind: tool: a tool ran; utterance: somebody spoke, where the form records speech and not calls; handoff: an agent gave
            over to another; compaction: history was replaced; state: the form's own event of a call (dtmf, transfer, node);
            mark: a span that only holds others (agent, workflow), for the tree.
        id, place, parent, start, end, thread, agent, error, rest: As of `Call`.
        name: Of the tool, the event, or the span.
        call_id: Of the tool call.
        arguments, output: Of the tool.
        message: Of an utterance; of a tool, the message in which it gave its answer, where the form has that.
        detail: What the step says beside, in the fields of the run line (`speech`, from, to, reason, replaced, …).
    """

    kind: StepKind
    id: str
    place: str
    parent: str | None = None
    start: int | None = None
    end: int | None = None
    thread: str | None = None
    agent: str | None = None
    name: str | None = None
    call_id: str | None = None
    arguments: Any = None
    output: Any = None
    error: Any = None
    message: Message | None = None
    detail: dict[str, Any] = field(default_factory=dict)
    rest: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Facts:
    """What is known of a conversation as a whole; adapters give any number of them, the first to say a thing is kept.

    Attributes:
        place: Where it was read.
        fields: conversation_id, source, task_id, variant, agent, channel, vertical, subject_id, started_at, ended_at (ns),
            outcome, ended_reason (how a call came to its end), tools, usage (of the whole, where the calls say none), tags, metadata, fidelity, kind (`conversation` or `call`), parent.
        scores: name, value, label, kind, source, comment, recorded_at, and what they are of (`message` or `call_id`).
        rest: What no field says.
    """

    place: str
    fields: dict[str, Any] = field(default_factory=dict)
    scores: list[dict[str, Any]] = field(default_factory=list)
    rest: dict[str, Any] = field(default_factory=dict)


Row = Call | Step | Facts
