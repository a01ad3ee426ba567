"""Replay the failed units of a version once more: which they are, and what is kept of the others.

Units that were answered stay as they are, whoever answered them; a unit that is tried again counts its attempts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from pipelines.experiment.file import is_walked
from pipelines.experiment.plan import Plan
from pipelines.replay.rows import STEPS, UNITS, OutcomeTables
from pipelines.replay.work import Unit

Key = tuple[str, str, int]
"""(unit_id, side, draw)."""

_VERSION = "experiment = $experiment AND version_id = $version_id"
_KEEP_UNITS = f"""
INSERT INTO {UNITS} BY NAME
SELECT * EXCLUDE (experiment, version_id) FROM replays_history WHERE {_VERSION} AND status <> 'failed'
"""
_KEEP_STEPS = f"""
INSERT INTO {STEPS} BY NAME
SELECT steps.* EXCLUDE (experiment, version_id)
FROM replay_steps_history AS steps
SEMI JOIN {UNITS} AS kept ON kept.unit_id = steps.unit_id AND kept.side = steps.side AND kept.draw = steps.draw
WHERE {_VERSION}
"""
_FAILED = f"SELECT unit_id, side, draw, attempt FROM replays_history WHERE {_VERSION} AND status = 'failed'"


@dataclass(frozen=True, slots=True)
class FailedUnits:
    """The units to be tried again.

    Attributes:
        attempts: How often each was tried.
    """

    attempts: Mapping[Key, int]

    def among(self, units: Iterator[Unit]) -> Iterator[Unit]:
        """Those of `units` that failed."""
        return (unit for unit in units if _key(unit.row) in self.attempts)

    def next_attempt(self, row: Mapping[str, Any]) -> int:
        """Number of the attempt that made `row`."""
        return self.attempts[_key(row)] + 1


def keep_answered(connection: duckdb.DuckDBPyConnection, plan: Plan, tables: OutcomeTables) -> FailedUnits:
    """Take over the units of a replayed version that did not fail, and leave in `plan_streams` those that have others.

    Args:
        connection: Has `plan_streams` and the lake's relations.
        plan: The version.
        tables: Where the rows go; empty.
    """
    tables.flush()
    rows = connection.execute(_FAILED, plan.partition).fetchall()
    connection.execute(_KEEP_UNITS, plan.partition)
    if is_walked(plan.experiment):
        connection.execute(_KEEP_STEPS, plan.partition)
    connection.execute(
        f"DELETE FROM plan_streams WHERE aggregate_id NOT IN (SELECT aggregate_id FROM replays_history WHERE {_VERSION} AND status = 'failed')",
        plan.partition,
    )
    return FailedUnits({(unit_id, side, draw): attempt for unit_id, side, draw, attempt in rows})


def _key(row: Mapping[str, Any]) -> Key:
    return row["unit_id"], row["side"], row["draw"]
