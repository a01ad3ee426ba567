"""Jobs: what is started as one thing."""

from collections.abc import Sequence

import dagster as dg

from assets.experiments import DIFFS, REPLAY
from assets.folds import REDACTED
from assets.internals import UnresolvedAssetJobDefinition
from assets.specs import key_of
from pipelines.folds.shipped import FOLDS

RETRIED = {"dagster/max_retries": "2"}
"""A database that is away for a moment, or a process that was killed: the daemon starts such a run again. A replay that failed is for a
person to look at, since it may cost money."""


def select_free(own: Sequence[str] = ()) -> dg.AssetSelection:
    """All that may run by itself: the log and its folds, `own` among them. Replays are not, since they can cost money."""
    return dg.AssetSelection.assets(*(key_of(name) for name in ("events", "stream_months", REDACTED, *FOLDS, *own)))


def build_jobs(own: Sequence[str] = ()) -> list[UnresolvedAssetJobDefinition]:
    """`export_and_fold`: bring a month up to date; `seal_month`: seal a month that has ended."""
    return [
        dg.define_asset_job(
            "export_and_fold",
            selection=select_free(own),
            description="Export one month of the store and fold it.",
            tags=RETRIED,
        ),
        dg.define_asset_job(
            "seal_month",
            selection=dg.AssetSelection.assets(key_of("merkle_nodes")),
            description="Seal one month that has ended.",
            tags=RETRIED,
        ),
    ]


def build_replay_job() -> UnresolvedAssetJobDefinition:
    """`replay_experiment`: replay one experiment and compare. It can cost money: `active_experiments` alone starts it."""
    return dg.define_asset_job(
        "replay_experiment",
        selection=dg.AssetSelection.assets(*(key_of(name) for name in (*REPLAY, *DIFFS))),
        description="Replay one experiment and compare it with its baseline.",
    )
