"""Measure Refold against peers and limits, in the same run.

    .ci/uv run --locked python tests/benchmarks/run.py [NAME…] [--json] [--events N] [--runs N]

Prints one line per figure: name, this program, the peer or limit, ratio, target, and whether the target holds. Every
figure is the median of interleaved rounds, each trial in a fresh process. Progress goes to stderr. A missed target is
printed, not an error: the exit code is 0 when everything was measured, and 1 when a benchmark could not be.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

if __name__ == "__main__":
    # As a script this folder is searched first, and its modules (`log`, `stats`) could hide a library's.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from pipelines.console import render_table, tell
from tests.benchmarks.figures import COLUMNS, Figure, markdown, summary, table_rows
from tests.benchmarks.rounds import Bench, TrialFailed

BENCHMARKS: Mapping[str, str] = {
    "append": "tests.benchmarks.append",
    "export": "tests.benchmarks.export",
    "verify": "tests.benchmarks.verify",
    "audit": "tests.benchmarks.audit",
    "detectors": "tests.benchmarks.detectors",
    "fold": "tests.benchmarks.fold",
    "fold-incremental": "tests.benchmarks.fold_incremental",
    "state": "tests.benchmarks.state",
    "replay-http": "tests.benchmarks.replay_http",
    "replay-python": "tests.benchmarks.replay_python",
    "diff": "tests.benchmarks.diff",
    "stats": "tests.benchmarks.stats",
    "verbs": "tests.benchmarks.verbs",
    "import": "tests.benchmarks.imports",
    "agents": "tests.benchmarks.agents",
}
"""Name → module; each module has `run(bench)`, which yields figures."""

DEFAULT_EVENTS = 300_000
DEFAULT_RUNS = 5
MIN_EVENTS = 300
_LIBRARIES = ("duckdb", "deltalake", "pyarrow", "polars", "psycopg", "numpy")


def measure(name: str, *, events: int, runs: int) -> Iterator[Figure]:
    """Run one benchmark in a temporary folder.

    Args:
        name: One of `BENCHMARKS`.
        events: Size of the log; other sizes follow from it.
        runs: Interleaved rounds.

    Yields:
        Its figures, as soon as they are there.
    """
    module = importlib.import_module(BENCHMARKS[name])
    with TemporaryDirectory(prefix="refold-benchmark-") as folder:
        yield from module.run(Bench(Path(folder), events, runs, lambda line: tell(f"{name}: {line}")))


def describe_machine() -> dict[str, Any]:
    """What the figures were measured on: machine, versions, date."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="run.py", description="Measure Refold against peers and limits.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default all: {', '.join(BENCHMARKS)}")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object on stdout")
    form.add_argument("--markdown", action="store_true", help="the table as docs/benchmarks.md keeps it")
    parser.add_argument(
        "--events", type=int, default=DEFAULT_EVENTS, help=f"size of the log (default {DEFAULT_EVENTS:,})"
    )
    parser.add_argument("--runs", type=int, default=DEFAULT_RUNS, help=f"interleaved rounds (default {DEFAULT_RUNS})")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}")
    if options.events < MIN_EVENTS:
        parser.error(f"--events is {options.events}; give at least {MIN_EVENTS}")
    if options.runs < 1:
        parser.error(f"--runs is {options.runs}; give at least 1")
    started = time.monotonic()
    machine = describe_machine()
    figures: list[Figure] = []
    failed: dict[str, str] = {}
    for name in options.names or BENCHMARKS:
        try:
            for figure in measure(name, events=options.events, runs=options.runs):
                figures.append(figure)
                tell("  ".join(table_rows([figure])[0]))
        except TrialFailed as error:  # the figures of the others are worth having
            failed[name] = str(error)
            tell(f"{name}: failed: {error}")
    tell(f"{len(figures)} figures in {time.monotonic() - started:.0f} s: {dict(summary(figures))}")
    if options.json:
        settings = {"events": options.events, "runs": options.runs}
        said = [figure.to_json() for figure in figures]
        print(json.dumps({**settings, "machine": machine, "figures": said, "failed": failed}))
    elif options.markdown:
        print(markdown(table_rows(figures)))
    else:
        print(render_table(COLUMNS, table_rows(figures)))
    if failed:
        tell(f"not measured to the end: {', '.join(failed)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
