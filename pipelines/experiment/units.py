"""One side of a comparison, as a relation of units: what the baseline did, or what a recorded run did.

A unit is a decision, a turn or a conversation. Both sides of every mode come from here, so that "the same" means the same.
"""

from __future__ import annotations

from typing import Literal

import duckdb

from pipelines.experiment.plan import Plan
from pipelines.sqlfiles import read_sql

READS = "FROM conversations, calls, decisions, events, redacted_events, replays_history, replay_steps_history"
"""All relations that replays and comparisons of a planned version read, for `Lake.connect`."""

# only the candidate's first draw is paired
_COVERED = """
SELECT unit_id, covered_to
FROM replays_history
WHERE experiment = $experiment AND version_id = $version_id AND side = 'candidate' AND draw = 0 AND covered_to IS NOT NULL
"""


IS_ERASED = "(is_erased OR is_context_erased)"
"""Whether a decision, or a part of its context, is erased, as SQL over `decisions`."""
_NOT_ASKED = {
    "decision": f"""
SELECT count(*) FROM decisions SEMI JOIN plan_streams USING (aggregate_id) WHERE context_messages = 0 AND NOT {IS_ERASED}
""",
    "conversation": """
SELECT count(*)
FROM plan_streams
ANTI JOIN (SELECT aggregate_id FROM decisions WHERE context_messages IS DISTINCT FROM 0) USING (aggregate_id)
""",
}
"""How many units hold nothing to put before anybody, by mode; what follows a user's text always has some context."""
_ERASED = {
    "decision": f"SELECT count(*) FROM decisions SEMI JOIN plan_streams USING (aggregate_id) WHERE {IS_ERASED}",
    "single": f"""
SELECT count(*) FILTER ({IS_ERASED})
FROM (
    SELECT is_erased, is_context_erased
    FROM decisions
    SEMI JOIN plan_streams USING (aggregate_id)
    WHERE turn >= 1
    QUALIFY row_number() OVER (PARTITION BY aggregate_id ORDER BY decision) = 1
)
""",
    "turn": f"""
SELECT count(DISTINCT (aggregate_id, turn))
FROM decisions
SEMI JOIN plan_streams USING (aggregate_id)
WHERE turn >= 1 AND {IS_ERASED}
""",
    "conversation": f"""
SELECT count(DISTINCT aggregate_id)
FROM decisions
SEMI JOIN plan_streams USING (aggregate_id)
WHERE {IS_ERASED} AND context_messages IS DISTINCT FROM 0
""",
}
"""How many units are erased in part, or follow what is, by mode."""


def unit_kind(plan: Plan) -> Literal["decision", "turn", "conversation"]:
    """What is paired in the plan's mode."""
    mode = plan.experiment.mode
    return "decision" if mode == "single" else mode


def create_plan_relations(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Make the temporary tables that `create_units` reads: `plan_streams` and `streams`."""
    connection.register("plan_rows", plan.streams)
    connection.execute("CREATE OR REPLACE TEMP TABLE plan_streams AS SELECT * FROM plan_rows")
    connection.unregister("plan_rows")
    create_stream_relations(connection)


def create_stream_relations(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the view `streams`: every conversation and call."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW streams AS {read_sql('diffs/selectable_streams.sql')}")


def count_decisions(connection: duckdb.DuckDBPyConnection, plan: Plan) -> int:
    """How many decisions the plan's conversations hold, or were named of them; reads `plan_streams`."""
    return _count(connection, "SELECT count(*) FROM decisions SEMI JOIN plan_streams USING (aggregate_id)", plan)


def count_not_asked(connection: duckdb.DuckDBPyConnection, plan: Plan) -> int:
    """How many units of the plan nobody can be asked about, since nothing was said before them; reads `plan_streams`."""
    query = _NOT_ASKED.get(plan.experiment.mode)
    if query is None or plan.experiment.candidate.recorded is not None:
        return 0
    return _count(connection, query, plan)


def count_erased(connection: duckdb.DuckDBPyConnection, plan: Plan) -> int:
    """How many units of the plan nobody can be asked about, since a part of them or of what was before is erased."""
    if plan.experiment.candidate.recorded is not None:
        return 0
    return _count(connection, _ERASED[plan.experiment.mode], plan)


def _count(connection: duckdb.DuckDBPyConnection, query: str, plan: Plan) -> int:
    """A count over decisions, of those alone that are named where some are."""
    if plan.units is None or plan.experiment.mode == "conversation":
        return int(connection.execute(query).fetchall()[0][0])
    mark = "t' || turn" if plan.experiment.mode == "turn" else "' || decision"
    named = f"(FROM decisions WHERE list_contains($units, aggregate_id || '/{mark}))"
    query = query.replace("FROM decisions", f"FROM {named} AS decisions")
    return int(connection.execute(query, {"units": sorted(plan.units)}).fetchall()[0][0])


def create_units(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    name: str,
    stream_column: str = "aggregate_id",
    *,
    streams: str = "plan_streams",
    is_whole: bool = False,
) -> None:
    """Make the temporary table `name`: the units of the streams in a column of `plan_streams`, or of another table.

    Its columns are those of `sql/diffs/decision_units.sql`; `unit_id` is named after side A's stream on both sides. Where side
    B walked and did not get to the end, side A's unit ends with it (`covered_to` is its last decision) unless `is_whole`. What
    nobody can be asked for, because nothing was said before it, is in no unit of a conversation that is put before somebody; where
    nothing else is there, and where it is a unit of its own, `is_asked` is false; and so it is where a part of the unit, or of what
    was before it, is erased (`is_erased`). Recorded runs are complete: nobody is asked.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW unit_streams AS "
        f"SELECT aggregate_id AS unit_id, {stream_column} AS aggregate_id FROM {streams} WHERE {stream_column} IS NOT NULL"
    )
    connection.execute(read_sql("diffs/is_said.sql"))
    connection.execute(read_sql("diffs/is_rebuilt.sql"))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE covered AS {_COVERED}{' AND false' if is_whole else ''}", plan.partition
    )
    query = f"CREATE OR REPLACE TEMP TABLE {name} AS {read_sql(f'diffs/{unit_kind(plan)}_units.sql')}"
    params = {
        "decision": {"is_single": plan.experiment.mode == "single"},
        "turn": {},
        "conversation": {"is_recorded": plan.experiment.candidate.recorded is not None},
    }[unit_kind(plan)]
    connection.execute(query, params or None)
    if plan.units is not None:
        connection.execute(
            f"DELETE FROM {name} WHERE NOT list_contains($units, unit_id)", {"units": sorted(plan.units)}
        )
