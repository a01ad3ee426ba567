"""Summarise a version's unit pairs: one estimate per metric and segment, with its interval and verdict.

Shares (`same_names`, `same_calls` …) measure change and have no direction. Differences are B − A over the units that have
a value on both sides; a verdict needs the experiment's goal and margin. Failed units count as not the same.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from pipelines.diff.names import ALL
from pipelines.experiment.metrics import Metric
from pipelines.stats.binary import PairedBinary, compare_paired_binary
from pipelines.stats.cluster import estimate_paired_segments, estimate_segments
from pipelines.stats.equality import bound_equality, recorded_range
from pipelines.stats.estimate import Estimate, Goal
from pipelines.stats.multiplicity import adjust_family
from pipelines.stats.reproducible import grouped_sum
from pipelines.stats.sums import ClusterSums, PairedSums
from pipelines.stats.verdict import equivalence_p, judge

_FOUND_BY = {"money": "ab"}
"""Differences that are there when one of these sums is not 0; the others are when a unit has a value."""
_BINARY = frozenset({"outcome_good"})
"""Differences of outcomes that are 0 or 1 per unit, as rules are."""
_GOALS: Mapping[str, Goal] = {"outcome_good": "higher", "invalid_calls": "lower"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the summary.

    Attributes:
        metric: What is estimated.
        kind: `change` (a share, no direction), `metric` (A against B), `rule` (how often it holds on B) or `noise` (of the
            noise floor).
        segment: Segment column, or `all`.
        segment_value: Its value, or `all`.
        estimate: The numbers, judged.
        excluded: Units without a value.
        total_a: Sum over A's units; None for a share.
        total_b: Sum over B's units; None for a share.
        binary: Tests of a yes/no outcome; None for anything else.
        not_asked: Units about which nobody could be asked; they are in no other number.
    """

    metric: str
    kind: Literal["change", "metric", "rule", "noise"]
    segment: str
    segment_value: str
    estimate: Estimate
    excluded: int
    total_a: float | None = None
    total_b: float | None = None
    binary: PairedBinary | None = None
    not_asked: int = 0

    def row(self) -> dict[str, Any]:
        """The line as a row of `ab_summary`, without the partition columns."""
        numbers = self.estimate
        return {
            "metric": self.metric,
            "kind": self.kind,
            "segment": self.segment,
            "segment_value": self.segment_value,
            "estimand": numbers.estimand,
            "n": numbers.n,
            "excluded": self.excluded,
            "not_asked": self.not_asked,
            "g": numbers.g,
            "g_changed": numbers.g_changed,
            "g_star": numbers.g_star,
            "mean_a": numbers.theta_a,
            "mean_b": numbers.theta_b,
            "total_a": self.total_a,
            "total_b": self.total_b,
            "estimate": numbers.theta,
            "se": numbers.se,
            "se_cr1": numbers.se_cr1,
            "low": numbers.low,
            "high": numbers.high,
            "p_value": numbers.p,
            "p_sign_flip": numbers.p_sign_flip,
            "q_value": numbers.q,
            "goal": numbers.goal,
            "margin": numbers.margin,
            "verdict": numbers.verdict,
            "is_equivalent": numbers.is_equivalent,
            "p_equivalence": equivalence_p(numbers),
            "is_non_inferior": numbers.is_non_inferior,
            "mde": numbers.mde,
            "g_needed": numbers.g_needed,
            "only_a": None if self.binary is None else self.binary.only_a,
            "only_b": None if self.binary is None else self.binary.only_b,
            "p_mcnemar": None if self.binary is None else self.binary.p_exact,
            "p_mcnemar_clustered": None if self.binary is None else self.binary.p_clustered,
            "reason": numbers.reason,
        }


_Floats = np.ndarray[Any, np.dtype[np.float64]]
_Codes = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """What the summary needs of some units, as arrays over units.

    Attributes:
        conversation: Number of each unit's conversation, 0, 1, 2 …, never decreasing.
        shares: Share → 1, 0, or NaN where it does not apply.
        sides: Metric → (A, B), NaN where there is no value.
        is_asked: 1, or 0 for a unit about which nobody could be asked and which has no value; None when there is none of them.
    """

    conversation: _Codes
    shares: Mapping[str, _Floats]
    sides: Mapping[str, tuple[_Floats, _Floats]]
    is_asked: _Floats | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Conversations:
    """What is known of the conversations, in the order of their numbers.

    Attributes:
        cluster: Cluster of each; None when each is its own.
        segments: Segment column → its values in order, and the place of each conversation's value; -1 where it has none.
    """

    cluster: _Codes | None
    segments: Mapping[str, tuple[Sequence[str], _Codes]]


def encode(column: pa.ChunkedArray[Any]) -> tuple[list[str], _Codes]:
    """The different texts of a column in order, and the place of each row's text; -1 where it is null."""
    dictionary: Any = column.dictionary_encode().combine_chunks()
    values: list[str] = dictionary.dictionary.to_pylist()
    order = sorted(range(len(values)), key=values.__getitem__)
    place = np.empty(len(values) + 1, dtype=np.intp)
    place[order] = np.arange(len(values))
    place[-1] = -1
    return [values[i] for i in order], place[np.asarray(dictionary.indices.fill_null(-1), dtype=np.intp)]


class ConversationSums:
    """Units added up per conversation, as they come: all that estimates need, eight numbers for every eight units or so.

    A conversation's units are added one after the other, in their order, and conversations are never cut; so the same
    units give the same sums to the last bit, however they were divided into files or shards.
    """

    def __init__(self) -> None:
        self._parts: list[dict[tuple[str, str], _Floats]] = []
        self._ranges: dict[str, tuple[float, float]] = {}
        self._last = -1

    def add(self, units: Units) -> None:
        """Add the units of the next conversations.

        Raises:
            ValueError: A conversation comes before one that was added, or was added already.
        """
        numbers = units.conversation
        if not numbers.size:
            return
        if numbers[0] <= self._last or (numbers[1:] < numbers[:-1]).any():
            raise ValueError(f"units of conversation {numbers[0]} come after those of {self._last}; add them in order")
        starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
        part = {("", "number"): numbers[starts].astype(np.float64)}
        size = np.diff(np.append(starts, numbers.size)).astype(np.float64)
        part["", "n"] = size if units.is_asked is None else np.add.reduceat(units.is_asked, starts)
        part["", "not_asked"] = size - part["", "n"]
        self._last = int(numbers[-1])

        def total(values: _Floats) -> _Floats:
            return np.add.reduceat(values, starts)

        for name, share in units.shares.items():
            unknown = np.isnan(share)
            is_whole = not unknown.any()
            part[name, "n"] = part["", "n"] if is_whole else total((~unknown).astype(np.float64))
            part[name, "s"] = total(share if is_whole else np.where(unknown, 0.0, share))
        for name, (a, b) in units.sides.items():
            unknown = np.isnan(a + b)
            is_whole = not unknown.any()
            part[name, "n"] = part["", "n"] if is_whole else total((~unknown).astype(np.float64))
            x, y = (a, b) if is_whole else (np.where(unknown, 0.0, a), np.where(unknown, 0.0, b))
            for key, values in (("a", x), ("b", y), ("aa", x * x), ("bb", y * y), ("ab", x * y)):
                part[name, key] = total(values)
            self._widen(name, *((a, b) if is_whole else (a[~unknown], b[~unknown])))
        self._parts.append(part)

    def _widen(self, name: str, *sides: _Floats) -> None:
        lowest, highest = self._ranges.get(name, (np.inf, -np.inf))
        for side in sides:
            if side.size:
                lowest, highest = min(lowest, float(side.min())), max(highest, float(side.max()))
        self._ranges[name] = lowest, highest

    def range_of(self, name: str) -> tuple[float, float]:
        """The lowest and the highest value of a metric over the units with one on both sides; infinite, the wrong way, without any."""
        return self._ranges[name]

    @property
    def names(self) -> list[str]:
        """Shares and metrics, in the order in which they were given."""
        return list(dict.fromkeys(name for name, _ in self._parts[0] if name)) if self._parts else []

    def is_share(self, name: str) -> bool:
        """Whether `name` is a share."""
        return (name, "s") in self._parts[0]

    def column(self, name: str, key: str) -> _Floats:
        """One sum, over the conversations that have units.

        Of the empty name `n` counts units, `not_asked` those about which nobody could be asked, and `number` names conversations.
        """
        if not self._parts:
            return np.zeros(0)
        if len(self._parts) > 1:
            self._parts = [self._joined()]
        return self._parts[0][name, key]

    def _joined(self) -> dict[tuple[str, str], _Floats]:
        """All parts as one; columns that are one array in every part (counts, mostly) stay one."""
        made: dict[tuple[int, ...], _Floats] = {}
        joined = {}
        for place in self._parts[0]:
            pieces = [part[place] for part in self._parts]
            same = tuple(map(id, pieces))
            if same not in made:
                made[same] = np.concatenate(pieces)
            joined[place] = made[same]
        return joined


def summarise(
    conversations: Conversations,
    sums: ConversationSums,
    metrics: Mapping[str, Metric],
    primary: str | None,
    rules: Container[str] = (),
) -> list[Line]:
    """All lines: the whole first, then every value of every segment, metrics in a fixed order.

    Args:
        conversations: Clusters and segments.
        sums: Sums per conversation.
        metrics: The experiment's own metrics: goals and margins.
        primary: The one metric that is not corrected for multiplicity; None corrects all.
        rules: Which of the metrics are rules: 1 where they hold, 0 where they are broken.
    """

    def lines_of(dimension: _Dimension, name: str) -> list[Line]:
        if sums.is_share(name):
            return _shares(name, sums, dimension)
        if name in rules:
            return _rule(name, sums, dimension)
        if name not in metrics and not any(sums.column(name, key).any() for key in _FOUND_BY.get(name, "n")):
            return []  # nobody recorded it
        metric = metrics.get(name)
        goal = metric.goal if metric is not None else _GOALS.get(name)
        margin = metric.margin if metric is not None else None
        span = recorded_range(*sums.range_of(name))
        return [
            replace(line, estimate=judge(bound_equality(line.estimate, span), goal=goal, margin=margin))
            for line in _differences(name, sums, dimension)
        ]

    def counted_lines(dimension: _Dimension, name: str) -> list[Line]:
        unasked = dimension.count(sums.column("", "not_asked"))
        lines = lines_of(dimension, name)
        return [replace(line, not_asked=int(n)) for line, n in zip(lines, unasked, strict=bool(lines))]

    asked = [(dimension, name) for dimension in _dimensions(conversations, sums) for name in sums.names]
    with ThreadPoolExecutor() as threads:  # NumPy computes outside of Python's lock
        lines = (
            [line for found in threads.map(counted_lines, *zip(*asked, strict=True)) for line in found] if asked else []
        )
    return _adjusted(lines, primary)


@dataclass(frozen=True, slots=True, eq=False)
class _Dimension:
    """One way to divide the conversations: the whole, or a segment column.

    Attributes:
        segment: Segment column, or `all`.
        values: Its values, in order.
        placed: Conversations with a value, as places; None for all of them.
        group: Group (value and cluster) of each placed conversation; None when each is one of its own.
        value_of: Place in `values` of each group.
    """

    segment: str
    values: list[str]
    placed: _Codes | None
    group: _Codes | None
    value_of: _Codes

    def sum_up(self, column: _Floats) -> _Floats:
        """Sums of a column per group."""
        kept = column if self.placed is None else column[self.placed]
        return kept if self.group is None else grouped_sum(kept, self.group, self.value_of.size)

    def count(self, column: _Floats) -> _Codes:
        """Units per value, given units per conversation."""
        return np.bincount(self.value_of, weights=self.sum_up(column), minlength=len(self.values)).astype(np.intp)


def _dimensions(conversations: Conversations, sums: ConversationSums) -> list[_Dimension]:
    numbers = sums.column("", "number").astype(np.intp)
    cluster = None if conversations.cluster is None else conversations.cluster[numbers]
    found = [_dimension(ALL, [ALL], np.zeros(numbers.size, dtype=np.intp), cluster)]
    for segment, (values, codes) in conversations.segments.items():
        found.append(_dimension(segment, list(values), codes[numbers], cluster))
    return found


def _dimension(segment: str, values: list[str], code: _Codes, cluster: _Codes | None) -> _Dimension:
    placed = None if (code >= 0).all() else np.flatnonzero(code >= 0)
    kept = code if placed is None else code[placed]
    if cluster is None:
        return _Dimension(segment, values, placed, None, kept)
    clusters = int(cluster.max(initial=-1)) + 1
    pairs, group = np.unique(kept * clusters + (cluster if placed is None else cluster[placed]), return_inverse=True)
    return _Dimension(segment, values, placed, group, pairs // max(clusters, 1))


def _excluded(name: str, sums: ConversationSums, dimension: _Dimension) -> _Codes:
    """Units without a value, per value of the dimension."""
    units, used = sums.column("", "n"), sums.column(name, "n")
    if used is units:
        return np.zeros(len(dimension.values), dtype=np.intp)
    return dimension.count(units) - dimension.count(used)


def _shares(name: str, sums: ConversationSums, dimension: _Dimension) -> list[Line]:
    n, total = (dimension.sum_up(sums.column(name, key)) for key in ("n", "s"))
    # 0 and 1 are their own squares
    estimates = estimate_segments(
        ClusterSums(s=total, n=n, squares=total), dimension.value_of, len(dimension.values), "rate"
    )
    excluded = _excluded(name, sums, dimension)
    return [
        Line(name, "change", dimension.segment, value, numbers, int(left_out))
        for value, numbers, left_out in zip(dimension.values, estimates, excluded, strict=True)
    ]


def _rule(name: str, sums: ConversationSums, dimension: _Dimension) -> list[Line]:
    """How often a rule holds on side B, beside how often it did on side A."""
    paired = _paired(name, sums, dimension)
    n, a, b = paired.n, paired.a, paired.b
    values = len(dimension.values)
    estimates = estimate_segments(ClusterSums(s=b, n=n, squares=b), dimension.value_of, values, "rate")
    held_a = grouped_sum(a, dimension.value_of, values)
    excluded = _excluded(name, sums, dimension)
    lines = []
    for place, (value, numbers) in enumerate(zip(dimension.values, estimates, strict=True)):
        total_a = float(held_a[place]) if numbers.n else None
        both = replace(numbers, theta_a=None if total_a is None else total_a / numbers.n, theta_b=numbers.theta)
        total_b = None if numbers.theta is None else round(numbers.theta * numbers.n)
        binary = _binary(paired, dimension, place)
        lines.append(Line(name, "rule", dimension.segment, value, both, int(excluded[place]), total_a, total_b, binary))
    return lines


def _paired(name: str, sums: ConversationSums, dimension: _Dimension) -> PairedSums:
    return PairedSums(**{key: dimension.sum_up(sums.column(name, key)) for key in ("n", "a", "b", "aa", "bb", "ab")})


def _binary(paired: PairedSums, dimension: _Dimension, value: int) -> PairedBinary:
    """The tests of a yes/no outcome for one value of the dimension."""
    chosen = dimension.value_of == value
    return compare_paired_binary(
        PairedSums(**{key: getattr(paired, key)[chosen] for key in ("n", "a", "b", "aa", "bb", "ab")})
    )


def _differences(name: str, sums: ConversationSums, dimension: _Dimension) -> list[Line]:
    paired = _paired(name, sums, dimension)
    estimates = estimate_paired_segments(paired, dimension.value_of, len(dimension.values))
    excluded = _excluded(name, sums, dimension)
    return [
        Line(
            name,
            "metric",
            dimension.segment,
            value,
            numbers,
            int(excluded[place]),
            numbers.total_a,
            numbers.total_b,
            _binary(paired, dimension, place) if name in _BINARY else None,
        )
        for place, (value, numbers) in enumerate(zip(dimension.values, estimates, strict=True))
    ]


def _adjusted(lines: list[Line], primary: str | None) -> list[Line]:
    """Fill `q`: one family of all tested differences but the primary metric over everything."""
    family = [
        i for i, line in enumerate(lines) if line.kind == "metric" and (line.metric, line.segment) != (primary, ALL)
    ]
    adjusted = adjust_family([lines[i].estimate for i in family])
    for i, numbers in zip(family, adjusted, strict=True):
        lines[i] = replace(lines[i], estimate=numbers)
    return lines
