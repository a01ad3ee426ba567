"""What a response means that is no answer: ask again, give the unit up, or give the endpoint up.

An error is read wherever an endpoint puts it: in the status, in a body that calls itself 200, in a choice. Its words are
shown to people, bounded and without characters that a terminal would obey.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipelines.replay.failure import Failure, Reason

_SHOWN = 200
_AGAIN = frozenset({408, 409, 425, 429})
_BROKEN = frozenset({401, 402, 404, 405, 407, 410, 501})
"""Statuses that say something of key, address or account, and nothing of one request."""
_INTERRUPTED = frozenset(
    ("error", "network_error", "insufficient_system_resource", "abort", "aborted", "cancelled", "canceled")
)
"""Finish reasons of a message that broke off, in lower case."""
_FILTERED = (
    "content_filter",
    "content filter",
    "content_policy",
    "content policy",
    "content management policy",
    "responsibleaipolicy",
    "moderation",
    "flagged",
    "safety system",
    "safety_violation",
    "safety reasons",
    "safety filter",
    "guardrail",
    "data_inspection_failed",
    "datainspectionfailed",
    "prohibited_content",
    "harmful",
    "sensitive content",
    "usage policies",
    "usage_policy",
)
"""What codes and words of an error say, in lower case, that a filter has turned one input down."""
_OVER = ("insufficient_quota", "billing_hard_limit", "insufficient_balance", "insufficient balance", "credit balance")
_LIMITED = ("rate_limit", "rate limit", "too many requests", "throttl", "resource_exhausted")
_NOT_FOUND = ("model_not_found", "not_found_error", "does not exist", "deployment_not_found", "deploymentnotfound")
_WRONG = (
    "invalid_prompt",
    "invalid_image",
    "image_too_",
    "image_parse_error",
    "unsupported_image",
    "invalid_base64_image",
)
"""What a response says in HTTP 200 of a request that is wrong."""
_KEYS = ("invalid_api_key", "incorrect api key", "authentication_error", "unauthorized", "permission_denied")


@dataclass(frozen=True, slots=True)
class Again:
    """No answer yet; asking again may bring one.

    Attributes:
        reason: What the unit's reason is when it is not asked again.
        detail: What happened, for people.
        is_worked: Whether a model worked for it all the same: what that costs is not known.
        cost_usd: What it cost, where it says so.
    """

    reason: Reason
    detail: str
    is_worked: bool = False
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class Broken:
    """The endpoint will answer nobody: key, address or account are wrong.

    Attributes:
        detail: What was said, for people.
        is_doubtful: Whether it is that of one request if others are answered.
    """

    detail: str
    is_doubtful: bool = False


class Said(NamedTuple):
    """What an error says.

    Attributes:
        status: HTTP status that it names, None where it names none.
        words: Its codes, types and messages in lower case, to look for known ones.
        message: For people.
    """

    status: int | None
    words: str
    message: str


def judge(status: int, body: bytes, location: str | None = None) -> Again | Broken | Failure:
    """What a response means that is no answer.

    Args:
        status: HTTP status.
        body: Its bytes.
        location: Where a redirect points.
    """
    said = _said(body)
    detail = f"HTTP {status}: {said.message}"
    if 300 <= status < 400:
        where = f" to {shown(location.encode('utf-8', 'replace'))}" if location else ""
        return Broken(
            f"HTTP {status}: it redirects{where}; redirects are not followed: write the address that is meant"
        )
    return _judge(status, said, detail)


def judge_error(said: Said) -> Again | Broken | Failure:
    """What an error means that came where an answer was promised."""
    status = said.status if said.status is not None and said.status >= 400 else None
    detail = f"an error in HTTP 200: {said.message}"
    if status is not None:
        return _judge(status, said, detail)
    if _has(said, _OVER) or _has(said, _NOT_FOUND) or _has(said, _KEYS):
        return Broken(detail)
    if _has(said, _FILTERED):
        return Failure("refused", detail)
    if _has(said, _WRONG):
        return Failure("rejected", detail)
    return Again("rate_limited" if _has(said, _LIMITED) else "unavailable", detail)


def error_in(document: Mapping[str, Any]) -> Said | None:
    """The error that a completion holds: beside its choices, in one of them, or as the reason why it ended; None without.

    Args:
        document: The body, whole.
    """
    listed = document.get("choices")
    choices = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    holders = [document, *choices, *(each.get("message") for each in choices)]
    for holder in holders:
        error = holder.get("error") if isinstance(holder, dict) else None
        if _is_error(error):
            return _read(error)
    for each in choices:
        reason = each.get("finish_reason")
        if isinstance(reason, str) and is_interrupted(reason):
            return Said(None, "", f"the message broke off: finish_reason {reason!r}")
    if choices:
        return None
    is_named = document.get("object") == "error" or document.get("type") == "error"
    if is_named or _is_error(document.get("errors")) or _is_error(document.get("detail")):
        return _read(document.get("errors") or document.get("detail") or document)
    return _read(document) if isinstance(document.get("code"), int) and "choices" not in document else None


def is_interrupted(finish_reason: str) -> bool:
    """Whether a message that ended for this reason broke off, and is no answer."""
    return finish_reason.lower() in _INTERRUPTED


def shown(body: bytes) -> str:
    """The beginning of what an endpoint sent, as one line that does nothing to a terminal."""
    text = " ".join(body[: _SHOWN * 4].decode("utf-8", "replace").split())
    text = "".join(each if each.isprintable() else "\ufffd" for each in text)
    return (text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…") or "an empty body"


def storable(text: str) -> str:
    """The text with what UTF-8 cannot carry replaced: half of a surrogate pair, cut off by a length stop."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def storable_json(content: bytes) -> str:
    """A JSON value written anew with its texts in storable form: an escape can say what UTF-8 cannot carry.

    Raises:
        ValueError: It is no JSON.
        RecursionError: It is nested too deeply.
    """
    return storable(json.dumps(json.loads(content), ensure_ascii=False))


def _judge(status: int, said: Said, detail: str) -> Again | Broken | Failure:
    """What a status and the words beside it mean."""
    if _has(said, _OVER):
        return Broken(detail)
    if status in (400, 403, 422, 451) and _has(said, _FILTERED):
        return Failure("refused", detail)
    if status in _AGAIN or (status >= 500 and status != 501):
        return Again("rate_limited" if status == 429 else "unavailable", detail)
    if status in _BROKEN or (status == 400 and _has(said, _NOT_FOUND[:1])):
        return Broken(detail, is_doubtful=status == 404)
    return Failure("refused" if status == 403 else "rejected", detail, is_doubtful=True)


def _has(said: Said, words: tuple[str, ...]) -> bool:
    return any(word in said.words for word in words)


def _is_error(value: Any) -> bool:
    """Whether something is said where an error would be: not null, empty, false, or an object of such."""
    if isinstance(value, dict):
        return any(_is_error(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_is_error(inner) for inner in value)
    return isinstance(value, str | int) and bool(value)


def _said(body: bytes) -> Said:
    """What the body of an error response says, of whatever shape it is."""
    try:
        document = json.loads(body[: 2**20])
    except (ValueError, RecursionError):
        return Said(None, body[:1_000].decode("utf-8", "replace").lower(), shown(body))
    if isinstance(document, list) and document:  # as Gemini's endpoint writes them
        document = document[0]
    inner = document.get("error", document) if isinstance(document, dict) else document
    return _read(inner)


def _read(error: Any) -> Said:
    """What an error object, or whatever stands for one, says."""
    message = error
    status: int | None = None
    if isinstance(error, dict):
        message = next((error[key] for key in ("message", "msg", "detail", "error") if error.get(key)), error)
        status = next((code for key in ("code", "status", "status_code") if (code := _status(error.get(key)))), None)
    text = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    words = " ".join(_texts(error, 3))[:4_000].lower()
    return Said(status, words, shown(text.encode("utf-8", "replace")))


def _texts(value: Any, depth: int) -> Iterator[str]:
    """Names and texts of an error, as far down as it is worth looking."""
    if isinstance(value, str):
        yield value[:1_000]
    elif isinstance(value, dict) and depth:
        for key, inner in list(value.items())[:50]:
            if inner:
                yield key
            yield from _texts(inner, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value[:20]:
            yield from _texts(inner, depth - 1)


def _status(code: Any) -> int | None:
    """An HTTP status, also where it is written as text."""
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:4])
    return code if isinstance(code, int) and not isinstance(code, bool) and 100 <= code <= 599 else None
