"""An audit as a page for people: the two verdicts, the months, what is wrong, what could not be checked and what was not read."""

from __future__ import annotations

from pipelines.audit.findings import Audit, Finding, Unread
from pipelines.console import render_table

_COLUMNS = ["month", "state", "generation", "events", "streams", "integrity", "completeness"]
_MEANING = {
    "integrity": "what is there is what was recorded",
    "completeness": "every event is there, once",
}


def render_audit(audit: Audit) -> str:
    """The page."""
    lines = [
        f"integrity     {audit.integrity:<12} {_MEANING['integrity']}",
        f"completeness  {audit.completeness:<12} {_MEANING['completeness']}",
        "",
    ]
    rows = [[m.month, m.state, m.generation, m.rows, m.streams, m.integrity, m.completeness] for m in audit.months]
    lines.append(render_table(_COLUMNS, rows) if rows else "no months: neither the store nor the lake holds events")
    found = audit.all_findings
    for title, is_integrity in (("against integrity", True), ("against completeness", False)):
        of_kind = [finding for finding in found if finding.is_integrity == is_integrity]
        if of_kind:
            lines += ["", f"{title}: {len(of_kind):,} findings", *(_line(finding) for finding in of_kind)]
    notes = [f"  {m.month}  {note}" for m in audit.months for note in m.not_checked]
    notes += [f"  {note}" for note in audit.not_checked]
    if notes:
        lines += ["", "not checked", *notes]
    if audit.unread:
        lines += ["", "not read, so a change there is not found", *(_unread(each) for each in audit.unread)]
    if audit.guard_problems:
        lines += ["", "DDL not guarded", *(f"  {problem}" for problem in audit.guard_problems)]
    return "\n".join(lines)


def _line(finding: Finding) -> str:
    where = [finding.month or "", finding.place, finding.code]
    if finding.stream is not None:
        where.append(
            f"stream {finding.stream}" + (f" version {finding.version}" if finding.version is not None else "")
        )
    if finding.file is not None:
        where.append(finding.file)
    return f"  {'  '.join(part for part in where if part)}: {finding.detail}"


def _unread(unread: Unread) -> str:
    what = f"{unread.table} ({', '.join(unread.columns)})" if unread.columns else unread.table
    return f"  {unread.place}  {what}: {unread.why}"
