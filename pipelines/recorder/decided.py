"""From a model call to events: the decision, and what the model said and called. Pure."""

from __future__ import annotations

from typing import Any

from pipelines.ingest.faults import BadLineError
from pipelines.ingest.messages import Draft
from pipelines.log.context import request_sha256
from pipelines.log.versions import AGENT_SAID
from pipelines.recorder.exchange import Course, Request, Response
from pipelines.recorder.history import Said, Sent, said
from pipelines.recorder.opening import INSTRUCTIONS
from pipelines.recorder.wire import amount


def decision_payload(
    sent: Request, answer: Response, context: Sent, prompt_sha256: str | None, course: Course
) -> dict[str, Any]:
    """The payload of `model.decision`.

    Args:
        sent: The request.
        answer: The response.
        context: The messages as a fold writes them; of an unknown shape they are hashed as they are, and no fold will agree. What is
            not all that the model saw has no hash.
        prompt_sha256: Hash (hex) of the prompt that the request runs with.
        course: How the call went.
    """
    head: dict[str, Any] = {
        "model": answer.model if sent.model is None else sent.model,
        "params": sent.params,
        "tools_sha256": sent.tools_sha256,
    }
    rendered = sent.messages if context.rendered is None else context.rendered
    model = {
        "model": answer.model or sent.model,
        "params": sent.params,
        "prompt_sha256": prompt_sha256,
        "tools_sha256": sent.tools_sha256,
        "request_sha256": request_sha256(rendered, **head) if context.is_whole else None,
        "usage": answer.usage,
        "latency_ms": amount(course.latency_ms),
        "cost_usd": amount(course.cost_usd),
        "finish_reason": answer.finish_reason,
    }
    extra = {
        "model_requested": sent.model,
        "usage_basis": None if answer.usage is None else "with_cache",
        "ttft_ms": amount(course.ttft_ms),
        "retries": course.retries or None,
        "history": None if context.is_whole else "delta",
        "stop_details": answer.stop_details,
        "response_id": answer.response_id,
        "response_unread": answer.unread,
        "error": _error(answer, course),
    }
    return model | {key: value for key, value in extra.items() if value is not None}


def _error(answer: Response, course: Course) -> Any:
    """Why there is no answer; of one that was cut, what came of it, which nobody said yet."""
    if not course.is_cut:
        return answer.error if course.error is None else course.error
    received = {"received": list(answer.messages)} if answer.messages else {}
    told = {} if answer.error is None else {"error": answer.error}
    return {"type": course.error or "cut", "truncated": True, **told, **received}


def notes_of(sent: Request, answer: Response) -> dict[str, Any]:
    """What the metadata of a decision says of the request and the response: what was written otherwise, and what no event says."""
    told = {
        "request_escaped": list(sent.changed),
        "response_escaped": list(answer.changed),
        "api": None if sent.api == "chat" else sent.api,
        INSTRUCTIONS: sent.instructions,
        "request_state": dict(sent.state),
        "request_marks": dict(sent.marks),
        "request_other": list(sent.other),
        "response_other": list(answer.other),
    }
    return {key: value for key, value in told.items() if value}


def answered(message: dict[str, Any]) -> Said:
    """The events of a message that a response holds; one of an unknown shape is kept whole beside its text."""
    try:
        return said(message)
    except BadLineError:
        content = message.get("content")
        text = content if isinstance(content, str) else None
        return Said("agent", [Draft(AGENT_SAID, {"text": text}, {"source_fields": {"message": message}})])


def leading_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The plain system messages that a request begins with."""
    leading = []
    for message in messages:
        if message.get("role") != "system" or set(message) - {"role", "content"}:
            break
        leading.append(message)
    return leading
