"""Access is an event: who used a verb that shows, hides, takes or sends away what events say, why, and of which streams.

`record_access` is the one way to write `access.recorded.v1`; verbs call it before they show or do anything. What an access may not say
is whom the events are about: it names streams and versions.
"""

from __future__ import annotations

import os
import pwd
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID, uuid4

from pipelines.errors import BadInputError
from pipelines.settings import read_actor
from pipelines.store.connect import Store
from pipelines.store.encode import json_text
from pipelines.store.errors import MonthSealed, PermissionDenied, StoreReadOnly
from pipelines.store.registry import Registry
from pipelines.store.sqlstate import typed_errors

ACCESS = "access"
"""Type of the streams that accesses are."""
EVENT_TYPE = "access.recorded.v1"
Verb = Literal["audit", "show", "redact", "erase", "hold", "unseal", "replay"]
_PART = 1_000
"""Targets of one event: about 100 kB."""
_MAX_REASON = 2_000
_RECORD = "SELECT refold.record_access(%s::uuid, %s::text[]::jsonb[])"


@dataclass(frozen=True, slots=True)
class Accessed:
    """What an access is of.

    Attributes:
        stream: The stream.
        first: First stream version; None, with `last`, for all of the stream.
        last: Last stream version.
    """

    stream: UUID | str
    first: int | None = None
    last: int | None = None

    def plain(self) -> dict[str, Any]:
        """As the event has it."""
        versions = {} if self.first is None else {"first": self.first, "last": self.last}
        return {"stream": str(self.stream), **versions}


def require_reason(reason: str | None, question: str) -> str:
    """The reason that an access is recorded with, without blanks around it.

    Args:
        reason: As it was given.
        question: What it should answer, for the error: "why may it not be erased?"

    Raises:
        BadInputError: It is missing or blank, too long, or no text that can be stored.
    """
    if reason is None or not reason.strip():
        what = "missing" if reason is None else "empty"
        raise BadInputError(
            f"--reason is {what}: {question} It is kept for good, so say it without naming whom (a ticket number, a paragraph of law)"
        )
    told = reason.strip()
    if len(told) > _MAX_REASON:
        raise BadInputError(f"--reason has {len(told):,} characters; {_MAX_REASON:,} are the most")
    if "\x00" in told or any("\ud800" <= each <= "\udfff" for each in told):
        raise BadInputError(f"--reason is no text that can be kept: {told[:100]!r}")
    return told


def record_access(
    store: Store,
    verb: Verb,
    reason: str,
    targets: Sequence[Accessed],
    *,
    endpoint: str | None = None,
    version_id: str | None = None,
    month: str | None = None,
) -> UUID:
    """Record an access, all of its events or none, in the current transaction or in one of its own; its stream.

    Args:
        store: The store.
        verb: What was called.
        reason: Why, as `require_reason` gave it.
        targets: What of the log it is about; it may be nothing where `month` is given.
        endpoint: Where texts are sent to.
        version_id: The version of an experiment that it is for.
        month: The month that it is about, YYYY-MM.

    Raises:
        PermissionDenied: The database role may not record accesses.
        StoreReadOnly: Nothing can be appended here.
        MonthSealed: This month is closed to writes.
    """
    given = {"endpoint": endpoint, "version_id": version_id, "month": month, "actor": read_actor()}
    said = {"verb": verb, "reason": reason, "account": _account(), "host": socket.gethostname()} | {
        name: value for name, value in given.items() if value is not None
    }
    payloads = [
        said | {"targets": [target.plain() for target in targets[at : at + _PART]]}
        for at in range(0, max(len(targets), 1), _PART)
    ]
    for payload in payloads:
        Registry.shipped().validate(EVENT_TYPE, payload)
    access = uuid4()
    with _refused(verb), typed_errors():
        store.conn.execute(_RECORD, [access, [json_text(each, EVENT_TYPE) for each in payloads]])
    return access


@contextmanager
def _refused(verb: Verb) -> Iterator[None]:
    """Say of what refuses the record that nothing was done without it."""
    try:
        yield
    except (PermissionDenied, StoreReadOnly, MonthSealed) as error:
        hint = "; it takes a role in refold_writer, refold_exporter or refold_eraser"
        raise type(error)(
            f"`refold {verb}` records who uses it, and this access cannot be recorded, so nothing was shown or done: {error}"
            + (hint if isinstance(error, PermissionDenied) else "")
        ) from error


def _account() -> str:
    """The account of the operating system, by name where it has one."""
    uid = os.geteuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
