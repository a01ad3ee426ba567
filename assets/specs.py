"""Asset specs from dataset specs: key, group, description and columns of an asset are those of its dataset."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from typing import Any

import dagster as dg

from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import DATASETS, find_dataset
from pipelines.lake.datasets.lineage import find_lineage

PREFIX = "refold"
"""First part of every asset key, so that Refold's assets stand apart among a team's other code locations."""
DATABASE_POOL, ENDPOINT_POOL = "refold_database", "refold_endpoint"
"""Of steps that read much of the store, and of those that ask models: of each pool, one run of the page or of a schedule is at work at a time."""
FRESH_SECONDS = 26 * 3600.0
"""The open month is exported and folded every night: what is older than a day and some was passed over."""
NIGHTLY = dg.FreshnessPolicy.time_window(
    fail_window=timedelta(seconds=FRESH_SECONDS) + timedelta(days=1), warn_window=timedelta(seconds=FRESH_SECONDS)
)
"""Of what `open_month` makes: late after one night that was passed over, stale after two."""


def key_of(name: str) -> dg.AssetKey:
    """The asset of the dataset `name`."""
    return dg.AssetKey([PREFIX, name])


def describe_asset(name: str, *, deps: Sequence[dg.AssetDep | str] = (), **more: Any) -> dg.AssetSpec:
    """The asset of the shipped dataset `name`; see `describe_dataset`."""
    return describe_dataset(find_dataset(name), deps=deps, **more)


def describe_dataset(dataset: Dataset, *, deps: Sequence[dg.AssetDep | str] = (), **more: Any) -> dg.AssetSpec:
    """The asset of a dataset; `deps` given as names are datasets, `more` goes to `AssetSpec`."""
    return dg.AssetSpec(
        key=key_of(dataset.name),
        deps=[key_of(dep) if isinstance(dep, str) else dep for dep in deps],
        description=f"One row: {dataset.grain}.",
        group_name=dataset.layer,
        kinds={"deltalake"},
        metadata={"dagster/column_schema": _columns(dataset), "key": list(dataset.key)},
        **more,
    )


def _columns(dataset: Dataset) -> dg.TableSchema:
    return dg.TableSchema(
        [
            dg.TableColumn(
                column.name, column.type, column.description, tags={"personal": ""} if column.is_personal else {}
            )
            for column in dataset.columns
        ]
    )


@cache
def show_lineage(name: str) -> dict[str, Any]:
    """Metadata of a dataset's materialisation that says from which columns its own come; nothing where that is not known."""
    found = find_lineage(name) if name in DATASETS else {}
    if not found:
        return {}
    columns = {
        column: [dg.TableColumnDep(key_of(dataset), source) for dataset, source in sources]
        for column, sources in found.items()
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(columns)}
