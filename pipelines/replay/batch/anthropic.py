"""Batches as Anthropic takes them: all requests in one call, results as lines, in whatever order.

A batch has no metadata, and shows the ids of its requests only once it has ended. One that may have been created by a process
that was killed is looked for among those that were created since, by its number of requests, and is known by the ids in its results.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from pipelines.replay.asking.fault import shown
from pipelines.replay.batch.client import BatchError, Client, NotNowError
from pipelines.replay.batch.provider import Kept, Line, Provider, Remote, Sending, Sought, counts_of, named, word

_PATH = "/v1/messages/batches"
_PAGE = 100
_SKEW = timedelta(hours=1)
"""How far the provider's clock may be behind this one."""
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
"""HTTP status of a call that fails with an error of this type."""


class _ErrorType(msgspec.Struct):
    type: str | None = None


class _Errored(msgspec.Struct):
    error: _ErrorType | None = None
    type: str | None = None


class _Result(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str
    result: _Result


_decode = msgspec.json.Decoder(_Line).decode
_decode_error = msgspec.json.Decoder(_Errored).decode


class Anthropic(Provider):
    """The provider; see `Provider`."""

    name = "Anthropic"
    most_requests = 100_000
    most_bytes = 256_000_000
    keeps = (
        "a batch and its results are kept at the provider for up to 29 days; they are deleted once the answers are here"
    )
    head = b'{"requests":['
    between = b","
    tail = b"]}"

    def entry(self, custom_id: str, path: str, body: bytes) -> bytes:  # noqa: ARG002 -- messages are all that it takes
        """See `Provider`."""
        return b'{"custom_id":"%s","params":%s}' % (custom_id.encode(), body)

    async def upload(self, client: Client, sending: Sending) -> str | None:  # noqa: ARG002 -- they go with the creation
        """See `Provider`."""
        return None

    async def create(self, client: Client, sending: Sending) -> Remote:
        """See `Provider`."""
        return _remote(await client.send("POST", _PATH, sending.file))

    async def find(self, client: Client, sought: Sought) -> Remote | None:
        """See `Provider`."""
        undecided: Remote | None = None
        async for each in _listed(client, sought.begun_at - _SKEW):
            remote = _remote(each)
            if remote.id in sought.known or remote.total != sought.requests:
                continue
            if not remote.is_ended:
                undecided = remote
            elif await _is_of(client, remote, sought.token):
                return remote
        if undecided is not None:
            raise NotNowError(
                f"{undecided.id} may be the batch that was being created when a process was killed; its requests show once it has ended"
            )
        return None

    async def poll(self, client: Client, id_: str) -> Remote:
        """See `Provider`."""
        return _remote(await client.get(f"{_PATH}/{id_}"))

    async def results(self, client: Client, remote: Remote) -> AsyncIterator[Line]:
        """See `Provider`."""
        # not by `results_url`: the key goes to the address that the experiment names
        async for line in client.lines(f"{_PATH}/{remote.id}/results"):
            yield _line(line)

    async def remove(self, client: Client, kept: Kept) -> None:
        """See `Provider`."""
        if kept.remote is not None:
            with suppress(NotNowError, BatchError):  # it expires by itself
                await client.send("DELETE", f"{_PATH}/{kept.remote.id}")


async def _listed(client: Client, since: datetime) -> AsyncIterator[dict[str, Any]]:
    """The batches that were created since a time, the newest first."""
    after = ""
    while True:
        page = await client.get(f"{_PATH}?limit={_PAGE}{after}")
        found = page.get("data")
        listed = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        for each in listed:
            if _created(each) < since:
                return
            yield each
        if not (page.get("has_more") and listed):
            return
        after = f"&after_id={named(listed[-1].get('id'))}"


def _created(document: dict[str, Any]) -> datetime:
    try:
        return datetime.fromisoformat(str(document.get("created_at"))).astimezone(UTC)
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)  # looked at, rather than passed over


async def _is_of(client: Client, remote: Remote, token: str) -> bool:
    """Whether the results of a batch that has ended are those of a token; one line says it."""
    lines = client.lines(f"{_PATH}/{remote.id}/results")
    try:
        async for line in lines:
            return _line(line).custom_id.startswith(token)
    finally:
        await lines.aclose()
    return False


def _remote(document: dict[str, Any]) -> Remote:
    state, counts = word(document.get("processing_status")), counts_of(document)
    total = sum(counts.values())
    return Remote(
        id=named(document.get("id")),
        state=state,
        is_ended=state == "ended",
        done=total - counts.get("processing", 0),
        total=total,
    )


def _line(line: bytes) -> Line:
    """One line of the results.

    Raises:
        BatchError: It is none.
    """
    try:
        read = _decode(line)
        result = read.result
        if result.type == "succeeded":
            return Line(read.custom_id, 200, bytes(result.message))
        if result.type == "errored":
            body = bytes(result.error)
            found = _decode_error(body)
            kind = found.error.type if found.error is not None else found.type
            return Line(read.custom_id, _STATUSES.get(kind or "", 500), body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BatchError(f"a line of the results cannot be read: {error}: {shown(line)}") from None
    return Line(read.custom_id, None, f"the request was {word(result.type)} before anybody worked on it".encode())
