"""Plan an experiment: which conversations are compared, and under which version.

Pure: reads the lake, writes nothing. `version_id` is a hash over everything that determines a cell of the outcome, so
the same experiment on the same data is the same version, whatever was compacted, exported again or added elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.console import counted
from pipelines.errors import BadInputError
from pipelines.experiment.code import (
    Program,
    PythonCandidate,
    PythonMetric,
    find_programs,
    load_code,
    require_measures,
)
from pipelines.experiment.file import Experiment, is_walked
from pipelines.experiment.manifest import ToolPolicy, read_tool_policy
from pipelines.experiment.pinned import keep_pinned, read_units
from pipelines.experiment.prompt import Prompt, load_prompt
from pipelines.experiment.runs import list_runs
from pipelines.experiment.sides import Side
from pipelines.experiment.tool_schemas import selected_tools
from pipelines.fold.identity import fold_hash, version_hash
from pipelines.folds.aside import find_set_aside, tell_set_aside
from pipelines.lake.datasets import EVENTS
from pipelines.lake.datasets.log import MOVED_AT
from pipelines.lake.lake import Lake
from pipelines.lake.where import select_streams
from pipelines.sqlfiles import read_sql

_VERSION_LENGTH = 16
"""Hex digits of a version_id: 64 bits tell versions of one experiment apart."""
_IN_WINDOW = "($start IS NULL OR started_at >= $start) AND ($stop IS NULL OR started_at < $stop)"
_NAMES_SOURCE = re.compile(r"\bsource\b")

_SELECTED = """
SELECT
    s.aggregate_id,
    p.recorded_aggregate_id,
    s.source, s.agent, s.vertical, s.channel, s.task, s.variant, s.started_at,
    coalesce({cluster}, s.aggregate_id) AS cluster,
    s.last_version,
    lower(hex(heads.last_hash)) AS last_hash,
    s.erased_events,
    b.last_version AS recorded_last_version,
    lower(hex(b_heads.last_hash)) AS recorded_last_hash,
    heads.last_version AS lake_version,
    heads.erased_events AS lake_erased,
    b_heads.last_version AS recorded_lake_version
FROM picked AS p
JOIN streams AS s ON s.aggregate_id = p.aggregate_id
LEFT JOIN streams AS b ON b.aggregate_id = p.recorded_aggregate_id
LEFT JOIN heads ON heads.aggregate_id = p.aggregate_id
LEFT JOIN heads AS b_heads ON b_heads.aggregate_id = p.recorded_aggregate_id
ORDER BY s.aggregate_id
"""
_EXPORTED_AT = """
SELECT max(
    CASE
        WHEN json_exists(provenance, $moved_at) THEN (provenance ->> $moved_at)::TIMESTAMP WITH TIME ZONE
        ELSE committed_at
    END
)
FROM commits
WHERE dataset = $dataset
"""
# whose conversation it is stays in the folds: results hold a hash
_CLUSTERS = {"conversation": "s.aggregate_id", "customer": "sha256(s.subject_id)"}
_SAMPLED = """
SELECT
    *,
    $is_sampled
    AND row_number() OVER (ORDER BY sha256('noise floor' || aggregate_id || $seed::VARCHAR), aggregate_id) <= $size
        AS is_noise_sampled
FROM selected
ORDER BY aggregate_id
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """One version of an experiment, not yet run.

    Attributes:
        experiment: The experiment.
        version_id: Hash of everything that determines the outcome, hex.
        window: Resolved half-open UTC bounds of the conversations' start; None for no bound.
        streams: One row per selected conversation, by aggregate_id: `aggregate_id, recorded_aggregate_id` (of a recorded
            candidate), segment columns, `started_at`, `cluster`, head version and hash of both sides, `erased_events`,
            `is_noise_sampled`.
        callables: The callable of each side that is one, an agent's among them.
        prompts: What stands in place of the recorded system messages, by side; None where they are kept.
        tools: What a candidate may call, and how its calls are answered.
        definition: What `version_id` hashes, without the streams.
        measures: The function of each metric that is one.
        runs: Further recorded runs of the same tasks, where a recorded side names several: `side, draw, aggregate_id` (A's
            stream), `recorded_aggregate_id`, head version and hash, in this order. Without rows where nobody names any.
        programs: The program of each side that is run as one.
        erased: Conversations of the window, whoever's, that are left out because they are erased.
    """

    experiment: Experiment
    version_id: str
    window: tuple[datetime | None, datetime | None]
    streams: pa.Table
    callables: Mapping[Side, PythonCandidate]
    prompts: Mapping[Side, Prompt | None]
    tools: ToolPolicy
    definition: dict[str, Any] = field(repr=False)
    measures: Mapping[str, PythonMetric]
    runs: pa.Table
    programs: Mapping[Side, Program]
    erased: int = 0

    @property
    def noise_sample(self) -> list[str]:
        """Streams in the noise floor's sample."""
        sampled: list[Any] = (
            self.streams.filter(self.streams.column("is_noise_sampled")).column("aggregate_id").to_pylist()
        )
        return sampled

    @property
    def units(self) -> frozenset[str] | None:
        """The units that alone are compared; None for all of the conversations."""
        named = self.definition.get("units")
        return None if named is None else frozenset(named)

    @property
    def candidate(self) -> PythonCandidate | None:
        """The callable, for a Python candidate."""
        return self.callables.get("candidate")

    @property
    def partition(self) -> dict[str, str]:
        """The version's partition in every dataset of the diff."""
        return {"experiment": self.experiment.experiment, "version_id": self.version_id}


READS = "FROM conversations, calls, stream_months, decisions, events, redacted_events, commits"
"""All relations that planning reads, for `Lake.connect` and `Lake.reading`."""


class NothingSelectedError(BadInputError):
    """No conversation is in the window, or none matches the experiment."""


def make_plans(
    lake: Lake,
    experiment: Experiment,
    folder: Path,
    tell: Callable[[str], None] = lambda _line: None,
    *,
    allowed: Sequence[Path] = (),
) -> list[Plan]:
    """One plan per window of the experiment, in the order given. A window without a conversation is told and left out.

    So are streams that are set aside, of which not every month is folded.

    Raises:
        BadInputError: As `make_plan`; no window has a conversation.
    """
    aside = find_set_aside(lake)
    if aside:
        tell(f"left out: {tell_set_aside(aside)}; with more memory, `refold fold` folds them")
    plans: list[Plan] = []
    empty: list[NothingSelectedError] = []
    for each in experiment.by_window():
        try:
            plan = make_plan(lake, each, folder, allowed=allowed)
            plans.append(plan)
            if plan.erased:
                tell(f"left out: {counted(plan.erased, 'conversation')} of the window, erased")
        except NothingSelectedError as error:
            empty.append(error)
    if not plans:
        raise NothingSelectedError(f"{empty[0]}; {tell_set_aside(aside)}") if aside else empty[0]
    for nothing in empty:
        tell(f"left out: {nothing}")
    return plans


def require_same_units(experiment: Experiment, plans_of: Callable[[Experiment], Sequence[Plan]]) -> None:
    """Check that all candidates of an experiment would be compared over the same conversations.

    They are, unless some of them are recorded runs, which not every task has.

    Args:
        experiment: With its candidates.
        plans_of: Plans one of them.

    Raises:
        BadInputError: They would not; the first that differs is named.
    """
    first: list[list[Any]] | None = None
    for each in experiment.by_candidate():
        if each.candidate.recorded is None and first is not None:
            continue
        streams = [plan.streams.column("aggregate_id").to_pylist() for plan in plans_of(each)]
        if first is not None and streams != first:
            counts = [sum(map(len, found)) for found in (streams, first)]
            raise BadInputError(
                f"{each.experiment} has {counts[0]:,} conversations and {experiment.by_candidate()[0].experiment} {counts[1]:,}, or "
                "others: candidates are compared over the same; let where: name those that all of them ran"
            )
        first = streams


def make_plan(lake: Lake, experiment: Experiment, folder: Path, *, allowed: Sequence[Path] = ()) -> Plan:
    """Select the conversations and name the version.

    Args:
        lake: Where the folds are.
        experiment: What to compare.
        folder: Folder of the experiment file, where its files are.
        allowed: Further folders in which they may be.

    Raises:
        NothingSelectedError: Nothing is selected.
        BadInputError: `where` fails, the candidate or what is said of its
            tools cannot be loaded, or folds are behind the log.
    """
    programs = find_programs(experiment, folder, allowed)
    callables, measures = load_code(experiment, folder, allowed)
    require_measures(measures, memory_bytes=lake.memory_bytes // 4, seconds=lake.sql_seconds)
    prompts = {side: load_prompt(asked, folder, allowed) for side, asked in experiment.sides.items()}
    units = read_units(experiment, folder, allowed)
    with lake.connect(READS) as connection:
        connection.execute(f"CREATE TEMP TABLE streams AS {read_sql('diffs/selectable_streams.sql')}")
        aside = [each.stream for each in find_set_aside(lake)]
        connection.execute("DELETE FROM streams WHERE list_contains($aside, aggregate_id)", {"aside": aside})
        connection.execute(
            "CREATE TEMP TABLE heads AS SELECT aggregate_id, max(last_version) AS last_version, "
            "max_by(last_hash, last_version) AS last_hash, coalesce(sum(erased_events), 0)::INTEGER AS erased_events "
            "FROM stream_months GROUP BY aggregate_id"
        )
        _leave_out_erased(connection, experiment)
        window = _select_baseline(connection, lake, experiment)
        _pick(connection, experiment)
        if units is not None:
            keep_pinned(connection, experiment, units)
        cluster = _CLUSTERS.get(experiment.cluster, f"s.{experiment.cluster}")
        connection.execute(f"CREATE TEMP TABLE selected AS {_SELECTED.format(cluster=cluster)}")
        runs = list_runs(connection, experiment)
        _require_folded(connection)
        erased = _count_erased(connection, window)
        streams = connection.sql(_SAMPLED, params=_noise_params(experiment)).to_arrow_table()
        tools = read_tool_policy(experiment.tools, folder, allowed)
        if tools.schemas is None:
            tools = replace(tools, registered=selected_tools(connection))
    sources = {side: each.source_sha256 for side, each in (callables | programs).items()}
    definition = _definition(experiment, window, sources, prompts, tools)
    if units is not None:
        definition["units"] = list(units)
    definition["measures"] = {name: each.source_sha256 for name, each in measures.items()}
    version_id = name_version(definition, streams, runs)
    kept = streams.drop_columns(["lake_version", "lake_erased", "recorded_lake_version"])
    return Plan(
        experiment, version_id, window, kept, callables, prompts, tools, definition, measures, runs, programs, erased
    )


def name_version(definition: Mapping[str, Any], streams: pa.Table, runs: pa.Table) -> str:
    """The `version_id` of a plan: of its definition, and of the heads of its conversations and runs."""
    heads = [streams.column(name).to_pylist() for name in _HEAD_COLUMNS]
    inputs = [definition, list(zip(*heads, strict=True)), runs.to_pylist()]
    hashed = json.dumps(inputs, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(hashed.encode()).hexdigest()[:_VERSION_LENGTH]


_HEAD_COLUMNS = (
    "aggregate_id",
    "last_version",
    "last_hash",
    "erased_events",
    "recorded_aggregate_id",
    "recorded_last_version",
    "recorded_last_hash",
)


def _leave_out_erased(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> None:
    """Take out of `streams` those of which no decision is left; of recorded runs, which are compared whole, those with a gap.

    They are `erased_streams` then. What is left of the others is told decision by decision.
    """
    least = "1" if experiment.candidate.recorded is not None else "s.event_count"
    connection.execute(
        f"CREATE TEMP TABLE erased_streams AS SELECT s.aggregate_id, s.started_at FROM streams AS s WHERE s.erased_events >= {least}"
    )
    connection.execute("DELETE FROM streams WHERE aggregate_id IN (SELECT aggregate_id FROM erased_streams)")


def _count_erased(connection: duckdb.DuckDBPyConnection, window: tuple[datetime | None, datetime | None]) -> int:
    """How many conversations of the window are left out because they are erased; whose they were may not be known any more."""
    params = {"start": window[0], "stop": window[1]}
    return int(connection.execute(f"SELECT count(*) FROM erased_streams WHERE {_IN_WINDOW}", params).fetchall()[0][0])


def _select_baseline(
    connection: duckdb.DuckDBPyConnection, lake: Lake, experiment: Experiment
) -> tuple[datetime | None, datetime | None]:
    """Make `baseline_streams`: recorded by the baseline, in `where`, in the window, in the sample."""
    recorded = experiment.baseline.recorded
    connection.execute("CREATE TEMP TABLE wanted AS SELECT aggregate_id FROM streams")
    if experiment.where is not None:
        rows = connection.sql("SELECT * FROM streams").to_arrow_table()
        connection.register("matching", select_streams(lake, rows, experiment.where))
        connection.execute("CREATE OR REPLACE TEMP TABLE wanted AS SELECT aggregate_id FROM matching")
    # Imported history ends when it was recorded, not today: a relative window looks at it only when it is named. What tells
    # it from live traffic, which names its source too, is its place at the source: importers number what they read.
    is_imported_out = experiment.window.is_relative and not _NAMES_SOURCE.search(experiment.where or "")
    is_imported_out = is_imported_out and recorded.source is None
    connection.execute(
        """
        CREATE TEMP TABLE baseline_streams AS
        SELECT * FROM streams
        WHERE
            aggregate_id IN (SELECT aggregate_id FROM wanted)
            AND ($source IS NULL OR source = $source)
            AND ($variant IS NULL OR variant = $variant)
            AND NOT ($no_imports AND source_ordinal IS NOT NULL)
        """,
        {"source": recorded.source, "variant": recorded.variant, "no_imports": is_imported_out},
    )
    matching, newest = connection.execute("SELECT count(*), max(started_at)::DATE FROM baseline_streams").fetchall()[0]
    start, stop = experiment.window.resolve(_exported_at(connection))
    connection.execute(
        f"DELETE FROM baseline_streams WHERE NOT ({_IN_WINDOW})",
        {"start": start, "stop": stop},
    )
    count = connection.execute("SELECT count(*) FROM baseline_streams").fetchall()[0][0]
    if not count:
        bounds = f"from {start or 'the beginning'} to {stop or 'the end'}"
        hint = (
            " (imported history is left out of `last` and `yesterday` unless `where` names its source)"
            if is_imported_out
            else ""
        )
        raise NothingSelectedError(
            f"experiment {experiment.experiment}: no conversation is selected: {matching:,} match baseline and where{hint}, "
            f"none of them started in the window {bounds}"
            + (f"; the newest started on {newest}: name days with window: {{from: …, to: …}}" if newest else "")
        )
    return start, stop


def _exported_at(connection: duckdb.DuckDBPyConnection) -> datetime:
    """When what agents did was exported last, by the clock of the machine that did it; never later than now.

    An export that brought nothing but accesses, erasures or verdicts of reviewers makes no day of a window.
    """
    (exported,) = connection.execute(_EXPORTED_AT, {"dataset": EVENTS.name, "moved_at": f"$.{MOVED_AT}"}).fetchall()[0]
    now = datetime.now(UTC)
    return now if exported is None else min(exported.astimezone(UTC), now)


def _pick(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> None:
    """Make `picked`: the conversations of side A, beside the recorded run that is side B, if it is one."""
    recorded = experiment.candidate.recorded
    if recorded is None:
        connection.execute(
            "CREATE TEMP TABLE picked AS SELECT aggregate_id, NULL::VARCHAR AS recorded_aggregate_id FROM baseline_streams"
        )
    else:
        params = {"b_source": recorded.source, "b_variant": recorded.variants[0], "b_run": 1}
        connection.execute(f"CREATE TEMP TABLE picked AS {read_sql('diffs/paired_runs.sql')}", params)
        if not connection.execute("SELECT count(*) FROM picked").fetchall()[0][0]:
            raise NothingSelectedError(_no_pairs(connection, experiment))
    if experiment.sample is not None:
        connection.execute(
            "DELETE FROM picked WHERE aggregate_id NOT IN "
            "(SELECT aggregate_id FROM picked ORDER BY sha256(aggregate_id || $seed::VARCHAR), aggregate_id LIMIT $size)",
            {"seed": experiment.sample.seed, "size": experiment.sample.conversations},
        )


def _noise_params(experiment: Experiment) -> dict[str, Any]:
    noise = experiment.noise
    size, seed = (noise.conversations, noise.seed) if noise is not None else (0, 0)
    return {"is_sampled": noise is not None, "size": size, "seed": seed}


def _no_pairs(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> str:
    recorded = experiment.candidate.recorded
    assert recorded is not None
    variants = connection.execute(
        "SELECT DISTINCT source, variant FROM streams WHERE task IS NOT NULL ORDER BY ALL LIMIT 20"
    ).fetchall()
    known = "; ".join(f"{{source: {source}, variant: {variant}}}" for source, variant in variants) or "none has a task"
    return (
        f"experiment {experiment.experiment}: no task was run by both sides (a pair shares source and task); "
        f"candidate {{source: {recorded.source}, variant: {recorded.variants[0]}}}; recorded runs with a task: {known}"
    )


def _require_folded(connection: duckdb.DuckDBPyConnection) -> None:
    """Refuse to compare states that are older than the log in the lake; reads `selected`."""
    behind, first = connection.execute(
        "SELECT count(*), min(aggregate_id) FROM (SELECT * FROM selected UNION ALL BY NAME SELECT * FROM runs) "
        "WHERE last_version IS DISTINCT FROM lake_version "
        "OR recorded_last_version IS DISTINCT FROM recorded_lake_version OR erased_events <> lake_erased"
    ).fetchall()[0]
    if behind:
        raise BadInputError(
            f"{behind:,} of the selected conversations have exported events that are not folded yet "
            f"(first {first}); run `refold fold`"
        )


_NO_INPUTS: Any = {
    **dict.fromkeys(
        (
            "experiment",
            "reason",
            "candidates",
            "judge",
            "gate",
            "active",
            "window",
            "windows",
            "budget",
            "batch",
            "workers",
            "tools",
            "divergence",
            "units_file",
        ),
        True,
    ),
    "candidate": {"api_key_env", "prompt_file", "price"},
    "control": {"api_key_env", "prompt_file", "price"},
}
"""Settings that change no cell, or enter in another form."""


def _added(params: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if name not in given}


def _definition(
    experiment: Experiment,
    window: tuple[datetime | None, datetime | None],
    sources: Mapping[Side, str],
    prompts: Mapping[Side, Prompt | None],
    tools: ToolPolicy,
) -> dict[str, Any]:
    """Every setting that changes a cell."""
    settings = experiment.model_dump(mode="json", by_alias=True, exclude=_NO_INPUTS)
    if is_walked(experiment):
        settings |= {"tools": tools.sha256, "max_steps": experiment.tools.max_steps}
        settings["divergence"] = experiment.divergence.model_dump(mode="json")
    elif tools.schemas is not None or tools.manifest.tools:  # they say which calls are the same
        settings["tools"] = tools.sha256
    wires = {
        side: {"api": experiment.api_of(side), "added": _added(experiment.params_of(side), asked.params)}
        for side, asked in experiment.sides.items()
        if asked.kind == "model"
    }
    if wires:
        settings["wires"] = wires
    if tools.registered:
        settings["registered_tools"] = tools.registered_sha256
    return {
        **settings,
        "window": [bound.isoformat() if bound else None for bound in window],
        "source_sha256": dict(sources),
        "prompts": {side: prompt.text for side, prompt in prompts.items() if prompt is not None},
        "folds_sha256": fold_hash(),
        "code_sha256": version_hash(),
    }
