"""OTLP/HTTP as an ASGI application: who may send, what may be sent, and what is answered; a body is kept before its 200."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

from pipelines.errors import BadInputError
from pipelines.receive.bodies import (
    KINDS,
    SIGNALS,
    Answer,
    Kind,
    accepted,
    accepted_partly,
    kind_of,
    line_of,
    refused,
    too_large,
    unpacked,
)
from pipelines.receive.sound import Rejected
from pipelines.web.guard import Headers, Place, Receive, RefusedError, Scope, Send, answer, values_of

_MEDIA_TYPES = {kind: name for name, kind in KINDS.items()}
_BODIES_HELD = 4
"""Bodies of the largest size that are held at once; who sends more is asked to wait."""
_BUSY_SECONDS, _FULL_SECONDS = 1, 30


class _LeftError(Exception):
    """Whoever sent has gone before the end."""


class Receiver:
    """Takes export requests, and gives them as lines to `keep`.

    Args:
        keep: Keeps one durably and gives what it rejected of it; raises BadInputError where it is none, OSError where there is no room.
        place: What `Host` and `Origin` must name, on loopback; None elsewhere, where no page may send at all.
        token: What `Authorization: Bearer` must bring; None asks for nothing.
        most_bytes: Bytes of a body at most, unpacked.
    """

    def __init__(
        self, keep: Callable[[bytes], Rejected | None], *, place: Place | None, token: str | None, most_bytes: int
    ) -> None:
        self._keep = keep
        self._place = place
        self._token = token
        self._most_bytes = most_bytes
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI and OTLP say."""
        if scope["type"] != "http":
            return
        headers: Headers = list(scope["headers"])
        kind = kind_of({name.lower(): value for name, value in headers}) or "json"
        try:
            said = await self._answer(scope, headers, receive)
        except RefusedError as error:
            said = refused(kind, error.status, str(error), _more(error.status))
        except _LeftError:
            return
        await answer(send, said.status, _MEDIA_TYPES[said.kind], said.body, list(said.headers))

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive) -> Answer:
        self._check_sender(scope, headers)
        signal = SIGNALS.get(scope["path"])
        if signal is None:
            raise RefusedError(404, f"nothing is received here; there are {' and '.join(SIGNALS)}")
        if scope["method"] != "POST":
            raise RefusedError(405, "export requests are sent by POST")
        kind, is_packed = _encoding(headers)
        held = 0
        try:
            body = bytearray()
            self._check_length(headers)
            async for piece in _pieces(receive):
                held += len(piece)
                self._hold(len(piece))
                body += piece
                if len(body) > self._most_bytes:
                    raise RefusedError(413, too_large(self._most_bytes))
            rejected = await asyncio.to_thread(self._take, signal, kind, bytes(body), is_packed=is_packed)
        finally:
            self._held -= held
        return accepted(kind) if rejected is None else accepted_partly(signal, kind, rejected.count, rejected.reason)

    def _check_sender(self, scope: Scope, headers: Headers) -> None:
        if self._place is not None:
            self._place.check(scope, headers)
        elif values_of(headers, b"origin"):
            raise RefusedError(403, "pages do not send here")
        if self._token is None:
            return
        bearers = [value[7:] for value in values_of(headers, b"authorization") if value[:7].lower() == b"bearer "]
        is_known = [hmac.compare_digest(value, self._token.encode()) for value in bearers]
        if is_known != [True]:
            raise RefusedError(401, "send the receiver's token: Authorization: Bearer …")

    def _check_length(self, headers: Headers) -> None:
        for value in values_of(headers, b"content-length"):
            if value.isdigit() and int(value) > self._most_bytes:
                raise RefusedError(413, too_large(self._most_bytes))

    def _hold(self, size: int) -> None:
        self._held += size
        if self._held > _BODIES_HELD * self._most_bytes:
            raise RefusedError(429, "more is being sent than there is memory for; send it again later")

    def _take(self, signal: str, kind: Kind, body: bytes, *, is_packed: bool) -> Rejected | None:
        """Unpack, check and keep a body; in a thread, for it waits for the disk."""
        data = unpacked(body, self._most_bytes) if is_packed else body
        try:
            return self._keep(line_of(signal, kind, data))
        except BadInputError as error:
            raise RefusedError(400, f"the body is not what OTLP has: {error}") from error
        except OSError as error:
            raise RefusedError(503, f"the body cannot be kept now ({error.strerror}); send it again later") from error


def _encoding(headers: Headers) -> tuple[Kind, bool]:
    """How a body is encoded, and whether it is gzip."""
    kind = kind_of({name.lower(): value for name, value in headers})
    if kind is None:
        raise RefusedError(415, f"send {' or '.join(name.decode() for name in KINDS)}")
    packed = [value.strip().lower() for value in values_of(headers, b"content-encoding")]
    if packed not in ([], [b"identity"], [b"gzip"]):
        raise RefusedError(415, "Content-Encoding may be gzip, or absent")
    return kind, packed == [b"gzip"]


async def _pieces(receive: Receive) -> AsyncIterator[bytes]:
    """The body as it comes."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _LeftError
        yield message.get("body", b"")
        if not message.get("more_body"):
            return


def _more(status: int) -> tuple[tuple[bytes, bytes], ...]:
    """Headers that go with a status."""
    return {
        HTTPStatus.UNAUTHORIZED: ((b"www-authenticate", b"Bearer"),),
        HTTPStatus.METHOD_NOT_ALLOWED: ((b"allow", b"POST"),),
        HTTPStatus.TOO_MANY_REQUESTS: ((b"retry-after", str(_BUSY_SECONDS).encode()),),
        HTTPStatus.SERVICE_UNAVAILABLE: ((b"retry-after", str(_FULL_SECONDS).encode()),),
    }.get(HTTPStatus(status), ())
