"""From a model call to events: the decision, and what the model said and called. Pure."""

from __future__ import annotations

from typing import Any

from pipelines.ingest.faults import BadLineError
from pipelines.ingest.messages import Draft
from pipelines.log.context import request_sha256
from pipelines.log.versions import AGENT_SAID
from pipelines.recorder.history import render, said
from pipelines.recorder.wire import Request, Response, amount


def decision_payload(
    sent: Request,
    answer: Response,
    rendered: list[dict[str, Any]] | None,
    prompt_sha256: str | None,
    *,
    latency_ms: float | None,
    cost_usd: float | None,
    error: str | None,
) -> dict[str, Any]:
    """The payload of `model.decision`.

    Args:
        sent: The request.
        answer: The response.
        rendered: The request's messages as a fold writes them; None hashes them as they are, and no fold will agree.
        prompt_sha256: Hash (hex) of the prompt that the request runs with.
        latency_ms: Milliseconds.
        cost_usd: US dollars.
        error: Why the call failed.
    """
    sha256 = request_sha256(
        sent.messages if rendered is None else rendered,
        model=sent.model,
        params=sent.params,
        tools_sha256=sent.tools_sha256,
    )
    model = {
        "model": sent.model,
        "params": sent.params,
        "prompt_sha256": prompt_sha256,
        "tools_sha256": sent.tools_sha256,
        "request_sha256": sha256,
        "usage": answer.usage,
        "latency_ms": amount(latency_ms),
        "cost_usd": amount(cost_usd),
        "finish_reason": answer.finish_reason,
    }
    extra = {
        "response_model": None if answer.model == sent.model else answer.model,
        "response_id": answer.response_id,
        "response_unread": answer.unread,
        "error": error,
    }
    return model | {key: value for key, value in extra.items() if value is not None}


def answered(message: dict[str, Any]) -> list[Draft]:
    """The events of the model's message; one of an unknown shape is kept whole beside its text."""
    message = {**message, "role": "assistant"}
    try:
        return said(message).drafts
    except BadLineError:
        content = message.get("content")
        text = content if isinstance(content, str) else None
        return [Draft(AGENT_SAID, {"text": text}, {"source_fields": {"message": message}})]


def leading_system(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The plain system messages that a request begins with."""
    leading = []
    for message in messages:
        if message.get("role") != "system" or set(message) - {"role", "content"}:
            break
        leading.append(message)
    return leading


def rendered_or_none(messages: list[dict[str, Any]]) -> list[dict[str, Any]] | None:
    """The messages as a fold writes them, None when one has another shape."""
    try:
        return render(messages)
    except BadLineError:
        return None
