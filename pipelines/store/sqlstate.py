"""From PostgreSQL's error codes to the store's exceptions, in one table.

The SQL functions raise class `RF` with a JSON detail; the other codes are PostgreSQL's own. Messages of connection
errors are kept (they name host and database, never the password); a connection string is never repeated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from pipelines.store.errors import (
    AppendOnly,
    Erased,
    InvalidEvent,
    InvalidPayload,
    MonthSealed,
    OnHold,
    PayloadTooLarge,
    PermissionDenied,
    SchemaOutdated,
    StoreBusy,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
    UnknownEventType,
    VersionConflict,
)

_BY_STATE: dict[str, type[StoreError | InvalidEvent | UnknownEventType | PayloadTooLarge]] = {
    "RF002": UnknownEventType,
    "RF003": MonthSealed,
    "RF004": StoreReadOnly,
    "RF005": InvalidEvent,
    "RF006": PayloadTooLarge,
    "RF007": AppendOnly,
    "RF009": Erased,
    "RF010": OnHold,
    "25006": StoreReadOnly,  # read_only_sql_transaction: a standby, or default_transaction_read_only
    "54000": PayloadTooLarge,  # program_limit_exceeded: jsonb's own limits
    "22007": InvalidEvent,  # invalid_datetime_format
    "22008": InvalidEvent,  # datetime_field_overflow
    "42501": PermissionDenied,  # insufficient_privilege
    "40001": StoreBusy,
    "40P01": StoreBusy,
    "55P03": StoreBusy,  # lock_not_available
    "3F000": SchemaOutdated,  # no schema refold
    "42P01": SchemaOutdated,  # no such table
    "42883": SchemaOutdated,  # no such function
}
_BAD_JSON = {
    "RF008": "not JSON that every reader takes",
    "22P02": "not JSON that PostgreSQL reads",
    "22P05": "a character that PostgreSQL cannot store",  # \u0000
    "22021": "bytes that are not UTF-8",
    "22003": "a number outside of what PostgreSQL stores",
    "54001": "nested too deeply",
}
_UNAVAILABLE = ("08", "53", "57", "58")
"""Connection, resources, operator intervention, system: the server is there no more, or not for this."""


def typed(error: psycopg.Error) -> Exception:
    """The store's exception for a database error."""
    state = error.sqlstate
    text = (error.diag.message_primary or str(error)).strip()
    if error.diag.message_hint:
        text = f"{text} {error.diag.message_hint}"
    if state == "RF001":
        detail = _detail(error)
        expected = str(detail.get("expected"))
        return VersionConflict(
            text, expected=int(expected) if expected.isdigit() else expected, actual=int(detail.get("actual", 0))
        )
    if state in _BAD_JSON:
        return InvalidPayload("", f"{_BAD_JSON[state]}: {text}")
    if state in _BY_STATE:
        is_outdated = _BY_STATE[state] is SchemaOutdated
        return _BY_STATE[state](
            f"the database lacks what this Refold needs ({text}); run `refold db migrate`" if is_outdated else text
        )
    if isinstance(error, psycopg.OperationalError) and (state is None or state.startswith(_UNAVAILABLE)):
        return StoreUnavailable(f"the store's database does not answer: {text}")
    return StoreError(f"the store's database refused: {text}" + (f" (SQLSTATE {state})" if state else ""))


@contextmanager
def typed_errors() -> Iterator[None]:
    """Raise the store's exceptions instead of psycopg's."""
    try:
        yield
    except psycopg.Error as error:
        raise typed(error) from error


def _detail(error: psycopg.Error) -> dict[str, Any]:
    try:
        detail = json.loads(error.diag.message_detail or "{}")
    except ValueError:
        return {}
    return detail if isinstance(detail, dict) else {}
