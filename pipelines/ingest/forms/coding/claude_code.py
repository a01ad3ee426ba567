"""Sessions of Claude Code: a file of lines a session, those of its sub-agents in it or in files beside it.

One answer of the model is one to four lines with the same `message.id`, each with the usage so far: they are put together here, and
the last usage counts. Lines of sub-agents are told by `agentId`, or in older versions by the root that their parents lead to; each
sub-agent is a stream of its own. There is no system prompt in these files, and there are no tool schemas.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.canonical.finish_reasons import finish_reason
from pipelines.ingest.assemble.messages import read
from pipelines.ingest.assemble.rows import Call, Facts, Group, Message, Record, Row, Step
from pipelines.ingest.forms.anthropic_events import take_usage_of
from pipelines.ingest.forms.fields import at, named, nanoseconds, take, take_text, take_time
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.gathering import Found, gathered
from pipelines.ingest.forms.reading import objects

_SUPPLIED = (
    ("<command-", "command"),
    ("<local-command-", "command"),
    ("<system-reminder>", "reminder"),
    ("<bash-", "command"),
)
"""How texts begin that Claude Code wrote in the person's place."""
_SPAWNS = ("Task", "Agent")
_TYPES = (
    "user",
    "assistant",
    "system",
    "summary",
    "attachment",
    "file-history-snapshot",
    "queue-operation",
    "progress",
)


class ClaudeCode:
    """The form `claude-code`."""

    name = "claude-code"

    def recognises(self, head: Head) -> bool:
        """Whether one of the first lines is of a session."""
        return any(
            isinstance(each, dict) and "sessionId" in each and (each.get("type") in _TYPES or "uuid" in each)
            for each in head.values[:20]
        )

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """Sessions, those of sub-agents in other files among them.

        Raises:
            BadInputError: A file is not JSON lines.
        """
        return gathered((found for path in files for found in _lines(path, options)), options)

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """What was said, in each stream in the order of the file."""
        records = list(group.records)
        subject = named(records[0].value, options.subject_key, ())
        yield Facts(records[0].place, {"source": self.name} | ({"subject_id": subject} if subject else {}))
        session = _Session(records)
        for entry in session.entries():
            yield from session.rows(entry)


def _lines(path: Path, options: Options) -> Iterator[Found]:
    """Lines by session; one that is none of a stream is of the session around it, whatever it says."""
    session: str | None = None
    waiting: list[tuple[str, dict[str, Any]]] = []
    for place, value in objects(path, options.memory_bytes):
        if session is None or "uuid" in value:
            session = named(value, options.conversation_key, (("sessionId",),)) or session
        waiting.append((place, value))
        if session is not None:
            yield from (Found(session, True, *each) for each in waiting)
            waiting.clear()
    yield from (Found(path.name.split(".")[0], False, *each) for each in waiting)


@dataclass(slots=True)
class _Entry:
    """Lines that say one thing: an answer of the model, or one line of anybody else."""

    thread: str | None
    role: str
    records: list[Record] = field(default_factory=list)


class _Context:
    """What the model has before it in one stream, so that it is seen when the person goes back to an earlier place.

    The lines that were left behind stay where they are; a compaction says that the context gave them up.
    """

    def __init__(self) -> None:
        self._size = 0
        self._after: dict[str, int] = {}
        self._answered: set[str] = set()

    def rows(self, entry: _Entry, rows: Sequence[Call | Step]) -> Iterator[Call | Step]:
        """The rows of an entry, a rewind before them where its text goes on from where another one did."""
        first = entry.records[0]
        parent = first.value.get("parentUuid")
        said = [row for row in rows if isinstance(row, Call) or row.kind == "utterance"]
        is_person = any(isinstance(row, Step) and row.message and row.message.chat["role"] == "user" for row in said)
        if is_person and isinstance(parent, str) and parent in self._after:
            if parent in self._answered and self._after[parent] < self._size:
                start = self._after[parent]
                detail = {"kind": "rewind", "from_message": start, "to_message": self._size, "replacement": []}
                yield Step("compaction", f"{_name(first)}/rewind", first.place, thread=entry.thread, detail=detail)
                self._size = start
            self._answered.add(parent)
        if entry.role == "compaction":
            self._size = 0
            self._after.clear()
        self._size += sum(len(row.output) if isinstance(row, Call) else 1 for row in said)
        for record in entry.records:
            if isinstance(record.value.get("uuid"), str):
                self._after[record.value["uuid"]] = self._size
        yield from rows


class _Session:
    """The lines of one session, and the streams that they are of."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._lines = {r.value["uuid"]: r.value for r in records if isinstance(r.value.get("uuid"), str)}
        self._agents = _spawned(record.value for record in records)
        self._is_begun: set[str | None] = set()
        self._contexts: dict[str | None, _Context] = {}
        self._answers: set[str] = set()

    def entries(self) -> Iterable[_Entry]:
        """What the lines say, each where its first line stands."""
        entries: dict[Any, _Entry] = {}
        for number, record in enumerate(self._records):
            value = record.value
            kind, message = value.get("type"), value.get("message")
            if kind == "system" and value.get("subtype") == "compact_boundary":
                entries[number] = _Entry(self._thread(value), "compaction", [record])
            elif kind in ("user", "assistant") and isinstance(message, dict):
                thread = self._thread(value)
                names = (message.get("id") if kind == "assistant" else None, value.get("uuid"))
                name = next((each for each in names if isinstance(each, str) and each), number)
                entry = entries.setdefault((thread, name), _Entry(thread, kind))
                if any(each.value == value for each in entry.records):  # a line that was written again
                    record.repeated += record.leaves
                    value.clear()
                else:
                    entry.records.append(record)
        return entries.values()

    def rows(self, entry: _Entry) -> Iterator[Row]:
        """The rows of one entry."""
        spawn = self._spawn(entry) if entry.thread not in self._is_begun else None
        self._is_begun.add(entry.thread)
        parent, agent = self._agents.get(entry.thread or "", (None, None)) if spawn is None else spawn
        if entry.thread is not None and (parent, agent) != (None, None):
            self._agents[entry.thread] = (parent, agent)
        if entry.role == "assistant" and self._is_first(entry):
            made: Iterator[Call] | Iterator[Step] = _answer(entry)
        else:
            made = _compaction(entry) if entry.role == "compaction" else _utterances(entry)
        context = self._contexts.setdefault(entry.thread, _Context())
        for row in context.rows(entry, list(made)):
            row.parent, row.agent = parent, agent
            yield row

    def _is_first(self, entry: _Entry) -> bool:
        """Whether an answer has not stood in another stream: one that two streams have was one call."""
        name = at(entry.records[0].value, "message", "id")
        is_first = not isinstance(name, str) or name not in self._answers
        self._answers |= {name} if isinstance(name, str) else set()
        return is_first

    def _thread(self, line: dict[str, Any]) -> str | None:
        if isinstance(line.get("agentId"), str):
            return str(line["agentId"])
        if not line.get("isSidechain"):
            return None
        seen: set[str] = set()
        while (parent := self._lines.get(str(line.get("parentUuid")))) and parent.get("isSidechain"):
            if str(line.get("uuid")) in seen:
                break
            seen.add(str(line.get("uuid")))
            line = parent
        return str(line.get("uuid"))

    def _spawn(self, entry: _Entry) -> tuple[str | None, str | None] | None:
        """The call that a sub-agent was given its task by: the one with its first text as prompt."""
        text = at(entry.records[0].value, "message", "content")
        return self._agents.get(f"prompt:{text}") if isinstance(text, str) and entry.thread is not None else None


def _spawned(lines: Iterable[dict[str, Any]]) -> dict[str, tuple[str | None, str | None]]:
    """Calls that gave a task to a sub-agent, with its kind: by the agent's id, and by the prompt."""
    found: dict[str, tuple[str | None, str | None]] = {}
    kinds: dict[str, str | None] = {}
    for line in lines:
        content = at(line, "message", "content")
        for block in content if isinstance(content, list) else ():
            if at(block, "type") == "tool_use" and at(block, "name") in _SPAWNS and isinstance(at(block, "id"), str):
                kinds[block["id"]] = kind = at(block, "input", "subagent_type")
                found[f"prompt:{at(block, 'input', 'prompt')}"] = (block["id"], kind if isinstance(kind, str) else None)
            agent, call = at(line, "toolUseResult", "agentId"), at(block, "tool_use_id")
            if isinstance(agent, str) and isinstance(call, str):
                found[agent] = (call, kinds.get(call))
    return found


def _compaction(entry: _Entry) -> Iterator[Step]:
    record = entry.records[0]
    value = record.value
    moment = take_time(value, "timestamp")
    trigger = take_text(value, "compactMetadata", "trigger")
    detail = {"kind": "summary"} | ({"trigger": trigger} if trigger else {})
    yield Step("compaction", _name(record), record.place, start=moment, thread=entry.thread, detail=detail, rest=value)


def _utterances(entry: _Entry) -> Iterator[Step]:
    record = entry.records[0]
    value = record.value
    moment = take_time(value, "timestamp")
    supplied = _supplied(value)
    for index, message in enumerate(_messages(entry, entry.role)):
        chat = message.chat
        message.at = moment
        if chat["role"] == "tool":
            call = take_text(value, "sourceToolUseID") if chat.get("tool_call_id") is None else None
            chat |= {"tool_call_id": call} if call else {}
            chat |= {"denied": True} if "toolDenialKind" in value else {}
            if chat.get("error") is False:
                del chat["error"]
        elif supplied:
            chat["supplied"] = supplied
        name = _name(record) if index == 0 else f"{_name(record)}/{index}"
        rest = value if index == 0 else {}
        yield Step("utterance", name, record.place, start=moment, thread=entry.thread, message=message, rest=rest)


def _answer(entry: _Entry) -> Iterator[Call]:
    first = entry.records[0]
    last = next(record for record in reversed(entry.records) if record.value.get("type") == "assistant")
    start = nanoseconds(first.value.get("timestamp"))
    end = take_time(last.value, "timestamp")
    reasons = [at(record.value, "message", "stop_reason") for record in entry.records]
    error = take(last.value, "error") if last.value.get("isApiErrorMessage") else None
    usage = take_usage_of(last.value, "message", "usage")
    name = take_text(last.value, "message", "id")
    model = take_text(last.value, "message", "model")
    output = _messages(entry, "assistant")
    for message in output:
        message.at = end
    yield Call(
        name or _name(first),
        first.place,
        start=start,
        end=end,
        thread=entry.thread,
        model=model,
        provider="anthropic",
        output=output,
        usage=usage,
        usage_basis="with_cache" if usage else None,
        finish_reason=finish_reason(next((reason for reason in reversed(reasons) if reason), None)),
        response_id=name,
        error=error,
        rest=last.value,
    )


def _messages(entry: _Entry, role: str) -> list[Message]:
    """The content of all lines of an entry as messages, taken out of them."""
    content: list[Any] = []
    for record in entry.records:
        said = take(record.value, "message", "content", of=(str, list))
        content += [{"type": "text", "text": said}] if isinstance(said, str) else said or []
    messages = read([{"role": role, "content": content}]).messages
    for message in messages:
        if role == "assistant" and message.chat.get("content") is None and not message.chat.get("tool_calls"):
            message.chat["content"] = ""  # reasoning alone is an answer, too
    return messages


def _supplied(line: dict[str, Any]) -> str | None:
    """What a text in the person's place is that Claude Code wrote; None where the person did."""
    if line.get("isCompactSummary") is True:
        return "summary"
    content = at(line, "message", "content")
    text = content if isinstance(content, str) else ""
    kind = next((kind for begin, kind in _SUPPLIED if text.startswith(begin)), None)
    return kind or ("meta" if line.get("isMeta") is True else None)


def _name(record: Record) -> str:
    name = record.value.get("uuid")
    return name if isinstance(name, str) else record.place


FORM = ClaudeCode()
