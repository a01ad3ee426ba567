"""Where the reports of each voice vendor say what: ids, times, utterances, tool calls, outcome, scores.

One `Vendor` each. Nothing here reads files; who does, and in which order the items are, is `voice`. Costs stay in the report: they
are credits, cents or dollars by vendor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.rows import Facts, Record, Step
from pipelines.ingest.forms.fields import (
    at,
    map_fields,
    objects_at,
    scaled,
    take,
    take_number,
    take_text,
    take_time,
    take_usage,
)
from pipelines.ingest.forms.voice_vendor import (
    Value,
    Vendor,
    call_of,
    collected,
    result_of,
    score,
    speech_of,
    state,
    utterance,
)

_SECOND = 10**9
_STATES = {"node_transition": "node", "dtmf": "dtmf", "sms": "sms", "transfer_target": "transfer"}
"""Items of Retell that are no speech, by the kind of event that they are."""


# ElevenLabs: post_call_transcription, or GET conversation


def _elevenlabs_facts(call: Value, facts: Facts) -> int | None:
    start = take_time(call, "metadata", "start_time_unix_secs", unit="s")
    phone = at(call, "metadata", "phone_call")
    length = scaled(at(call, "metadata", "call_duration_secs"), _SECOND)
    own = {
        "agent": lambda c: take_text(c, "agent_name"),
        "subject_id": lambda c: take_text(c, "user_id") or take_text(c, "metadata", "phone_call", "external_number"),
        "outcome": lambda c: take(c, "analysis", "call_successful"),
        "ended_reason": lambda c: take_text(c, "metadata", "termination_reason"),
        "channel": lambda _: "phone" if phone else "web",
        "started_at": lambda _: start,
        "ended_at": lambda _: None if start is None or length is None else start + length,
    }
    facts.fields = map_fields(call, own) | facts.fields
    for field, value in (("evaluation_criteria_results", "result"), ("data_collection_results", "value")):
        results = at(call, "analysis", field)
        for name, result in list(results.items()) if isinstance(results, dict) else ():
            if isinstance(result, dict) and (said := take(result, value, of=(str, bool, int, float))) is not None:
                facts.scores.append(score(name, said, take_text(result, "rationale")))
    return start


def _elevenlabs_steps(record: Record, start: int | None) -> Iterator[Step]:
    item = record.value
    seconds = at(item, "time_in_call_secs")
    since = scaled(seconds, _SECOND)
    moment = None
    if start is not None and since is not None:
        take(item, "time_in_call_secs")
        moment = start + since
    role = {"user": "user", "agent": "assistant"}.get(str(item.get("role")))
    if role is None:
        yield state(record, moment, str(item.get("role", "state")))
        return
    del item["role"]
    calls = [call for call in objects_at(item, "tool_calls") if isinstance(call.get("tool_name"), str)]
    results = objects_at(item, "tool_results")
    meant, heard = take_text(item, "original_message"), take_text(item, "message")
    is_first = True
    if meant or heard or calls or not results:
        chat: Value = {"role": role, "content": meant or heard}
        if calls:
            chat["tool_calls"] = [call_of(c, "request_id", ("tool_name",), ("params_as_json",)) for c in calls]
        if decision := _elevenlabs_decision(item):
            chat["decision"] = decision
        speech = speech_of(
            start_ms=scaled(seconds, 1000) if meant or heard else None,
            interrupted=take(item, "interrupted", of=bool),
            heard_text=heard if meant else None,
            source=take_text(item, "source_medium"),
        )
        yield utterance(record, chat, moment, speech if meant or heard else None)
        is_first = False
    for result in results:
        chat = result_of(result, "request_id", "tool_name", "result_value")
        if take(result, "is_error", of=bool):
            chat["error"] = True
        if (latency := take_number(result, "tool_latency_secs")) is not None:
            chat["latency_ms"] = round(latency * 1000, 3)
        yield utterance(record, chat, moment, more=not is_first)
        is_first = False


def _elevenlabs_decision(item: Value) -> Value:
    by_model = at(item, "llm_usage", "model_usage")
    decision: Value = {}
    if isinstance(by_model, dict) and len(by_model) == 1 and isinstance(model := next(iter(by_model)), str):
        prices = [at(each, "price") for each in by_model[model].values()] if isinstance(by_model[model], dict) else []
        usage = {
            "input_tokens": ("input", "tokens"),
            "output_tokens": ("output_total", "tokens"),
            "cached_input_tokens": ("input_cache_read", "tokens"),
            "cache_write_tokens": ("input_cache_write", "tokens"),
        }
        path = ("llm_usage", "model_usage", model)
        decision = {"model": model, "usage": take_usage(item, {name: (*path, *each) for name, each in usage.items()})}
        if prices and all(isinstance(price, (int, float)) for price in prices):
            decision["cost_usd"] = sum(prices)
    ttfb = take_number(item, "conversation_turn_metrics", "metrics", "convai_llm_service_ttfb", "elapsed_time")
    microseconds = scaled(ttfb, 10**6)
    return decision | ({"ttft_ms": microseconds / 1000} if microseconds is not None else {})


# Retell: call_ended, call_analyzed, or GET call


def _retell_facts(call: Value, facts: Facts) -> int | None:
    kind = at(call, "call_type")
    number = "to_number" if at(call, "direction") == "outbound" else "from_number"
    start = take_time(call, "start_timestamp", unit="ms")
    own = {
        "agent": lambda c: take_text(c, "agent_name"),
        "subject_id": lambda c: take_text(c, number),
        "outcome": lambda c: take(c, "call_analysis", "call_successful"),
        "ended_reason": lambda c: take_text(c, "disconnection_reason"),
        "channel": lambda _: {"phone_call": "phone", "web_call": "web"}.get(str(kind)),
        "started_at": lambda _: start,
        "ended_at": lambda c: take_time(c, "end_timestamp", unit="ms"),
    }
    facts.fields = map_fields(call, own) | facts.fields
    if isinstance(sentiment := take_text(call, "call_analysis", "user_sentiment"), str):
        facts.scores.append(score("user_sentiment", sentiment))
    facts.scores += collected(call, "call_analysis", "custom_analysis_data")
    return start


def _retell_steps(record: Record, start: int | None) -> Iterator[Step]:
    item = record.value
    role = item.get("role")
    if role in ("agent", "user"):
        del item["role"]
        words = item.get("words")
        first, last = (words[0], words[-1]) if isinstance(words, list) and words else (None, None)
        begun, ended = scaled(at(first, "start"), 1000), scaled(at(last, "end"), 1000)
        moment = start + begun * 10**6 if start is not None and begun is not None else None
        speech = speech_of(start_ms=begun, end_ms=ended, words=take(item, "words", of=list) if first else None)
        said = {"role": "user" if role == "user" else "assistant", "content": take(item, "content", of=str)}
        yield utterance(record, said, moment, speech)
    elif role == "tool_call_invocation":
        del item["role"]
        called = {
            "role": "assistant",
            "content": None,
            "tool_calls": [call_of(item, "tool_call_id", ("name",), ("arguments",))],
        }
        yield utterance(record, called, None)
    elif role == "tool_call_result":
        del item["role"]
        chat = result_of(item, "tool_call_id", "name", "content")
        if take(item, "successful", of=bool) is False:
            chat["error"] = True
        yield utterance(record, chat, None)
    else:
        yield state(record, None, _STATES.get(str(role), str(role or "state")))


def _retell_text(items: list[Value]) -> str:
    names = {"agent": "Agent", "user": "User"}
    return "".join(f"{names[i['role']]}: {i.get('content')}\n" for i in items if str(i.get("role")) in names)


# Vapi: end-of-call-report, or GET call


def _vapi_facts(call: Value, facts: Facts) -> int | None:
    kind = str(at(call, "call", "type") or at(call, "type"))
    start = take_time(call, "startedAt")
    own = {
        "agent": lambda c: take_text(c, "assistant", "name"),
        "subject_id": lambda c: take_text(c, "call", "customer", "number") or take_text(c, "customer", "number"),
        "outcome": lambda c: take(c, "analysis", "successEvaluation"),
        "ended_reason": lambda c: take_text(c, "endedReason"),
        "channel": lambda _: "phone" if "Phone" in kind else "web" if "web" in kind else None,
        "started_at": lambda _: start,
        "ended_at": lambda c: take_time(c, "endedAt"),
    }
    facts.fields = map_fields(call, own) | facts.fields
    facts.scores += collected(call, "analysis", "structuredData")
    return start


def _vapi_steps(record: Record, start: int | None) -> Iterator[Step]:
    item = record.value
    role = item.get("role")
    begun, ended = item.get("time"), item.get("endTime")
    moment = take_time(item, "time", unit="ms")
    if role in ("bot", "user", "system"):
        del item["role"]
        speech = speech_of(
            start_ms=_since(begun, start),
            end_ms=_since(ended, start),
            words=take(item, "metadata", "wordLevelConfidence", of=list)
            if at(item, "metadata", "wordLevelConfidence")
            else None,
        )
        if role == "bot":
            role = "assistant"
        text = take(item, "message", of=str)
        yield utterance(record, {"role": role, "content": text}, moment, None if role == "system" else speech)
    elif role == "tool_calls":
        del item["role"]
        calls = objects_at(item, "toolCalls")
        called = [call_of(c, "id", ("function", "name"), ("function", "arguments")) for c in calls]
        for call in calls:
            take(call, "type", of=str)
        yield utterance(
            record, {"role": "assistant", "content": take_text(item, "message"), "tool_calls": called}, moment
        )
    elif role == "tool_call_result":
        del item["role"]
        yield utterance(record, result_of(item, "toolCallId", "name", "result"), moment)
    else:
        yield state(record, moment, str(role or "state"))


def _since(milliseconds: Any, start: int | None) -> int | None:
    return None if start is None or scaled(milliseconds, 1) is None else round(milliseconds - start / 10**6)


def _vapi_decision(call: Value) -> Value:
    model = at(call, "assistant", "model")
    if not isinstance(model, dict):
        return {}
    params = {key: model[key] for key in ("temperature", "maxTokens") if isinstance(model.get(key), (int, float))}
    named = {key: model[key] for key in ("model", "provider") if isinstance(model.get(key), str)}
    return named | ({"params": params} if params else {})


def _vapi_formatted(items: list[Value]) -> list[Value]:
    roles = {"bot": "assistant", "user": "user", "system": "system"}
    return [{"role": roles[i["role"]], "content": i.get("message")} for i in items if str(i.get("role")) in roles]


def _vapi_text(items: list[Value]) -> str:
    names = {"bot": "AI", "user": "User"}
    return "".join(f"{names[i['role']]}: {i.get('message')}\n" for i in items if str(i.get("role")) in names)


def _vapi_system(items: list[Value]) -> list[Value]:
    return [message for message in _vapi_formatted(items) if message["role"] == "system"]


# LiveKit: the report of a session


def _livekit_facts(call: Value, facts: Facts) -> int | None:
    start = take_time(call, "audio_recording_started_at", unit="s")
    events = at(call, "events")
    close = next((e for e in events if at(e, "type") == "close"), None) if isinstance(events, list) else None
    own = {
        "ended_reason": lambda _: take_text(close, "reason") if close else None,
        "ended_at": lambda _: take_time(close, "created_at", unit="s") if close else None,
        "started_at": lambda _: start,
    }
    facts.fields = map_fields(call, own) | facts.fields
    return start


def _livekit_steps(record: Record, start: int | None) -> Iterator[Step]:
    item = record.value
    kind = item.get("type")
    moment = take_time(item, "created_at", unit="s")
    if kind == "message" and item.get("role") in ("user", "assistant", "system", "developer"):
        yield _livekit_message(record, moment, start)
    elif kind == "function_call":
        del item["type"]
        call = call_of(item, "call_id", ("name",), ("arguments",))
        yield utterance(record, {"role": "assistant", "content": None, "tool_calls": [call]}, moment)
    elif kind == "function_call_output":
        del item["type"]
        chat = result_of(item, "call_id", "name", "output")
        if take(item, "is_error", of=bool):
            chat["error"] = True
        yield utterance(record, chat, moment)
    elif kind == "agent_handoff":
        del item["type"]
        detail = {"from": take_text(item, "old_agent_id"), "to": take_text(item, "new_agent_id")}
        yield Step("handoff", record.place, record.place, start=moment, detail=detail, rest=item)
    else:
        yield state(record, moment, str(kind or "state"))


def _livekit_message(record: Record, moment: int | None, start: int | None) -> Step:
    item = record.value
    role = {"developer": "system"}.get(item["role"], item["role"])
    del item["type"], item["role"]
    begun, ended = (at(item, "metrics", name) for name in ("started_speaking_at", "stopped_speaking_at"))
    content = take(item, "content", of=list) or []
    if all(isinstance(part, str) for part in content):
        content = content[0] if len(content) == 1 else [{"type": "text", "text": part} for part in content]
    chat: Value = {"role": role, "content": content or None}
    spoke = take_time(item, "metrics", "started_speaking_at", unit="s")
    at_ms = (None, None) if start is None else (_since(scaled(begun, 1000), start), _since(scaled(ended, 1000), start))
    speech = speech_of(
        start_ms=at_ms[0],
        end_ms=at_ms[1],
        interrupted=take(item, "interrupted", of=bool),
        confidence=take_number(item, "transcript_confidence"),
    )
    own = {
        "model": lambda i: take_text(i, "metrics", "llm_metadata", "model_name"),
        "provider": lambda i: take_text(i, "metrics", "llm_metadata", "model_provider"),
        "ttft_ms": lambda i: scaled(take_number(i, "metrics", "llm_node_ttft"), 1000),
    }
    if role == "assistant" and (decision := map_fields(item, own)):
        chat["decision"] = decision
    return utterance(record, chat, spoke if spoke is not None else moment, speech)


VENDORS = (
    Vendor(
        "elevenlabs",
        ("data",),
        ("transcript",),
        (("conversation_id",),),
        _elevenlabs_facts,
        _elevenlabs_steps,
    ),
    Vendor(
        "retell",
        ("call",),
        ("transcript_with_tool_calls",),
        (("call_id",),),
        _retell_facts,
        _retell_steps,
        repeated=(
            (("transcript_object",), lambda items: [i for i in items if i.get("role") in ("agent", "user")]),
            (("transcript",), _retell_text),
        ),
    ),
    Vendor(
        "vapi",
        ("message",),
        ("artifact", "messages"),
        (("call", "id"), ("id",)),
        _vapi_facts,
        _vapi_steps,
        _vapi_decision,
        (
            (("artifact", "messagesOpenAIFormatted"), _vapi_formatted),
            (("artifact", "transcript"), _vapi_text),
            (("assistant", "model", "messages"), _vapi_system),
        ),
    ),
    Vendor(
        "livekit",
        (),
        ("chat_history", "items"),
        (("job_id",), ("room_id",), ("room",)),
        _livekit_facts,
        _livekit_steps,
        is_ordered=True,
    ),
)
