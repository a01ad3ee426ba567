"""How often does the one answer ship what is worse by exactly the margin, where metrics have long tails? Prints tables.

    python tests/acceptance/skewed_answers.py [--runs 10000] [--seed 3]

One primary metric, lower is better; B is worse by exactly the margin, so every *ship* is wrong. Units are drawn one by one and come
in conversations; estimates, verdicts and answers are those of `pipelines.stats`. On the same draws: how often what others decide
by calls B better. Runs in whose sample B's loss did not occur at all are counted apart: nothing there could show it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pipelines.stats.answer import Evidence, decide
from pipelines.stats.cluster import estimate_segments
from pipelines.stats.estimate import Estimate
from pipelines.stats.sums import ClusterSums, FloatArray
from pipelines.stats.verdict import judge

CLUSTERS = (20, 40, 50, 100, 200, 400)
MEAN_SIZE = 8
UNITS_AT_ONCE = 1_000_000
RESAMPLED_RUNS = 1_000
"""Runs of a line, at most, that are given to what resamples: each costs as much as hundreds of others."""
RESAMPLES = 400

Draw = Callable[[np.random.Generator, int], FloatArray]
"""So many amounts of one loss."""


@dataclass(frozen=True, slots=True)
class Line:
    """One kind of metric.

    Attributes:
        name: In words.
        truth: Mean of B - A per unit.
        units: Given the number of units, their A, their B, and whether B's loss is among them (where losses are rare).
        sizes: `geometric` (mean 8), `equal` (8), `80/20` (2 units in 80 %, 32 in the others), `single`.
        margin: Largest difference that does not matter; by default B is worse by exactly it.
    """

    name: str
    truth: float
    units: Callable[[np.random.Generator, int], tuple[FloatArray, FloatArray, NDArray[np.bool_]]]
    sizes: str = "geometric"
    margin: float | None = None


def sizes_of(random: np.random.Generator, kind: str, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Units of each conversation."""
    if kind == "geometric":
        return random.geometric(1 / MEAN_SIZE, shape)
    if kind == "80/20":
        return np.where(random.random(shape) < 0.8, 2, 32)
    return np.full(shape, 1 if kind == "single" else MEAN_SIZE)


def lognormal(sigma: float) -> Draw:
    """Amounts with mean 1."""
    return lambda random, count: random.lognormal(-sigma * sigma / 2, sigma, count)


def pareto(index: float) -> Draw:
    """Amounts with mean 1 and a tail like x^-index."""
    return lambda random, count: (random.pareto(index, count) + 1) * (index - 1) / index


def constant(amount: float) -> Draw:
    """The same amount each time."""
    return lambda _, count: np.full(count, amount)


def losses(name: str, share: float, draw: Draw, mean: float = 1.0, *, gain: float = 0.0, gains: float = 0.0, **more: object) -> Line:  # fmt: skip
    """B loses an amount in some units, and saves a little in others."""

    def units(random: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        is_lost = random.random(count) < share
        b = np.zeros(count)
        b[is_lost] = draw(random, int(is_lost.sum()))
        a = gain * (random.random(count) < gains) if gains else np.zeros(count)
        return a, b, is_lost

    return Line(name, share * mean - gain * gains, units, **more)  # type: ignore[arg-type]


def payments(name: str, share: float, sigma: float, times: float, **more: object) -> Line:
    """Both pay lognormal amounts in units of their own, B `times` as much."""

    def units(random: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        sides = np.zeros((2, count))
        paid = random.random((2, count)) < share
        sides[paid] = lognormal(sigma)(random, int(paid.sum()))
        return sides[0], times * sides[1], paid[1]

    return Line(name, share * (times - 1), units, **more)  # type: ignore[arg-type]


def together(name: str, share: float, sigma: float, times: float, likeness: float, **more: object) -> Line:
    """Both pay in the same units, B `times` as much on average, amounts whose logarithms are correlated by `likeness`."""

    def units(random: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        is_paid = random.random(count) < share
        sides = np.zeros((2, count))
        both, own = random.normal(size=count), random.normal(size=(2, count))
        logs = math.sqrt(likeness) * both + math.sqrt(1 - likeness) * own
        sides[:, is_paid] = np.exp(sigma * logs - sigma * sigma / 2)[:, is_paid]
        return sides[0], times * sides[1], is_paid

    return Line(name, share * (times - 1), units, **more)  # type: ignore[arg-type]


def answers(name: str, a: float, b: float, **more: object) -> Line:
    """Yes or no, a share of each side's units."""

    def units(random: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        failed = random.random((2, count)) < np.array([[a], [b]])
        return failed[0].astype(float), failed[1].astype(float), failed[1]

    return Line(name, b - a, units, **more)  # type: ignore[arg-type]


def normal(name: str, truth: float, **more: object) -> Line:
    """A symmetric metric."""

    def units(random: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        a = random.normal(0, 2, count)
        return a, a + random.normal(truth, 3, count), np.ones(count, dtype=bool)

    return Line(name, truth, units, **more)  # type: ignore[arg-type]


def calls(name: str, truth: float, **more: object) -> Line:
    """Whole numbers: negative binomial with mean 1 and dispersion 1/5 per unit, against a fixed A."""

    def units(random: np.random.Generator, count: int) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        b = random.poisson(random.gamma(0.2, 5.0, count)).astype(float)
        return np.full(count, 1.0 - truth), b, b > 0

    return Line(name, truth, units, **more)  # type: ignore[arg-type]


WORSE = (
    normal("normal", 1.0),
    answers("yes/no, 30 % : 40 %", 0.3, 0.4),
    answers("yes/no, 1 % : 2 %", 0.01, 0.02),
    *(answers(f"yes/no, only B fails, {share:.0%}", 0, share) for share in (0.01, 0.02, 0.05)),
    *(losses(f"money, 90 % zero, σ {sigma}, B twice", 0.1, lognormal(sigma)) for sigma in (1, 1.5, 2, 2.5)),
    losses("B pays extra in 5 %, σ 1", 0.05, lognormal(1)),
    losses("B pays extra in 5 %, σ 2", 0.05, lognormal(2)),
    losses("B pays extra in 1 %, σ 1", 0.01, lognormal(1)),
    losses("B pays extra in 1 %, σ 2", 0.01, lognormal(2)),
    losses("money everywhere, σ 1, B twice", 1.0, lognormal(1)),
    losses("money everywhere, σ 2, B twice", 1.0, lognormal(2)),
    losses("Pareto 3 in 10 %", 0.1, pareto(3)),
    losses("Pareto 2.2 in 10 %", 0.1, pareto(2.2)),
    payments("both pay in 10 %, σ 1, B twice as much", 0.1, 1, 2),
    payments("both pay in 10 %, σ 2, B twice as much", 0.1, 2, 2),
    payments("both pay in 5 %, σ 2, B twice as much; single sizes", 0.05, 2, 2, sizes="single"),
    payments("both pay in 10 %, σ 2, B twice as much; single sizes", 0.1, 2, 2, sizes="single"),
    payments("both pay in 30 %, σ 1, B twice as much; single sizes", 0.3, 1, 2, sizes="single"),
    payments("both pay everywhere, σ 2, B twice as much; single sizes", 1.0, 2, 2, sizes="single"),
    together(
        "both pay in the same 30 %, likeness 0.9, σ 2, B a fifth more; single sizes", 0.3, 2, 1.2, 0.9, sizes="single"
    ),
    together("both pay everywhere, likeness 0.5, σ 1, B twice as much; single sizes", 1.0, 1, 2, 0.5, sizes="single"),
    calls("calls, whole numbers, many zero", 0.2),
    losses("saves 0.2 in 30 %, loses 100 in 0.2 %", 0.002, constant(100), 100, gain=0.2, gains=0.3),
    losses("saves 0.2 in 30 %, loses 20 in 1 %", 0.01, constant(20), 20, gain=0.2, gains=0.3),
    losses("saves 1 in 50 %, loses 20 in 4 %", 0.04, constant(20), 20, gain=1.0, gains=0.5),
    *(
        line(sizes)
        for sizes in ("equal", "80/20", "single")
        for line in (
            lambda sizes: answers(f"only B fails, 5 %; {sizes} sizes", 0, 0.05, sizes=sizes),
            lambda sizes: losses(f"money, σ 1, B twice; {sizes} sizes", 0.1, lognormal(1), sizes=sizes),
            lambda sizes: losses(f"money, σ 2, B twice; {sizes} sizes", 0.1, lognormal(2), sizes=sizes),
        )
    ),
)
"""B is worse by exactly the margin."""

HARMLESS = (
    losses("money, σ 1, B better by 2 margins", 0.1, lambda random, count: -lognormal(1)(random, count), -1, margin=0.05),
    losses("money, σ 2, B better by 2 margins", 0.1, lambda random, count: -lognormal(2)(random, count), -1, margin=0.05),
    payments("both pay in 10 %, σ 1, the same", 0.1, 1, 1, margin=0.1),
    payments("both pay in 10 %, σ 2, the same", 0.1, 2, 1, margin=0.1),
    losses("a cost of 0.1 everywhere for rare savings, σ 1", 0.1, lambda random, count: -lognormal(1)(random, count), -1, gain=-0.1, gains=1.0, margin=0.1),
    losses("a cost of 0.1 everywhere for rare savings, σ 2", 0.1, lambda random, count: -lognormal(2)(random, count), -1, gain=-0.1, gains=1.0, margin=0.1),
)  # fmt: skip
"""B is better, or no worse."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Some runs of a line.

    Attributes:
        found: One judged estimate per run.
        is_seen: Whether B's loss is in the sample.
        better: Method → whether it calls B better, per run; what resamples has fewer runs.
    """

    found: list[Estimate]
    is_seen: NDArray[np.bool_]
    better: dict[str, NDArray[np.bool_]]


def sample(line: Line, g: int, runs: int, seed: int, *, with_others: bool = False) -> Iterator[Sample]:
    """Draw runs of a line, some at a time; the same seed gives the same."""
    random = np.random.default_rng([seed, g, *line.name.encode()])
    margin = line.truth if line.margin is None else line.margin
    done = 0
    while done < runs:
        now = min(runs - done, max(1, UNITS_AT_ONCE // (g * MEAN_SIZE)))
        n = sizes_of(random, line.sizes, (now, g))
        a, b, is_lost = line.units(random, int(n.sum()))
        starts = np.concatenate([[0], np.cumsum(n.ravel())[:-1]])
        of_runs = starts[::g]
        sums = ClusterSums(s=np.add.reduceat(b - a, starts), n=n.ravel().astype(np.float64))
        estimates = estimate_segments(sums, np.repeat(np.arange(now), g), now, sign_flip=False)
        found = [judge(each, goal="lower", margin=margin) for each in estimates]
        is_seen = np.logical_or.reduceat(is_lost, of_runs)
        better = {"cluster t": _ships_by_t(found, margin)}
        if with_others:
            better |= _summed(a, b, of_runs, n.sum(axis=1))
            if done < RESAMPLED_RUNS:
                better |= _resampled(random, b - a, n.sum(axis=1))
        yield Sample(found, is_seen, better)
        done += now


def words(found: list[Estimate]) -> list[str]:
    """The one answer of each estimate, as the primary metric."""
    return [decide(Evidence(metrics={"m": each}, declared=frozenset({"m"}), primary="m", g=each.g)).word for each in found]  # fmt: skip


def _ships_by_t(found: list[Estimate], margin: float) -> NDArray[np.bool_]:
    """The same rule with plain t bounds."""
    theta, se, df = (np.array([getattr(each, name) or 0.0 for each in found]) for name in ("theta", "se", "df"))
    is_judged = np.array([each.g_changed >= 5 for each in found])
    t95, t90 = stdtrit(df, 0.975), stdtrit(df, 0.95)
    is_equivalent = np.abs(theta) + t90 * se < margin
    return is_judged & (is_equivalent | (theta + t95 * se < margin))


def _summed(a: FloatArray, b: FloatArray, of_runs: NDArray[np.int64], n: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:  # fmt: skip
    """What needs sums of the units alone."""
    mean_a, mean_b, mean_aa, mean_bb = (np.add.reduceat(x, of_runs) / n for x in (a, b, a * a, b * b))
    error = np.sqrt((mean_aa - mean_a**2 + mean_bb - mean_b**2) / n)
    return {"any difference": mean_b < mean_a, "unpaired z": mean_b - mean_a < -1.96 * error}


def _resampled(random: np.random.Generator, d: FloatArray, n: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Percentile bootstrap (Poisson weights) and sign flips over units: B is better, two-sided 5 %."""
    places = np.arange(int(n.max())) < n[:, np.newaxis]
    units = np.zeros(places.shape, dtype=np.float32)
    units[places] = d
    weights = random.poisson(1.0, (units.shape[1], RESAMPLES)).astype(np.float32)
    means = (units @ weights) / np.maximum(places.astype(np.float32) @ weights, 1)
    flipped = units @ random.choice(np.array([-1, 1], dtype=np.float32), (units.shape[1], RESAMPLES))
    total = units.sum(axis=1)
    p = (1 + (np.abs(flipped) >= np.abs(total)[:, np.newaxis] * (1 - 1e-6)).sum(axis=1)) / (1 + RESAMPLES)
    return {
        "paired bootstrap": np.quantile(means, 0.975, axis=1) < 0,
        "sign flips": (p < 0.05) & (total < 0),
    }


def wrong_ships(line: Line, g: int, runs: int, seed: int) -> tuple[float, float, float]:
    """Shares of runs: shipped with the loss in the sample, shipped without it, shipped by plain t bounds."""
    with_loss = without = by_t = 0
    for each in sample(line, g, runs, seed):
        ships = np.array(words(each.found)) == "ship"
        with_loss += int((ships & each.is_seen).sum())
        without += int((ships & ~each.is_seen).sum())
        by_t += int((each.better["cluster t"] & each.is_seen).sum())
    return with_loss / runs, without / runs, by_t / runs


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    heads = " | ".join(f"G = {g}" for g in CLUSTERS)
    print(f"| B worse by the margin: ships | {heads} |\n|---|{'---|' * len(CLUSTERS)}")
    for line in WORSE:
        cells = []
        for g in CLUSTERS:
            seen, unseen, by_t = (100 * share for share in wrong_ships(line, g, options.runs, options.seed))
            cells.append(f"{seen:.1f} ({by_t:.1f})" + (f" + {unseen:.1f}" if unseen >= 0.05 else ""))
        print(f"| {line.name} | {' | '.join(cells)} |", flush=True)
    print(f"\n| not worse: ships / do not ship | {heads} |\n|---|{'---|' * len(CLUSTERS)}")
    for line in HARMLESS:
        cells = []
        for g in CLUSTERS:
            found = [word for each in sample(line, g, options.runs, options.seed) for word in words(each.found)]
            cells.append(
                " / ".join(f"{100 * found.count(word) / options.runs:.1f}" for word in ("ship", "do_not_ship"))
            )
        print(f"| {line.name} | {' | '.join(cells)} |", flush=True)
    names = ("any difference", "unpaired z", "paired bootstrap", "sign flips")
    print(f"\n| G = 50: called better | {' | '.join(names)} | ships |\n|---|{'---|' * (len(names) + 1)}")
    for line in WORSE:
        parts = list(sample(line, 50, min(options.runs, RESAMPLED_RUNS), options.seed, with_others=True))
        shares = [100 * np.concatenate([each.better[name] for each in parts]).mean() for name in names]
        ships = 100 * np.mean([word == "ship" for each in parts for word in words(each.found)])
        print(f"| {line.name} | {' | '.join(f'{share:.1f}' for share in [*shares, ships])} |", flush=True)


if __name__ == "__main__":
    main()
