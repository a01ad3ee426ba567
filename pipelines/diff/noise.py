"""The noise floor of a version: how much of what changed is chance, and whether the model changed since the recording.

In a sample of conversations both sides were asked several times about the same units. Two draws are the same when their
lists of tool calls are, normalised and by the rules of the experiment's tools. The estimator is `stats.noise_floor`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.canonical.calls import Canonicaliser
from pipelines.diff.arrays import to_numpy
from pipelines.diff.names import ALL
from pipelines.diff.pair.rules import tool_rules
from pipelines.diff.summary import Line, encode
from pipelines.experiment.plan import Plan
from pipelines.experiment.sides import Side
from pipelines.experiment.units import create_units
from pipelines.sqlfiles import read_sql
from pipelines.stats.estimate import Estimate, NoiseFloor
from pipelines.stats.noise_floor import draw_distances, estimate_noise_floor

_POINTS = """
SELECT
    plan_streams.cluster,
    hash(any_value(drawn.action) FILTER (drawn.side = 'recorded')) AS recorded,
    coalesce(list(hash(drawn.action) ORDER BY drawn.draw) FILTER (drawn.side = 'control' AND drawn.is_usable), [])
        AS control,
    coalesce(list(hash(drawn.action) ORDER BY drawn.draw) FILTER (drawn.side = 'candidate' AND drawn.is_usable), [])
        AS candidate,
    len(control) AS control_draws,
    len(candidate) AS candidate_draws
FROM noise_units AS units
INNER JOIN plan_streams ON units.aggregate_id = plan_streams.aggregate_id
INNER JOIN noise_draws AS drawn ON units.unit_id = drawn.unit_id
GROUP BY units.unit_id, plan_streams.cluster
ORDER BY units.unit_id
"""
_HOLDS_RECORDING = "SELECT count(*) > 0 FROM noise_draws WHERE side = 'control' AND is_recording"


@dataclass(frozen=True, slots=True, eq=False)
class _Draws:
    """What everybody did at the points of the sample at which every draw can be used.

    Attributes:
        recorded: Hash of the recorded action, shape (points,).
        control: The control's, shape (points, draws); None without a control.
        candidate: The candidate's, shape (points, draws).
        cluster: Cluster of each point.
        not_asked: Points of the sample about which nobody could be asked.
        left_out: Points with a draw that has no answer, or was not fed as recorded.
        is_recorded_control: Whether the recording itself is one of the control's draws.
    """

    recorded: NDArray[np.uint64]
    control: NDArray[np.uint64] | None
    candidate: NDArray[np.uint64]
    cluster: NDArray[np.intp]
    not_asked: int
    left_out: int
    is_recorded_control: bool


def measure_noise(connection: duckdb.DuckDBPyConnection, plan: Plan) -> list[Line]:
    """The lines of the noise floor; none when the experiment asks for none.

    Args:
        connection: Has the relations of `shards.create_relations`; `plan_streams` becomes the sample.
        plan: A replayed version.
    """
    if plan.experiment.noise is None:
        return []
    drawn = _read_draws(connection, plan)
    distances = draw_distances(drawn.recorded, drawn.control, drawn.candidate)
    if drawn.is_recorded_control:
        distances = replace(distances, recorded_control=None)
    floor = estimate_noise_floor(distances, drawn.cluster)
    if drawn.is_recorded_control:
        floor = replace(floor, drift=replace(floor.drift, reason="recorded_is_control"))
    estimates: dict[str, Estimate] = {field.name: getattr(floor, field.name) for field in fields(NoiseFloor)}
    return [
        Line(f"noise_{name}", "noise", ALL, ALL, found, drawn.left_out, not_asked=drawn.not_asked)
        for name, found in estimates.items()
    ]


def _read_draws(connection: duckdb.DuckDBPyConnection, plan: Plan) -> _Draws:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE plan_streams AS SELECT * FROM all_plan_streams WHERE is_noise_sampled"
    )
    # where a walk ended does not cut the recording: other draws may have gone on
    create_units(connection, plan, "noise_units", is_whole=True)
    deleted = connection.execute("DELETE FROM noise_units WHERE NOT is_asked")
    not_asked = int(deleted.fetchall()[0][0])
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE noise_draws AS {read_sql('diffs/noise_draws.sql')}", plan.partition
    )
    _apply_rules(connection, plan)
    points = connection.sql(_POINTS).to_arrow_table()
    due = {side: plan.experiment.draws_of(side)[1] for side in plan.experiment.sides}
    is_whole = np.ones(points.num_rows, dtype=bool)
    for side, draws in due.items():
        is_whole &= to_numpy(points.column(f"{side}_draws"), np.int64) == draws

    def taken(side: Side) -> NDArray[np.uint64]:
        actions: Any = points.filter(pa.array(is_whole)).column(side)
        found = to_numpy(pa.chunked_array([chunk.flatten() for chunk in actions.chunks], pa.uint64()), np.uint64)
        return found.reshape(-1, due[side])

    _, cluster = encode(points.column("cluster"))
    return _Draws(
        recorded=to_numpy(points.column("recorded"), np.uint64)[is_whole],
        control=taken("control") if "control" in due else None,
        candidate=taken("candidate"),
        cluster=np.unique(cluster[is_whole], return_inverse=True)[1].astype(np.intp),
        not_asked=not_asked,
        left_out=int((~is_whole).sum()),
        is_recorded_control=bool(connection.execute(_HOLDS_RECORDING).fetchall()[0][0]),
    )


def _apply_rules(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Hash the lists of calls by the tools' own rules, where there are any; the hashes kept with them know none."""
    rules = tool_rules(plan.tools)
    if not rules:
        return
    canonicaliser = Canonicaliser(rules)
    rows = connection.sql("SELECT rowid AS draw_row, tool_calls FROM noise_draws").to_arrow_table()
    hashes = [
        canonicaliser.hash_list(
            [(call["block"], call["name"], call["recorded"] or call["arguments"]) for call in calls]
        ).l3
        for calls in rows.column("tool_calls").to_pylist()
    ]
    connection.register(
        "ruled", pa.table({"draw_row": rows.column("draw_row"), "action": pa.array(hashes, pa.string())})
    )
    connection.execute(
        "UPDATE noise_draws SET action = ruled.action FROM ruled WHERE noise_draws.rowid = ruled.draw_row"
    )
    connection.unregister("ruled")
