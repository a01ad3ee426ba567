"""Let nothing that was derived show what redactions hide: the step after the redactions, the log in the lake and the folds.

What is hidden still stands in the log, so it is looked for by its text, in everything that was made of its conversation, and can be
looked for again at any time. Redactions that others append, such as a recorder's, are finished here too. docs/redaction.md lists the
places. Again, there is nothing to do; killed anywhere and run again, it ends the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from pipelines.console import counted
from pipelines.erasure.derived import Forgotten, RunsForgotten, forget_spilled, not_reached
from pipelines.erasure.reports import forget_pages
from pipelines.erasure.selection import TOLD_STREAMS
from pipelines.lake.lake import Lake
from pipelines.output import open_output
from pipelines.redaction.hidden import Hidden, applied_redactions, hidden_in_stream
from pipelines.redaction.spelling import Spelled
from pipelines.redaction.versions import cut_versions
from pipelines.replay.asking import forgetting
from pipelines.replay.asking.responses import ResponseStore, is_asking
from pipelines.review.files import FOLDER
from pipelines.settings import Settings
from pipelines.store import Entry, Store
from pipelines.store.sqlstate import typed_errors

_FOLDER, _DONE, _AT = "redactions", "done.json", "writing.json"
_KINDS = "SELECT s.aggregate_id::text, s.aggregate_type FROM refold.streams AS s WHERE s.aggregate_id = ANY(%s::uuid[]) ORDER BY 1"
_MONTHS = """
SELECT DISTINCT to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM')
FROM unnest(%s::uuid[], %s::integer[]) AS t (stream, version)
INNER JOIN refold.events AS e ON t.stream = e.aggregate_id AND t.version = e.stream_version
ORDER BY 1
"""

ForgetRuns = Callable[[Callable[[str], bool]], RunsForgotten]
"""Forgets the records of runs whose text says so."""


@dataclass(slots=True)
class Waiting:
    """Redactions whose derived places were not looked at yet.

    Attributes:
        entries: How many entries the home log had: up to there all is done, when it is done.
        streams: The streams with such redactions, ascending.
        redacting: Months of the redactions, UTC, ascending.
        redacted: Months of the events that they hide a part of, ascending.
    """

    entries: int
    streams: list[str] = field(default_factory=list)
    redacting: list[str] = field(default_factory=list)
    redacted: list[str] = field(default_factory=list)


def find_waiting(store: Store, home: Path) -> Waiting:
    """The redactions that were appended since everything was last done; without that note, all there are."""
    done = _done(home)
    entries = store.home_log(done)
    noted = [place for entry in entries if (place := _place_of(entry)) is not None]
    waiting = Waiting(done + len(entries), sorted({stream for stream, _ in noted}))
    if noted:
        waiting.redacting = _months(store, noted)
        targets = [(stream, version) for stream in waiting.streams for version in applied_redactions(store, stream)]
        waiting.redacted = _months(store, targets)
    return waiting


def hide_derived(
    settings: Settings, store: Store, lake: Lake, waiting: Waiting, *, forget_runs: ForgetRuns | None = None
) -> list[Forgotten]:
    """Let nothing that was derived of some streams show what their redactions hide.

    Args:
        settings: The home.
        store: Its store, which still has what is hidden.
        lake: Its lake, in which the log is exported and folded since the redactions.
        waiting: The redactions.
        forget_runs: How records of runs are forgotten; None: they are named as not reached.

    Returns:
        What was done, and what was not reached, in the order in which it is told.

    Raises:
        CommitLostError: Somebody compared a version meanwhile; run it again.
        DiskFullError: There is no space; what is done stays done.
    """
    by_stream, everywhere = _hidden(store, waiting.streams)
    said = everywhere
    for each in by_stream.values():
        said |= each

    def shows(text: str) -> bool:
        spelled = Spelled(text)
        return any(value.stands_in(spelled) for value in said.values)

    done = [
        *_cut_versions(settings, lake, by_stream, everywhere),
        *_forget_responses(settings, store, by_stream, everywhere),
        *_remake_pages(settings, lake, shows),
        *forget_spilled(lake),
        *_forget_runs(forget_runs, shows),
    ]
    if all(each.is_reached for each in done):
        _note_done(settings.home, waiting.entries)
    return [*done, *not_reached(settings, lake)]


def _hidden(store: Store, streams: Sequence[str]) -> tuple[dict[str, Hidden], Hidden]:
    """What is hidden of conversations and calls, by stream; and of other streams, whose texts any conversation may hold."""
    by_stream: dict[str, Hidden] = {}
    everywhere = Hidden()
    with typed_errors():
        kinds = store.conn.execute(_KINDS, [list(streams)]).fetchall()
    for stream, kind in kinds:
        found = hidden_in_stream(store, stream)
        if kind in TOLD_STREAMS:
            by_stream[stream] = found
        else:
            everywhere |= Hidden(found.values)
    return by_stream, everywhere


def _cut_versions(
    settings: Settings, lake: Lake, by_stream: Mapping[str, Hidden], everywhere: Hidden
) -> Iterator[Forgotten]:
    done = cut_versions(lake, settings.catalog, by_stream, everywhere, settings.home / _FOLDER / _AT)
    told = (
        f"{counted(len(done.versions), 'version')} of comparisons written anew without it, all rows and numbers as they were; "
        f"{counted(done.files, 'file')} from before gone"
    )
    yield Forgotten("versions", not done.left, len(done.versions), done.size_bytes, told)
    for path in done.left:
        told = f"{path} may be at work by another process, or cannot be read: redact again when it has ended"
        yield Forgotten("versions", is_reached=False, count=1, size_bytes=0, told=told)


def _forget_responses(
    settings: Settings, store: Store, by_stream: Mapping[str, Hidden], everywhere: Hidden
) -> Iterator[Forgotten]:
    if not settings.responses.exists():
        return
    if is_asking(settings.replays / "locks"):
        told = "a replay asks a model at this moment, and keeps what it is told: redact again when it has ended"
        yield Forgotten("responses", is_reached=False, count=0, size_bytes=0, told=told)
    counts = {stream: sum(map(len, applied_redactions(store, stream).values())) for stream in by_stream}
    with ResponseStore(settings.responses) as responses:
        erased = forgetting.forget(responses, counts)
        more, size = forgetting.erase_if(
            responses, lambda text: any(value.stands_in(text) for value in everywhere.values)
        )
        is_clear = forgetting.clear(responses)
    told = f"{counted(erased + more, 'response')} of models; a replay that needs them pays again"
    if not is_clear:
        told += "; another process reads the file, so its log still holds them: redact again when it has ended"
    yield Forgotten("responses", is_clear, erased + more, size, told)


def _remake_pages(settings: Settings, lake: Lake, shows: Callable[[str], bool]) -> Iterator[Forgotten]:
    """Make the pages again in which something stands that is hidden now."""
    stale = [
        path for path in sorted((settings.home / FOLDER).glob("*/*")) if ".html" in path.name and shows(_text(path))
    ]
    done = forget_pages(lake, settings.home, stale)
    told = f"{counted(done.remade, 'report')} made again, {counted(done.removed, 'page')} removed"
    yield Forgotten("reports", is_reached=True, count=done.remade + done.removed, size_bytes=done.size_bytes, told=told)


def _forget_runs(forget_runs: ForgetRuns | None, shows: Callable[[str], bool]) -> Iterator[Forgotten]:
    if forget_runs is None:
        yield Forgotten("runs", is_reached=False, count=0, size_bytes=0, told="records of runs were not looked at")
        return
    done = forget_runs(shows)
    told = f"{counted(done.runs, 'run')} whose record says what is hidden"
    yield Forgotten("runs", not done.left, done.runs, done.size_bytes, told)
    for why in done.left:
        yield Forgotten("runs", is_reached=False, count=1, size_bytes=0, told=why)


def _place_of(entry: Entry) -> tuple[str, int] | None:
    """Stream and version of a redaction that the home log notes."""
    if entry.kind != "redacted":
        return None
    with suppress(ValueError, TypeError, KeyError):
        said = json.loads(entry.signed.text)
        return str(UUID(said["stream"])), int(said["version"])
    return None


def _months(store: Store, places: Iterable[tuple[str, int]]) -> list[str]:
    listed = list(places)
    with typed_errors():
        rows = store.conn.execute(
            _MONTHS, [[stream for stream, _ in listed], [version for _, version in listed]]
        ).fetchall()
    return [month for (month,) in rows]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def _done(home: Path) -> int:
    """Up to which entry of the home log everything is done."""
    try:
        found = json.loads((home / _FOLDER / _DONE).read_text(encoding="utf-8"))["entries"]
        return found if isinstance(found, int) and found >= 0 else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _note_done(home: Path, entries: int) -> None:
    (home / _FOLDER).mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_output(home / _FOLDER / _DONE, is_private=True) as file:
        file.write(json.dumps({"entries": entries}).encode())
