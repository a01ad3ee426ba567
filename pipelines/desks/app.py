"""What the page's script asks: pairs, and verdicts given, over HTTP as JSON. Who may ask at all is decided before, by the guard.

GET `/queue/pair`, `/queue/stands` and `/queue/progress`; POST `/queue/record`, `/queue/skip` and `/queue/undo`. A verdict is answered when it is in the
store. What cannot be done is answered as `{"state": "error", "error": …}` with a status.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from pipelines.console import on_one_line
from pipelines.desks.desks import SAYINGS, Desks, Shown
from pipelines.errors import BadInputError, RefoldError
from pipelines.web.guard import Headers, Receive, RefusedError, Scope, Send, answer

PREFIX = "/queue/"
_MOST_BYTES = 64 << 10
_MOST_TEXT = 8_000
_JSON = b"application/json"
_NO_STORE = [(b"cache-control", b"no-store")]


class QueueApp:
    """The queue as an ASGI application; a verdict's reviewer is who `reviewer_of` says, not what the page says.

    Args:
        desks: Where reviewers sit.
        reviewer_of: Who asks, of the headers of a request; None where nobody is named.
    """

    def __init__(self, desks: Desks, reviewer_of: Callable[[Headers], str | None]) -> None:
        self._desks = desks
        self._reviewer_of = reviewer_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        try:
            status, told = 200, await self._answer(scope, receive)
        except RefusedError as error:
            status, told = error.status, _failed(error)
        except BadInputError as error:
            status, told = 400, _failed(error)
        except RefoldError as error:
            status, told = 503, _failed(error)
        await answer(send, status, _JSON, json.dumps(told), _NO_STORE)

    async def _answer(self, scope: Scope, receive: Receive) -> Shown:
        name = scope["path"].removeprefix(PREFIX)
        reviewer = self._reviewer_of(list(scope["headers"]))
        if scope["method"] == "GET" and name in ("pair", "stands", "progress"):
            asked: Mapping[str, Any] = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        elif scope["method"] == "POST" and name in ("record", "skip", "undo"):
            asked = await _body(receive)
        else:
            raise RefusedError(404, "there is no such question")
        return await asyncio.to_thread(self._ask, name, asked, reviewer)

    def _ask(self, name: str, asked: Mapping[str, Any], reviewer: str | None) -> Shown:
        at = (_text(asked, "experiment"), _text(asked, "version"), reviewer)
        if name == "pair":
            return self._desks.show(*at, _text(asked, "unit", is_needed=False) or None)
        if name == "progress":
            return self._desks.progress(*at)
        if name == "undo":
            return self._desks.undo(*at)
        unit_id = _text(asked, "unit")
        if name == "stands":
            return self._desks.stands(*at, unit_id)
        if name == "skip":
            return self._desks.skip(*at, unit_id)
        said = next((each for each in SAYINGS if each == asked.get("said")), None)
        if said is None:
            raise BadInputError(f"a verdict says {', '.join(SAYINGS)}, not {str(asked.get('said'))[:50]!r}")
        reason = _text(asked, "reason", is_needed=False)
        return self._desks.record(*at, unit_id, _text(asked, "verdict"), said, reason, _seconds(asked))


async def _body(receive: Receive) -> Mapping[str, Any]:
    """The JSON object that was sent."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RefusedError(400, "the request ended before its end")
        body += message.get("body", b"")
        if len(body) > _MOST_BYTES:
            raise RefusedError(413, f"a verdict has {_MOST_BYTES:,} bytes at most")
        if not message.get("more_body"):
            break
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInputError("the body is no JSON") from error
    if not isinstance(told, dict):
        raise BadInputError("the body is no JSON object")
    return told


def _text(asked: Mapping[str, Any], name: str, *, is_needed: bool = True) -> str:
    value = asked.get(name)
    if value is None and not is_needed:
        return ""
    if not isinstance(value, str) or len(value) > _MOST_TEXT or (is_needed and not value):
        raise BadInputError(f"{name} is to be a text of {_MOST_TEXT:,} characters at most")
    return value


def _seconds(asked: Mapping[str, Any]) -> float | None:
    value = asked.get("seconds")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise BadInputError("seconds is to be a number")
    return float(value)


def _failed(error: Exception) -> Shown:
    return {"state": "error", "error": on_one_line(str(error))}
