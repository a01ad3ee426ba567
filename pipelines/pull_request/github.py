"""The calls of GitHub's REST API that keep one comment of a pull request up to date.

A comment is found again by its first line, among those of its author: anybody can write that line, and a comment of somebody else
must neither be overwritten nor be taken for ours. A call that is refused for its rate or meets a fault is made again, a bounded
time; before a comment is created once more it is looked for, because an answer that was lost may have created it. No redirect is
followed: the token would go along.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from pipelines.console import on_one_line
from pipelines.errors import RefoldError

_PER_PAGE, _MAX_PAGES = 100, 200
_ATTEMPTS = 5
_LONGEST_WAIT = 90.0
"""Seconds that a single wait takes at most; an endpoint that asks for more is given up."""
_SHOWN = 300
_MAX_BYTES = 64 << 20
_UNAUTHORIZED = (401, 403, 404)
_TOO_MANY = 429
_SERVER = 500
_GONE = (404, 410)


class GitHubError(RefoldError):
    """GitHub did not do what it was asked to; the message holds its words, and never the token."""


class NotPermittedError(GitHubError):
    """The token may not do it: of a pull request from a fork, it may read alone."""


@dataclass(frozen=True, slots=True)
class Posted:
    """A comment that stands: where, and whether it was there before."""

    url: str
    is_new: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise GitHubError(f"GitHub answered {self.status} with something that is no JSON") from error

    @property
    def told(self) -> str:
        """What GitHub says of a refusal."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return ""
        message = said.get("message") if isinstance(said, dict) else None
        return f": {on_one_line(message[:_SHOWN])}" if isinstance(message, str) else ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class PullRequest:
    """The comments of one pull request.

    Attributes:
        api_url: Address of the API, without a slash at its end.
        repository: `owner/name`.
        number: Number of the pull request.
        token: What authorises; shown nowhere.
        author: Login whose comments are ours.
        wait: Waits so many seconds.
    """

    api_url: str
    repository: str
    number: int
    token: str = field(repr=False)
    author: str
    wait: Callable[[float], None] = time.sleep

    def post(self, body: str, marker: str) -> Posted:
        """Let the comment that begins with `marker` say `body`: update it, or create it.

        Raises:
            NotPermittedError: The token may not.
            GitHubError: GitHub did not answer, or not as it does.
        """
        for attempt in range(_ATTEMPTS):
            found = next((each for each in self._comments() if self._is_ours(each, marker)), None)
            if found is not None:
                answer = self._call("PATCH", f"/issues/comments/{int(found['id'])}", body)
                if answer.status in _GONE and self._may_go_on(attempt, 0.0):
                    continue  # removed since it was listed
            else:
                answer = self._once("POST", f"/issues/{self.number}/comments", body)
                delay = _delay(answer, attempt)
                if delay is not None and self._may_go_on(attempt, delay):
                    continue
            self._require(answer)
            value = answer.value
            return Posted(str(value.get("html_url", "")) if isinstance(value, dict) else "", found is None)
        raise AssertionError  # the last attempt returns or raises

    def _is_ours(self, comment: Any, marker: str) -> bool:
        if not isinstance(comment, dict) or not isinstance(comment.get("id"), int):
            return False
        user = comment.get("user")
        login = user.get("login") if isinstance(user, dict) else None
        return login == self.author and str(comment.get("body", "")).split("\n", 1)[0].strip() == marker

    def _comments(self) -> Iterator[Any]:
        """All comments, the oldest first."""
        for page in range(1, _MAX_PAGES + 1):
            answer = self._call("GET", f"/issues/{self.number}/comments?per_page={_PER_PAGE}&page={page}")
            self._require(answer)
            value = answer.value
            if not isinstance(value, list):
                raise GitHubError("GitHub answered with something that is no list of comments")
            yield from value
            if 'rel="next"' not in answer.headers.get("link", ""):
                return

    def _call(self, method: str, path: str, body: str | None = None) -> _Answer:
        """A call that may be made again, until it is answered for good or was made often enough."""
        for attempt in range(_ATTEMPTS):
            answer = self._once(method, path, body)
            delay = _delay(answer, attempt)
            if delay is None or not self._may_go_on(attempt, delay):
                break
        return answer

    def _may_go_on(self, attempt: int, delay: float) -> bool:
        if attempt + 1 >= _ATTEMPTS or delay > _LONGEST_WAIT:
            return False
        self.wait(delay)
        return True

    def _once(self, method: str, path: str, body: str | None = None) -> _Answer:
        """One call; one without an answer is told as status 0."""
        request = urllib.request.Request(  # noqa: S310 - the address was read, and is http or https
            f"{self.api_url}/repos/{self.repository}{path}",
            data=None if body is None else json.dumps({"body": body}).encode(),
            method=method,
            headers={
                "Authorization": f"Bearer {self.token}",
                "Accept": "application/vnd.github+json",
                "Content-Type": "application/json",
                "User-Agent": "refold",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=30) as response:
                return _Answer(response.status, _lower(response.headers), response.read(_MAX_BYTES))
        except urllib.error.HTTPError as error:
            with error:
                return _Answer(error.code, _lower(error.headers), _read(error))
        except (OSError, HTTPException) as error:
            return _Answer(0, {}, json.dumps({"message": type(error).__name__}).encode())

    def _require(self, answer: _Answer) -> None:
        if 200 <= answer.status < 300:
            return
        if answer.status == 0:
            raise GitHubError(f"{self.api_url} does not answer{answer.told}")
        what = f"GitHub answered {answer.status}{answer.told}"
        if answer.status in _UNAUTHORIZED and not _is_rate_limit(answer):
            raise NotPermittedError(what)
        raise GitHubError(what)


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _read(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read(_MAX_BYTES)
    except (OSError, HTTPException):
        return b""


def _is_rate_limit(answer: _Answer) -> bool:
    headers = answer.headers
    return answer.status == _TOO_MANY or (
        answer.status == 403 and ("retry-after" in headers or headers.get("x-ratelimit-remaining") == "0")
    )


def _delay(answer: _Answer, attempt: int) -> float | None:
    """Seconds to wait before the same call once more; None when its answer is for good."""
    own = min(2.0**attempt, 30.0)
    if _is_rate_limit(answer):
        return max(own, _seconds(answer.headers))
    return own if answer.status == 0 or answer.status >= _SERVER else None


def _seconds(headers: Mapping[str, str]) -> float:
    """What a refusal for the rate asks to wait."""
    try:
        if "retry-after" in headers:
            return max(0.0, float(headers["retry-after"]))
        return max(0.0, float(headers["x-ratelimit-reset"]) - time.time())
    except (KeyError, ValueError):
        return 0.0
