"""One side of a comparison, as a relation of units: what the baseline did, or what a recorded run did.

A unit is a decision or a conversation. Both sides of every mode come from here, so that "the same" means the same.
"""

from __future__ import annotations

import duckdb

from pipelines.replay.plan import Plan
from pipelines.sqlfiles import read_sql


def unit_kind(plan: Plan) -> str:
    """What is paired in the plan's mode: `decision` or `conversation`."""
    return "conversation" if plan.experiment.mode == "conversation" else "decision"


def create_plan_relations(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Make the temporary tables that `create_units` reads: `plan_streams` and `streams`."""
    connection.register("plan_rows", plan.streams)
    connection.execute("CREATE OR REPLACE TEMP TABLE plan_streams AS SELECT * FROM plan_rows")
    connection.unregister("plan_rows")
    connection.execute(f"CREATE OR REPLACE TEMP VIEW streams AS {read_sql('diffs/selectable_streams.sql')}")


def create_units(
    connection: duckdb.DuckDBPyConnection, plan: Plan, name: str, stream_column: str = "aggregate_id"
) -> None:
    """Make the temporary table `name`: the units of the streams in a column of `plan_streams`.

    Its columns are those of `sql/diffs/decision_units.sql`; `unit_id` is named after side A's stream on both sides.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW unit_streams AS "
        f"SELECT aggregate_id AS unit_id, {stream_column} AS aggregate_id FROM plan_streams WHERE {stream_column} IS NOT NULL"
    )
    if unit_kind(plan) == "conversation":
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {read_sql('diffs/conversation_units.sql')}")
    else:
        query = f"CREATE OR REPLACE TEMP TABLE {name} AS {read_sql('diffs/decision_units.sql')}"
        connection.execute(query, {"is_single": plan.experiment.mode == "single"})
