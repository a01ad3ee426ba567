"""What an audit says: findings, a verdict on integrity and one on completeness per month, and what it could not look at.

Integrity: what is there is what was recorded, unaltered and in its place. Completeness: every event is there, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

Integrity = Literal[
    "file_changed",
    "file_unreadable",
    "file_foreign",
    "broken_link",
    "content_missing",
    "erasure_unfinished",
    "erasure_undone",
    "out_of_order",
    "wrong_month",
    "merkle_root_differs",
    "order_differs",
    "order_xid_differs",
    "head_differs",
    "event_differs",
    "manifest_invalid",
    "manifest_differs",
    "manifest_outdated",
    "entry_differs",
    "checkpoint_differs",
    "state_differs",
    "node_differs",
    "signature_wrong",
    "signature_missing",
]
Completeness = Literal[
    "file_missing",
    "delta_commit_missing",
    "month_missing",
    "missing_version",
    "repeated_version",
    "count_differs",
    "beginning_missing",
    "tail_missing",
    "events_missing",
    "stream_missing",
    "stream_added",
    "manifest_missing",
    "entry_missing",
]
Code = Integrity | Completeness
Place = Literal["lake", "store", "manifest"]
Verdict = Literal["holds", "broken", "not checked"]

_INTEGRITY = frozenset(get_args(Integrity))


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: What kind of thing.
        month: UTC month; None when it is not of one month.
        place: Where it is seen: the side that lacks something or differs from the others.
        detail: What was found and what should be, in words; never a value of an event.
        file: The file, relative to the lake; None when it is not of one file.
        stream: The stream; None when it is not of one stream.
        version: The event's version in it, None likewise.
    """

    code: Code
    month: str | None
    place: Place
    detail: str
    file: str | None = None
    stream: str | None = None
    version: int | None = None

    @property
    def is_integrity(self) -> bool:
        """Whether it speaks against integrity; against completeness otherwise."""
        return self.code in _INTEGRITY


@dataclass(frozen=True, slots=True)
class Unread:
    """What was not read of one table: a change of it is not found.

    Attributes:
        place: `lake` or `store`.
        table: Its name.
        columns: Columns that were not read; empty when nothing of it was.
        why: What that means, and what reads it.
    """

    place: Literal["lake", "store"]
    table: str
    columns: tuple[str, ...]
    why: str


@dataclass(slots=True)
class MonthAudit:
    """One month.

    Attributes:
        month: UTC month, YYYY-MM.
        state: `open`, `closing`, `sealed` or `stray` as the store says; without a store `sealed` if there is a manifest,
            else `exported`.
        generation: Of the newest manifest, None without one.
        rows: Events read from the lake.
        streams: Streams read from the lake.
        last: Largest (epoch, xid, position) read from the lake.
        findings: What is wrong.
        not_checked: What could not be looked at, and why.
        is_read: Whether its events were read at all.
        has_measure: Whether completeness could be measured, against the store or a manifest.
    """

    month: str
    state: str
    generation: int | None = None
    rows: int = 0
    streams: int = 0
    last: tuple[int, int, int] | None = None
    findings: list[Finding] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)
    is_read: bool = False
    has_measure: bool = False

    @property
    def integrity(self) -> Verdict:
        """Whether what is there is what was recorded."""
        if any(finding.is_integrity for finding in self.findings):
            return "broken"
        return "holds" if self.is_read else "not checked"

    @property
    def completeness(self) -> Verdict:
        """Whether every event is there, once."""
        if any(not finding.is_integrity for finding in self.findings):
            return "broken"
        return "holds" if self.is_read and self.has_measure else "not checked"

    def find(
        self,
        code: Code,
        place: Place,
        detail: str,
        *,
        file: str | None = None,
        stream: str | None = None,
        version: int | None = None,
    ) -> None:
        """Note a finding of this month."""
        self.findings.append(Finding(code, self.month, place, detail, file, stream, version))


@dataclass(frozen=True, slots=True)
class Audit:
    """What `refold verify` found.

    Attributes:
        months: By month, ascending.
        findings: Those that are not of one month.
        guard_problems: What weakens "append-only" in the store; empty when it is guarded. No findings: nothing is wrong yet.
        not_checked: What could not be looked at.
        unread: Tables and columns that were not read, of the lake and of the store.
        seconds: Time taken.
    """

    months: list[MonthAudit]
    findings: list[Finding]
    guard_problems: list[str]
    not_checked: list[str]
    unread: list[Unread]
    seconds: float

    @property
    def all_findings(self) -> list[Finding]:
        """Of all months, then of none."""
        return [finding for month in self.months for finding in month.findings] + self.findings

    @property
    def integrity(self) -> Verdict:
        """Over all months: broken if one is."""
        broken = any(finding.is_integrity for finding in self.findings)
        return "broken" if broken else _worst(month.integrity for month in self.months)

    @property
    def completeness(self) -> Verdict:
        """Over all months: broken if one is."""
        broken = any(not finding.is_integrity for finding in self.findings)
        return "broken" if broken else _worst(month.completeness for month in self.months)


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    seen = set(verdicts)
    if "broken" in seen:
        return "broken"
    return "not checked" if "not checked" in seen or not seen else "holds"
