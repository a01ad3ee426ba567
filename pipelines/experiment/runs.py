"""Recorded runs as draws: the same task run again by a recorded side, or run by the recorded control.

The first run by the first variant of a recorded candidate is the one that is paired; every other variant and run is one draw
more, for the noise floor. A run stands for one draw of one side: shared between the sides it would look like agreement.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment
from pipelines.experiment.sides import FIRST_CONTROL_DRAW, Side
from pipelines.sqlfiles import read_sql

_EMPTY = """
CREATE OR REPLACE TEMP TABLE runs (
    side VARCHAR, draw INTEGER, aggregate_id VARCHAR, recorded_aggregate_id VARCHAR, last_version INTEGER, last_hash VARCHAR,
    lake_version INTEGER
)
"""
_ADD = """
INSERT INTO runs BY NAME
SELECT
    $side AS side, $draw AS draw, pairs.aggregate_id, pairs.recorded_aggregate_id,
    runs.last_version, lower(hex(heads.last_hash)) AS last_hash, heads.last_version AS lake_version
FROM pairs
SEMI JOIN picked ON picked.aggregate_id = pairs.aggregate_id
INNER JOIN streams AS runs ON runs.aggregate_id = pairs.recorded_aggregate_id
LEFT JOIN heads ON heads.aggregate_id = pairs.recorded_aggregate_id
"""
_SHARED = """
SELECT count(*), min(recorded_aggregate_id)
FROM (
    SELECT recorded_aggregate_id
    FROM (
        SELECT side, recorded_aggregate_id FROM runs
        UNION ALL
        SELECT 'candidate', recorded_aggregate_id FROM picked
    )
    GROUP BY recorded_aggregate_id
    HAVING count(DISTINCT side) > 1
)
"""


def list_runs(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> pa.Table:
    """Make the table `runs`: every recorded run that is a draw, but for the one that is paired.

    Args:
        connection: Has `baseline_streams`, `picked`, `streams` and `heads`.
        experiment: Names the variants.

    Returns:
        Its rows as `Plan.runs`, in order.

    Raises:
        BadInputError: Candidate and control have a run in common, or a variant of the control has none.
    """
    connection.execute(_EMPTY)
    for side, draw, source, variant, run in _draws(experiment):
        params = {"b_source": source, "b_variant": variant, "b_run": run}
        connection.execute(f"CREATE OR REPLACE TEMP TABLE pairs AS {read_sql('diffs/paired_runs.sql')}", params)
        connection.execute(_ADD, {"side": side, "draw": draw})
        (found,) = connection.execute("SELECT count(*) FROM runs WHERE draw = $draw", {"draw": draw}).fetchall()[0]
        if not found:
            raise BadInputError(
                f"experiment {experiment.experiment}: {side} {{source: {source}, variant: {variant}}} ran none of the "
                f"tasks that are compared{'' if run == 1 else f' {run:,} times'}"
            )
    shared, example = connection.execute(_SHARED).fetchall()[0]
    if shared:
        raise BadInputError(
            f"experiment {experiment.experiment}: {shared:,} recorded runs (first {example}) would stand for candidate "
            "and control alike; name different variants"
        )
    query = "SELECT * EXCLUDE (lake_version) FROM runs ORDER BY side, draw, aggregate_id"
    rows: pa.Table = connection.sql(query).to_arrow_table()
    return rows


def _draws(experiment: Experiment) -> Iterator[tuple[Side, int, str | None, str | None, int]]:
    """Side, index, source, variant and number of the run of every draw that is a recorded run, but for the one that is paired."""
    for side, asked in experiment.sides.items():
        if asked.recorded is None:
            continue
        first = FIRST_CONTROL_DRAW if side == "control" else 0
        for place, (variant, run) in enumerate(asked.recorded.draws):
            if first + place:
                yield side, first + place, asked.recorded.source, variant, run
