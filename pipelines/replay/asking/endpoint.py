"""One HTTP endpoint of a model: whether it may be asked, and one call to it.

A call is one POST with a body that was prepared elsewhere; nothing is retried, followed or looked up here. The API key is
read from the environment variable that the experiment names, is held by the session's headers alone, and is taken out of
everything that comes back, whatever the endpoint repeats. What comes back is bounded while it is read, also what it becomes
when it is decompressed.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from pipelines.address import read_address
from pipelines.replay.asking.fault import shown
from pipelines.replay.asking.secret import Secret
from pipelines.replay.wires.registry import find_wire
from pipelines.replay.wires.wire import Wire

if TYPE_CHECKING:
    import aiohttp

MAX_RESPONSE_BYTES = 8 * 2**20
"""A response beyond this, compressed or not, is no answer; reading on would only fill memory."""
_CONNECT_SECONDS = 15.0
_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""How `zlib` reads a content encoding."""
_MEMBERS = 16
"""Compressed texts in a row that are one body."""
_LONGEST_RETRY_AFTER = 3_600.0


@dataclass(frozen=True, slots=True)
class Response:
    """What came back, complete.

    Attributes:
        status: HTTP status.
        body: Its bytes, without the API key.
        latency_ms: From sending to the last byte, milliseconds.
        retry_after: Seconds to wait before the next call, when the endpoint says so.
        location: Where a redirect points, as the endpoint says it.
    """

    status: int
    body: bytes
    latency_ms: float
    retry_after: float | None = None
    location: str | None = None


@dataclass(slots=True)
class CallFailed(Exception):  # noqa: N818 -- reads as what happened
    """No complete response.

    Attributes:
        reason: No answer in time, or no connection to the end.
        is_sent: Whether the endpoint may have worked, and may charge for it.
        detail: What happened, for people.
        is_certain: Whether it will be so again, as with a certificate that nobody trusts.
    """

    reason: Literal["timeout", "unavailable"]
    is_sent: bool
    detail: str
    is_certain: bool = False

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(slots=True)
class Endpoint:
    """A session with one endpoint, as an async context manager; whoever is going to call opens it.

    Attributes:
        base_url: Address, the wire's own path not included.
        key: API key, or None.
        timeout_seconds: For one call, from the connection to the last byte.
        connections: Open at once, at most.
        wire: What it speaks.
    """

    base_url: str
    key: str | None = field(repr=False)
    timeout_seconds: float
    connections: int
    wire: Wire = field(default=find_wire("chat"))
    _session: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)
    _url: str = field(init=False)
    _secret: Secret = field(init=False)

    def __post_init__(self) -> None:
        read_address(self.base_url)  # nothing in it that a client would read in another way
        self._url = f"{self.base_url}{self.wire.path}"
        self._secret = Secret(self.key)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def open(self) -> None:
        """Have a session, before the first call's turn comes: its client takes a while to import. Kept answers need none."""
        if self._session is None:
            headers = {"Content-Type": "application/json", **self.wire.headers(self.key)}
            self._session = open_session(headers, self.connections, total_seconds=self.timeout_seconds)

    async def call(self, body: bytes, idempotency_key: str) -> Response:
        """Send one request.

        Args:
            body: The JSON body.
            idempotency_key: The same for every attempt at the same answer, for endpoints that then answer (and charge) once.

        Raises:
            CallFailed: There was no complete response.
        """
        self.open()
        assert self._session is not None
        started = time.perf_counter()
        with calling(self._secret, self.timeout_seconds):
            async with self._session.post(
                self._url, data=body, headers={"Idempotency-Key": idempotency_key}, allow_redirects=False
            ) as response:
                return await read_response(response, self._secret, started)


def open_session(
    headers: Mapping[str, str],
    connections: int,
    *,
    total_seconds: float | None = None,
    part_seconds: float | None = None,
) -> aiohttp.ClientSession:
    """A session that takes nothing from the environment, keeps no cookies, and leaves bodies as they come.

    Args:
        headers: Sent with every call, beside what all have.
        connections: Open at once, at most.
        total_seconds: For one call, from the connection to the last byte; None for no bound.
        part_seconds: Between two parts of a response; None for no bound.
    """
    import aiohttp  # noqa: PLC0415 - a fifth of a second, only where somebody is asked

    # an answer is small; whoever compresses it all the same is read here
    common = {"Accept": "application/json", "User-Agent": "refold", "Accept-Encoding": "identity"}
    # Settings of the environment (proxies, .netrc) could send texts elsewhere, or with another key.
    return aiohttp.ClientSession(
        headers={**common, **headers},
        timeout=aiohttp.ClientTimeout(total=total_seconds, sock_connect=_CONNECT_SECONDS, sock_read=part_seconds),
        connector=aiohttp.TCPConnector(limit=connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
    )


@contextmanager
def calling(secret: Secret, timeout_seconds: float) -> Iterator[None]:
    """Turn what the client raises into `CallFailed`: its errors name the request with its headers, so none of them goes further.

    Args:
        secret: Taken out of the words.
        timeout_seconds: What is said of a call that took too long.
    """
    import aiohttp  # noqa: PLC0415 - loaded when the session was opened

    def describe(error: Exception) -> str:
        return shown(secret.hide(f"{type(error).__name__}: {error}".encode("utf-8", "replace")))

    try:
        yield
    except TimeoutError:
        raise CallFailed("timeout", True, f"no complete answer in {timeout_seconds:g} s") from None
    except aiohttp.ClientConnectorError as error:
        is_certain = isinstance(error, aiohttp.ClientSSLError)
        raise CallFailed("unavailable", False, describe(error), is_certain) from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise CallFailed("unavailable", True, describe(error)) from None


async def read_response(response: aiohttp.ClientResponse, secret: Secret, started: float) -> Response:
    """A response, complete and without the key.

    Args:
        response: As the client has it.
        secret: The key.
        started: When the call began, by `time.perf_counter`.

    Raises:
        CallFailed: It is too large, or encoded in a way that was not asked for.
    """
    content = secret.hide(await _read(response))
    latency_ms = (time.perf_counter() - started) * 1e3
    location = response.headers.get("Location")
    where = None if location is None else secret.hide_text(location)
    return Response(response.status, content, latency_ms, retry_after(response.headers), where)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, decompressed; bounded both ways while it is read.

    Raises:
        CallFailed: It is too large, or encoded in a way that was not asked for.
    """
    encodings = [name for each in response.headers.getall("Content-Encoding", ()) for name in each.lower().split(",")]
    named = [name.strip() for name in encodings if name.strip() not in ("", "identity")]
    if len(named) > 1 or (named and named[0] not in _WINDOWS):
        response.close()
        raise CallFailed("unavailable", True, f"the response is encoded as {shown(','.join(named).encode())}, unasked")
    inflater = _Inflater(_WINDOWS[named[0]]) if named else None
    content = bytearray()
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        content += part if inflater is None else inflater.inflate(part, MAX_RESPONSE_BYTES + 1 - len(content))
        if max(size, len(content)) > MAX_RESPONSE_BYTES:
            response.close()
            raise CallFailed("unavailable", True, f"the response is larger than {MAX_RESPONSE_BYTES:,} bytes")
    if inflater is not None and not inflater.is_whole:
        raise CallFailed("unavailable", True, f"the response ends in the middle of its {named[0]} encoding")
    return bytes(content)


class _Inflater:
    """Decompresses a body, part by part and no further than is asked for."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._stream = zlib.decompressobj(window)
        self._is_begun = False
        self._members = 0

    @property
    def is_whole(self) -> bool:
        """Whether the stream has ended, or never began."""
        return self._stream.eof or not self._is_begun

    def inflate(self, part: bytes, most: int) -> bytes:
        """What a part becomes, `most` bytes of it at the most.

        Raises:
            ValueError: It is not compressed so.
        """
        try:
            return self._inflate(part, most)
        except zlib.error as error:
            raise ValueError(f"the response cannot be decompressed: {error}") from None

    def _inflate(self, part: bytes, most: int) -> bytes:
        if not self._is_begun and part:
            self._is_begun = True
            if self._window == _WINDOWS["deflate"] and part[0] & 0x0F != zlib.DEFLATED:
                self._stream = zlib.decompressobj(-zlib.MAX_WBITS)  # some send it without its header
        found = bytearray()
        while part and most > len(found):
            if self._stream.eof:
                self._members += 1
                if self._members >= _MEMBERS:
                    raise zlib.error("too many members")
                self._stream = zlib.decompressobj(self._window)
            found += self._stream.decompress(part, most - len(found))
            part = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        return bytes(found)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that `retry-after-ms` or `Retry-After` (seconds or an HTTP date) asks to wait, None when neither does."""
    milliseconds, given = headers.get("retry-after-ms"), headers.get("Retry-After")
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1e3
        elif given is None:
            return None
        else:
            seconds = float(given) if _is_number(given) else _seconds_until(given)
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER) if seconds == seconds else None  # noqa: PLR0124 -- not NaN


def _is_number(text: str) -> bool:
    return text.strip().replace(".", "", 1).isdigit()


def _seconds_until(date: str) -> float:
    at = parsedate_to_datetime(date)
    return (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
