"""Where a column is said to come from against the folds themselves: one column of a log is changed, and only what names it moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipelines.folds.run import fold_month
from pipelines.folds.shipped import FOLDS
from pipelines.lake.datasets import EVENTS, find_dataset
from pipelines.lake.datasets.lineage import find_lineage
from pipelines.lake.lake import Lake
from tests.support.equality import make_log
from tests.support.history import HISTORY, REDACTION
from tests.support.replayed_lake import write_events

LOG = make_log([*HISTORY, (HISTORY[0][0], "conversation", [REDACTION])])
CHANGES: dict[str, Callable[[Any], Any]] = {
    "created_at": lambda at: at + timedelta(seconds=90) if at.minute else at + timedelta(seconds=30),
    "position": lambda position: position + 1000,
    "metadata": lambda metadata: {
        **metadata,
        **{name: f"{metadata[name]}2" for name in ("source", "subject_id", "message_id") if name in metadata},
        "trace_id": "t",
    },
    "payload": lambda payload: {**payload, **({"text": f"{payload['text']} More."} if "text" in payload else {})},
    "hash": lambda digest: digest[::-1],
}


def folded(root: Path, log: list[dict[str, Any]]) -> dict[str, dict[str, list[Any]]]:
    """Every fold of a log, as columns in the order of its keys."""
    lake = Lake(root)
    for month in write_events(lake, log):
        fold_month(lake, month)
    found = {}
    with lake.connect() as connection:
        for name in FOLDS:
            dataset = find_dataset(name)
            order = ", ".join(f'"{column}"' for column in dataset.sort_by)
            rows = connection.sql(f"SELECT * FROM {dataset.relation} ORDER BY month, {order}")
            found[name] = dict(zip(rows.columns, map(list, zip(*rows.fetchall(), strict=True)), strict=False))
    return found


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[Any]]]:
    """The folds of the log as it is."""
    return folded(tmp_path_factory.mktemp("before") / "lake", LOG)


@pytest.mark.parametrize("changed", [("created_at", "hash"), ("position", "metadata"), ("payload",)], ids="+".join)
def test_only_what_comes_from_a_column_moves_with_it(changed, before, tmp_path):
    """Of every fold: the columns that move are among those that name a changed one; what is the event's own does move."""
    log = [{**event, **{column: CHANGES[column](event[column]) for column in changed}} for event in LOG]
    after = folded(tmp_path / "lake", log)
    for name, columns in before.items():
        lineage = find_lineage(name)
        moved = {column for column, values in columns.items() if after[name].get(column) != values}
        wanted = {(EVENTS.name, column) for column in changed}
        named = {column for column, sources in lineage.items() if wanted & set(sources)}
        assert moved <= named, (name, moved - named)
        assert {column for column in changed if lineage.get(column) == ((EVENTS.name, column),)} <= moved


def test_every_column_of_a_fold_comes_from_columns_that_are_there():
    """No column is left out, and none comes from what the log does not have; of what is no fold nothing is said."""
    for name in FOLDS:
        dataset, lineage = find_dataset(name), find_lineage(name)
        assert list(lineage) == list(dataset.column_names)
        assert {source for sources in lineage.values() for source in sources} <= {
            (EVENTS.name, column) for column in EVENTS.column_names
        }
    assert find_lineage("ab_units") == {}
