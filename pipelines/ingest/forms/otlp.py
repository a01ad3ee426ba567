"""The form `otlp`: spans and log records of OpenTelemetry, of whichever instrumentation, as files of OTLP's JSON have them.

A span is a model call, a tool that ran, or one that only holds others; which, its attributes say. What the dialects call things is
in `otel.names`, where they keep messages in `otel.content`, how the files are read in `otel.groups`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.ingest.assemble.rows import Call, Group, Row, Step
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.otel.calls import call_of, has_output
from pipelines.ingest.forms.otel.events import has_messages, merge_details
from pipelines.ingest.forms.otel.facts import Known
from pipelines.ingest.forms.otel.groups import PieceReader, groups, pieces
from pipelines.ingest.forms.otel.names import CALL_OPERATIONS
from pipelines.ingest.forms.otel.span import Span
from pipelines.ingest.forms.otel.steps import Tools, mark_of
from pipelines.ingest.forms.otel.tables import has_spans, is_table
from pipelines.ingest.forms.otel.texts import Texts

_MOST_HELD = 10_000
"""Rows that wait for the first call of a conversation, while only outer spans have had messages."""
_HOLDERS = ("invoke_agent", "create_agent", "invoke_workflow", "plan", "embeddings", "retrieval")
_VERCEL_CALLS = (".doGenerate", ".doStream")
_VERCEL_OUTER = ("ai.generateText", "ai.streamText", "ai.generateObject", "ai.streamObject")
_LIVEKIT_CALLS = ("llm_node", "llm_request", "llm_request_run")


class Otlp:
    """OpenTelemetry spans and log records, by the name of `otlp`."""

    name = "otlp"

    def recognises(self, head: Head) -> bool:
        """Whether the file begins with an export request."""
        if is_table(head.data):
            return has_spans(head.path)
        names = ("resourceSpans", "resourceLogs", "resource_spans", "resource_logs")
        return any(name in head.first for name in names) or any(head.names(name) for name in names)

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """The conversations of all files; see `otel.groups`."""
        return groups(files, options)

    def pieces(self, files: Sequence[Path], options: Options) -> Iterator[Group | bytes]:
        """The conversations, short ones as pieces for any process; see `otel.groups`."""
        return pieces(files, options)

    def piece_reader(self, files: Sequence[Path], options: Options) -> PieceReader:
        """What reads such pieces."""
        return PieceReader(files, options)

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """Calls, tools and marks of one conversation, and what is known of it."""
        known, tools, texts = Known(group, options), Tools(), Texts()
        waiting: list[tuple[Row, Span | None]] | None = []
        for record in group.records:
            span = Span(record, texts)
            yield from known.facts_of(span)
            row = _row(span, tools)
            if row is None:
                continue
            if waiting is None:
                yield row
                continue
            waiting.append((row, span if isinstance(row, Step) and row.kind == "mark" and has_output(span) else None))
            if isinstance(row, Call) or len(waiting) > _MOST_HELD or all(each is None for _, each in waiting):
                yield from (each for each, _ in waiting)
                waiting = None if isinstance(row, Call) else []
        for row, outer in waiting or ():
            yield row if outer is None else call_of(outer)


def _row(span: Span, tools: Tools) -> Row | None:
    """What a record is: a call, a tool that ran, a mark; nothing, where it is a log record that says no message."""
    merge_details(span)
    if span.record.kind == "logs":
        return call_of(span) if has_messages(span) or _has_lists(span) else None
    if tools.is_tool(span):
        return tools.step_of(span)
    if _is_call(span):
        return call_of(span)
    return mark_of(span, tools)


def _is_call(span: Span) -> bool:
    """Whether a span is a model call: what says what it is decides, else whether it has what only a call has."""
    attributes = span.attributes
    operation = attributes.get("gen_ai.operation.name")
    kind = attributes.get("openinference.span.kind")
    vercel = attributes.get("ai.operationId")
    if operation in CALL_OPERATIONS or operation in _HOLDERS:
        return operation in CALL_OPERATIONS
    if kind is not None or attributes.get("traceloop.span.kind") in ("workflow", "task", "agent"):
        return bool(kind == "LLM")
    if isinstance(vercel, str):
        return vercel.endswith(_VERCEL_CALLS) or vercel in _VERCEL_OUTER
    return _has_what_calls_have(span)


def _has_what_calls_have(span: Span) -> bool:
    return (
        span.attributes.get("llm.request.type") in ("chat", "completion")
        or _has_lists(span)
        or bool(span.indexed.keys() & {"gen_ai.prompt", "gen_ai.completion", "llm.input_messages"})
        or (span.value.get("name") in _LIVEKIT_CALLS and any(name.startswith("lk.") for name in span.attributes))
        or (bool(span.logs) and has_messages(span))
    )


def _has_lists(span: Span) -> bool:
    return "gen_ai.input.messages" in span.attributes or "gen_ai.output.messages" in span.attributes


FORM = Otlp()
