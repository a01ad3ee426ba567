"""The data files of a month: are they those that were recorded, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.audit.findings import MonthAudit
from pipelines.lake.table import Table
from pipelines.proof.files import hash_file
from pipelines.proof.manifest import ListedFile


def current_files(table: Table, current: Sequence[str] | None, recorded: Sequence[ListedFile]) -> list[str]:
    """The month's files as readers see them; as recorded, where the Delta log cannot be read. Absolute paths."""
    if current is not None:
        return list(current)
    return [str(table.path / file.path) for file in recorded if (table.path / file.path).exists()]


def audit_files(
    audit: MonthAudit,
    table: Table,
    current: Sequence[str],
    recorded: Sequence[ListedFile],
    known: Mapping[str, str],
    by: str,
) -> None:
    """Compare a month's files with what was recorded of them.

    Args:
        audit: Where findings go.
        table: The table.
        current: Absolute paths of the files that readers see.
        recorded: What they should be.
        known: Paths of all files ever recorded, by SHA-256: whose bytes a swapped file has.
        by: Who says what they should be: `the manifest`, `commits`.
    """
    name = table.dataset.name
    expected = {file.path: file for file in recorded}
    there = {str(Path(file).relative_to(table.path)) for file in current}
    for path in sorted(there | set(expected)):
        shown, file, full = f"{name}/{path}", expected.get(path), table.path / path
        if file is None:
            audit.find("file_foreign", "lake", f"readers see it, {by} does not name it", file=shown)
            continue
        if not full.exists():
            audit.find("file_missing", "lake", f"{by} names it, with {file.row_count:,} rows", file=shown)
            continue
        if path not in there:
            audit.find("file_missing", "lake", f"{by} names it, readers do not see it", file=shown)
        digest = hash_file(full)
        if digest != file.sha256:
            whose = known.get(digest)
            was = f"; its bytes are those of {whose}" if whose and whose != shown else ""
            audit.find("file_changed", "lake", f"its SHA-256 is {digest}, {by} says {file.sha256}{was}", file=shown)
