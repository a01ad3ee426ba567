"""Remove old versions by retention: their rows, in every dataset of the diff.

The summary goes first: from then on the version is in no view and in no list, and what a crash leaves of it is removed by the
next run. What the version was and came to stays in `commits`. A version that was planned and never completed is no result that
retention counts: it goes when a newer one is complete and retention would let it go, but not while it may be at work. Files stay for readers that opened them before, until
`refold vacuum` finds their grace over. What models were asked is paid: asked for again, a version is made from the kept
responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from pipelines.diff.versions import Version, find_definition, list_versions
from pipelines.errors import BadInputError
from pipelines.lake.dataset import Dataset, read_partition
from pipelines.lake.datasets import (
    AB_SUMMARY,
    AB_TOOL_CALLS,
    AB_UNITS,
    JUDGEMENTS,
    REPLAY_STEPS,
    REPLAYS,
    REVIEW_SUMMARY,
    VERSIONS,
)
from pipelines.lake.lake import Commit, Lake

PRUNED = "pruned"
"""Input hash of the commit that removed a version."""
_REST = (REVIEW_SUMMARY, JUDGEMENTS, AB_TOOL_CALLS, AB_UNITS, REPLAY_STEPS, REPLAYS, VERSIONS)
_AT_WORK_DAYS = 1.0
"""A version that is not complete and younger may be at work."""


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What was removed, or would be.

    Attributes:
        is_dry_run: Nothing was touched.
        versions: The complete versions, newest first within an experiment.
        unfinished: Partitions of versions that were planned and never completed.
        rows: Rows of all datasets.
        size_bytes: Bytes of their files; they are on the disk until the grace is over.
        kept: Complete versions that stay.
    """

    is_dry_run: bool
    versions: list[Version]
    unfinished: list[dict[str, str]]
    rows: int
    size_bytes: int
    kept: int


def prune_versions(
    lake: Lake,
    experiment: str | None = None,
    *,
    keep: int | None = None,
    older_than_days: float | None = None,
    newest_too: bool = False,
    is_dry_run: bool = False,
) -> PruneResult:
    """Remove versions that no retention asked for keeps.

    Args:
        lake: Where they are.
        experiment: Only of this experiment; default: of each.
        keep: Versions of an experiment that stay, the newest ones.
        older_than_days: Age from which a version may go. With `keep`, both must allow it.
        newest_too: Whether the newest complete version of an experiment may go as well.
        is_dry_run: Only say what would be removed.

    Raises:
        BadInputError: No retention is given, or it is negative, or the experiment has no complete version.
    """
    if keep is None and older_than_days is None:
        raise BadInputError("say what stays: --keep N versions of each experiment, or --older-than DAYS, or both")
    if (keep or 0) < 0 or (older_than_days or 0) < 0:
        raise BadInputError(f"keep {keep} and older than {older_than_days} days: neither can be negative")
    versions = sorted(list_versions(lake, experiment), key=lambda version: version.experiment)  # stays newest first
    before = datetime.now(UTC) - timedelta(days=older_than_days or 0)
    chosen: list[Version] = []
    for _, group in groupby(versions, key=lambda version: version.experiment):
        least = keep or 0 if newest_too else max(keep or 0, 1)
        chosen += [version for version in list(group)[least:] if version.committed_at <= before]
    leftovers = [] if is_dry_run else _leftovers(lake)
    unfinished = _unfinished(lake, versions, before)
    rows = size = 0
    partitions = [*(version.partition for version in chosen), *unfinished]
    for partition in partitions:
        for dataset in (AB_SUMMARY, *_REST):
            commit = lake.last_commit(dataset.name, partition)
            rows += commit.row_count if commit is not None else 0
            size += commit.size_bytes if commit is not None else 0
    if not is_dry_run:
        for partition in partitions:
            _remove(lake, AB_SUMMARY, partition, definition=find_definition(lake, partition))
            for dataset in _REST:
                _remove(lake, dataset, partition)
        for dataset, partition in leftovers:
            _remove(lake, dataset, partition)
    return PruneResult(is_dry_run, chosen, unfinished, rows, size, len(versions) - len(chosen))


def _remove(lake: Lake, dataset: Dataset, partition: dict[str, str], **known: Any) -> None:
    """Commit the partition without files; what it was, and what else is known of it, goes on being told by the commit."""
    last = lake.last_commit(dataset.name, partition)
    if last is None or not last.row_count:
        return
    with lake.replacing(dataset, partition, number=last.number + 1) as writer:
        provenance = {**last.provenance, **known, "pruned_input_hash": last.input_hash}
        writer.commit(input_hash=PRUNED, provenance=provenance)


def _unfinished(lake: Lake, complete: Sequence[Version], before: datetime) -> list[dict[str, str]]:
    """Versions without a summary that are older than the newest complete one of their experiment, and than `before`."""
    newest: dict[str, datetime] = {}
    for version in complete:
        newest[version.experiment] = max(version.committed_at, newest.get(version.experiment, version.committed_at))
    before = min(before, datetime.now(UTC) - timedelta(days=_AT_WORK_DAYS))
    done = {commit.partition for commit in lake.commits(AB_SUMMARY.name) if commit.row_count}
    touched: dict[str, datetime] = {}
    for dataset in (VERSIONS, REPLAYS):
        for commit in lake.commits(dataset.name):
            if commit.row_count and commit.partition not in done:
                touched[commit.partition] = max(commit.committed_at, touched.get(commit.partition, commit.committed_at))
    found = [(read_partition(partition), at) for partition, at in sorted(touched.items())]
    return [
        each
        for each, at in found
        if at <= min(before, newest.get(each["experiment"], datetime.min.replace(tzinfo=UTC)))
    ]


def _leftovers(lake: Lake) -> list[tuple[Dataset, dict[str, str]]]:
    """What a prune that was killed left of versions without a summary; not what was made again since."""
    pruned: dict[str, Commit] = {
        commit.partition: commit for commit in lake.commits(AB_SUMMARY.name) if commit.input_hash == PRUNED
    }
    found = []
    for dataset in _REST:
        for commit in lake.commits(dataset.name):
            summary = pruned.get(commit.partition)
            if summary is not None and commit.row_count and commit.committed_at < summary.committed_at:
                found.append((dataset, read_partition(commit.partition)))
    return found
