"""Call logs of LiteLLM: one completion a line, with what was sent, what came back, cost and latency.

LiteLLM's loggers write `{messages, tools, kwargs, response, cost, latency_sec}`, or a standard logging payload with the same
fields by other names. Calls that say no session are one conversation a file, named after their first answer, which stays the same
however far the file has grown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.messages import take_answer, take_request
from pipelines.ingest.assemble.rows import Call, Facts, Group, Record, Row
from pipelines.ingest.forms.fields import at, keep_other, named, take, take_number, take_text, take_time, take_usage
from pipelines.ingest.forms.form import Head, Options
from pipelines.ingest.forms.gathering import Delivered, Found, gathered
from pipelines.ingest.forms.reading import objects

_SESSIONS = (
    ("metadata", "session_id"),
    ("kwargs", "litellm_session_id"),
    ("kwargs", "metadata", "session_id"),
    ("kwargs", "litellm_trace_id"),
    ("litellm_session_id",),
    ("session_id",),
    ("trace_id",),
)
_SUBJECTS = (("kwargs", "user"), ("end_user",), ("metadata", "user_api_key_end_user_id"))
_USAGE = {
    "input_tokens": ("prompt_tokens",),
    "output_tokens": ("completion_tokens",),
    "cached_input_tokens": ("prompt_tokens_details", "cached_tokens"),
    "cache_write_tokens": ("cache_creation_input_tokens",),
    "reasoning_tokens": ("completion_tokens_details", "reasoning_tokens"),
}
PARAMS = (
    "temperature", "top_p", "top_k", "n", "max_tokens", "max_completion_tokens", "stop", "seed", "presence_penalty",
    "frequency_penalty", "logit_bias", "tool_choice", "parallel_tool_calls", "response_format", "reasoning_effort", "stream",
)  # fmt: skip
"""Parameters of chat completions."""


class LiteLLM:
    """The form `litellm`, of files; rows of its database are read elsewhere."""

    name = "litellm"

    def recognises(self, head: Head) -> bool:
        """Whether the file begins with the log of a call."""
        return _is_call(head.first)

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """Calls by session; those of a file that say none are one conversation.

        Raises:
            BadInputError: A file is no JSON, or a line of it is no call.
        """
        return gathered((found for path in files for found in _calls(path, options)), options)

    def adapt(self, group: Group, options: Options) -> Iterator[Row]:
        """The calls as they were logged."""
        facts, delivered = None, Delivered()
        for record in group.records:
            if delivered.is_again(record, at(record.value, "response", "id")):
                continue
            subject = named(record.value, options.subject_key, _SUBJECTS)
            call = _call(record)
            if facts is None:
                facts = Facts(record.place, {"source": self.name} | ({"subject_id": subject} if subject else {}))
                yield facts
            yield call


def _is_call(value: dict[str, Any]) -> bool:
    return "messages" in value and isinstance(value.get("response"), dict) and "request" not in value


def _calls(path: Path, options: Options) -> Iterator[Found]:
    fallback = None
    for place, value in objects(path, options.memory_bytes):
        if not _is_call(value):
            raise BadInputError(f"{place}: is no logged call; it has no messages, or no response that is an object")
        session = named(value, options.conversation_key, _SESSIONS)
        fallback = fallback or at(value, "response", "id") or path.name.split(".")[0]
        yield Found(session or str(fallback), session is not None, place, value)


def _call(record: Record) -> Call:
    value = record.value
    request = take_request(value)
    answer = take_answer(value["response"])
    keep_other(value, request, answer)
    tools = take(value, "tools", of=list)
    if tools is not None and at(value, "kwargs", "tools") == tools:
        record.repeated += leaves(take(value, "kwargs", "tools"))
    end = take_time(value, "timestamp", unit="s") or take_time(value, "endTime", unit="s")
    seconds = take_number(value, "latency_sec")
    start = take_time(value, "startTime", unit="s")
    if start is None and end is not None and seconds is not None:
        start = end - round(seconds * 10**6) * 1000
    response_id = take_text(value, "response", "id")
    return Call(
        response_id or record.place,
        record.place,
        start=start if start is not None else end,
        end=end,
        model_requested=take_text(value, "kwargs", "model") or take_text(value, "model"),
        model=take_text(value, "response", "model"),
        provider=take_text(value, "custom_llm_provider"),
        params={key: taken for key in PARAMS if (taken := take(value, "kwargs", key)) is not None},
        input=request.messages,
        output=answer.messages,
        tools=tools,
        usage=take_usage(value, {name: ("response", "usage", *path) for name, path in _USAGE.items()}),
        usage_basis="with_cache",
        cost_usd=take_number(value, "cost") or take_number(value, "response_cost"),
        latency_ms=None if seconds is None else round(seconds * 1000, 6),
        finish_reason=answer.finish_reason,
        response_id=response_id,
        error=take(value, "error") or take(value, "error_str"),
        rest=value,
    )


FORM = LiteLLM()
