"""`verbs`: processor time of whole commands, against that of importing the libraries under them, in the same round.

Python's start, imports and processes that a command waits for are in it; the embedded server, which a command starts as a
process of its own, and the endpoint are not. Each command runs on a home with the demo's history, or on a copy where it writes.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import duckdb

from tests.benchmarks.copies import link_data
from tests.benchmarks.figures import Figure, Target
from tests.benchmarks.replay_http import serving
from tests.benchmarks.rounds import ROOT, Bench, Measure, Trial

MOST_EVENTS, LEAST_EVENTS = 20_000, 1_000
"""Of the demo: by default, and at least."""
CONVERSATIONS = 123
"""Of the demo's default history, sampled; they hold about 500 decisions."""
IMPORTS = [sys.executable, "-c", "import duckdb, pyarrow, deltalake"]
DEMO_FILE = ROOT / "pipelines" / "demo" / "refund-limit-50.yaml"
_EXPORTED = ("events", "stream_months")
_DEMO_SECONDS = 15
_TYPO = "experiment: typo\ncandidate: {recorded: {}}\nmetircs: {}\n"
_ASKED = """
experiment: first
candidate: {{model: m, base_url: 'http://127.0.0.1:{port}/v1'}}
window: {{from: 2026-01-01, to: 2026-12-31}}
sample: {{conversations: {conversations}, seed: 1}}
"""
_QUIET: dict[str, tuple[str, float]] = {
    "sql": ('sql "SELECT 1"', 1.3),
    "diffs": ("diffs", 1.6),
    "state": ("state ID", 1.6),
    "export": ("export, nothing to do", 2.5),
    "fold": ("fold, nothing to do", 2.5),
    "seal": ("seal, nothing to do", 2.5),
    "ab": ("ab, nothing to do", 2.5),
    "typo": ("ab, typo in the file", 1.2),
    "report": ("report", 0),
}
"""Trials that write no table: what they are called, and the target."""
_WORK: dict[str, tuple[str, float]] = {
    "folded": ("fold of three small months", 8),
    "asked": ("first ab, about 500 decisions, local endpoint", 10),
    "demo": ("demo", 40),
}


def run(bench: Bench) -> Iterator[Figure]:
    """All figures of `verbs`."""
    events = max(LEAST_EVENTS, min(bench.events, MOST_EVENTS))
    home = bench.folder / "home"
    bench.tell(f"the demo's history, {events:,} events, one month of it sealed")
    refold(home, ["demo", "--events", str(events)])
    month, stream = _first_of(home)
    refold(home, ["seal", month])
    refold(
        home, ["ab", str(DEMO_FILE)]
    )  # sealing wrote to the lake: what depends on it is looked at once more, and noted
    typo = bench.folder / "typo.yaml"
    typo.write_text(_TYPO, encoding="utf-8")
    quiet = {
        "sql": ["sql", "SELECT 1"],
        "diffs": ["diffs"],
        "state": ["state", stream],
        "export": ["export"],
        "fold": ["fold"],
        "seal": ["seal", month],
        "ab": ["ab", str(DEMO_FILE)],
        "typo": ["ab", str(typo)],
        "report": ["report", "refund-limit-50"],
    }
    trials: dict[str, Trial] = {"imports": (import_libraries, {})}
    for name, arguments in quiet.items():
        trials[name] = (one_verb, {"home": str(home), "arguments": arguments, "code": 2 if name == "typo" else 0})
    trials["folded"] = (fold_unfolded, {"home": str(home)})
    trials["demo"] = (one_demo, {"folder": str(bench.folder), "events": events})
    with serving() as port:
        asked = {"home": str(home), "port": port, "conversations": max(1, CONVERSATIONS * events // MOST_EVENTS)}
        rounds = bench.interleave(trials | {"asked": (ask_first, asked)})
    for trial, (name, target) in (_QUIET | _WORK).items():
        yield rounds.figure(
            f"verbs: {name}",
            "s",
            (trial, "cpu_seconds"),
            peer=("imports", "cpu_seconds"),
            peer_name="import duckdb, pyarrow, deltalake",
            target=Target("at most", target) if target else None,
        )
    wall = Target("at most", _DEMO_SECONDS, of="figure")
    yield rounds.figure("verbs: demo, from its start to its end", "s", ("demo", "seconds"), target=wall)


def import_libraries() -> Measure:
    """Start Python and import the three libraries that every answer from the lake needs."""
    with _measured() as measure:
        subprocess.run(IMPORTS, check=True)
    return measure


def one_verb(home: str, arguments: list[str], code: int) -> Measure:
    """One command on the home; nothing of a table changes."""
    with _measured() as measure:
        refold(Path(home), arguments, code)
    return measure


def fold_unfolded(home: str) -> Measure:
    """Fold all months of a lake that holds the log alone."""
    with _copied(home, _EXPORTED) as copy, _measured() as measure:
        refold(copy, ["fold"])
    return measure


def ask_first(home: str, port: int, conversations: int) -> Measure:
    """Put decisions before an endpoint that was never asked, compare and report."""
    with _copied(home) as copy:
        file = copy / "first.yaml"
        file.write_text(_ASKED.format(port=port, conversations=conversations), encoding="utf-8")
        with _measured() as measure:
            refold(copy, ["ab", str(file)])
    return measure


def one_demo(folder: str, events: int) -> Measure:
    """The demo in a home of its own, which it makes."""
    home = Path(mkdtemp(dir=folder))
    try:
        with _measured() as measure:
            refold(home, ["demo", "--events", str(events)])
        return measure
    finally:
        shutil.rmtree(home)


def refold(home: Path, arguments: Sequence[str], code: int = 0) -> None:
    """Run one command as a user would, its modules compiled; an unexpected exit code is an error with its last words."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("REFOLD_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    environment |= {"REFOLD_HOME": str(home)}
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != code:
        raise RuntimeError(f"refold {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr[-2000:]}")


@contextmanager
def _measured() -> Iterator[Measure]:
    """Processor seconds of the processes that were started and waited for inside the block, and the seconds it took."""
    measure: Measure = {}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    yield measure
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    measure["seconds"] = time.perf_counter() - started
    measure["cpu_seconds"] = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


@contextmanager
def _copied(home: str, tables: Sequence[str] | None = None) -> Iterator[Path]:
    """A home with a copy of the lake, or of these tables of it, and no store; removed at the end."""
    copy = Path(mkdtemp(dir=Path(home).parent))
    try:
        for table in tables or [
            path.name for path in (Path(home) / "lake").iterdir() if (path / "_delta_log").exists()
        ]:
            shutil.copytree(Path(home) / "lake" / table, copy / "lake" / table, copy_function=link_data)
        yield copy
    finally:
        shutil.rmtree(copy)


def _first_of(home: Path) -> tuple[str, str]:
    """The first month of a home's lake, and one of its streams."""
    with duckdb.connect(home / "lake.duckdb", read_only=True) as catalog:
        month, stream = catalog.sql("SELECT min((month, aggregate_id)) FROM conversation_months").fetchall()[0][0]
    return str(month), str(stream)
