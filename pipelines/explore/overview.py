"""What is counted of the conversations and calls that were chosen: a few columns of three relations, each read once."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import duckdb

from pipelines.explore.choices import Chosen
from pipelines.lake.lake import Lake

Step = Literal["day", "week", "month", "year"]
FLAGS = ("content_missing", "history_compacted", "reasoning_lost", "is_truncated", "session_ambiguous")
"""What a recorder did not hand over, as the columns of conversations say it."""
_SPANS: tuple[tuple[int, Step], ...] = ((62, "day"), (62 * 7, "week"), (62 * 31, "month"))
"""Days that a step of time is for; beyond, it is a year."""
_LENGTH: dict[Step, int] = {"day": 1, "week": 7, "month": 32, "year": 370}
"""Days after which the next step has begun."""
_MOST_STEPS = 400
_MOST_TOOLS, _MOST_MODELS, _MOST_OUTCOMES = 25, 25, 2_000
_MOST_VALUES = 8
"""Different values of a member of outcomes that are told apart."""

_COLUMNS = f"aggregate_id, started_at, outcome, status, erased_events, {', '.join(FLAGS)}"
_CHOSEN = """
CREATE OR REPLACE TEMP TABLE chosen AS
SELECT {columns} FROM (
    SELECT {columns}, source, agent, vertical FROM conversations
    UNION ALL
    SELECT {columns}, source, agent, vertical FROM calls
)
WHERE {condition}
"""
_VOLUME = """
SELECT
    date_trunc('{step}', started_at) AS step, count(*), count(*) FILTER (status = 'ended'), sum(erased_events), {flags}
FROM chosen
GROUP BY GROUPING SETS ((step), ())
"""
_OUTCOMES = f"SELECT outcome, count(*) AS rows FROM chosen GROUP BY 1 ORDER BY rows DESC LIMIT {_MOST_OUTCOMES}"
_DECISIONS = """
SELECT
    date_trunc('{step}', d.created_at) AS step, d.model, grouping(d.model) AS is_of_all, count(*), sum(d.cost_usd),
    quantile_cont(d.latency_ms, [0.5, 0.95]), sum(d.input_tokens)::BIGINT, sum(d.output_tokens)::BIGINT, count(*) FILTER (d.error IS NOT NULL),
    count(*) FILTER (d.context_verified), count(*) FILTER (NOT d.context_verified)
FROM decisions AS d
WHERE d.aggregate_id IN (SELECT c.aggregate_id FROM chosen AS c) AND {condition}
GROUP BY GROUPING SETS ((step), (d.model), ())
"""
_TOOLS = f"""
SELECT
    t.name, count(*) AS asked, count(*) FILTER (t.error IS NOT NULL), count(*) FILTER (t.result_version IS NULL AND NOT t.is_erased),
    quantile_cont(epoch_ms(t.answered_at) - epoch_ms(t.created_at), [0.5, 0.95]) FILTER (t.answered_at > t.created_at), grouping(t.name) AS is_of_all
FROM tool_calls AS t
WHERE t.aggregate_id IN (SELECT c.aggregate_id FROM chosen AS c) AND t.actor IS DISTINCT FROM 'user'
GROUP BY GROUPING SETS ((t.name), ())
ORDER BY is_of_all DESC, asked DESC, t.name
LIMIT {_MOST_TOOLS + 1}
"""
_READS = "SELECT * FROM conversations, calls, decisions, tool_calls"


@dataclass(frozen=True, slots=True)
class Volume:
    """Conversations and calls that began in one step of time, or all of them.

    Attributes:
        started: How many.
        ended: Of them, those whose end was recorded.
        erased_events: Their erased events.
        flags: Of them, by the names in `FLAGS`.
    """

    started: int
    ended: int
    erased_events: int
    flags: dict[str, int]


@dataclass(frozen=True, slots=True)
class Decided:
    """Decisions of one step of time, of one model, or all of them.

    Attributes:
        decisions: How many.
        cost_usd: Sum, US dollars; None when none was recorded.
        p50_ms: Median latency, milliseconds; None when none was recorded.
        p95_ms: 95th percentile of it.
        input_tokens: Sum; None when none was recorded.
        output_tokens: Sum; None likewise.
        errors: Model calls that failed.
        verified: Contexts that are what the request's recorded hash says.
        differing: Contexts that are not; of the rest nothing was recorded to hold them to.
    """

    decisions: int
    cost_usd: float | None
    p50_ms: float | None
    p95_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    errors: int
    verified: int
    differing: int


@dataclass(frozen=True, slots=True)
class Tool:
    """Calls of one tool by agents.

    Attributes:
        name: The tool; None for all of them.
        calls: How many.
        failed: Of them, those whose result is an error.
        unanswered: Of them, those without a result.
        p50_ms: Median time to the result, milliseconds; None where it was not recorded, as in a log of which each event has the same time.
        p95_ms: 95th percentile of it.
    """

    name: str | None
    calls: int
    failed: int
    unanswered: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Freshness:
    """How new what is shown is.

    Attributes:
        newest: Newest start of all that is chosen, UTC.
        exported_at: Last export of a month, UTC.
        folded_at: Last fold of a month, UTC.
    """

    newest: datetime | None
    exported_at: datetime | None
    folded_at: datetime | None


@dataclass(frozen=True, slots=True)
class Overview:
    """What was chosen, counted.

    Attributes:
        step: Length of a step of time.
        steps: Beginnings of all steps from the first to the last with anything in it, UTC.
        volume: All of it.
        volumes: By step.
        decided: All decisions.
        decisions: By step.
        models: By model, the most frequent first.
        tools: By tool, the most frequent first; all of them first.
        outcomes: Member of the recorded outcomes, or "" for outcomes that are no objects → value as JSON → how many; the most frequent first.
        without_outcome: Conversations and calls whose outcome was not recorded.
        freshness: How new it is.
    """

    step: Step
    steps: list[datetime]
    volume: Volume
    volumes: dict[datetime, Volume]
    decided: Decided | None
    decisions: dict[datetime, Decided]
    models: dict[str | None, Decided]
    tools: list[Tool]
    outcomes: dict[str, dict[str, int]]
    without_outcome: int
    freshness: Freshness


def load_overview(lake: Lake, chosen: Chosen) -> Overview:
    """Count what was chosen; of nothing, all is 0."""
    condition, params = _condition(chosen)
    with lake.connect(_READS) as connection:
        connection.execute(_CHOSEN.format(columns=_COLUMNS, condition=condition), params)
        first, last = connection.execute("SELECT min(started_at), max(started_at) FROM chosen").fetchall()[0]
        step = _step(first, last)
        volumes = _volumes(connection, step)
        models = list(chosen.values.get("model", ()))
        wanted = "coalesce(d.model, '') IN (SELECT unnest($model))" if models else "true"
        query = _DECISIONS.format(step=step, condition=wanted)
        decided = connection.execute(query, {"model": models} if models else {}).fetchall()
        tools = [_tool(row) for row in connection.execute(_TOOLS).fetchall()]
        outcomes = connection.execute(_OUTCOMES).fetchall()
    by_step = {row[0]: _decided(row) for row in decided if row[0] is not None}
    by_model = [row for row in decided if row[0] is None and not row[2]]
    of_all = [row for row in decided if row[0] is None and row[2]]
    return Overview(
        step=step,
        steps=_steps(step, {*volumes, *by_step} - {None}),
        volume=volumes.get(None, Volume(0, 0, 0, dict.fromkeys(FLAGS, 0))),
        volumes={at: volume for at, volume in volumes.items() if at is not None},
        decided=next((_decided(row) for row in of_all if row[3]), None),
        decisions=by_step,
        models={
            row[1]: _decided(row) for row in sorted(by_model, key=lambda row: (-row[3], row[1] or ""))[:_MOST_MODELS]
        },
        tools=[tool for tool in tools if tool.calls],
        outcomes=_outcomes(outcomes),
        without_outcome=sum(rows for outcome, rows in outcomes if outcome is None),
        freshness=_freshness(lake, last),
    )


def _condition(chosen: Chosen) -> tuple[str, dict[str, Any]]:
    """What holds for the streams that are chosen, and the values bound in it."""
    parts = ["true"]
    params: dict[str, Any] = {}
    if chosen.first is not None:
        parts.append("started_at >= $first")
        params["first"] = chosen.first
    if chosen.end is not None:
        parts.append("started_at < $end")
        params["end"] = chosen.end
    for column in ("source", "agent", "vertical"):
        if chosen.values.get(column):
            parts.append(f"coalesce({column}, '') IN (SELECT unnest(${column}))")
            params[column] = list(chosen.values[column])
    if chosen.values.get("model"):
        parts.append(
            "aggregate_id IN (SELECT d.aggregate_id FROM decisions AS d WHERE coalesce(d.model, '') IN (SELECT unnest($model)))"
        )
        params["model"] = list(chosen.values["model"])
    return " AND ".join(parts), params


def _volumes(connection: duckdb.DuckDBPyConnection, step: Step) -> dict[datetime | None, Volume]:
    flags = ", ".join(f"count(*) FILTER ({flag})" for flag in FLAGS)
    rows = connection.execute(_VOLUME.format(step=step, flags=flags)).fetchall()
    return {
        at: Volume(started, ended, int(erased or 0), dict(zip(FLAGS, flagged, strict=True)))
        for at, started, ended, erased, *flagged in rows
    }


def _tool(row: tuple[Any, ...]) -> Tool:
    name, calls, failed, unanswered, times, is_of_all = row
    return Tool(None if is_of_all else str(name), calls, failed, unanswered, *_two(times))


def _decided(row: tuple[Any, ...]) -> Decided:
    _step, _model, _is_of_all, decisions, cost_usd, times, *counts = row
    return Decided(decisions, cost_usd, *_two(times), *counts)


def _two(values: list[float] | None) -> tuple[float | None, float | None]:
    return (values[0], values[1]) if values else (None, None)


def _step(first: datetime | None, last: datetime | None) -> Step:
    days = 0 if first is None or last is None else (last - first).days
    return next((step for most, step in _SPANS if days <= most), "year")


def _steps(step: Step, found: set[datetime | None]) -> list[datetime]:
    """Every step from the first to the last, those in which nothing was too; with too many, only those in which something was."""
    times = sorted(at.astimezone(UTC) for at in found if at is not None)
    if not times or (times[-1] - times[0]).days > _MOST_STEPS * _LENGTH[step]:
        return times
    steps = times[:1]
    while steps[-1] < times[-1]:
        after = steps[-1] + timedelta(days=_LENGTH[step])
        after = after if step in ("day", "week") else after.replace(day=1)
        steps.append(after.replace(month=1) if step == "year" else after)
    return steps


def _outcomes(rows: list[tuple[str | None, int]]) -> dict[str, dict[str, int]]:
    """How often each member of the recorded outcomes has each value; members of many values are left out."""
    found: dict[str, Counter[str]] = {}
    for text, number in rows:
        if text is None:
            continue
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        for name, each in value.items() if isinstance(value, dict) else [("", value)]:
            if not isinstance(each, dict | list):
                found.setdefault(name, Counter())[json.dumps(each, ensure_ascii=False)] += number
    few = {name: counts for name, counts in found.items() if len(counts) <= _MOST_VALUES}
    return {name: dict(counts.most_common()) for name, counts in sorted(few.items(), key=lambda each: -each[1].total())}


def _freshness(lake: Lake, newest: datetime | None) -> Freshness:
    exported, folded = (
        max((commit.committed_at for commit in lake.commits(name)), default=None)
        for name in ("events", "conversation_months")
    )
    return Freshness(newest, exported, folded)
