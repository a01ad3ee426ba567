"""One hash of everything that decides what a snapshot says, so that a snapshot can be vouched for without folding.

Cheap: files are read, nothing is imported or parsed. It names more than it must (every module of the folds, for one); a
snapshot that is refused for nothing costs time and no more.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from pipelines.sqlfiles import sql_root


@cache
def code_hash(snapshot_events: int) -> str:
    """SHA-256 (hex) of the folds' Python and SQL, the upcasters, the known types, and how often snapshots are made."""
    package, sql = Path(__file__).parents[1], sql_root()
    files = [*(package / "folds").glob("*.py"), *(package / "canonical").glob("*.py")]
    files += [package / "lake" / "ladder.py", Path(__file__)]
    files += [*(sql / "folds").rglob("*.sql"), *(sql / "upcasters").glob("*.sql")]
    digest = hashlib.sha256(str(snapshot_events).encode())
    for path in sorted(files, key=lambda path: (path.parent.name, path.name)):
        digest.update(hashlib.sha256(f"{path.parent.name}/{path.name}".encode()).digest())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    for name in sorted(path.name for path in (sql / "events").iterdir()):
        digest.update(f"{name}\n".encode())
    return digest.hexdigest()
