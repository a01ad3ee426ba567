"""Read the changed pairs of a version, a page at a time, the biggest change first.

A pair is unchanged when B answered with the same tool calls and the same text, or with no text where A has none. Units about
which nobody could be asked are none, and listed among all of them. Only a
page of rows, with the beginnings of their texts, is ever in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import duckdb

from pipelines.diff.versions import Version
from pipelines.errors import BadInputError
from pipelines.lake.datasets import AB_UNITS
from pipelines.lake.lake import Lake
from pipelines.lake.sizes import RANGE_SHARE, prepare_for_large

PAGE = 500
"""Most rows of a page."""
EXCERPT = 200
"""Characters of a text that a row holds."""
CALLS = 20
"""Changed tool calls that a row holds; those that are alike are shown once."""
_ROWS_TOGETHER = 10_240
"""Pairs that a thread may read together."""

Order = Literal["calls", "text", "conversation"]
"""By changed tool calls, by changed words, or as they happened. A metric's name orders by its difference."""

_CHANGED_CALLS = "reordered + args_changed + name_changed + name_args_changed + added + removed"
_IS_OTHER_TEXT = "(is_same_final IS FALSE OR (text_a IS NULL) <> (text_b IS NULL))"
# whom nobody was asked about is in no pair
_IS_CHANGED = f"(status = 'failed' OR status = 'ok' AND (is_same_calls IS NOT TRUE OR {_IS_OTHER_TEXT}))"
# A text that only one side has differs wholly; a pair that B did not answer is not comparable and comes last.
_TEXT_CHANGE = f"CASE WHEN status <> 'ok' THEN NULL WHEN {_IS_OTHER_TEXT} THEN 1 - coalesce(sim_tok, 0) ELSE 0 END"
_ORDERS = {
    "calls": f"{_CHANGED_CALLS} DESC NULLS LAST, {_TEXT_CHANGE} DESC NULLS LAST, unit_id",
    "text": f"{_TEXT_CHANGE} DESC NULLS LAST, {_CHANGED_CALLS} DESC NULLS LAST, unit_id",
    "conversation": "started_at NULLS LAST, aggregate_id, decision NULLS FIRST, unit_id",
}
_METRIC_ORDER = (
    f"abs(metrics_b[$metric] - metrics_a[$metric]) DESC NULLS LAST, {_CHANGED_CALLS} DESC NULLS LAST, unit_id"
)
SEGMENTS = ("vertical", "agent", "task", "channel", "source")
"""Columns that pairs can be chosen by, those that say most first."""
MOVES = ("any", "up", "down")
"""How a metric moved from A to B, for pairs to be chosen by."""
_FROM = f"""
FROM ab_units_history
WHERE
    experiment = $experiment AND version_id = $version_id
    AND ($is_all OR {_IS_CHANGED})
    AND (len($classes) = 0 OR list_contains($classes, unit_class))
    AND (len($segments) = 0 OR {" OR ".join(f"list_contains($segments, '{name}=' || {name})" for name in SEGMENTS)})
    AND (NOT $is_similarity OR sim_tok BETWEEN $similar_low AND $similar_high)
    AND ($moved IS NULL OR CASE
        WHEN $move = 'up' THEN metrics_b[$moved] > metrics_a[$moved]
        WHEN $move = 'down' THEN metrics_b[$moved] < metrics_a[$moved]
        ELSE metrics_b[$moved] <> metrics_a[$moved]
    END)
    AND (len($tools) = 0 OR unit_id IN (
        SELECT unit_id
        FROM ab_tool_calls_history
        WHERE experiment = $experiment AND version_id = $version_id AND (list_contains($tools, name_a) OR list_contains($tools, name_b))
    ))
"""
_COUNT = f"SELECT count(*) {_FROM}"
_PAGE = f"""
WITH picked AS (
    SELECT unit_id
    {_FROM}
    ORDER BY {{order}}
    LIMIT $limit OFFSET $offset
),

page AS (
    SELECT *
    FROM ab_units_history
    WHERE experiment = $experiment AND version_id = $version_id AND unit_id IN (SELECT unit_id FROM picked)
),

changed AS (
    SELECT
        unit_id,
        list(
            {{{{'name_a': name_a, 'name_b': name_b, 'paths': list_transform(arg_ops, LAMBDA op: op.path)}}}}
            ORDER BY pair
        )[1:{CALLS}] AS calls
    FROM ab_tool_calls_history
    WHERE
        experiment = $experiment AND version_id = $version_id
        AND "class" <> 'same' AND unit_id IN (SELECT unit_id FROM picked)
    GROUP BY unit_id
)

SELECT
    unit_id, aggregate_id, decision, unit_class, status, reason, agent, vertical, task,
    {_CHANGED_CALLS} AS changed_calls, calls_a, calls_b, text_class, sim_tok,
    left(text_a, {EXCERPT}) AS text_a, left(text_b, {EXCERPT}) AS text_b, metrics_a, metrics_b, calls
FROM page
LEFT JOIN changed USING (unit_id)
ORDER BY {{order}}
"""
_METRICS = """
SELECT DISTINCT unnest(map_keys(metrics_a)) AS metric
FROM ab_units_history
WHERE experiment = $experiment AND version_id = $version_id
ORDER BY metric
"""


_TOOLS = """
SELECT tool
FROM (
    SELECT unnest(list_distinct([name_a, name_b])) AS tool
    FROM ab_tool_calls_history
    WHERE experiment = $experiment AND version_id = $version_id
)
WHERE tool IS NOT NULL
GROUP BY tool
ORDER BY count(*) DESC, tool
LIMIT $most
"""
_VALUES = "UNION ALL".join(
    f"""
SELECT '{name}' AS segment, {name} AS value, count(*) AS pairs
FROM ab_units_history
WHERE experiment = $experiment AND version_id = $version_id AND {name} IS NOT NULL
GROUP BY {name}
"""
    for name in SEGMENTS
)
_MOST_CHOICES = 300
"""Tools, or values of segments, that a reader is given to choose from: those of most calls, or pairs."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which pairs of a version; by default those that changed.

    Attributes:
        classes: Only of these unit classes; none means all.
        segments: Only with one of these values, each a column of `SEGMENTS`, `=` and its value; none means all.
        tools: Only where a side calls one of these; none means all.
        similarity: Only with a share of words in common between these, 0 to 1; all of it means also those without two texts.
        metric: Only where this metric of the experiment's moved; None means all.
        move: How it moved, one of `MOVES`.
        is_all: Unchanged pairs too.
    """

    classes: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    similarity: tuple[float, float] = (0.0, 1.0)
    metric: str | None = None
    move: str = "any"
    is_all: bool = False


CHANGED = Filter()
"""Pairs that changed."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What pairs of a version can be chosen by.

    Attributes:
        tools: Names of tools that a side calls, those of most calls first.
        segments: `SEGMENTS` and their values as a `Filter` has them, with the number of pairs; a column with one value is none.
        metrics: The experiment's own metrics.
    """

    tools: tuple[str, ...]
    segments: tuple[tuple[str, int], ...]
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChangedCall:
    """One tool call that is not the same: its names (None: no call) and the JSON Pointers of arguments that differ."""

    name_a: str | None
    name_b: str | None
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the table of changed pairs.

    Attributes:
        unit_id: The pair.
        aggregate_id: A's stream.
        decision: The decision; None for a conversation.
        unit_class: What changed, as a code; None when nobody could be asked.
        status: ok, failed or not_asked.
        reason: Code of the failure; None when ok.
        agent: A's agent; None when not recorded.
        vertical: Line of business; None when not recorded.
        task: Task; None when not recorded.
        changed_calls: Aligned tool-call pairs that are not the same in place; None when B gave no answer.
        calls_a: Tool calls of A; None when nobody could be asked.
        calls_b: Tool calls of B; None when it gave no answer.
        text_class: How the texts differ, as a code; None when a side has none.
        sim_tok: Share of words in common, 0 to 1; None when a side has no text.
        text_a: First characters of A's text; None when there is none.
        text_b: First characters of B's text; None when there is none.
        metrics_a: The experiment's own metrics on A.
        metrics_b: The experiment's own metrics on B.
        calls: The first `CALLS` aligned tool calls that are not the same in place.
    """

    unit_id: str
    aggregate_id: str
    decision: int | None
    unit_class: str | None
    status: str
    reason: str | None
    agent: str | None
    vertical: str | None
    task: str | None
    changed_calls: int | None
    calls_a: int | None
    calls_b: int | None
    text_class: str | None
    sim_tok: float | None
    text_a: str | None
    text_b: str | None
    metrics_a: dict[str, float]
    metrics_b: dict[str, float]
    calls: tuple[ChangedCall, ...]


@dataclass(frozen=True, slots=True)
class ChangePage:
    """One page of changed pairs.

    Attributes:
        rows: At most `PAGE` rows, in the order asked for.
        page: Number of the page, from 1.
        pages: Number of pages; 1 when there is no row.
        total: Rows on all pages.
        first: Number of the first row over all pages, from 1.
    """

    rows: tuple[Change, ...]
    page: int
    pages: int
    total: int
    first: int


@contextmanager
def reading_pairs(lake: Lake, version: Version) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for queries that read both sides' texts of every pair of a version, however long they are."""
    files = lake.files(AB_UNITS.name, _partition(version))
    with lake.connect() as connection:
        size = int(lake.memory_bytes * RANGE_SHARE)
        prepare_for_large(connection, files, ("text_a", "text_b"), rows=_ROWS_TOGETHER, size=size)
        yield connection


def list_metrics(lake: Lake, version: Version) -> list[str]:
    """Names of the experiment's own metrics that pairs of a version have values of."""
    with lake.connect() as connection:
        return [name for (name,) in connection.execute(_METRICS, _partition(version)).fetchall()]


def list_choices(lake: Lake, version: Version) -> Choices:
    """What there is to choose pairs by."""
    params = _partition(version)
    with lake.connect() as connection:
        tools = connection.execute(_TOOLS, {**params, "most": _MOST_CHOICES}).fetchall()
        values = connection.execute(_VALUES, params).fetchall()
        metrics = connection.execute(_METRICS, params).fetchall()
    told = Counter(segment for segment, _, _ in values)
    values = sorted(
        (value for value in values if told[value[0]] > 1),
        key=lambda value: (SEGMENTS.index(value[0]), -value[2], value[1]),
    )
    return Choices(
        tuple(name for (name,) in tools),
        tuple((f"{segment}={value}", pairs) for segment, value, pairs in values[:_MOST_CHOICES]),
        tuple(name for (name,) in metrics),
    )


def count_pages(lake: Lake, version: Version, chosen: Filter = CHANGED) -> int:
    """Number of pages of `PAGE` rows that `load_changes` has for a choice; at least 1."""
    with reading_pairs(lake, version) as connection:
        return _count_pages(_count(connection, version, chosen), PAGE)


def load_changes(
    lake: Lake,
    version: Version,
    chosen: Filter = CHANGED,
    *,
    order: str = "calls",
    page: int = 1,
    page_size: int = PAGE,
) -> ChangePage:
    """Read one page of pairs.

    Args:
        lake: Where the version is.
        version: Which.
        chosen: Which pairs of it.
        order: An `Order`, or the name of a metric of the experiment. Ties are broken, so pages never overlap.
        page: Number of the page, from 1; beyond the last it is the last.
        page_size: Rows of a page, at most `PAGE`.

    Raises:
        BadInputError: The page size is not from 1 to `PAGE`.
    """
    if not 1 <= page_size <= PAGE:
        raise BadInputError(f"page_size is {page_size}; give 1 to {PAGE}")
    with reading_pairs(lake, version) as connection:
        total = _count(connection, version, chosen)
        pages = _count_pages(total, page_size)
        page = min(max(page, 1), pages)
        params = _choice(version, chosen)
        params |= {"limit": page_size, "offset": (page - 1) * page_size}
        if order not in _ORDERS:
            params["metric"] = order
        query = _PAGE.format(order=_ORDERS.get(order, _METRIC_ORDER))
        found = connection.sql(query, params=params)
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    return ChangePage(tuple(_change(row) for row in rows), page, pages, total, first=params["offset"] + 1)


def _choice(version: Version, chosen: Filter) -> dict[str, Any]:
    low, high = chosen.similarity
    return {
        **_partition(version),
        "classes": list(chosen.classes),
        "segments": list(chosen.segments),
        "tools": list(chosen.tools),
        "is_similarity": (low, high) != CHANGED.similarity,
        "similar_low": low,
        "similar_high": high,
        "moved": chosen.metric,
        "move": chosen.move,
        "is_all": chosen.is_all,
    }


def _count(connection: duckdb.DuckDBPyConnection, version: Version, chosen: Filter) -> int:
    return int(connection.execute(_COUNT, _choice(version, chosen)).fetchall()[0][0])


def _count_pages(total: int, page_size: int) -> int:
    return max(1, -(-total // page_size))


def _change(row: Mapping[str, Any]) -> Change:
    metrics = {name: dict(row[name] or {}) for name in ("metrics_a", "metrics_b")}
    calls = (ChangedCall(call["name_a"], call["name_b"], tuple(call["paths"] or ())) for call in row["calls"] or ())
    return Change(**{**row, **metrics, "calls": tuple(calls)})


def _partition(version: Version) -> dict[str, Any]:
    return {"experiment": version.experiment, "version_id": version.version_id}
