"""Erasures: each recorded one done everywhere, nothing emptied that no record names, and no content come back.

The record is the home log's. What a table of the store says of it is derived, and held to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import duckdb

from pipelines.audit.documents import signature_problem
from pipelines.audit.findings import Code, Finding, MonthAudit, Place
from pipelines.audit.heads import NAMED
from pipelines.export.snapshot import month_condition
from pipelines.proof.erasure import Target, read_erasure
from pipelines.proof.manifest import ManifestError
from pipelines.proof.scan import HEADS
from pipelines.proof.signing import PublicKeys
from pipelines.store import Entry, Signed, Store

_EMPTIED = """
SELECT e.aggregate_id::text, e.stream_version, count(*) OVER ()
FROM refold.events AS e
WHERE {condition} AND octet_length(e.digest) <> 0 AND NOT EXISTS (
    SELECT FROM unnest(%(streams)s::uuid[], %(first)s::integer[], %(last)s::integer[]) AS t (stream, first, last)
    WHERE t.stream = e.aggregate_id AND e.stream_version BETWEEN t.first AND t.last
)
ORDER BY e.aggregate_id, e.stream_version
LIMIT {limit}
"""
_KEPT = """
SELECT e.aggregate_id::text, e.stream_version, count(*) OVER ()
FROM unnest(%(streams)s::uuid[], %(first)s::integer[], %(last)s::integer[]) AS t (stream, first, last)
INNER JOIN refold.events AS e ON t.stream = e.aggregate_id AND e.stream_version BETWEEN t.first AND t.last
WHERE {condition} AND octet_length(e.digest) = 0
ORDER BY e.aggregate_id, e.stream_version
LIMIT {limit}
"""
# What append and the row trigger go by: streams that are closed, events that may lose their content.
_CLOSED = """
SELECT t.stream::text
FROM unnest(%(streams)s::uuid[], %(last)s::integer[], %(whole)s::boolean[]) AS t (stream, last, is_whole)
INNER JOIN refold.streams AS s ON t.stream = s.aggregate_id
WHERE t.is_whole AND NOT (s.is_erased AND s.stream_version <= t.last)
ORDER BY t.stream
LIMIT {limit}
"""
_GRANTED = """
SELECT x.aggregate_id::text, x.first_version
FROM refold.erasures AS x
WHERE NOT EXISTS (
    SELECT FROM unnest(%(streams)s::uuid[], %(first)s::integer[], %(last)s::integer[]) AS t (stream, first, last)
    WHERE t.stream = x.aggregate_id AND x.first_version >= t.first AND x.last_version <= t.last
)
ORDER BY x.aggregate_id, x.first_version
LIMIT {limit}
"""
_TARGETS = f"""
CREATE OR REPLACE TEMP TABLE erased_by_record AS
SELECT DISTINCT stream AS aggregate_id, unnest(range(greatest(first, first_version), least(last, last_version) + 1)) AS stream_version
FROM (SELECT unnest($streams) AS stream, unnest($first) AS first, unnest($last) AS last) AS target
INNER JOIN {HEADS} AS heads ON heads.aggregate_id = target.stream
"""
_IN_FILES = """
SELECT e.aggregate_id, e.stream_version, octet_length(e.digest) = 0, count(*) OVER (PARTITION BY octet_length(e.digest) = 0)
FROM read_parquet($files, hive_partitioning = false) AS e
LEFT JOIN erased_by_record AS r ON e.aggregate_id = r.aggregate_id AND e.stream_version = r.stream_version
WHERE (octet_length(e.digest) = 0) = (r.aggregate_id IS NOT NULL)
QUALIFY row_number() OVER (PARTITION BY octet_length(e.digest) = 0 ORDER BY e.aggregate_id, e.stream_version) <= $named
ORDER BY ALL
"""
_MISCOUNTED = f"""
SELECT there.aggregate_id, there.erased_events, here.erased_events
FROM {HEADS} AS here INNER JOIN {{there}} AS there ON here.aggregate_id = there.aggregate_id
WHERE there.erased_events IS DISTINCT FROM here.erased_events
ORDER BY there.aggregate_id
LIMIT {NAMED}
"""
Misfits = Mapping[bool, Sequence[tuple[str, int, int]]]
"""By whether the content is there: stream, version, and how many such events there are; the first of them."""
_SAID: Mapping[bool, tuple[Code, str]] = {
    True: (
        "erasure_unfinished",
        "an erasure of it is recorded, and its content is there; `refold erase` goes on with it",
    ),
    False: ("content_missing", "its content is gone, and no erasure of it is recorded"),
}


class Erasures:
    """The record: what was erased, by the home log of either side.

    Args:
        sides: The entries of the store, where there is one, and of the lake.
        keys: Public keys by id.
        must_be_signed: Whether a document without a signature is a finding.

    Attributes:
        findings: What is wrong with the record itself.
        notes: What of it could not be checked.
    """

    def __init__(self, sides: Mapping[Place, Sequence[Entry]], keys: PublicKeys, *, must_be_signed: bool) -> None:
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self._targets: list[Target] = []
        read: set[Signed] = set()
        for place, entries in sides.items():
            for each in entries:
                if each.kind == "erased" and each.signed not in read:
                    read.add(each.signed)
                    self._read(place, each, keys, must_be_signed=must_be_signed)

    def _read(self, place: Place, entry: Entry, keys: PublicKeys, *, must_be_signed: bool) -> None:
        what = f"the erasure of entry {entry.entry} of the home log"
        try:
            document = read_erasure(entry.signed.text)
        except ManifestError as error:
            self.findings.append(Finding("manifest_invalid", None, place, f"{what}: {error}"))
            return
        problem = signature_problem(
            entry.signed, document.public_key_id, what, keys, must_be_signed=must_be_signed, note=self._note
        )
        if problem is None:
            self._targets += document.targets
        else:  # what its signature speaks against allows nothing
            self.findings.append(Finding(problem[0], None, place, problem[1]))

    def _note(self, unchecked: str) -> None:
        if unchecked not in self.notes:
            self.notes.append(unchecked)

    def audit_store(self, store: Store) -> Iterator[Finding]:
        """What the store goes by must be what is recorded."""
        for (stream,) in self._ask(store, _CLOSED):
            detail = "all of it was erased, and it has newer events or takes more"
            yield Finding("erasure_undone", None, "store", detail, stream=stream)
        for stream, version in self._ask(store, _GRANTED):
            detail = "its content may be emptied, and no erasure of it is recorded"
            yield Finding("erasure_undone", None, "store", detail, stream=stream, version=version)

    def read_stored(self, store: Store, month: str) -> Misfits:
        """What of the store's own events of a month is not as recorded."""
        condition = month_condition(month, "e.created_at")
        return {False: self._ask(store, _EMPTIED, condition), True: self._ask(store, _KEPT, condition)}

    def audit_month(self, audit: MonthAudit, connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
        """The lake's events of a month, scanned before; see `scan_month`."""
        ((erased,),) = connection.sql(f"SELECT coalesce(sum(erased_events), 0) FROM {HEADS}").fetchall()
        connection.execute(_TARGETS, {name: self._columns()[name] for name in ("streams", "first", "last")})
        ((named,),) = connection.sql("SELECT count(*) FROM erased_by_record").fetchall()
        if not files or not (erased or named):
            return
        rows = connection.sql(_IN_FILES, params={"files": list(files), "named": NAMED}).fetchall()
        tell_misfits(audit, "lake", {there: [(*row[:2], row[3]) for row in rows if row[2] == there] for there in _SAID})

    def _ask(self, store: Store, query: str, condition: str = "") -> list[tuple[Any, ...]]:
        return store.conn.execute(query.format(condition=condition, limit=NAMED).encode(), self._columns()).fetchall()

    def _columns(self) -> dict[str, list[Any]]:
        return {
            "streams": [target.stream for target in self._targets],
            "first": [target.first for target in self._targets],
            "last": [target.last for target in self._targets],
            "whole": [target.is_whole for target in self._targets],
        }


def tell_misfits(audit: MonthAudit, place: Place, misfits: Misfits) -> None:
    """Say of each event what is wrong with it."""
    for is_content_there, events in misfits.items():
        code, detail = _SAID[is_content_there]
        for stream, version, _among in events:
            audit.find(code, place, detail, stream=stream, version=version)
        if events and events[0][2] > len(events):
            audit.not_checked.append(f"{events[0][2] - len(events):,} more events with {code}; the first are named")


def compare_counts(audit: MonthAudit, connection: duckdb.DuckDBPyConnection, there: str) -> None:
    """Compare how many of each stream's events are erased with what the relation `there` says, by `aggregate_id`."""
    for stream, said, found in connection.sql(_MISCOUNTED.format(there=there)).fetchall():
        detail = f"{found:,} of its events are erased, stream_months says {said}"
        audit.find("head_differs", "lake", detail, stream=stream)
