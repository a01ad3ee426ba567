"""Registered experiments: what was asked for, kept in the lake so that a schedule or the web page can run it again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.documents import parse_json
from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment, recall_experiment
from pipelines.lake.datasets import EXPERIMENTS
from pipelines.lake.lake import Lake


def register_experiment(lake: Lake, experiment: Experiment, folder: Path) -> bool:
    """Keep the experiment under its name, as its newest registration.

    Returns:
        False when the newest registration already says the same.
    """
    folder = folder.resolve()
    query = "SELECT spec_sha256, folder FROM experiments WHERE experiment = $name"
    known = _rows(lake, query, {"name": experiment.experiment})
    if known == [(experiment.sha256, str(folder))]:
        return False
    row = {
        "experiment": experiment.experiment,
        "spec": experiment.to_json(),
        "spec_sha256": experiment.sha256,
        "folder": str(folder),
        "mode": experiment.mode,
        "is_active": experiment.active,
        "registered_at": datetime.now(UTC),
    }
    lake.append(EXPERIMENTS, [row])
    return True


def load_experiment(lake: Lake, name: str) -> tuple[Experiment, Path]:
    """The newest registration of `name`, and the folder of its file.

    Raises:
        BadInputError: There is none.
    """
    rows = _rows(lake, "SELECT experiment, spec, folder FROM experiments ORDER BY experiment")
    for experiment, spec, folder in rows:
        if experiment == name:
            return recall_experiment(parse_json(spec, f"experiment {name}")), Path(folder)
    known = ", ".join(row[0] for row in rows) or "none yet; run `refold ab FILE`"
    raise BadInputError(f"there is no experiment {name!r}; there are: {known}")


def find_gate(lake: Lake, name: str) -> str | None:
    """The gate in the newest registration of `name`; None without one, or without an experiment of that name."""
    rows = _rows(lake, "SELECT spec ->> '$.gate' FROM experiments WHERE experiment = $name", {"name": name})
    return rows[0][0] if rows else None


def list_active(lake: Lake) -> list[str]:
    """Names of the experiments whose newest registration says `active: true`, in order."""
    rows = _rows(lake, "SELECT experiment FROM experiments WHERE is_active ORDER BY experiment")
    return [name for (name,) in rows]


def list_nightly(lake: Lake) -> list[tuple[str, str | None]]:
    """Name of each experiment of `list_active`, and the window in which its models are asked; None for any time."""
    query = "SELECT experiment, spec ->> '$.budget.off_peak' FROM experiments WHERE is_active ORDER BY experiment"
    return _rows(lake, query)


def _rows(lake: Lake, query: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """The rows of a query, on a connection with the relations that it reads."""
    with lake.connect(query) as connection:
        return connection.execute(query, params).fetchall()
