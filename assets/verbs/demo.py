"""`refold demo`: the whole pipeline on simulated input."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from assets.verbs.compare import compare
from assets.verbs.months import MonthRun, export_and_fold
from assets.verbs.progress import Tell
from pipelines.demo.load import LoadResult, load_demo
from pipelines.diff.result import DiffResult
from pipelines.experiment.file import read_experiment
from pipelines.home import changing_store
from pipelines.lake.lake import Lake
from pipelines.settings import Settings

EXPERIMENT = Path(__file__).parents[2] / "pipelines" / "demo" / "refund-limit-50.yaml"


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo did.

    Attributes:
        loaded: The simulated history.
        exported: The months as they were exported.
        folded: The months as they were folded.
        diff: The comparison.
        seconds: Time taken.
    """

    loaded: LoadResult
    exported: list[MonthRun]
    folded: list[MonthRun]
    diff: DiffResult
    seconds: float


def demo(settings: Settings, events: int, tell: Tell) -> DemoResult:
    """Write the simulated history, export and fold its months, and compare two agents on its last seven days."""
    started = time.monotonic()
    with changing_store(settings) as store:
        tell(f"simulating a support desk, about {events:,} events")
        loaded = load_demo(store, events)
        exported, folded = export_and_fold(settings, store, loaded.months, tell)
        (diff,) = compare(settings, Lake.from_settings(settings), read_experiment(EXPERIMENT), EXPERIMENT.parent, tell)
    return DemoResult(loaded, exported, folded, diff, time.monotonic() - started)
