"""What differs between two versions: what they were asked, on which conversations, and what they came to.

A version's definition is in `versions` and its conversations are in its rows, so old versions are compared as they were made,
whatever the experiment's file says today.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import duckdb

from pipelines.diff.gating import decide_version
from pipelines.diff.versions import Version, find_definition, read_summary
from pipelines.experiment.registry import find_gate
from pipelines.lake.lake import Lake
from pipelines.stats.answer import Answer

_CODE = ("source_sha256", "measures", "folds_sha256", "code_sha256")
"""Parts of a definition that stand for code: hashes and numbers of which only the change can be told."""
_EXAMPLES = 5

_STREAMS = """
WITH first AS (
    SELECT DISTINCT aggregate_id, recorded_aggregate_id, last_version, last_hash
    FROM ab_units_history
    WHERE experiment = $first_experiment AND version_id = $first_version
),

second AS (
    SELECT DISTINCT aggregate_id, recorded_aggregate_id, last_version, last_hash
    FROM ab_units_history
    WHERE experiment = $second_experiment AND version_id = $second_version
),

joined AS (
    SELECT
        coalesce(first.aggregate_id, second.aggregate_id) AS aggregate_id,
        CASE
            WHEN second.aggregate_id IS NULL THEN 'only_first'
            WHEN first.aggregate_id IS NULL THEN 'only_second'
            WHEN first.last_hash IS DISTINCT FROM second.last_hash
                OR first.recorded_aggregate_id IS DISTINCT FROM second.recorded_aggregate_id THEN 'changed'
            ELSE 'same'
        END AS standing
    FROM first
    FULL JOIN second ON first.aggregate_id = second.aggregate_id
)

SELECT standing, count(*), list(aggregate_id ORDER BY aggregate_id)[:$examples]
FROM joined
GROUP BY standing
"""
_FLIPS = """
SELECT first.unit_id, first.unit_class, second.unit_class
FROM ab_units_history AS first
INNER JOIN ab_units_history AS second
    ON first.unit_id = second.unit_id
    AND first.experiment = $first_experiment AND first.version_id = $first_version
    AND second.experiment = $second_experiment AND second.version_id = $second_version
WHERE first.unit_class IS DISTINCT FROM second.unit_class
ORDER BY first.unit_class, second.unit_class, first.unit_id
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting that differs.

    Attributes:
        path: Its place in the definition, parts joined by dots.
        first: The first version's value; None when it has none.
        second: The second version's.
    """

    path: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class Streams:
    """How the conversations differ.

    Attributes:
        same: In both, with the same events.
        changed: In both, with other events (more of them, or another recorded run beside them).
        only_first: In the first version alone.
        only_second: In the second alone.
        examples: Some of those that differ, by what differs.
    """

    same: int
    changed: int
    only_first: int
    only_second: int
    examples: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Flip:
    """One way in which pairs of both versions changed their class.

    Attributes:
        first: The class in the first version, as a code; None when nobody could be asked.
        second: The class in the second, likewise.
        units: How many pairs.
        examples: Some of them.
    """

    first: str | None
    second: str | None
    units: int
    examples: list[str]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What one version says of a metric; None where it says nothing."""

    estimate: float | None
    low: float | None
    high: float | None
    verdict: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Moved:
    """A metric in both versions, over everything or in one value of a segment.

    Attributes:
        metric: The metric.
        segment: Segment column, or `all`.
        segment_value: Its value, or `all`.
        first: What the first version says; None when it does not have it.
        second: What the second says.
        is_moved: Whether the verdict is another, or the two intervals have nothing in common, or one version lacks it.
    """

    metric: str
    segment: str
    segment_value: str
    first: Conclusion | None
    second: Conclusion | None
    is_moved: bool


@dataclass(frozen=True, slots=True)
class VersionDiff:
    """What differs between two versions.

    Attributes:
        first: The first version.
        second: The second.
        settings: Settings that differ, by path.
        code: Code that differs: which, and both hashes.
        prompts: By side, the lines of a unified diff of the two prompts; sides whose prompt is the same are not in it.
        streams: How the conversations differ.
        flips: Pairs of both whose class is another, by both classes, the most first.
        conclusions: Every metric over everything, and those of segments that moved; moved ones first.
        answers: Ship, do not ship or not enough data: of the first and of the second, each by its experiment's gate of now.
    """

    first: Version
    second: Version
    settings: list[Setting]
    code: list[Setting]
    prompts: dict[str, list[str]]
    streams: Streams
    flips: list[Flip]
    conclusions: list[Moved]
    answers: tuple[Answer, Answer]

    @property
    def is_same(self) -> bool:
        """Whether nothing that determines them differs."""
        streams = self.streams
        return not (self.settings or self.code or self.prompts) and not (
            streams.changed or streams.only_first or streams.only_second
        )


def compare_versions(lake: Lake, first: Version, second: Version) -> VersionDiff:
    """Compare two complete versions, of one experiment or of two."""
    definitions = [find_definition(lake, version.partition) for version in (first, second)]
    differing = list(_differing(*definitions))
    with lake.connect() as connection:
        streams = _streams(connection, first, second)
        flips = _flips(connection, first, second)
        lines = [_lines(connection, version) for version in (first, second)]
    answers = [
        decide_version(lake, each.experiment, each.version_id, find_gate(lake, each.experiment)).answer
        for each in (first, second)
    ]
    return VersionDiff(
        first=first,
        second=second,
        settings=[each for each in differing if each.path.split(".")[0] not in (*_CODE, "prompts")],
        code=[each for each in differing if each.path.split(".")[0] in _CODE],
        prompts=_prompts(definitions, first, second),
        streams=streams,
        flips=flips,
        conclusions=_conclusions(*lines),
        answers=(answers[0], answers[1]),
    )


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Setting]:
    a, b = dict(_leaves(first)), dict(_leaves(second))
    for path in sorted(a.keys() | b.keys()):
        if a.get(path) != b.get(path):
            yield Setting(path, a.get(path), b.get(path))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no object, by its path. A list is one value: its elements have no names."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}" if path else name)
    else:
        yield path, value


def _prompts(definitions: list[Mapping[str, Any]], first: Version, second: Version) -> dict[str, list[str]]:
    """Unified diffs of the prompts of the sides."""
    a, b = (definition.get("prompts") or {} for definition in definitions)
    found = {}
    for side in sorted(a.keys() | b.keys()):
        old, new = ((prompts.get(side) or "").splitlines() for prompts in (a, b))
        lines = list(difflib.unified_diff(old, new, first.version_id, second.version_id, lineterm=""))
        if lines:
            found[side] = lines
    return found


def _both(first: Version, second: Version) -> dict[str, Any]:
    return {
        "first_experiment": first.experiment,
        "first_version": first.version_id,
        "second_experiment": second.experiment,
        "second_version": second.version_id,
    }


def _flips(connection: duckdb.DuckDBPyConnection, first: Version, second: Version) -> list[Flip]:
    rows = connection.execute(_FLIPS, _both(first, second)).fetchall()
    units: dict[tuple[str | None, str | None], list[str]] = {}
    for unit, old, new in rows:
        units.setdefault((old, new), []).append(unit)
    found = [Flip(*classes, len(some), some[:_EXAMPLES]) for classes, some in units.items()]
    return sorted(found, key=lambda flip: (-flip.units, flip.first or "", flip.second or ""))


def _streams(connection: duckdb.DuckDBPyConnection, first: Version, second: Version) -> Streams:
    params = {**_both(first, second), "examples": _EXAMPLES}
    rows = {standing: (count, some) for standing, count, some in connection.execute(_STREAMS, params).fetchall()}
    counts = {standing: rows.get(standing, (0, []))[0] for standing in ("same", "changed", "only_first", "only_second")}
    return Streams(**counts, examples={name: some for name, (_, some) in sorted(rows.items()) if name != "same"})


_Key = tuple[str, str, str]


def _lines(connection: duckdb.DuckDBPyConnection, version: Version) -> dict[_Key, Conclusion]:
    return {
        (line["metric"], line["segment"], line["segment_value"]): Conclusion(
            *(line[field.name] for field in fields(Conclusion))
        )
        for line in read_summary(connection, version.partition)
    }


def _conclusions(first: Mapping[_Key, Conclusion], second: Mapping[_Key, Conclusion]) -> list[Moved]:
    found = [
        Moved(*key, first.get(key), second.get(key), is_moved=_is_moved(first.get(key), second.get(key)))
        for key in sorted(first.keys() | second.keys(), key=lambda key: (key[1] != "all", key))
    ]
    shown = [each for each in found if each.is_moved or each.segment == "all"]
    return sorted(shown, key=lambda each: not each.is_moved)


def _is_moved(first: Conclusion | None, second: Conclusion | None) -> bool:
    if first is None or second is None or first.verdict != second.verdict:
        return True
    if (first.estimate is None) != (second.estimate is None):
        return True
    return _is_below(first.high, second.low) or _is_below(second.high, first.low)


def _is_below(high: float | None, low: float | None) -> bool:
    return high is not None and low is not None and high < low
