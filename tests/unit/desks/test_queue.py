"""What the queue answers over HTTP: errors with a status and words, and a reviewer whom the page cannot choose."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pipelines.desks.app import QueueApp
from pipelines.desks.desks import Desks
from pipelines.desks.serve import name_reviewer
from pipelines.errors import BadInputError, RefoldError

AT = {"experiment": "e", "version": "v"}
VERDICT = {**AT, "unit": "u/1", "verdict": "id", "said": "left", "reason": "it lies", "seconds": 2.5}


class Told(Desks):
    """Desks that keep what they are asked, and fail as they are told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._error = error

    def record(self, *asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if self._error is not None:
            raise self._error
        return {"state": "recorded"}

    show = record


def ask(desks: Desks, method: str, path: str, body: bytes = b"", query: str = "", **headers: str) -> tuple[int, Any]:
    """Status and answer of one request."""
    sent: list[Any] = []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: Any) -> None:
        sent.append(message)

    app = QueueApp(desks, lambda given: name_reviewer(given, "x-forwarded-user"))
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_a_verdict_is_whose_proxy_says():
    """The reviewer is who the header names; what the body says of it is not read."""
    desks = Told()
    body = json.dumps({**VERDICT, "reviewer": "bob"}).encode()
    assert ask(desks, "POST", "/queue/record", body, x_forwarded_user="ada") == (200, {"state": "recorded"})
    assert desks.asked == [("e", "v", "ada", "u/1", "id", "left", "it lies", 2.5)]
    status, told = ask(desks, "POST", "/queue/record", body)
    assert (status, told["state"]) == (400, "error")
    assert "nobody says who reviews" in told["error"]
    assert len(desks.asked) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"said": "better"}, "a verdict says left, right, same, unsure, not 'better'"),
        ({"unit": None}, "unit is to be a text"),
        ({"unit": ["u"]}, "unit is to be a text"),
        ({"seconds": "2"}, "seconds is to be a number"),
        ({"seconds": True}, "seconds is to be a number"),
        ({"reason": "x" * 9_000}, "reason is to be a text of 8,000 characters at most"),
    ],
)
def test_what_is_no_verdict_is_refused(changes, told):
    """Nothing of it reaches a desk, and the words say what was wrong."""
    desks = Told()
    status, answer = ask(desks, "POST", "/queue/record", json.dumps(VERDICT | changes).encode(), x_forwarded_user="ada")
    assert (status, desks.asked) == (400, [])
    assert answer["error"].startswith(told)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/queue/record", b"", 404),
        ("POST", "/queue/pair", b"{}", 404),
        ("POST", "/queue/undo", b"[]", 400),
        ("POST", "/queue/undo", b"{" * 100_000, 413),
        ("POST", "/queue/undo", b"[" * 60_000, 400),
    ],
)
def test_other_requests_are_refused(method, path, body, status):
    """Each question has one method, and a body of some size."""
    assert ask(Told(), method, path, body, x_forwarded_user="ada")[0] == status


@pytest.mark.parametrize(
    ("error", "status"), [(BadInputError("no pair \x1b[31m"), 400), (RefoldError("no store"), 503)]
)
def test_a_failure_is_told_in_words(error, status):
    """What a desk cannot do is an answer that the page shows, on one line and inert."""
    found, told = ask(Told(error), "GET", "/queue/pair", query="experiment=e&version=v", x_forwarded_user="ada")
    assert (found, told["state"]) == (status, "error")
    assert "\x1b" not in told["error"]
