"""What a fold of a month came to, and of which months it would come to the same again: nothing here folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.folds.inputs import Inputs
from pipelines.lake.lake import Commit, Lake
from pipelines.log.upcasters import load_upcasters


@dataclass(frozen=True, slots=True)
class FoldResult:
    """One projection's month.

    Attributes:
        dataset: The projection.
        month: YYYY-MM.
        is_written: False when the table was up to date and nothing was written.
        rows: Rows of the month.
        size_bytes: Bytes of the month's files.
        skipped_events: Events of the month whose type or version is not known.
        redactions: Redactions, of whatever month, in force on events up to the month's end.
        inexact_redactions: Those of them that had to hide more than they named.
        set_aside: Streams with events in the month that cannot be folded within the memory bound, nothing of the month is theirs;
            each with the bytes of a bound that would do, about.
        input_hash: What the month was computed from.
        seconds: Time taken; that of the shared steps is in the first written projection's.
    """

    dataset: str
    month: str
    is_written: bool
    rows: int
    size_bytes: int
    skipped_events: int
    redactions: int
    inexact_redactions: int
    set_aside: dict[str, int]
    input_hash: str
    seconds: float


def find_folded(lake: Lake, months: Sequence[str], names: Sequence[str]) -> dict[str, list[FoldResult]]:
    """What folds would say of those of the months of which all the projections `names` are up to date; nothing is written.

    Args:
        lake: As for `fold_month`.
        months: YYYY-MM.
        names: Projections, or `snapshots`.

    Returns:
        By month, one result per projection, in the order of `names`.
    """
    if not months or not names:
        return {month: [] for month in months}
    found = {}
    with lake.connect() as connection:
        inputs = Inputs(connection, max(months), load_upcasters(), lake.snapshot_events)
        known = {name: {commit.partition: commit for commit in lake.last_commits(name)} for name in names}
        for month in months:
            wanted = {name: inputs.hash(name, month) for name in names}
            results = _current(lake, month, wanted, {name: known[name].get(f"month={month}") for name in names})
            if len(results) == len(names):
                found[month] = [results[name] for name in names]
    return found


def current_results(lake: Lake, month: str, wanted: Mapping[str, str]) -> dict[str, FoldResult]:
    """Those of the projections that are up to date, by the hash of what they are to be computed from."""
    return _current(lake, month, wanted, {name: lake.last_commit(name, {"month": month}) for name in wanted})


def _current(
    lake: Lake, month: str, wanted: Mapping[str, str], commits: Mapping[str, Commit | None]
) -> dict[str, FoldResult]:
    results = {}
    for name, input_hash in wanted.items():
        commit = commits[name]
        if commit is not None and commit.input_hash == input_hash and not _can_more(commit, lake):
            results[name] = result_of(commit, month, is_written=False, seconds=0.0)
    return results


def _can_more(commit: Commit, lake: Lake) -> bool:
    """Whether streams of a month were set aside for want of memory, and there is more now."""
    return bool(commit.provenance.get("set_aside")) and lake.memory_bytes > commit.provenance["memory_bytes"]


def result_of(commit: Commit, month: str, *, is_written: bool, seconds: float) -> FoldResult:
    """What is told of a commit."""
    return FoldResult(
        dataset=commit.dataset,
        month=month,
        is_written=is_written,
        rows=commit.row_count,
        size_bytes=commit.size_bytes,
        skipped_events=int(commit.provenance.get("skipped_events", 0)),
        redactions=int(commit.provenance.get("redactions", 0)),
        inexact_redactions=int(commit.provenance.get("inexact_redactions", 0)),
        set_aside=dict(commit.provenance.get("set_aside", {})),
        input_hash=commit.input_hash,
        seconds=seconds,
    )
