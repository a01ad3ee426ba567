"""How often is the one answer right, wrong, or not given? Run by hand; prints a table.

    .ci/uv run --locked python tests/benchmarks/answer_simulation.py [--runs 10000] [--seed 11]

One primary metric, lower is better, with a margin. Conversations have a geometric number of units with mean 8; their means spread by
twice the margin, units by three times. Promises: a candidate that changes nothing is refused in at most 2.5 %, one that is worse by
the margin ships in at most 5 %.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

import numpy as np

from pipelines.stats.answer import Evidence, decide
from pipelines.stats.cluster import estimate_segments
from pipelines.stats.sums import ClusterSums
from pipelines.stats.verdict import judge

MARGIN = 0.5
TRUTHS = (-2.0, 0.0, 1.0, 2.0)
"""True differences, in margins; above 0 is worse."""
CLUSTERS = (20, 40, 100, 400)
RUNS_AT_ONCE = 2_500


def words(random: np.random.Generator, runs: int, g: int, truth: float) -> Iterator[str]:
    """The answers of some runs.

    Args:
        random: Where chance comes from.
        runs: How many.
        g: Conversations of each.
        truth: True difference B - A.
    """
    while runs > 0:
        now = min(runs, RUNS_AT_ONCE)
        n = random.geometric(1 / 8, size=(now, g)).astype(np.float64)
        s = n * (truth + random.normal(0, 2 * MARGIN, size=(now, g))) + np.sqrt(n) * random.normal(
            0, 3 * MARGIN, (now, g)
        )
        sums = ClusterSums(s=s.ravel(), n=n.ravel())
        for found in estimate_segments(sums, np.repeat(np.arange(now), g), now, sign_flip=False):
            judged = judge(found, goal="lower", margin=MARGIN)
            yield decide(Evidence(metrics={"m": judged}, declared=frozenset({"m"}), primary="m", g=g)).word
        runs -= now


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    print("| true difference | G | ship | not enough data | do not ship |\n|---|---|---|---|---|")
    for truth in TRUTHS:
        for g in CLUSTERS:
            random = np.random.default_rng(options.seed)
            counts = Counter(words(random, options.runs, g, truth * MARGIN))
            shares = (f"{100 * counts[word] / options.runs:.1f}" for word in ("ship", "not_enough_data", "do_not_ship"))
            print(f"| {truth:+g} margins | {g} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
