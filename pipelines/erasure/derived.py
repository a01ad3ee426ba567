"""Forget what was derived of erased events: the step after the store, the log in the lake and the folds.

By keys alone, since the values are gone by then: ids of streams. Every place of a home that can hold content is reached here or named
as not reached; docs/erasure.md lists them. Again, there is nothing to do; killed anywhere and run again, it ends the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pipelines.console import counted
from pipelines.erasure.reach import Reach, find_done, note_done
from pipelines.erasure.record import recorded
from pipelines.erasure.reports import find_stale, forget_pages
from pipelines.erasure.versions import find_touched, is_unfinished, revise_versions
from pipelines.ingest.forms.noted import notes_of
from pipelines.lake.datasets import DATASETS, EXPERIMENTS
from pipelines.lake.delta import LOG
from pipelines.lake.housekeeping import find_spilled, remove_spilled
from pipelines.lake.lake import Lake
from pipelines.proof.erasure import Target
from pipelines.recorder.spill import DAMAGED, REFUSED, SUFFIX
from pipelines.replay.asking import forgetting
from pipelines.replay.asking.responses import ResponseStore, is_asking
from pipelines.settings import Settings
from pipelines.store import Entry

_ELSEWHERE = (
    "what verbs wrote where they were told to (refold lines -o, refold sql -o, --skip-bad, copies of reports and of the home), and "
    "recorders' spools"
)
_FOREIGN = ("postgres", "lake", "dagster")
"""Folders of a home in which no recorder has its spool."""
_KEPT = ("received/*.jsonl", "set_aside/received-*", "raw/*/*")
"""What the receiver keeps and sets aside, and the files of `--keep-raw`."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What became of one kind of place.

    Attributes:
        place: versions, responses, reports, notes, spilled, runs, texts, bounds, spools, received, asked or elsewhere.
        is_reached: Whether all of it that an erasure touches is forgotten.
        count: Things that went: unit pairs, responses, pages, files, runs; or that were not reached.
        size_bytes: Their bytes, as they were on the disk.
        told: A sentence.
    """

    place: str
    is_reached: bool
    count: int
    size_bytes: int
    told: str


@dataclass(frozen=True, slots=True)
class RunsForgotten:
    """What became of the records of runs, which whoever calls knows how to forget.

    Attributes:
        runs: Runs whose record went.
        size_bytes: Bytes that their records took.
        left: Why some stay, one sentence each.
    """

    runs: int
    size_bytes: int
    left: Sequence[str] = ()


ForgetRuns = Callable[[Collection[str]], RunsForgotten]
"""Forgets the records of runs that name one of some streams."""
FindRuns = Callable[[Collection[str]], Sequence[str]]
"""Names the runs whose records name one of some streams."""


def forget_derived(
    settings: Settings,
    lake: Lake,
    targets: Sequence[Target],
    *,
    erasure: str,
    forget_runs: ForgetRuns | None = None,
) -> list[Forgotten]:
    """Let nothing that was derived hold what was erased.

    Args:
        settings: The home.
        lake: Its lake, in which the log is exported and folded since the erasure.
        targets: What was erased: of all parts of the erasure.
        erasure: Its id.
        forget_runs: How records of runs are forgotten; None: they are named as not reached.

    Returns:
        What was done, and what was not reached, in the order in which it is told.

    Raises:
        CommitLostError: Somebody compared a version meanwhile; run it again.
        DiskFullError: There is no space; what is done stays done.
    """
    reach = Reach.of(targets, find_done(settings.home, erasure))
    done = [
        *_forget_versions(settings, lake, reach, erasure),
        *_forget_responses(settings, reach),
        *_forget_pages(settings, lake, reach),
        *_forget_notes(settings, reach),
        *forget_spilled(lake),
        *_forget_runs(reach, forget_runs),
    ]
    if all(each.is_reached for each in done):
        note_done(settings.home, erasure, datetime.now(UTC))
    return [*done, *not_reached(settings, lake)]


def find_unforgotten(
    settings: Settings, lake: Lake, targets: Sequence[Target], *, erasure: str, find_runs: FindRuns | None = None
) -> list[str]:
    """What is left to do of an erasure in what was derived, one sentence each; none when it is finished. Erases nothing.

    Args:
        settings: The home.
        lake: Its lake.
        targets: What was erased.
        erasure: The erasure's id.
        find_runs: Names the runs whose records name a stream; None leaves them out.
    """
    reach = Reach.of(targets, find_done(settings.home, erasure))
    touched = find_touched(lake, reach)
    found = [
        f"version {'/'.join(each.partition.values())} holds what was erased"
        for each in touched
        if is_unfinished(lake, each)
    ]
    responses = _count_responses(settings, reach)
    found += [f"{counted(responses, 'response')} of models about what was erased"] if responses else []
    stale = find_stale(lake, settings.home, reach.whole, {_name(each.partition): each.gone for each in touched})
    found += [f"{path} was made before the erasure" for path in stale]
    found += [f"{path} has digests of what was erased" for path in notes_of(settings.home, reach.streams)]
    if reach.done_at is None:
        found += [f"{path} was left by a process that ended" for path in find_spilled(lake)[0]]
    runs = [] if find_runs is None else find_runs(reach.since(None) if reach.done_at is None else reach.whole)
    return [*found, *(f"the record of run {run} names what was erased" for run in runs)]


def forget_all(settings: Settings, lake: Lake, entries: Iterable[Entry], forget_runs: ForgetRuns) -> list[Forgotten]:
    """`forget_derived` for every recorded erasure for which it was not done yet; what several say alike is told once."""
    told: dict[Forgotten, None] = {}
    for erasure, targets in recorded(entries).items():
        if find_done(settings.home, erasure) is None:
            told |= dict.fromkeys(forget_derived(settings, lake, targets, erasure=erasure, forget_runs=forget_runs))
    return list(told)


def find_all_unforgotten(settings: Settings, lake: Lake, entries: Iterable[Entry]) -> list[str]:
    """`find_unforgotten` of every recorded erasure that was not done to its end, but for records of runs."""
    told: dict[str, None] = {}
    for erasure, targets in recorded(entries).items():
        if find_done(settings.home, erasure) is None:
            told |= dict.fromkeys(find_unforgotten(settings, lake, targets, erasure=erasure))
    return list(told)


def _forget_versions(settings: Settings, lake: Lake, reach: Reach, erasure: str) -> Iterator[Forgotten]:
    done = revise_versions(lake, settings.catalog, reach, erasure)
    told = (
        f"{counted(len(done.versions), 'version')} of comparisons lost {counted(done.units, 'unit pair')}, {done.rows:,} rows in all; "
        f"their results are revised, and {counted(done.files, 'file')} from before gone"
    )
    yield Forgotten("versions", not done.left, done.units, done.size_bytes, told)
    for version, why in done.not_recomputed:
        yield Forgotten(
            "versions", is_reached=True, count=0, size_bytes=0, told=f"{version}: figures of before, since {why}"
        )
    for path in done.left:
        told = f"{path} may be at work by another process, or cannot be read: erase again when it has ended"
        yield Forgotten("versions", is_reached=False, count=1, size_bytes=_size(path), told=told)


def _forget_responses(settings: Settings, reach: Reach) -> Iterator[Forgotten]:
    if not settings.responses.exists():
        return
    if is_asking(settings.replays / "locks"):
        told = "a replay asks a model at this moment, and keeps what it is told: erase again when it has ended"
        yield Forgotten("responses", is_reached=False, count=0, size_bytes=0, told=told)
    with ResponseStore(settings.responses) as store:
        erased, size = forgetting.erase(store, reach.whole, reach.parts, reach.done_at)
        is_clear = forgetting.clear(store)
    told = f"{counted(erased, 'response')} of models; a replay that needs them pays again"
    if not is_clear:
        told += "; another process reads the file, so its log still holds them: erase again when it has ended"
    yield Forgotten("responses", is_clear, erased, size, told)


def _count_responses(settings: Settings, reach: Reach) -> int:
    if not settings.responses.exists():
        return 0
    with ResponseStore(settings.responses) as store:
        return forgetting.count(store, reach.whole, reach.parts, reach.done_at)


def _forget_pages(settings: Settings, lake: Lake, reach: Reach) -> Iterator[Forgotten]:
    touched = {_name(each.partition): each.gone for each in find_touched(lake, reach)}
    stale = find_stale(lake, settings.home, reach.whole, touched)
    done = forget_pages(lake, settings.home, stale)
    told = f"{counted(done.remade, 'report')} made again, {counted(done.removed, 'page')} removed"
    yield Forgotten("reports", is_reached=True, count=done.remade + done.removed, size_bytes=done.size_bytes, told=told)


def _forget_notes(settings: Settings, reach: Reach) -> Iterator[Forgotten]:
    notes = notes_of(settings.home, reach.streams)
    size = sum(map(_size, notes))
    for path in notes:
        path.unlink(missing_ok=True)
    told = f"{counted(len(notes), 'note')} of imports, which had digests"
    yield Forgotten("notes", is_reached=True, count=len(notes), size_bytes=size, told=told)


def forget_spilled(lake: Lake) -> Iterator[Forgotten]:
    """Remove what ended processes spilled, and name what is there of others."""
    files, size = remove_spilled(lake)
    told = f"{counted(files, 'file')} that ended processes had spilled"
    yield Forgotten("spilled", is_reached=True, count=files, size_bytes=size, told=told)
    _, others = find_spilled(lake)
    if others:
        told = f"{counted(len(others), 'file')} in {lake.spill}, spilled by who is at work: run it again when they have ended"
        yield Forgotten("spilled", is_reached=False, count=len(others), size_bytes=sum(map(_size, others)), told=told)


def _forget_runs(reach: Reach, forget_runs: ForgetRuns | None) -> Iterator[Forgotten]:
    if forget_runs is None:
        yield Forgotten("runs", is_reached=False, count=0, size_bytes=0, told="records of runs were not looked at")
        return
    done = forget_runs(reach.since(None) if reach.done_at is None else reach.whole)
    told = f"{counted(done.runs, 'run')} whose record names what was erased"
    yield Forgotten("runs", not done.left, done.runs, done.size_bytes, told)
    for why in done.left:
        yield Forgotten("runs", is_reached=False, count=1, size_bytes=0, told=why)


def not_reached(settings: Settings, lake: Lake) -> Iterator[Forgotten]:
    """What may hold something of what is forgotten or hidden, and cannot be told from the rest; a person has to look."""
    with lake.connect(f"FROM {EXPERIMENTS.relation}") as connection:
        names = [
            name
            for (name,) in connection.sql(
                f"SELECT DISTINCT experiment FROM {EXPERIMENTS.relation} ORDER BY 1"
            ).fetchall()
        ]
    if names:
        told = f"texts of experiments, which people wrote (where, prompts, metrics): {', '.join(names)}"
        yield Forgotten("texts", is_reached=False, count=len(names), size_bytes=0, told=told)
    for name in _with_bounds(lake):
        told = f"the Delta log of {name} tells bounds of whole numbers, as it was written before this release: remove its folder, then `refold fold`"
        yield Forgotten("bounds", is_reached=False, count=1, size_bytes=0, told=told)
    spools = sorted({path.parent for path in _packets(settings.home)})
    if spools:
        told = f"spools of recorders: {', '.join(map(str, spools))}"
        yield Forgotten("spools", is_reached=False, count=len(spools), size_bytes=0, told=told)
    if kept := [path for pattern in _KEPT for path in settings.home.glob(pattern) if path.is_file()]:
        folders = ", ".join(sorted({str(settings.home / path.relative_to(settings.home).parts[0]) for path in kept}))
        told = f"{counted(len(kept), 'file')} as they came, which nothing needs once they are imported: {folders}"
        yield Forgotten("received", is_reached=False, count=len(kept), size_bytes=sum(map(_size, kept)), told=told)
    if size := _size(settings.sql_history):
        told = f"what was asked in the shell of refold sql, as it was typed: {settings.sql_history}"
        yield Forgotten("asked", is_reached=False, count=1, size_bytes=size, told=told)
    yield Forgotten("elsewhere", is_reached=False, count=0, size_bytes=0, told=_ELSEWHERE)


def _with_bounds(lake: Lake) -> list[str]:
    """Projections of a user's own whose Delta log has entries of a release that told bounds."""
    return [
        name
        for name in lake.datasets()
        if name not in DATASETS
        and any(
            '\\"minValues\\": {\\"' in path.read_text("utf-8") for path in (lake.table(name).path / LOG).glob("*.json")
        )
    ]


def _packets(home: Path) -> Iterator[Path]:
    """What recorders left in the home, where one was told to spill there."""
    for folder in sorted(home.iterdir()) if home.is_dir() else ():
        if folder.is_dir() and folder.name not in _FOREIGN:
            for pattern in (f"*{SUFFIX}", f"*{SUFFIX}{DAMAGED}", REFUSED):
                yield from folder.rglob(pattern)


def _name(partition: dict[str, str]) -> tuple[str, str]:
    return partition["experiment"], partition["version_id"]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
