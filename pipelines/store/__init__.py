"""The event store on PostgreSQL: connect, migrate, append, read, months, and the embedded server.

The rules of the log live in `sql/postgres`; this package is their typed face. Nothing here knows what an event means.
"""

from pipelines.store.async_store import AsyncStore
from pipelines.store.connect import Store, connect, connect_async
from pipelines.store.embedded import EmbeddedServer, ServerStatus
from pipelines.store.erasures import Hold
from pipelines.store.errors import (
    AppendOnly,
    Erased,
    EventTypeChanged,
    InvalidEvent,
    InvalidPayload,
    MigrationFailed,
    MonthSealed,
    NoStore,
    OlderFormat,
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
from pipelines.store.events import (
    AppendManyResult,
    AppendResult,
    Expected,
    NewEvent,
    StoredEvent,
    StreamBatch,
    stream_id,
)
from pipelines.store.home_log import Entry, Signed, sign
from pipelines.store.migrations import MigrationReport, migrate, pending
from pipelines.store.months import MonthStatus, month_of
from pipelines.store.read import Stall, Watermark
from pipelines.store.registry import EventType, Registry

__all__ = [
    "AppendManyResult",
    "AppendOnly",
    "AppendResult",
    "AsyncStore",
    "EmbeddedServer",
    "Entry",
    "Erased",
    "EventType",
    "EventTypeChanged",
    "Expected",
    "Hold",
    "InvalidEvent",
    "InvalidPayload",
    "MigrationFailed",
    "MigrationReport",
    "MonthSealed",
    "MonthStatus",
    "NewEvent",
    "NoStore",
    "OlderFormat",
    "OnHold",
    "PayloadTooLarge",
    "PermissionDenied",
    "Registry",
    "SchemaOutdated",
    "ServerStatus",
    "Signed",
    "Stall",
    "Store",
    "StoreBusy",
    "StoreError",
    "StoreReadOnly",
    "StoreUnavailable",
    "StoredEvent",
    "StreamBatch",
    "UnknownEventType",
    "VersionConflict",
    "Watermark",
    "connect",
    "connect_async",
    "migrate",
    "month_of",
    "pending",
    "sign",
    "stream_id",
]
