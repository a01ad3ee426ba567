"""One HTTP endpoint that speaks chat completions: whether it may be asked, and one call to it.

A call is one POST with a body that was prepared elsewhere; nothing is retried, followed or looked up here. The API key is
read from the environment variable that the experiment names, is held by the session's headers alone, and is taken out of
everything that comes back, whatever the endpoint repeats.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Literal, Self
from urllib.parse import SplitResult, urlsplit

import aiohttp

from pipelines.errors import BadInputError

MAX_RESPONSE_BYTES = 16 * 2**20
"""A response beyond this is no chat completion; reading on would only fill memory."""
_CONNECT_SECONDS = 15.0
_HIDDEN = b"[api key]"
_PORTS = {"http": 80, "https": 443}
_LONGEST_RETRY_AFTER = 3_600.0


def require_allowed(base_url: str, allowed: Iterable[str] | None) -> None:
    """Refuse an endpoint that texts must not be sent to.

    Args:
        base_url: The endpoint, as the experiment names it.
        allowed: Addresses (`REFOLD_ENDPOINTS`) that it may be, or be under; None: this machine's loopback alone.

    Raises:
        BadInputError: It is not among them.
    """
    asked = urlsplit(base_url)
    if allowed is None:
        if _is_loopback(asked.hostname or ""):
            return
        raise BadInputError(
            f"{base_url} is not on this machine; to send recorded texts there, name it in REFOLD_ENDPOINTS"
        )
    known = list(allowed)
    if not any(_is_under(asked, urlsplit(each)) for each in known):
        raise BadInputError(f"{base_url} is not among REFOLD_ENDPOINTS ({', '.join(known) or 'which names none'})")


def read_key(variable: str | None, env: Mapping[str, str]) -> str | None:
    """The API key in the named variable, None when no variable is named.

    Raises:
        BadInputError: The variable is not set, or holds what no header can carry; the value is not repeated.
    """
    if variable is None:
        return None
    key = env.get(variable, "").strip()
    if not key:
        raise BadInputError(f"api_key_env: the environment variable {variable} is not set")
    if not key.isascii() or not key.isprintable():
        raise BadInputError(f"api_key_env: the environment variable {variable} does not hold an API key")
    return key


@dataclass(frozen=True, slots=True)
class Response:
    """What came back, complete.

    Attributes:
        status: HTTP status.
        body: Its bytes, without the API key.
        latency_ms: From sending to the last byte, milliseconds.
        retry_after: Seconds to wait before the next call, when the endpoint says so.
    """

    status: int
    body: bytes
    latency_ms: float
    retry_after: float | None = None


@dataclass(slots=True)
class CallFailed(Exception):  # noqa: N818 -- reads as what happened
    """No complete response.

    Attributes:
        reason: No answer in time, or no connection to the end.
        is_sent: Whether the endpoint may have worked, and may charge for it.
        detail: What happened, for people.
    """

    reason: Literal["timeout", "unavailable"]
    is_sent: bool
    detail: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(slots=True)
class Endpoint:
    """A session with one endpoint, as an async context manager.

    Attributes:
        base_url: Address, `/chat/completions` not included.
        key: API key, or None.
        timeout_seconds: For one call, from the connection to the last byte.
        connections: Open at once, at most.
    """

    base_url: str
    key: str | None = field(repr=False)
    timeout_seconds: float
    connections: int
    _session: aiohttp.ClientSession | None = field(default=None, init=False, repr=False)
    _url: str = field(init=False)

    def __post_init__(self) -> None:
        self._url = f"{self.base_url}/chat/completions"

    async def __aenter__(self) -> Self:
        headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "refold"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        # Settings of the environment (proxies, .netrc) could send texts elsewhere, or with another key.
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self.timeout_seconds, sock_connect=_CONNECT_SECONDS),
            connector=aiohttp.TCPConnector(limit=self.connections),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def call(self, body: bytes, idempotency_key: str) -> Response:
        """Send one request.

        Args:
            body: The JSON body.
            idempotency_key: The same for every attempt at the same answer, for endpoints that then answer (and charge) once.

        Raises:
            CallFailed: There was no complete response.
        """
        assert self._session is not None
        started = time.perf_counter()
        try:
            async with self._session.post(
                self._url, data=body, headers={"Idempotency-Key": idempotency_key}, allow_redirects=False
            ) as response:
                content = await self._read(response)
                latency_ms = (time.perf_counter() - started) * 1e3
                return Response(response.status, content, latency_ms, retry_after(response.headers))
        except TimeoutError:
            raise CallFailed("timeout", True, f"no complete answer in {self.timeout_seconds:g} s") from None
        except aiohttp.ClientConnectorError as error:
            raise CallFailed("unavailable", False, self._hide(f"{type(error).__name__}: {error}")) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Errors of the client name the request with its headers, so none of them goes further.
            raise CallFailed("unavailable", True, self._hide(f"{type(error).__name__}: {error}")) from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts = []
        size = 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > MAX_RESPONSE_BYTES:
                response.close()
                raise CallFailed("unavailable", True, f"the response is larger than {MAX_RESPONSE_BYTES:,} bytes")
            parts.append(part)
        content = b"".join(parts)
        return content if self.key is None else content.replace(self.key.encode(), _HIDDEN)

    def _hide(self, text: str) -> str:
        return text if self.key is None else text.replace(self.key, _HIDDEN.decode())


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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_under(asked: SplitResult, allowed: SplitResult) -> bool:
    """Same scheme, host and port, and the same path or one below it."""
    same = all(
        (
            asked.scheme == allowed.scheme,
            asked.hostname == allowed.hostname,
            (asked.port or _PORTS.get(asked.scheme)) == (allowed.port or _PORTS.get(allowed.scheme)),
        )
    )
    base, path = allowed.path.rstrip("/"), asked.path.rstrip("/")
    return same and (path == base or path.startswith(f"{base}/")) and ".." not in path.split("/")
