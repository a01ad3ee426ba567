"""The sides of a plan that are asked anew: with which draws, which head and which prompt."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import duckdb

from pipelines.folds.steps import create_readable_events
from pipelines.replay.experiment import Candidate, Control
from pipelines.replay.plan import Plan
from pipelines.replay.request import FIRST_CONTROL_DRAW, Head, Side
from pipelines.replay.streams import Chunk, list_chunks, read_streams
from pipelines.replay.work import SideSpec, Tools, Unit, list_work, registered_tools


def spec_of(plan: Plan, side: Side) -> SideSpec:
    """How the units of one side are asked. Draws of candidate and control have no index in common."""
    asked = plan.experiment.sides[side]
    first = FIRST_CONTROL_DRAW if side == "control" else 0
    draws = range(first, first + asked.draws)
    if asked.model is None:
        return SideSpec(side, draws, is_echo=isinstance(asked, Candidate) and asked.kind == "echo")
    return SideSpec(side, draws, partial(_head, asked), plan.prompts.get(side))


def list_units(
    connection: duckdb.DuckDBPyConnection, plan: Plan, side: Side, chunks: Sequence[Chunk] | None = None
) -> Iterator[Unit]:
    """The units of one side, every draw of each.

    Args:
        connection: Has `plan_streams` and `streams`.
        plan: What to replay.
        side: A side of the plan.
        chunks: Ranges of streams; default: all.
    """
    create_readable_events(connection)
    streams = read_streams(connection, list_chunks(connection) if chunks is None else chunks)
    return list_work(streams, plan.experiment, plan.tools, registered_tools(connection), spec_of(plan, side))


def count_units(connection: duckdb.DuckDBPyConnection, plan: Plan) -> int | None:
    """How many units and draws all sides have together; None where a unit is more than a decision.

    Args:
        connection: Has `plan_streams`.
        plan: What to replay.
    """
    if plan.experiment.mode not in ("decision", "single"):
        return None
    count = "count(DISTINCT aggregate_id) FILTER (WHERE turn >= 1)" if plan.experiment.mode == "single" else "count(*)"
    query = f"SELECT {count} FROM decisions SEMI JOIN plan_streams USING (aggregate_id)"
    (units,) = connection.sql(query).fetchall()[0]
    return int(units) * sum(asked.draws for asked in plan.experiment.sides.values())


def _head(asked: Candidate | Control, tools: Tools) -> Head:
    return Head(asked.model, asked.params, tools)
