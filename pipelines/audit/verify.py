"""`refold verify`: the store against the lake against the manifests, month by month.

Every month: Delta log and file hashes, each link of the chain recomputed from the rows, order and versions, heads against
`stream_months`, the months before and the store. Sealed months also: Merkle root, counts and order against the manifest.
With `deep`, every column of every event against the store. The lake alone can be audited too, against its manifests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import duckdb
from deltalake.exceptions import DeltaError

from pipelines.audit.checkpoints import Against, audit_against, verifiers
from pipelines.audit.delta_log import AUDITED, Recorded, log_findings, read_commits, read_log
from pipelines.audit.documents import DocumentAuditor
from pipelines.audit.erasures import Erasures
from pipelines.audit.findings import Audit, Finding, Place
from pipelines.audit.home_log import audit_logs, audit_redactions, audit_states, lake_entries
from pipelines.audit.month import LakeState, MonthAuditor
from pipelines.audit.scrubs import audit_scrubs
from pipelines.audit.unread import list_unread
from pipelines.console import counted
from pipelines.duck import is_out_of_memory
from pipelines.errors import BadInputError
from pipelines.export.home_log import unscrubbed
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import COMMITS, DATASETS, HOME_LOG
from pipelines.lake.delta import is_table
from pipelines.lake.errors import TableDamagedError
from pipelines.lake.lake import Lake
from pipelines.proof.manifest import ManifestError
from pipelines.proof.note import Verifier
from pipelines.proof.signing import PublicKeys
from pipelines.store import Entry, MonthStatus, Store


def verify(
    lake: Lake,
    store: Store | None,
    months: Sequence[str] | None = None,
    *,
    deep: bool = False,
    public_keys: PublicKeys | None = None,
    must_be_signed: bool = False,
    at: datetime | None = None,
    against: Sequence[Against] = (),
    witnesses: Sequence[Verifier] = (),
    unfinished: Sequence[str] = (),
    on_month: Callable[[str], Any] | None = None,
    on_rows: Callable[[int, int], Any] | None = None,
) -> Audit:
    """Audit months of the lake against the store and the manifests.

    Args:
        lake: The lake.
        store: The store; None audits the lake alone.
        months: UTC months, YYYY-MM; all that either side knows by default.
        deep: Whether to compare every column of every event with the store.
        public_keys: Keys that manifests may be signed with, by id.
        must_be_signed: Whether a document without a signature by one of these keys is a finding, and an ended month without one.
        at: By when a month must have ended to be expected sealed, UTC; now by default.
        against: Checkpoints that were kept elsewhere: nothing before them may have changed.
        witnesses: Keys of witnesses that may have cosigned them.
        unfinished: What still holds erased content of what was made from events, one sentence each; a finding each.
        on_month: Told each month as it begins.
        on_rows: Called with the number of events of the month checked so far, and of events to check.

    Raises:
        BadInputError: A month is asked for that neither side knows, or `deep` without a store.
    """
    started = time.monotonic()
    if deep and store is None:
        raise BadInputError("--deep compares with the store; it cannot be had with --lake-only")
    findings: list[Finding] = []
    of_lake = _look_at_lake(lake, findings)
    everything = store.months() if store else []
    statuses = {status.month: status for status in everything if status.events}
    stored = store.home_log() if store else None
    notes = [] if store else ["the store: whether it holds what the lake holds, and months or documents the lake lacks"]
    sides: dict[Place, Sequence[Entry]] = {} if stored is None else {"store": stored}
    sides["lake"] = of_lake.entries
    erasures = Erasures(sides, public_keys or {}, must_be_signed=must_be_signed)
    findings += _audit_log(sides, store, everything, erasures, notes)
    findings += audit_scrubs(sides, public_keys or {}, notes, must_be_signed=must_be_signed)
    findings += [Finding("erasure_unfinished", None, "lake", f"{each}; `refold erase` goes on") for each in unfinished]
    for each in against:
        keys = [*verifiers(public_keys or {}, each.checkpoint.origin), *witnesses]
        findings += audit_against(each, stored or of_lake.entries, store, keys, lake.memory_bytes, notes)
    known = (
        of_lake.months() | set(statuses) | {each.month for each in stored or () if each.kind == "sealed" and each.month}
    )
    auditor = DocumentAuditor(public_keys or {}, must_be_signed=must_be_signed, at=at or datetime.now(UTC))
    audits = []
    for month in _chosen(months, known):
        if on_month is not None:
            on_month(month)
        audit = MonthAuditor(of_lake, store, statuses, stored, auditor, erasures, month, on_rows)
        audits.append(audit.run(deep=deep))
    by_month = {audit.month: audit for audit in audits}
    for finding in findings:
        if finding.month in by_month:
            by_month[finding.month].findings.insert(0, finding)
    return Audit(
        months=audits,
        findings=[finding for finding in findings if finding.month not in by_month],
        guard_problems=store.guard_problems() if store else [],
        not_checked=notes,
        unread=list_unread(
            _present(lake), audits, deep=deep, has_store=store is not None, must_be_signed=must_be_signed
        ),
        seconds=time.monotonic() - started,
    )


def _audit_log(
    sides: Mapping[Place, Sequence[Entry]],
    store: Store | None,
    months: Sequence[MonthStatus],
    erasures: Erasures,
    notes: list[str],
) -> Iterator[Finding]:
    """What is wrong with the home log, and with what the store goes by of it; what was not looked at goes to `notes`."""
    stored = sides.get("store")
    yield from audit_logs(sides["lake"], stored)
    yield from erasures.findings
    notes += erasures.notes
    if store is None or stored is None:
        return
    if (newer := len(stored) - len(sides["lake"])) > 0:
        notes.append(f"{counted(newer, 'entry', 'entries')} of the home log, newer than the last export")
    with suppress(ManifestError):  # which is a finding of its own
        if (waiting := unscrubbed(stored)) > 0:
            notes.append(
                f"PostgreSQL's files: {counted(waiting, 'erasure')} not followed by `refold erase --scrub` yet"
            )
    yield from audit_redactions(stored, store)
    yield from audit_states(stored, {status.month: status for status in months if status.state != "stray"})
    yield from erasures.audit_store(store)


def _present(lake: Lake) -> list[Dataset]:
    """The tables that the lake has; one whose log cannot be read is there, too."""
    try:
        datasets = lake.datasets()
    except TableDamagedError:  # of a table that is not shipped; which columns it has is in its log
        datasets = dict(DATASETS)
    return [dataset for dataset in datasets.values() if is_table(lake.root / dataset.name)]


def _look_at_lake(lake: Lake, findings: list[Finding]) -> LakeState:
    """Read logs, commits and manifests; what is wrong with them is noted and the rest goes on."""
    logs = {name: read_log(lake, name) for name in AUDITED}
    commits: list[Recorded] = []
    entries: list[Entry] = []
    for name in (COMMITS.name, HOME_LOG.name):
        try:
            if name == COMMITS.name:
                commits = read_commits(lake)
            else:
                entries = lake_entries(lake)
        except (DeltaError, TableDamagedError, duckdb.Error, OSError) as error:
            if is_out_of_memory(error):
                raise
            reason = str(error).strip().splitlines()[0]
            findings.append(Finding("file_unreadable", None, "lake", f"the table cannot be read: {reason}", file=name))
    for name, log in logs.items():
        findings += log_findings(name, log, commits)
    return LakeState(lake, logs, commits, entries)


def _chosen(months: Sequence[str] | None, known: set[str]) -> list[str]:
    if not months:
        return sorted(known)
    unknown = sorted(set(months) - known)
    if unknown:
        there = ", ".join(sorted(known)) or "none"
        raise BadInputError(f"month {', '.join(unknown)}: neither the store nor the lake knows it; there are {there}")
    return sorted(set(months))
