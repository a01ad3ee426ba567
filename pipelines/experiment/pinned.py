"""The units that an experiment is restricted to: a regression set, written by `refold review --pin` or by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import duckdb

from pipelines.documents import find_file, read_text
from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment

MAX_UNITS = 100_000
"""Units of one file: they are kept with every version."""
_STREAM = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_FORMS = {
    "decision": (rf"{_STREAM}/[1-9]\d{{0,8}}", "<aggregate_id>/<decision>"),
    "single": (rf"{_STREAM}/[1-9]\d{{0,8}}", "<aggregate_id>/<decision>"),
    "turn": (rf"{_STREAM}/t[1-9]\d{{0,8}}", "<aggregate_id>/t<turn>"),
    "conversation": (_STREAM, "<aggregate_id>"),
}
_SHOWN = 100
_NOT_SELECTED = """
SELECT unit_id
FROM (SELECT unnest($units) AS unit_id)
WHERE split_part(unit_id, '/', 1) NOT IN (SELECT aggregate_id FROM picked)
ORDER BY unit_id
LIMIT 1
"""
_THERE = {
    "decision": "SELECT aggregate_id || '/' || decision FROM decisions",
    "single": """
SELECT aggregate_id || '/' || decision
FROM decisions
WHERE turn >= 1
QUALIFY row_number() OVER (PARTITION BY aggregate_id ORDER BY decision) = 1
""",
    "turn": "SELECT aggregate_id || '/t' || turn FROM decisions WHERE turn >= 1",
}
"""The units that conversations have, by mode; a conversation is its own."""


def read_units(experiment: Experiment, folder: Path, allowed: Sequence[Path] = ()) -> tuple[str, ...] | None:
    """The units that `units_file` names, sorted, each once; None where an experiment names no file.

    Args:
        experiment: The experiment.
        folder: Folder of its file.
        allowed: Further folders in which the file may be.

    Raises:
        BadInputError: The file cannot be read or is elsewhere, a line names no unit of the experiment's mode, or it names none at all.
    """
    if experiment.units_file is None:
        return None
    path = find_file(experiment.units_file, folder, "units_file", allowed)
    form, told = _FORMS[experiment.mode]
    units: set[str] = set()
    for number, line in enumerate(read_text(path, "units_file").splitlines(), start=1):
        if not line.strip():
            continue
        unit = _unit_of(line)
        if unit is None or re.fullmatch(form, unit) is None:
            raise BadInputError(
                f'{path}: line {number}: {line[:_SHOWN]!r} names no unit; in mode {experiment.mode} a line is {{"unit_id": "{told}"}}'
            )
        units.add(unit)
        if len(units) > MAX_UNITS:
            raise BadInputError(
                f"{path} names more than {MAX_UNITS:,} units; restrict the experiment by where or sample"
            )
    if not units:
        raise BadInputError(f"{path} names no unit; leave units_file out to take all")
    return tuple(sorted(units))


def keep_pinned(connection: duckdb.DuckDBPyConnection, experiment: Experiment, units: Sequence[str]) -> None:
    """Restrict `picked` to the conversations of units.

    Raises:
        BadInputError: The experiment does not select the conversation of one of them, or that has no such unit.
    """
    params = {"units": list(units)}
    _refuse(experiment, connection.execute(_NOT_SELECTED, params).fetchall(), "its conversation is not selected")
    connection.execute(
        "DELETE FROM picked WHERE aggregate_id NOT IN (SELECT split_part(unnest($units), '/', 1))", params
    )
    there = _THERE.get(experiment.mode)
    if there is not None:
        query = f"SELECT unit_id FROM (SELECT unnest($units) AS unit_id) WHERE unit_id NOT IN ({there}) ORDER BY unit_id LIMIT 1"
        _refuse(experiment, connection.execute(query, params).fetchall(), "its conversation has no such unit")


def _refuse(experiment: Experiment, missing: Sequence[tuple[str]], why: str) -> None:
    if missing:
        raise BadInputError(
            f"experiment {experiment.experiment}: units_file {experiment.units_file} names {missing[0][0]}, and {why} by baseline, "
            "candidate, window and where; take it out, or widen these"
        )


def _unit_of(line: str) -> str | None:
    """The unit that a line names; None for none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    unit = found.get("unit_id") if isinstance(found, dict) else None
    return unit if isinstance(unit, str) else None
