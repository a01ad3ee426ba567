"""The sides of a plan that are asked anew: with which draws, which head and which prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import duckdb

from pipelines.experiment.file import Experiment, is_walked
from pipelines.experiment.plan import Plan
from pipelines.experiment.prompt import Prompt
from pipelines.experiment.sides import FIRST_CONTROL_DRAW, Candidate, Side
from pipelines.experiment.tool_schemas import has_erased_tools, registered_tools
from pipelines.experiment.units import create_plan_relations
from pipelines.lake.sizes import Range
from pipelines.log.readable import create_readable_events
from pipelines.replay.request import Head
from pipelines.replay.streams import read_streams
from pipelines.replay.work import SideSpec, Tools, Unit, list_work

if TYPE_CHECKING:
    from pipelines.replay.agents.host import Host

_COUNTED = """
SELECT count(*), count(*) FILTER (WHERE is_noise_sampled)
FROM (
    SELECT is_noise_sampled
    FROM decisions
    INNER JOIN plan_streams USING (aggregate_id)
    WHERE NOT $is_single OR turn >= 1
    QUALIFY NOT $is_single OR row_number() OVER (PARTITION BY aggregate_id ORDER BY decision) = 1
)
"""


def spec_of(
    experiment: Experiment, prompt: Prompt | None, side: Side, draws: int | None = None, sample: Sequence[str] = ()
) -> SideSpec:
    """How the units of one side are asked. Draws of candidate and control have no index in common.

    A control is asked about the sample of the noise floor alone, and there both sides are asked twice at least.

    Args:
        experiment: Names who is asked.
        prompt: What stands in place of the recorded system messages; None where they are kept.
        side: Candidate or control.
        draws: How often; default: as the experiment says.
        sample: Streams of the noise floor's sample.
    """
    asked = experiment.sides[side]
    first = FIRST_CONTROL_DRAW if side == "control" else 0
    everywhere, in_sample = experiment.draws_of(side) if draws is None else (draws, draws)
    spec = SideSpec(
        side,
        range(first, first + everywhere),
        is_echo=isinstance(asked, Candidate) and asked.kind == "echo",
        sample_draws=range(first + everywhere, first + in_sample),
        sample=frozenset(sample),
    )
    if asked.is_agent:
        return replace(spec, edit_prompt=prompt)
    if asked.model is None:
        return spec
    return replace(spec, make_head=partial(_head, experiment, side), edit_prompt=prompt, is_model=True)


def list_units(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    side: Side,
    chunks: Sequence[Range],
    host: Host | None = None,
) -> Iterator[Unit]:
    """The units of one side, every draw of each.

    They are read over a connection of their own to the same database: the caller writes meanwhile.

    Args:
        connection: Made by a lake; what is read of it is what it sees now.
        plan: What to replay.
        side: A side of the plan.
        chunks: Ranges of streams.
        host: Where the agents of this side are at home; needed where it is one and its units are replayed.
    """
    spec = replace(spec_of(plan.experiment, plan.prompts[side], side, sample=plan.noise_sample), host=host)
    # a context needs no arguments as they were recorded; a cassette and an echo do
    with_arguments = spec.is_echo or is_walked(plan.experiment)
    with connection.cursor() as reader:
        reader.execute("SET TimeZone = 'UTC'")
        create_plan_relations(reader, plan)
        if not spec.draws:
            reader.execute("DELETE FROM plan_streams WHERE NOT is_noise_sampled")
        create_readable_events(reader)
        tools = registered_tools(reader)
        spec = replace(spec, has_erased_tools=has_erased_tools(reader))
        streams = read_streams(reader, chunks, with_arguments=with_arguments)
        with closing(streams):
            yield from list_work(streams, plan.experiment, plan.tools, tools, spec, plan.units)


def count_units(connection: duckdb.DuckDBPyConnection, plan: Plan) -> int | None:
    """How many units and draws all sides have together; None where a unit is more than a decision.

    Args:
        connection: Has `plan_streams`.
        plan: What to replay.
    """
    if plan.experiment.mode not in ("decision", "single"):
        return None
    params = {"is_single": plan.experiment.mode == "single"}
    units, sampled = connection.execute(_COUNTED, params).fetchall()[0]
    draws = [plan.experiment.draws_of(side) for side in plan.experiment.sides]
    return sum(int(units) * everywhere + int(sampled) * (there - everywhere) for everywhere, there in draws)


def _head(experiment: Experiment, side: Side, tools: Tools) -> Head:
    return Head(experiment.sides[side].model, experiment.params_of(side), tools, experiment.api_of(side))
