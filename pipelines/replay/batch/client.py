"""Calls to a provider of batches: JSON in and out, a file up, lines down, with the key in headers alone.

What is only read is asked for again when it fails; what creates something is sent once. A response is bounded while it is
read, and so is a line of a file.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from pipelines.address import read_address
from pipelines.errors import RefoldError
from pipelines.replay.asking.endpoint import (
    MAX_RESPONSE_BYTES,
    CallFailed,
    Response,
    calling,
    open_session,
    read_response,
)
from pipelines.replay.asking.fault import Again, judge, shown
from pipelines.replay.asking.secret import Secret

if TYPE_CHECKING:
    import aiohttp

ATTEMPTS = 4
"""Calls for one thing that is only read."""
BACKOFF_SECONDS = 0.5
"""Before the second of them; twice as long before each further one."""
_AMBIGUOUS = frozenset((408, 409))
"""Statuses, beside 5xx, of a call that may have been carried out."""


class BatchError(RefoldError):
    """A provider turned down what was asked for, or does not know it any more."""


class NotNowError(Exception):
    """A provider said nothing of use; it may do so later.

    Attributes:
        is_undone: Whether it is certain that what was asked for was not done.
    """

    def __init__(self, detail: str, *, is_undone: bool = False) -> None:
        super().__init__(detail)
        self.is_undone = is_undone


class Client:
    """A session with one provider, as an async context manager.

    Args:
        base_url: Its address.
        headers: What the wire wants: the key, a version.
        key: API key, or None; it is taken out of all that comes back.
        timeout_seconds: For each part of what is sent or received: a large file may take longer than a call.
    """

    def __init__(self, base_url: str, headers: Mapping[str, str], key: str | None, timeout_seconds: float) -> None:
        read_address(base_url)  # nothing in it that a client would read in another way
        self.base_url = base_url
        self._headers = headers
        self._secret = Secret(key)
        self._timeout_seconds = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:  # the key is in no traceback, log or assertion
        return f"Client({self.base_url!r})"

    async def __aenter__(self) -> Self:
        self._session = open_session(self._headers, 2, part_seconds=self._timeout_seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, path: str) -> dict[str, Any]:
        """A JSON object, asked for a few times where it does not come.

        Raises:
            NotNowError: It did not come.
            BatchError: The provider turns the call down.
        """
        for attempt in range(ATTEMPTS - 1):
            try:
                return await self.send("GET", path)
            except NotNowError:
                await asyncio.sleep(BACKOFF_SECONDS * 2**attempt)
        return await self.send("GET", path)

    async def send(
        self, method: str, path: str, document: bytes | BinaryIO | None = None, form: Any = None
    ) -> dict[str, Any]:
        """One call, made once: the JSON object that comes back.

        Args:
            method: Of HTTP.
            path: Below the address.
            document: JSON text.
            form: Or fields of a form, one of which may be a file.

        Raises:
            NotNowError: It did not come.
            BatchError: The provider turns the call down.
        """
        assert self._session is not None
        headers = {"Content-Type": "application/json"} if document is not None else {}
        started = time.perf_counter()
        try:
            with calling(self._secret, self._timeout_seconds):
                async with self._session.request(
                    method, self.base_url + path, data=document or form, headers=headers, allow_redirects=False
                ) as response:
                    found = await read_response(response, self._secret, started)
        except CallFailed as error:
            raise NotNowError(f"{self.base_url}: {error.detail}", is_undone=not error.is_sent) from None
        return self._read(found)

    async def lines(self, path: str) -> AsyncGenerator[bytes]:
        """The lines of a file, without the key; empty ones are left out.

        Raises:
            NotNowError: They did not come, or not to the end.
            BatchError: The provider turns the call down.
        """
        assert self._session is not None
        try:
            with calling(self._secret, self._timeout_seconds):
                async with self._session.get(self.base_url + path, allow_redirects=False) as response:
                    if response.status != 200:
                        self._read(await read_response(response, self._secret, time.perf_counter()))
                    rest = bytearray()
                    async for part in response.content.iter_any():
                        rest += part
                        *whole, last = bytes(rest).split(b"\n") if b"\n" in part else [bytes(rest)]
                        for line in whole:
                            if line.strip():
                                yield self._secret.hide(line)
                        rest = bytearray(last) if whole else rest
                        if len(rest) > MAX_RESPONSE_BYTES:
                            raise BatchError(
                                f"{self.base_url}{path}: a line is longer than {MAX_RESPONSE_BYTES:,} bytes"
                            )
                    if rest.strip():
                        yield self._secret.hide(bytes(rest))
        except CallFailed as error:
            raise NotNowError(f"{self.base_url}: {error.detail}") from None

    def _read(self, response: Response) -> dict[str, Any]:
        """The object in a response.

        Raises:
            NotNowError: There is none now.
            BatchError: The provider turns the call down.
        """
        status, body = response.status, response.body
        if not 200 <= status < 300:
            meant = judge(status, body, response.location)
            if isinstance(meant, Again):
                raise NotNowError(
                    f"{self.base_url}: {meant.detail}", is_undone=status < 500 and status not in _AMBIGUOUS
                )
            raise BatchError(f"{self.base_url}: {meant.detail}")
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise NotNowError(f"{self.base_url}: HTTP {status}: no object: {shown(body)}")
        return document
