"""What a provider of batches is: its bounds, the form of what is sent, and the calls from a batch's creation to its results.

A provider keeps no state: what was begun is in the ledger. No call that creates something is repeated here.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple, Protocol

from pipelines.replay.batch.client import BatchError, Client

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")


@dataclass(frozen=True, slots=True)
class Remote:
    """A batch as its provider tells it.

    Attributes:
        id: The provider's name of it.
        state: The provider's word for how far it is.
        is_ended: Whether nothing more comes of it.
        done: Requests that are done, failed ones included.
        total: Its requests.
        files: The files that hold its results; none where results are asked for by `id`.
        fault: Why it was turned down as a whole; nothing of it was worked on then. None when it was not.
    """

    id: str
    state: str
    is_ended: bool
    done: int = 0
    total: int = 0
    files: tuple[str, ...] = ()
    fault: str | None = None


class Line(NamedTuple):
    """The result of one request.

    Attributes:
        custom_id: Which request.
        status: HTTP status that the request alone would have had; None when nobody worked on it.
        body: The body that it would have had, as it came; in words why nobody did, where `status` is None.
    """

    custom_id: str
    status: int | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Sought:
    """A batch of which it is not known whether it was created.

    Attributes:
        token: What it is recognised by.
        requests: How many it has.
        begun_at: When it was to be created.
        known: The provider's names of batches that are others.
    """

    token: str
    requests: int
    begun_at: datetime
    known: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Sending:
    """What is sent of one batch.

    Attributes:
        token: What it is to be recognised by.
        path: Of the wire.
        file: All of its requests.
        upload: The provider's name of the file; None as long as there is none.
    """

    token: str
    path: str
    file: BinaryIO
    upload: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a provider may keep of a batch of which nothing is needed any more.

    Attributes:
        token: What it is recognised by.
        upload: The provider's name of the file of requests; None where it is not known, or there is none.
        remote: The batch; None where it was never created.
    """

    token: str
    upload: str | None
    remote: Remote | None


class Provider(Protocol):
    """One provider.

    Attributes:
        name: What people call it.
        most_requests: In one batch.
        most_bytes: Of what is sent for one.
        keeps: How long it keeps what it was sent, for people.
        head: What is sent begins with this; `between` stands between two requests, `tail` at the end.
    """

    name: str
    most_requests: int
    most_bytes: int
    keeps: str
    head: bytes
    between: bytes
    tail: bytes

    def entry(self, custom_id: str, path: str, body: bytes) -> bytes:
        """One request as it stands in what is sent."""

    async def upload(self, client: Client, sending: Sending) -> str | None:
        """Leave the requests with the provider before a batch is made of them; None where they go with its creation."""

    async def create(self, client: Client, sending: Sending) -> Remote:
        """Create the batch, by one call.

        Raises:
            NotNowError: It may have been created, or was not, as that says.
            BatchError: It was turned down.
        """

    async def find(self, client: Client, sought: Sought) -> Remote | None:
        """The batch that was to be created, if it was.

        Raises:
            NotNowError: That cannot be told yet.
        """

    async def poll(self, client: Client, id_: str) -> Remote:
        """How far a batch is."""

    def results(self, client: Client, remote: Remote) -> AsyncIterator[Line]:
        """The results of a batch that has ended, in whatever order."""

    async def remove(self, client: Client, kept: Kept) -> None:
        """Remove what it keeps."""


def named(value: object) -> str:
    """A provider's name of a batch or a file, as it may stand in an address.

    Raises:
        BatchError: It is none.
    """
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise BatchError(f"the provider calls a batch or a file {str(value)[:50]!r}, which is no name of one")
    return value


def word(value: object) -> str:
    """A word of a provider, bounded and as a terminal may show it."""
    return "".join(each for each in str(value)[:50] if each.isprintable())


def counts_of(document: Mapping[str, Any]) -> dict[str, int]:
    """The `request_counts` of a batch; what is no count is 0."""
    counts = document.get("request_counts")
    given = counts.items() if isinstance(counts, dict) else ()
    return {name: value if isinstance(value, int) and value >= 0 else 0 for name, value in given}


def dump(value: object) -> bytes:
    """JSON text, without blanks."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
