"""Forget the records of runs that name an erased stream, or say what is redacted: through Dagster, and then what its databases keep of deleted rows.

By construction no record holds what was recorded: counts, bytes, hashes, seconds, and ids where a stream is set aside. An id is how a
record is found that something got into all the same, an error's words for example.
"""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, suppress
from pathlib import Path

from assets.instance import open_instance
from assets.internals import SQLITE_BUSY_TIMEOUT_SECONDS
from assets.live import live_folder
from pipelines.erasure.derived import RunsForgotten
from pipelines.locks import is_held
from pipelines.settings import Settings

_ID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_INDEX = "index"
_BEGUN = "forgetting.json"
"""Ids of runs that are being forgotten, until nothing of them is left: what SQLite keeps of a deleted row names nobody."""
_RUN = "SELECT event FROM event_logs"
_COMMON = {
    "history/runs/index.db": (
        "SELECT run_id, event FROM event_logs",
        "SELECT run_id, coalesce(evaluation_event, '') FROM asset_check_executions",
        "SELECT last_run_id, coalesce(last_materialization, '') FROM asset_keys",
    ),
    "history/runs.db": (
        "SELECT run_id, run_body FROM runs",
        "SELECT run_id, key || ' ' || coalesce(value, '') FROM run_tags",
    ),
}
"""What is said of runs in the databases that all have in common, by database."""
_LEFT_OVER = (
    "DELETE FROM asset_check_executions WHERE run_id = ?",
    "UPDATE asset_keys SET last_materialization = NULL, last_run_id = NULL WHERE last_run_id = ?",
)
"""What Dagster leaves of a run that it deletes."""


def find_runs(settings: Settings, streams: Collection[str]) -> list[str]:
    """The runs whose records name one of some streams, and files of records that no run has any more and that do."""
    wanted = {stream.lower() for stream in streams}
    return _find(settings, lambda text: _names(text, wanted)) if wanted else []


def forget_runs(settings: Settings, streams: Collection[str]) -> RunsForgotten:
    """Delete the runs whose records name one of some streams, with all that is kept of them. Again, there is none.

    A run that is at work stays, and is told.
    """
    return _forget(settings, find_runs(settings, streams))


def forget_runs_that_say(settings: Settings, is_said: Callable[[str], bool]) -> RunsForgotten:
    """`forget_runs` of those whose records say something: `is_said` is asked of each text of theirs."""
    return _forget(settings, _find(settings, is_said))


def _find(settings: Settings, is_wanted: Callable[[str], bool]) -> list[str]:
    home = settings.home / "dagster"
    if not (home / "history").is_dir():
        return []
    found = _begun(home)
    for name, queries in _COMMON.items():
        for query in queries:
            found |= {str(run) for run, text in _read(home / name, query) if run and is_wanted(text)}
    for path in _shards(home):
        if path.stem not in found and any(is_wanted(text) for (text,) in _read(path, _RUN)):
            found.add(path.stem)
    for folder in sorted((home / "storage").glob("*")):
        if any(is_wanted(path.read_text("utf-8", "replace")) for path in folder.rglob("*") if path.is_file()):
            found.add(folder.name)
    known = _known(home)
    orphans = (path for path in _shards(home) if path.stem not in known)
    found |= {path.stem for path in orphans if _is_in_bytes(path, is_wanted)}
    return sorted(found)


def _forget(settings: Settings, found: Collection[str]) -> RunsForgotten:
    home = settings.home / "dagster"
    at_work = {run for run in found if is_held(live_folder(home) / run)}
    runs = [run for run in found if run not in at_work]
    left = [f"run {run} is at work: run it again when it has ended" for run in sorted(at_work)]
    if not runs:
        return RunsForgotten(0, 0, left)
    begun = home / _BEGUN
    begun.write_text(json.dumps(runs), encoding="utf-8")
    with open_instance(settings) as instance:
        for run in runs:
            instance.delete_run(run)
    with closing(_open(home / "history" / "runs" / "index.db")) as connection, connection:
        for run in runs:
            for statement in _LEFT_OVER:
                connection.execute(statement, (run,))
    size = sum(_remove_files(home, run) for run in runs)
    held = [
        f"{home / name} is in use, and its log is not cleared: run it again"
        for name in _COMMON
        if not _clear(home / name)
    ]
    if not held:
        begun.unlink()
    return RunsForgotten(len(runs), size, [*left, *held])


def _remove_files(home: Path, run: str) -> int:
    """Remove a run's own database and what its steps printed; their bytes."""
    paths = [*(home / "history" / "runs").glob(f"{run}.db*"), *(home / "storage" / run).rglob("*")]
    size = sum(path.stat().st_size for path in paths if path.is_file())
    for path in (home / "history" / "runs").glob(f"{run}.db*"):
        path.unlink(missing_ok=True)
    shutil.rmtree(home / "storage" / run, ignore_errors=True)
    return size


def _clear(path: Path) -> bool:
    """Write a database anew without free pages and without its log; False where another process keeps it from that."""
    if not path.exists():
        return True
    try:
        with closing(_open(path)) as connection:
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("VACUUM")
            return not connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.OperationalError:
        return False


def _begun(home: Path) -> set[str]:
    """Runs that a process which ended had begun to forget."""
    try:
        return set(json.loads((home / _BEGUN).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return set()


def _known(home: Path) -> set[str]:
    return {str(run) for (run,) in _read(home / "history" / "runs.db", "SELECT run_id FROM runs")}


def _shards(home: Path) -> list[Path]:
    return [
        path for path in sorted((home / "history" / "runs").glob("*.db")) if path.stem != _INDEX and path.stem[0] != "."
    ]


def _is_in_bytes(path: Path, is_wanted: Callable[[str], bool]) -> bool:
    content = path.read_bytes()
    return is_wanted(content.decode("latin-1")) or is_wanted(content.decode("utf-8", "replace"))


def _names(text: str, wanted: Collection[str]) -> bool:
    return any(each.lower() in wanted for each in _ID.findall(text))


def _read(path: Path, query: str) -> Iterator[tuple[str, ...]]:
    """Rows of a database, if it is there and has the table."""
    if path.exists():
        with suppress(sqlite3.OperationalError), closing(_open(path)) as connection:
            yield from connection.execute(query)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)
    connection.execute("PRAGMA secure_delete = ON")
    return connection
