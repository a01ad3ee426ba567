"""Every dataset of the lake, in the order of the flow.

Add a table to the module of its layer and to `DATASETS`: its Delta schema, its SQL relation, `refold sql --tables` and
the docs follow.
"""

from __future__ import annotations

from pipelines.errors import BadInputError
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets.audit import ACCESS, HOME_LOG, MERKLE_NODES, SCORES
from pipelines.lake.datasets.diffs import AB_SUMMARY, AB_TOOL_CALLS, AB_UNITS
from pipelines.lake.datasets.folds import (
    CALL_MONTHS,
    CONVERSATION_MONTHS,
    CUSTOMER_MONTHS,
    CUSTOMER_SNAPSHOTS,
    DECISIONS,
    SNAPSHOTS,
    TOOL_CALLS,
    UTTERANCES,
)
from pipelines.lake.datasets.log import EVENTS, STREAM_MONTHS
from pipelines.lake.datasets.redacted import REDACTED_EVENTS
from pipelines.lake.datasets.registry import COMMITS, EXPERIMENTS, VERSIONS
from pipelines.lake.datasets.replays import AGENT_REFUSALS, REPLAY_STEPS, REPLAYS
from pipelines.lake.datasets.reviews import JUDGEMENTS, REVIEW_SUMMARY, REVIEWS

__all__ = [
    "AB_SUMMARY",
    "AB_TOOL_CALLS",
    "AB_UNITS",
    "ACCESS",
    "CALL_MONTHS",
    "COMMITS",
    "CONVERSATION_MONTHS",
    "CUSTOMER_MONTHS",
    "CUSTOMER_SNAPSHOTS",
    "DATASETS",
    "DECISIONS",
    "EVENTS",
    "EXPERIMENTS",
    "HOME_LOG",
    "JUDGEMENTS",
    "MERKLE_NODES",
    "REDACTED_EVENTS",
    "REPLAYS",
    "REPLAY_STEPS",
    "REVIEWS",
    "REVIEW_SUMMARY",
    "SNAPSHOTS",
    "STREAM_MONTHS",
    "TOOL_CALLS",
    "UTTERANCES",
    "VERSIONS",
    "VIEWED",
    "find_dataset",
]

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        EVENTS,
        STREAM_MONTHS,
        HOME_LOG,
        MERKLE_NODES,
        REDACTED_EVENTS,
        UTTERANCES,
        TOOL_CALLS,
        DECISIONS,
        CONVERSATION_MONTHS,
        CALL_MONTHS,
        CUSTOMER_MONTHS,
        SNAPSHOTS,
        CUSTOMER_SNAPSHOTS,
        REPLAYS,
        REPLAY_STEPS,
        AB_UNITS,
        AB_TOOL_CALLS,
        AB_SUMMARY,
        JUDGEMENTS,
        REVIEW_SUMMARY,
        EXPERIMENTS,
        VERSIONS,
        COMMITS,
    )
}

VIEWED: dict[str, Dataset] = {each.name: each for each in (ACCESS, AGENT_REFUSALS, REVIEWS, SCORES)}
"""What has no table: a view of its name makes it of others."""


def find_dataset(name: str) -> Dataset:
    """The dataset called `name`.

    Raises:
        BadInputError: There is none; the message lists what there is.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise BadInputError(f"there is no dataset {name!r}; there are {', '.join(DATASETS)}") from None
