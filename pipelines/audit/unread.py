"""What an audit did not read: every table of the lake, every column of those that it reads, and the store's rows.

An audit vouches for what it reads and for nothing else, so the rest is listed, from the specifications: a table or a
column that is added is unread until it is named here as read.
"""

from __future__ import annotations

from collections.abc import Iterable

from pipelines.audit.findings import MonthAudit, Unread
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import COMMITS, EVENTS, HOME_LOG, MERKLE_NODES, STREAM_MONTHS

_OUTSIDE_CHAIN = ("epoch", "xid", "position")
"""Columns of an event that its link of the chain does not cover; the Merkle tree of a sealed month does."""
_READ = {
    EVENTS.name: tuple(name for name in EVENTS.column_names if name not in _OUTSIDE_CHAIN),
    STREAM_MONTHS.name: tuple(name for name in STREAM_MONTHS.column_names if name != "aggregate_type"),
    COMMITS.name: ("dataset", "partition", "number", "delta_version", "files", "provenance"),
    HOME_LOG.name: tuple(name for name in HOME_LOG.column_names if name != "document_sha256"),
    MERKLE_NODES.name: MERKLE_NODES.column_names,
}
"""Columns that are recomputed, or compared with what somebody else says of them."""


def list_unread(
    datasets: Iterable[Dataset], months: Iterable[MonthAudit], *, deep: bool, has_store: bool, must_be_signed: bool
) -> list[Unread]:
    """What an audit of `months` did not read, tables of the lake in the order given, then the store's.

    Args:
        datasets: The tables that the lake has.
        months: The audits of months.
        deep: Whether every column of every event was compared with the store.
        has_store: Whether there was a store to compare with.
        must_be_signed: Whether manifests without a signature were findings.
    """
    months = list(months)
    unread = []
    for dataset in datasets:
        read = set(_READ.get(dataset.name, ()))
        if dataset.name == EVENTS.name and (deep or all(_has_root(month) for month in months)):
            read |= set(_OUTSIDE_CHAIN)
        if dataset.name == HOME_LOG.name:
            read -= {name for name, is_read in (("signature", must_be_signed), ("noted_at", has_store)) if not is_read}
        columns = tuple(name for name in dataset.column_names if name not in read)
        if columns:
            unread.append(Unread("lake", dataset.name, columns if read else (), _why(dataset)))
    return unread + _of_store(deep=deep, has_store=has_store)


def _has_root(month: MonthAudit) -> bool:
    """Whether the month's events were held to a manifest's Merkle root."""
    return month.state == "sealed" and month.has_measure


def _why(dataset: Dataset) -> str:
    if dataset.name == EVENTS.name:
        return "outside the chain: compared in sealed months, by their Merkle root, and everywhere by --deep"
    if dataset.name == COMMITS.name:
        return (
            "rows of other tables than events and stream_months, and these columns of theirs, are compared with nothing"
        )
    if dataset.name == HOME_LOG.name:
        return "compared with nothing; that there is a signature at all is asked for by --public-key FILE alone"
    if dataset.name in _READ:
        return "compared with nothing"
    if dataset.layer == "fold":
        return "made from events; `refold fold` makes it again"
    return "compared with nothing: a change of it is not seen"


def _of_store(*, deep: bool, has_store: bool) -> list[Unread]:
    if not has_store:
        return [Unread("store", "all of it", (), "there was no store to compare with")]
    unread = []
    if not deep:
        why = "only a stream's first and last version, count and last hash are read: a change of these at any event takes --deep"
        columns = tuple(
            name for name in EVENTS.column_names if name not in ("month", "aggregate_id", "stream_version", "hash")
        )
        unread.append(Unread("store", "events", columns, why))
    nothing = "compared with nothing"
    unread.append(Unread("store", "streams", ("aggregate_type", "created_at"), nothing))
    unread.append(Unread("store", "months", ("changed_xid", "created_at"), nothing))
    unread.append(Unread("store", "home_log", ("noted_by",), nothing))
    unread.append(Unread("store", "erasures", ("erasure", "month", "noted_xid", "is_done"), nothing))
    unread += [Unread("store", table, (), nothing) for table in ("event_types", "holds", "store")]
    return unread
