"""Erase events in a store, as `refold erase` does, without a lake."""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.erasure.record import record, take_content
from pipelines.erasure.selection import Selection, select_customer, select_events, select_streams
from pipelines.store import Store

REASON = "ticket 4711"


def erase(store: Store, selection: Selection) -> str:
    """Record and do it; the id of the erasure."""
    erasure = record(store, selection, REASON, None)
    take_content(store)
    return erasure


def erase_streams(store: Store, streams: Iterable) -> str:
    return erase(store, select_streams(store, streams))


def erase_events(store: Store, *names: str) -> str:
    return erase(store, select_events(store, names))


def erase_customer(store: Store, customer: str) -> str:
    return erase(store, select_customer(store, customer))
