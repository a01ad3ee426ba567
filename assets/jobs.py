"""Jobs: what is started as one thing."""

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.folds import FOLDS
from assets.specs import key_of

FREE = dg.AssetSelection.assets(key_of("events"), key_of("stream_months"), *(key_of(name) for name in FOLDS))
"""All that may run by itself: the log and its folds. Replays are not among them, since they can cost money."""


def build_jobs() -> list[UnresolvedAssetJobDefinition]:
    """`export_and_fold`: bring a month up to date."""
    return [
        dg.define_asset_job(
            "export_and_fold",
            selection=FREE,
            description="Export one month of the store and fold it.",
        )
    ]
