"""The report of the rows that an import of a table set aside: in the home, one file a source, as of its last run."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from pathlib import Path

from pipelines.ingest.postgres.importing import PostgresImport

_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


def write_report(home: Path, result: PostgresImport) -> Path | None:
    """Write what the run set aside, and remove the report of the run before where that is nothing; where it is, or None.

    One JSON line a row: `{source, stream, row, reason, remedy}`, and nothing of what the row holds.
    """
    path = report_path(home, result.source)
    if not result.set_aside:
        path.unlink(missing_ok=True)
        return None
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    temporary.touch(mode=0o600)
    rows = (
        {
            "source": result.source,
            "stream": str(each.aggregate_id),
            "row": each.row,
            "reason": each.reason,
            "remedy": each.remedy,
        }
        for each in result.set_aside
    )
    temporary.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    temporary.replace(path)
    return path


def report_path(home: Path, source: str) -> Path:
    """The report of a source; names that a file cannot have, or that differ in such characters alone, stay apart."""
    name = _PLAIN.sub("_", source)[:80]
    return home / "set_aside" / f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:8]}.jsonl"
