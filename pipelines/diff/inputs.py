"""Are a version's inputs still what they were? Lineage cannot tell; comparing heads can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import BadInputError
from pipelines.experiment.plan import Plan, make_plans
from pipelines.experiment.registry import load_experiment
from pipelines.lake.lake import Lake


@dataclass(frozen=True, slots=True)
class StaleInputs:
    """How the newest complete version of an experiment differs from what it would be now.

    Attributes:
        experiment: Name.
        version_id: The newest complete version; None when there is none.
        current_version_id: The version that a run would make now; None when nothing would be selected.
        changed: Conversations with more events than then.
        new: Conversations selected now and not then.
        gone: Conversations selected then and not now.
    """

    experiment: str
    version_id: str | None
    current_version_id: str | None
    changed: int
    new: int
    gone: int

    @property
    def is_current(self) -> bool:
        """Whether a run now would find the version complete."""
        return self.version_id is not None and self.version_id == self.current_version_id


def stale_inputs(
    lake: Lake, name: str, allowed: Sequence[Path] = (), plans: Sequence[Plan] | None = None
) -> StaleInputs:
    """Compare the newest complete version of the experiment `name` with the lake as it is.

    Args:
        lake: The lake.
        name: The experiment.
        allowed: Folders in which its files may be beside its own.
        plans: Its plans, one per window, where they have just been made.

    Raises:
        BadInputError: There is no such experiment.
    """
    if plans is None:
        experiment, folder = load_experiment(lake, name)
        try:
            plans = make_plans(lake, experiment, folder, allowed=allowed)
        except BadInputError:
            plans = []
    with lake.connect("FROM ab_summary, ab_units") as connection:
        version = connection.execute(
            "SELECT any_value(version_id) FROM ab_summary WHERE experiment = $name", {"name": name}
        ).fetchall()[0][0]
        # of several windows the views show the one that was completed last
        plan = next((each for each in plans if each.version_id == version), plans[-1] if plans else None)
        streams, current = (plan.streams, plan.version_id) if plan is not None else (None, None)
        connection.execute("CREATE TEMP TABLE now (aggregate_id VARCHAR, last_hash VARCHAR)")
        if streams is not None:
            connection.register("planned", streams)
            connection.execute("INSERT INTO now SELECT aggregate_id, last_hash FROM planned")
        changed, new, gone = connection.execute(
            """
            SELECT
                count(*) FILTER (WHERE now.last_hash <> past.last_hash),
                count(*) FILTER (WHERE past.aggregate_id IS NULL),
                count(*) FILTER (WHERE now.aggregate_id IS NULL)
            FROM now
            FULL JOIN (SELECT DISTINCT aggregate_id, last_hash FROM ab_units WHERE experiment = $name) AS past
                ON now.aggregate_id = past.aggregate_id
            """,
            {"name": name},
        ).fetchall()[0]
    return StaleInputs(name, version, current, changed, new, gone)
