"""How figures are measured: every trial in a fresh process, this program and its peers in turn, round after round.

A trial is a module-level function that takes JSON values and returns numbers; it times itself, so that starting Python,
importing and preparing are not in the figure. On a machine that others use too, a round's trials see about the same
load: ratios are taken within a round, and the median over the rounds counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.figures import Figure, Target

ROOT = Path(__file__).resolve().parents[2]

Measure = dict[str, float]
"""Numbers of one trial by name; `peak_bytes` (largest resident memory of its process) is added to every trial."""
Trial = tuple[Callable[..., Measure], dict[str, Any]]
"""A function and its keyword arguments."""
Place = tuple[str, str]
"""Which trial, and which of its numbers."""


class TrialFailed(RuntimeError):  # noqa: N818 -- reads as what happened
    """A trial's process ended with an error; the message holds the end of its stderr."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """What the trials of one benchmark measured.

    Attributes:
        rounds: One entry per round: trial → its numbers.
    """

    rounds: Sequence[Mapping[str, Measure]]

    def median(self, place: Place) -> float:
        """Median of one number over the rounds."""
        trial, key = place
        return median(each[trial][key] for each in self.rounds)

    def ratio(self, this: Place, peer: Place) -> float:
        """Median over the rounds of one number by another of the same round."""
        return median(each[this[0]][this[1]] / each[peer[0]][peer[1]] for each in self.rounds)

    def figure(
        self,
        name: str,
        unit: str,
        this: Place,
        *,
        peer: Place | None = None,
        peer_name: str | None = None,
        target: Target | None = None,
        scale: float = 1.0,
    ) -> Figure:
        """A figure of one number, beside a peer if there is one; `scale` turns the trial's unit into the figure's."""
        return Figure(
            name=name,
            unit=unit,
            this=self.median(this) * scale,
            peer_name=peer_name,
            peer=None if peer is None else self.median(peer) * scale,
            ratio=None if peer is None else self.ratio(this, peer),
            target=target,
        )


@dataclass(frozen=True, slots=True)
class Bench:
    """What a benchmark is given.

    Attributes:
        folder: An empty folder of its own, removed afterwards.
        events: Size of the log; other sizes follow from it.
        runs: Rounds.
        tell: Takes a line of progress.
    """

    folder: Path
    events: int
    runs: int
    tell: Callable[[str], None]

    def interleave(self, trials: Mapping[str, Trial]) -> Rounds:
        """Run all trials in turn, `runs` times, each in a process of its own.

        Raises:
            TrialFailed: A trial failed.
        """
        rounds = []
        for number in range(1, self.runs + 1):
            measured: dict[str, Measure] = {}
            for name, trial in trials.items():
                self.tell(f"round {number} of {self.runs}: {name}")
                measured[name] = run_trial(trial)
            rounds.append(measured)
        return Rounds(rounds)


def run_trial(trial: Trial) -> Measure:
    """Run one trial in a fresh process.

    Raises:
        TrialFailed: It ended with an error.
    """
    function, arguments = trial
    command = [sys.executable, "-m", "tests.benchmarks.child", f"{function.__module__}:{function.__name__}"]
    done = subprocess.run(
        [*command, json.dumps(arguments)], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False
    )
    if done.returncode:
        raise TrialFailed(f"trial {function.__name__} ended with code {done.returncode}:\n{done.stderr[-3000:]}")
    measure: Measure = json.loads(done.stdout.splitlines()[-1])
    return measure
