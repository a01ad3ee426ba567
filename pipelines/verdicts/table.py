"""The lake's table `review_summary`: what the verdicts of a version come to, as of when it was made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from pipelines.diff.versions import Version
from pipelines.lake.datasets import AB_UNITS, REVIEW_SUMMARY
from pipelines.lake.lake import Lake
from pipelines.store.connect import Store
from pipelines.verdicts.frame import find_segments, load_frame
from pipelines.verdicts.judged import load_judgements
from pipelines.verdicts.record import Review
from pipelines.verdicts.summary import Line, summarise


def summarise_review(lake: Lake, store: Store, version: Version) -> list[Line]:
    """What the verdicts that the store has now of a version come to; as `summarise`.

    Raises:
        BadInputError: The version has no pair that both sides answered.
    """
    review = Review(store, version.experiment, version.version_id)
    review.refresh()
    frame = load_frame(lake, version)
    judgements = load_judgements(lake, version)
    return summarise(version.version_id, frame, review.standing.values(), find_segments(lake, version), judgements)


def keep_review(lake: Lake, version: Version, lines: list[Line]) -> bool:
    """Write the lines of a version into `review_summary`, in place of those of before.

    Returns:
        False when they are there already.

    Raises:
        CommitLostError: Somebody else writes them at this moment.
    """
    rows = [asdict(each) for each in lines]
    pairs = lake.last_commit(AB_UNITS.name, version.partition)
    inputs: list[Any] = [rows, None if pairs is None else pairs.input_hash]
    input_hash = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    last = lake.last_commit(REVIEW_SUMMARY.name, version.partition)
    if last is not None and last.input_hash == input_hash:
        return False
    with lake.replacing(REVIEW_SUMMARY, version.partition) as writer:
        writer.write(REVIEW_SUMMARY.sort(pa.Table.from_pylist(rows, schema=REVIEW_SUMMARY.data_schema())))
        writer.commit(input_hash=input_hash, provenance={"made_at": datetime.now(UTC).isoformat()})
    return True
