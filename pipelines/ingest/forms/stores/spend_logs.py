"""LiteLLM's table of calls in the proxy's own database: `LiteLLM_SpendLogs`, a row a call.

Read where it is, in one snapshot, session by session; PostgreSQL sorts. Columns that a version does not have are as if they were
null. Prompts and answers are there where the proxy was told to store them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import leaves, said
from pipelines.ingest.assemble.messages import Read, read, take_answer, take_request
from pipelines.ingest.assemble.rows import Call, Facts, Group, Record, Row
from pipelines.ingest.forms.fields import name_reason
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.litellm import PARAMS
from pipelines.ingest.forms.stores.values import (
    decode_fields,
    inner,
    pop_any,
    pop_number,
    pop_text,
    pop_time,
)
from pipelines.ingest.postgres.source import connect_source, identifier

TABLE = "LiteLLM_SpendLogs"
SWITCH = "general_settings: {store_prompts_in_spend_logs: true}"
"""What makes the proxy keep prompts and answers."""
_ROWS = """
SELECT
    coalesce(nullif(to_jsonb(l) ->> 'session_id', ''), l.request_id) AS conversation,
    nullif(to_jsonb(l) ->> 'session_id', '') IS NOT NULL AS is_named,
    to_jsonb(l) AS call
FROM {table} AS l
WHERE
    %(since)s::timestamp IS NULL
    OR l."startTime" >= %(since)s::timestamp
    OR nullif(to_jsonb(l) ->> 'session_id', '') IN (
        SELECT to_jsonb(r) ->> 'session_id' FROM {table} AS r WHERE r."startTime" >= %(since)s::timestamp
    )
ORDER BY 1, 2, l."startTime", l.request_id
"""
"""Sessions with a call from a time on, whole: what came before may have come in already, and is then what it grows from."""
_FETCHED = 64
_JSON = ("messages", "response", "metadata", "proxy_server_request", "request_tags")


@dataclass(frozen=True, slots=True)
class SpendLogs:
    """The form `litellm` of a database.

    Attributes:
        dsn: Where the database is.
        table: The table, with its schema if it is not on the search path.
        since: Sessions without a call from then on are left out (UTC); None for all.
    """

    dsn: str
    table: str = f'"{TABLE}"'
    since: datetime | None = None
    name: str = "litellm"

    def recognises(self, head: Head) -> bool:  # noqa: ARG002 -- as every form
        """No file is of this form."""
        return False

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:  # noqa: ARG002 -- as every form
        """The sessions of the table, and calls without one by themselves; see `Form.groups`."""
        with connect_source(self.dsn) as conn, conn.cursor(name="refold_spend_logs") as cursor:
            cursor.itersize = _FETCHED
            query = sql.SQL(_ROWS).format(table=identifier(self.table))
            since = None if self.since is None else self.since.replace(tzinfo=None)
            try:
                cursor.execute(query, {"since": since})
                for (key, is_named), rows in groupby(cursor, key=lambda row: (row[0], row[1])):
                    yield Group(str(key), bool(is_named), (_record(row[2]) for row in rows))
            except psycopg.errors.UndefinedTable:
                raise BadInputError(f"there is no table {self.table} in that database; name it with --table") from None

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """The calls of one session; see `Form.adapt`."""
        is_first = True
        for record in group.records:
            subject = pop_text(record.value, *([options.subject_key] if options.subject_key else []), "end_user")
            fields = {"conversation_id": group.key, "source": options.source or self.name, "subject_id": subject}
            if is_first or subject:
                yield Facts(record.place, said(fields))
            is_first = False
            yield _call(record)


def _record(row: dict[str, Any]) -> Record:
    value = decode_fields(row, *_JSON)
    return Record(f"{TABLE}#{value.get('request_id')}", value, leaves(value))


def _call(record: Record) -> Call:
    row = record.value
    call = Call(pop_text(row, "request_id") or record.place, record.place, rest=row)
    call.start, call.end = pop_time(row, "startTime"), pop_time(row, "endTime")
    call.agent = pop_text(row, "agent_id")
    pop_text(row, "session_id")  # the conversation's name
    call.model_requested = pop_text(row, "model_group") or pop_text(row, "model")
    call.model = pop_text(row, "model")
    call.provider = pop_text(row, "custom_llm_provider")
    call.cost_usd = pop_number(row, "spend")
    first = pop_time(row, "completionStartTime")
    if first is not None and call.start is not None and first != call.end:
        call.ttft_ms = (first - call.start) / 10**6
    _asked(call, row)
    _answered(call, row)
    call.usage = {
        name: int(each)
        for name, each in (
            ("input_tokens", pop_number(row, "prompt_tokens")),
            ("output_tokens", pop_number(row, "completion_tokens")),
            *_details(row),
        )
        if each is not None
    }
    call.usage_basis = "with_cache"
    if row.get("status") == "failure":
        call.error = _error(row)
    return call


def _asked(call: Call, row: dict[str, Any]) -> None:
    """What was sent: in `messages`, or in the request as the proxy got it."""
    request = row["proxy_server_request"] if isinstance(row.get("proxy_server_request"), dict) else {}
    history = read(row["messages"]) if row.get("messages") else Read()
    if history.messages:
        row.pop("messages")
    elif request:
        history = take_request(request)
    call.input = history.messages or None
    call.params = {name: request.pop(name) for name in PARAMS if request.get(name) is not None}
    tools = request.get("tools")
    if isinstance(tools, list):
        call.tools = pop_any(request, "tools")
    if call.input is None:
        call.content_switch = SWITCH


def _answered(call: Call, row: dict[str, Any]) -> None:
    response = row.get("response")
    if not isinstance(response, dict) or not response:
        return
    answer = take_answer(response)
    call.output = answer.messages
    name_reason(call, answer.finish_reason)
    call.model = pop_text(response, "model") or call.model
    call.response_id = pop_text(response, "id")
    if answer.choices:
        row["choices"] = answer.choices


def _details(row: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    response = row.get("response")
    usage = response.get("usage") if isinstance(response, dict) else None
    if not isinstance(usage, dict):
        return
    ins, outs = (inner(usage, name) for name in ("prompt_tokens_details", "completion_tokens_details"))
    yield "cached_input_tokens", pop_number(ins, "cached_tokens")
    yield "cache_write_tokens", pop_number(usage, "cache_creation_input_tokens")
    yield "reasoning_tokens", pop_number(outs, "reasoning_tokens")


def _error(row: dict[str, Any]) -> Any:
    metadata = row["metadata"] if isinstance(row.get("metadata"), dict) else {}
    return pop_any(metadata, "error_information") or "the proxy says that it failed"
