"""What can go wrong with the store, one type per thing a caller would handle differently.

SQL functions raise SQLSTATEs of class `RF` with a JSON detail; `pipelines.store.sqlstate` turns them into these. No
message carries a password: connection strings are named by host and database only.
"""

# ruff: noqa: N818 - these names are the words callers use: a VersionConflict is one, whatever its suffix

from __future__ import annotations

from pipelines.errors import BadInputError, RefoldError


class StoreError(RefoldError):
    """The event store refused or could not do what was asked."""


class StoreUnavailable(StoreError):
    """No server answered, or the connection broke; whether the last append was stored is unknown: resend it."""


class NoStore(BadInputError):
    """There is no store where one was to be read or changed; none was made."""


class StoreBusy(StoreUnavailable):
    """Another transaction was in the way (a deadlock, a lock timeout); nothing was stored: try again."""


class SchemaOutdated(StoreError):
    """The database's schema is not the one this version of Refold works with."""


class OlderFormat(SchemaOutdated):
    """The store keeps its log in a format that this version only reads, to write it out."""


class MigrationFailed(StoreError):
    """A migration or object file did not apply; the database is as it was before that file."""


class StoreReadOnly(StoreError):
    """Appends are stopped: the server is a standby, or the cluster changed and needs a new epoch."""


class VersionConflict(StoreError):
    """The stream is not where the writer believed it to be; read it again, decide again, append again.

    Attributes:
        expected: The expectation as given: a version, `no_stream` or `exists`.
        actual: The stream's last version; 0 when it does not exist.
    """

    def __init__(self, message: str, *, expected: int | str, actual: int) -> None:
        super().__init__(message)
        self.expected = expected
        self.actual = actual


class MonthSealed(StoreError):
    """The month is closed to writes; append the fact now with `metadata.occurred_at`, or unseal the month."""


class Erased(StoreError):
    """What it was to go on from, or to be compared with, was erased; nothing was stored, and sending it again changes nothing."""


class OnHold(StoreError):
    """A hold is on something that was to be erased; nothing was erased. Lift the hold first."""


class PermissionDenied(StoreError):
    """The database role may not do this; see the roles refold_writer, refold_reader, refold_exporter and refold_eraser."""


class AppendOnly(StoreError):
    """Events are never updated, deleted or truncated."""


class InvalidEvent(BadInputError):
    """The event's envelope (times, stream, batch) cannot be stored; nothing was appended."""


class UnknownEventType(BadInputError):
    """The event type is not in the registry; nothing was appended."""


class EventTypeChanged(BadInputError):
    """An event type is registered under this name with another schema; register a new version instead."""


class InvalidPayload(BadInputError):
    """A payload or metadata that the schema or PostgreSQL's jsonb refuses; nothing was appended.

    Attributes:
        path: JSON Pointer of the offending value inside the payload, `""` for the whole.
        reason: What is wrong with it.
    """

    def __init__(self, path: str, reason: str, *, what: str = "payload") -> None:
        super().__init__(f"{what}, at {path or 'its root'}: {reason}")
        self.path = path
        self.reason = reason


class PayloadTooLarge(BadInputError):
    """One event holds more bytes than the store takes; keep the document elsewhere and record its hash."""
