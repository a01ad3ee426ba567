"""One month, audited: files, rows, months before, store. What is wrong becomes findings; nothing stops the rest."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
from deltalake.exceptions import DeltaError

from pipelines.audit.against_store import (
    Ended,
    Misplaced,
    audit_deep,
    audit_ends,
    audit_heads,
    audit_orders,
    read_ends,
    read_heads,
    read_orders,
)
from pipelines.audit.delta_log import Recorded, TableLog, read_commits
from pipelines.audit.documents import DocumentAuditor, Measure, compare_totals
from pipelines.audit.erasures import Erasures, Misfits, compare_counts, tell_misfits
from pipelines.audit.files import audit_files, current_files
from pipelines.audit.findings import Code, MonthAudit, Place
from pipelines.audit.heads import compare_heads, compare_months, files_of
from pipelines.audit.reading import exported_condition, scratch
from pipelines.duck import quote_literal
from pipelines.export.seal import month_bounds_us
from pipelines.export.snapshot import month_condition
from pipelines.lake.datasets import COMMITS, EVENTS, MERKLE_NODES, STREAM_MONTHS
from pipelines.lake.errors import TableDamagedError
from pipelines.lake.lake import Lake
from pipelines.proof.batch import FlawKind
from pipelines.proof.inclusion import read_nodes
from pipelines.proof.manifest import Manifest
from pipelines.proof.parts import COLUMNS, Layout, lay_out
from pipelines.proof.scan import HEADS, Scan, scan_month
from pipelines.proof.states import final_states
from pipelines.store import Entry, MonthStatus, Store

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
_LOOKS = 3
_LOOK_SECONDS = 0.1
"""Looks at a month that is just being exported; what is still missing then is missing."""
_FLAW: Mapping[FlawKind, str] = {
    "broken_link": "its hash is not that of its content and the link before it",
    "missing_version": "versions before it are missing",
    "repeated_version": "the version is there more than once",
    "out_of_order": "it stands behind a later one",
    "wrong_month": "its time is not in the month",
}


@dataclass(slots=True)
class LakeState:
    """What is known of the lake before months are looked at; `commits` is read again when an export went on meanwhile."""

    lake: Lake
    logs: Mapping[str, TableLog]
    commits: Sequence[Recorded]
    entries: Sequence[Entry]

    def last(self, name: str, month: str) -> Recorded | None:
        """The last commit that `commits` remembers of a month."""
        found = [c for c in self.commits if c.dataset == name and c.partition == f"month={month}"]
        return found[-1] if found else None

    def number(self, name: str, month: str) -> int:
        """Number of the month's last commit by the Delta log; 0 where it cannot be read."""
        return 0 if self.logs[name].error else self.lake.table(name).number({"month": month})

    def look(self, name: str, month: str) -> tuple[list[str] | None, Recorded | None, int]:
        """A month's current files, what `commits` says of it and its number in the Delta log, of one moment.

        The files are None where the Delta log cannot be read.
        """
        commit = self.last(name, month)
        if self.logs[name].error is not None:
            return None, commit, 0
        files, number = self.lake.files(name, {"month": month}), self.number(name, month)
        for _ in range(_LOOKS):
            if number == (commit.number if commit else 0):
                break
            # An export may be between its commit and what it remembers of it, or one commit further.
            time.sleep(_LOOK_SECONDS)
            with suppress(DeltaError, TableDamagedError, duckdb.Error, OSError):
                self.commits = read_commits(self.lake)
            commit, files, number = (
                self.last(name, month),
                self.lake.files(name, {"month": month}),
                self.number(name, month),
            )
        return files, commit, number

    def months(self) -> set[str]:
        """Months that the lake has anything of."""
        found = {c.month for c in self.commits} | {
            each.month for each in self.entries if each.kind == "sealed" and each.month
        }
        if self.logs[EVENTS.name].error is None:
            found |= set(self.lake.months(EVENTS.name))
        return {month for month in found if _MONTH.fullmatch(month)}

    def known(self) -> dict[str, str]:
        """Every file ever recorded, by its SHA-256."""
        return {file.sha256: f"{c.dataset}/{file.path}" for c in self.commits for file in c.files}


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What the store is asked while the lake is read; `heads` makes `store_heads`, None if it cannot be asked yet."""

    ends: Future[list[Ended]]
    orders: Future[list[Misplaced]]
    erased: Future[Misfits]
    heads: Future[None] | None


class MonthAuditor:
    """Audits one month."""

    def __init__(
        self,
        of_lake: LakeState,
        store: Store | None,
        statuses: Mapping[str, MonthStatus],
        stored: Sequence[Entry] | None,
        auditor: DocumentAuditor,
        erasures: Erasures,
        month: str,
        on_rows: Callable[[int, int], Any] | None,
    ) -> None:
        self._of_lake, self._lake = of_lake, of_lake.lake
        self._store, self._statuses = store, statuses
        self._stored = stored
        self._auditor, self._erasures, self._on_rows = auditor, erasures, on_rows
        self._month = month

    def run(self, *, deep: bool) -> MonthAudit:
        """Look at everything of the month."""
        audit = MonthAudit(self._month, "exported")
        measure = self._measure(audit)
        manifest, listed = (measure.manifest, measure.files) if measure else (None, None)
        current, commit, number = self._of_lake.look(EVENTS.name, self._month)
        recorded = listed.files if listed else commit.files if commit else ()
        files = current_files(self._lake.table(EVENTS.name), current, recorded)
        self._audit_commit(audit, EVENTS.name, commit, number if current is not None else None)
        if listed is not None or (commit is not None and number <= commit.number):
            by = "the list of its files" if listed else "`commits`"
            audit_files(audit, self._lake.table(EVENTS.name), files, recorded, self._of_lake.known(), by)
        if not files and commit is None:
            self._note_absent(audit, manifest)
            return audit
        with scratch(self._lake.memory_bytes) as (connection, folder), ThreadPoolExecutor(1) as pool:
            ahead = None
            if self._store is not None:
                # The server looks at its side while the lake's rows are hashed. What it must hold of a sealed month is
                # known; of an open one, what was exported is known only when the lake's rows are.
                heads_read = None
                if manifest is not None:
                    condition = month_condition(self._month)
                    heads_read = pool.submit(read_heads, connection.cursor(), self._store, condition)
                ends = pool.submit(read_ends, self._store, self._month)
                orders = pool.submit(read_orders, self._store, self._month)
                erased = pool.submit(self._erasures.read_stored, self._store, self._month)
                ahead = _Ahead(ends, orders, erased, heads_read)
            heads = self._head_files(audit, connection)
            readable = self._audit_rows(
                audit, connection, folder, files, heads, manifest, is_sealed=manifest is not None
            )
            if readable is None:
                return audit
            self._audit_months(audit, connection, heads)
            self._audit_store(audit, connection, commit, readable, ahead, deep=deep)
            self._name_files(audit, connection, readable)
        return audit

    def _measure(self, audit: MonthAudit) -> Measure | None:
        """The documents that the month must match now, if it is sealed."""
        sides: dict[Place, Sequence[Entry]] = {} if self._stored is None else {"store": self._stored}
        sides["lake"] = self._of_lake.entries
        of_month = {place: [e for e in entries if e.month == self._month] for place, entries in sides.items()}
        newest = self._auditor.audit(audit, of_month)
        if self._store is not None:
            found = self._store.month_state(self._month)
            audit.state = found[0] if found else "exported"
            if audit.state != "sealed":
                audit.generation = found[1] if found and found[1] else audit.generation
                newest = None
            elif newest is None or (found and newest.manifest.generation != found[1]):
                audit.find("manifest_missing", "manifest", "the month is sealed, and no manifest of it can be used")
                return None
        elif final_states(self._of_lake.entries).get(self._month, ("", 0))[0] != "sealed":
            newest = None
        elif newest is not None:
            audit.state = "sealed"
            if newest.files and self._of_lake.number(EVENTS.name, self._month) > newest.files.commit_number:
                detail = f"the month was committed again after commit {newest.files.commit_number}, which its list of files names"
                audit.find("manifest_outdated", "lake", detail)
        if newest is None and self._auditor.expects_seal(self._month):
            audit.find("manifest_missing", "manifest", "the month has ended, and no signed manifest proves it: seal it")
        return newest

    def _audit_nodes(self, audit: MonthAudit, scan: Scan) -> None:
        """The nodes kept of the month's tree must be those of the events: proofs are made of them."""
        files = self._lake.files(MERKLE_NODES.name, {"month": self._month})
        try:
            kept, heads = read_nodes(files), read_nodes(files, "heads")
        except (duckdb.Error, OSError) as error:
            audit.find("file_unreadable", "lake", str(error).splitlines()[0], file=MERKLE_NODES.name)
            return
        if scan.merkle_root is None:
            return
        trees = [("events", kept, scan.nodes)]
        if heads:  # a seal of before these were kept has none, and none are needed
            trees.append(("heads", heads, scan.head_nodes))
        for name, found, wanted in trees:
            if found != wanted:
                differing = len(set(found) ^ set(wanted))
                detail = f"{differing:,} kept nodes are not those of the tree of {name}, or lack in it"
                audit.find("node_differs", "lake", detail)

    def _audit_commit(self, audit: MonthAudit, name: str, commit: Recorded | None, number: int | None) -> None:
        """The Delta log and `commits` must speak of the same last commit of the month."""
        known = commit.number if commit else 0
        if number is None or number == known:
            return
        if number < known:
            detail = f"the Delta log has the month's commit {number}, `commits` knows of {known}"
            audit.find("delta_commit_missing", "lake", detail, file=name)
        else:
            detail = f"commit {number} of the month of {name} is not in `commits`; if an export was interrupted, export again"
            audit.find("delta_commit_missing", "lake", detail, file=COMMITS.name)

    def _head_files(self, audit: MonthAudit, connection: duckdb.DuckDBPyConnection) -> list[str]:
        """The month's files of `stream_months`; links from before the month are read from them."""
        name = STREAM_MONTHS.name
        current, commit, number = self._of_lake.look(name, self._month)
        recorded = commit.files if commit else ()
        files = current_files(self._lake.table(name), current, recorded)
        self._audit_commit(audit, name, commit, number if current is not None else None)
        if commit is not None and number <= commit.number:
            audit_files(audit, self._lake.table(name), files, recorded, self._of_lake.known(), "`commits`")
        readable = []
        for file in files:
            try:
                connection.sql("SELECT count(aggregate_id) FROM read_parquet($file)", params={"file": file}).fetchall()
                readable.append(file)
            except duckdb.Error as problem:
                shown = str(Path(file).relative_to(self._lake.root))
                audit.find("file_unreadable", "lake", str(problem).splitlines()[0], file=shown)
        return readable

    def _note_absent(self, audit: MonthAudit, manifest: Manifest | None) -> None:
        if manifest is not None and manifest.rows:
            audit.find("month_missing", "lake", f"the manifest speaks of {manifest.rows:,} events, the lake has none")
        elif manifest is None:
            audit.not_checked.append("the month is not in the lake; `refold export` brings it there")

    def _audit_rows(
        self,
        audit: MonthAudit,
        connection: duckdb.DuckDBPyConnection,
        folder: Path,
        files: Sequence[str],
        heads: list[str],
        manifest: Manifest | None,
        *,
        is_sealed: bool,
    ) -> list[str] | None:
        """Recompute chain and tree; the files that could be read, None when heads mean nothing since some could not."""
        layout = lay_out(files)
        is_copy = not is_sealed and not layout.is_sorted and not layout.unreadable
        scanned = _sorted_copy(connection, folder, files) if is_copy else layout
        scan = scan_month(
            scanned,
            month_bounds_us(self._month),
            heads,
            connection,
            memory_bytes=self._lake.memory_bytes,
            on_rows=self._on_rows,
        )
        audit.rows, audit.streams, audit.last, audit.is_read = scan.rows, scan.streams, scan.last, True
        self._note_flaws(audit, connection, scan, is_copy=is_copy)
        if scan.unreadable:
            self._note_unreadable(audit, connection, scan, heads)
            return None
        if manifest is not None:
            audit.has_measure = True
            compare_totals(audit, manifest, scan)
            self._audit_nodes(audit, scan)
        if heads:
            connection.execute(
                "CREATE OR REPLACE TEMP VIEW recorded_heads AS SELECT * FROM read_parquet(["
                + ", ".join(quote_literal(file) for file in heads)
                + "], hive_partitioning = false)"
            )
            compare_heads(audit, connection, "recorded_heads", "stream_months", "lake")
            compare_counts(audit, connection, "recorded_heads")
        self._erasures.audit_month(audit, connection, files)
        return list(files)

    def _note_flaws(
        self, audit: MonthAudit, connection: duckdb.DuckDBPyConnection, scan: Scan, *, is_copy: bool
    ) -> None:
        """What the scan saw. A version that stands elsewhere in its stream is not missing: that stream is out of order."""
        misplaced = {flaw.aggregate_id for flaw in scan.flaws if flaw.kind == "out_of_order"}
        whole = {
            row[0]
            for row in connection.sql(
                f"SELECT aggregate_id FROM {HEADS} WHERE event_count = last_version - first_version + 1 "
                "AND aggregate_id IN (SELECT unnest($streams))",
                params={"streams": list(misplaced)},
            ).fetchall()
        }
        named: dict[str, int] = {}
        for flaw in scan.flaws:
            if flaw.kind == "missing_version" and flaw.aggregate_id in whole:
                continue
            named[flaw.kind] = named.get(flaw.kind, 0) + 1
            file = None if is_copy else str(Path(flaw.file).relative_to(self._lake.root))
            code: Code = flaw.kind
            audit.find(code, "lake", _FLAW[flaw.kind], file=file, stream=flaw.aggregate_id, version=flaw.stream_version)
        for kind, count in scan.counts.items():
            if count > named.get(kind, 0) > 0:
                more = count - named[kind]
                audit.not_checked.append(
                    f"{more:,} more events with {kind}; the first of each part of the month are named"
                )

    def _note_unreadable(
        self, audit: MonthAudit, connection: duckdb.DuckDBPyConnection, scan: Scan, heads: list[str]
    ) -> None:
        for file, reason in scan.unreadable.items():
            audit.find("file_unreadable", "lake", reason, file=str(Path(file).relative_to(self._lake.root)))
        audit.not_checked.append("counts, heads and Merkle root: not all events can be read")
        if heads:
            count, first = connection.sql(
                "SELECT count(*), min(aggregate_id) FROM read_parquet($heads, hive_partitioning = false) "
                f"ANTI JOIN {HEADS} USING (aggregate_id)",
                params={"heads": heads},
            ).fetchall()[0]
            if count:
                audit.not_checked.append(f"{count:,} streams cannot be read at all, first {first}")

    def _audit_months(self, audit: MonthAudit, connection: duckdb.DuckDBPyConnection, heads: Sequence[str]) -> None:
        if self._of_lake.logs[STREAM_MONTHS.name].error is not None:
            audit.not_checked.append("links to the months before: stream_months cannot be opened")
            return
        name = STREAM_MONTHS.name
        earlier = [month for month in self._lake.months(name) if month < self._month]
        before = [file for month in earlier for file in self._lake.files(name, {"month": month})]
        waiting = None
        if self._store is not None:
            waiting = sorted(month for month in set(self._statuses) - set(earlier) if month < self._month)
        try:
            compare_months(audit, connection, heads, before, waiting)
        except duckdb.Error as error:
            audit.not_checked.append(f"links to the months before: {str(error).splitlines()[0]}")

    def _audit_store(
        self,
        audit: MonthAudit,
        connection: duckdb.DuckDBPyConnection,
        commit: Recorded | None,
        files: Sequence[str],
        ahead: _Ahead | None,
        *,
        deep: bool,
    ) -> None:
        if self._store is None or ahead is None:
            return
        is_open = audit.state != "sealed"
        condition: str | None = month_condition(self._month)
        if is_open:
            condition = exported_condition(self._month, commit.provenance, audit.last) if commit else None
        audit_ends(audit, ahead.ends.result())
        audit_orders(audit, ahead.orders.result())
        tell_misfits(audit, "store", ahead.erased.result())
        if condition is None:
            audit.not_checked.append(
                "the store: the last export does not say what it saw; `refold export` writes it anew"
            )
            return
        audit.has_measure = True
        if ahead.heads is None:
            read_heads(connection, self._store, condition)
        else:
            ahead.heads.result()
        audit_heads(audit, connection)
        if deep and files:
            audit_deep(audit, connection, self._store, condition, files)
        status = self._statuses.get(self._month)
        newer = (status.events if status else 0) - audit.rows
        if is_open and newer > 0 and not audit.findings:
            audit.not_checked.append(f"{newer:,} events are newer than the export")

    def _name_files(self, audit: MonthAudit, connection: duckdb.DuckDBPyConnection, files: Sequence[str]) -> None:
        """Say in which file a stream is, where a finding names a stream alone."""
        bare = {
            at: finding.stream
            for at, finding in enumerate(audit.findings)
            if finding.stream is not None and finding.file is None and finding.place == "lake"
        }
        found = files_of(connection, files, sorted(set(bare.values())))
        for at, stream in bare.items():
            if stream in found:
                shown = str(Path(found[stream]).relative_to(self._lake.root))
                audit.findings[at] = replace(audit.findings[at], file=shown)


def _sorted_copy(connection: duckdb.DuckDBPyConnection, folder: Path, files: Sequence[str]) -> Layout:
    """An open month's increments in one order, in a temporary file: each adds to streams of the others."""
    target = folder / "sorted.parquet"
    connection.sql(
        f"COPY (SELECT {', '.join(COLUMNS)} FROM read_parquet($files, hive_partitioning = false) "
        f"ORDER BY aggregate_id, stream_version) TO {quote_literal(str(target))} (FORMAT parquet, COMPRESSION lz4_raw)",
        params={"files": list(files)},
    )
    return lay_out([str(target)])
