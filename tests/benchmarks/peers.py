"""Peers of the export, in an environment of their own that is made when the benchmark runs: none is a dependency.

What a peer runs is `peer_export.py`, by that environment's Python; it imports nothing of this project.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.benchmarks.rounds import Measure, TrialFailed
from tests.support.environments import EnvironmentFailed, make_environment

PACKAGES = {
    "connectorx": ("connectorx==0.4.6", "pyarrow>=26,<27"),
    "adbc": ("adbc-driver-postgresql>=1.13,<2", "adbc-driver-manager>=1.13,<2", "pyarrow>=26,<27"),
    "duckdb": ("duckdb==1.5.5", "duckdb-extension-postgres-scanner==1.5.5"),
}
"""Peer → what it needs; DuckDB 2.0 has no such extension in the package index."""


def install(folder: Path, peer: str) -> str:
    """Make the peer's environment in `folder`; answers its Python.

    Raises:
        TrialFailed: It cannot be installed here; the message says why.
    """
    try:
        return str(make_environment(folder / f"peer-{peer}", PACKAGES[peer]))
    except EnvironmentFailed as error:
        raise TrialFailed(f"{peer} cannot be installed: {error}") from error


def export_by_peer(python: str, peer: str, dsn: str, start: str, stop: str, path: str) -> Measure:
    """The month to one zstd Parquet file, unsorted, by a peer; `peak` is its process's."""
    script = Path(__file__).with_name("peer_export.py")
    done = subprocess.run(
        [python, str(script), peer, dsn, start, stop, path], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise TrialFailed(f"{peer} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    measure: Measure = json.loads(done.stdout.splitlines()[-1])
    return measure
