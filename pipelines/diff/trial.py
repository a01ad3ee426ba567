"""Try an experiment's metrics and rules on what was recorded, before anybody is asked for the other side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from pipelines.diff.measure import Measured, measure_pairs, measure_units
from pipelines.diff.metrics import UNIT_COLUMNS, evaluate_metrics, expressions
from pipelines.diff.shards import create_recorded, create_relations
from pipelines.errors import BadInputError
from pipelines.experiment.plan import Plan
from pipelines.experiment.units import READS
from pipelines.experiment.versions import find_replays
from pipelines.lake.lake import Lake

TRIED = 20
"""Recorded units that metrics in Python are tried on before a model is asked: a call of one may take its time."""


def require_measurable(lake: Lake, plan: Plan) -> None:
    """See that metrics and rules give something on what was recorded, before anybody is asked for the other side.

    SQL is tried on every recorded unit, functions on the first `TRIED`; nothing is kept, and nothing is tried where nobody is
    asked or the version is replayed already.

    Raises:
        BadInputError: SQL cannot be evaluated on a recorded value, or a metric fails wherever it was tried.
    """
    metrics, measures = expressions(plan.experiment), plan.measures
    is_asked = any(asked.model or asked.python or asked.is_agent for asked in plan.experiment.sides.values())
    if not is_asked or not (metrics or measures) or find_replays(lake, plan) is not None:
        return
    memory, seconds = lake.memory_bytes // 4, lake.sql_seconds
    tried: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    columns = ", ".join(UNIT_COLUMNS).replace("call_count", "len(tool_calls)::INTEGER AS call_count")
    with lake.connect(READS) as connection:
        for number, shard in enumerate(create_relations(connection, lake, plan)):
            create_recorded(connection, plan, shard)
            units = connection.sql(
                f"SELECT row_number() OVER (ORDER BY unit_id) AS unit_row, unit_id, aggregate_id, {columns} FROM units_a "
                "WHERE is_asked ORDER BY unit_id"
            ).to_arrow_table()
            found: list[tuple[Iterable[str], pa.Table, Measured]] = [
                (metrics, units, evaluate_metrics(metrics, units, "a", memory_bytes=memory, seconds=seconds))
            ]
            if measures and number == 0:
                few = units.slice(0, TRIED)
                pairs = measure_pairs(measures, few, few, memory_bytes=memory, seconds=seconds)
                _require_nothing_between_the_same(pairs, few)
                found.append((pairs.values, few, pairs))
                one_by_one = measures.keys() - pairs.values.keys()
                found.append((one_by_one, few, measure_units(measures, few, "a", memory_bytes=memory, seconds=seconds)))
            for names, given, measured in found:
                tried.update(dict.fromkeys(names, given.num_rows))
                failed.update(name for errors in measured.errors for name, _ in errors)
                for (name, why), (unit, detail) in measured.first.items():
                    firsts.setdefault(name, f"{why}{f': {detail}'.removeprefix(f': {why}')} (first in {unit})")
    for name in sorted(failed):
        if failed[name] == tried[name]:
            raise BadInputError(
                f"metric {name} fails on all {tried[name]:,} recorded units that it was tried on, and nobody was asked yet: {firsts[name]}"
            )


def _require_nothing_between_the_same(pairs: Measured, units: pa.Table) -> None:
    """See that a function of both sides finds none between a side and itself: what it returns is how far B is from A."""
    for name, values in pairs.values.items():
        odd = np.flatnonzero(np.nan_to_num(values))
        if odd.size:
            raise BadInputError(
                f"metric {name} gives {values[odd[0]]:g} for what was recorded beside itself (first in unit "
                f"{units.column('unit_id')[int(odd[0])].as_py()}); a function of both sides gives how far B is from A: 0 for the same"
            )
