"""`refold redact`: the redactions, the lake, what was made of it; each step goes on from what stands there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from assets.verbs.months import write_anew
from assets.verbs.progress import Tell
from pipelines.console import Ticker
from pipelines.home import changing_store
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.erasure.derived import Forgotten
    from pipelines.redaction.derived import Waiting
    from pipelines.redaction.selection import Chosen, Event, Scope, Wanted
    from pipelines.store import Store


@dataclass(slots=True)
class RedactResult:
    """What redacting came to.

    Attributes:
        chosen: What was found; None where nothing was looked for.
        is_dry_run: Nothing was changed.
        redactions: Redactions that were appended.
        waited: Streams whose redactions, of now and of before, had not reached what was derived.
        exported: Months of the lake whose events were written anew.
        folded: Months in which anything was folded anew.
        forgotten: What became of what was derived, and what was not reached.
        failed: Checks of the runs that did not pass, in words.
    """

    chosen: Chosen | None = None
    is_dry_run: bool = False
    redactions: int = 0
    waited: int = 0
    exported: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    forgotten: list[Forgotten] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def redact_found(
    settings: Settings,
    scope_of: Callable[[Store], Scope],
    wanted: Wanted,
    reason: str,
    *,
    is_dry_run: bool = False,
    on_event: Callable[[Event], None] | None = None,
    tell: Tell,
) -> RedactResult:
    """Hide whatever is found in a scope, there and wherever it was derived.

    Args:
        settings: The home.
        scope_of: Where to look, once the store is open.
        wanted: What to look for.
        reason: Why; without a word of what is hidden.
        is_dry_run: Only find it.
        on_event: Is given each event in which something is found.
        tell: Takes a line of progress.

    Raises:
        BadInputError: There is no such thing, or the reason says what is hidden; nothing was redacted.
    """
    from pipelines.redaction.record import append_redactions, refuse_telling
    from pipelines.redaction.selection import choose
    from pipelines.store.access import Accessed, record_access

    def look(event: Event) -> None:
        if not is_dry_run:
            refuse_telling(reason, event.hits.hits)
        if on_event is not None:
            on_event(event)

    with changing_store(settings, must_exist=True) as store:
        result = RedactResult(choose(store, scope_of(store), wanted, look), is_dry_run)
        assert result.chosen is not None
        if is_dry_run:
            return result
        if result.chosen.streams:
            targets = [Accessed(stream, first, last) for stream, (first, last) in result.chosen.streams.items()]
            record_access(store, "redact", reason, targets)
            ticker = Ticker("streams")
            for number, stream in enumerate(result.chosen.streams, start=1):
                result.redactions += append_redactions(store, stream, wanted, reason)
                ticker(number, len(targets))
        _finish(settings, store, result, tell)
        return result


def redact_place(
    settings: Settings,
    name: str,
    path: str,
    span: tuple[int, int] | None,
    reason: str,
    *,
    is_dry_run: bool = False,
    on_event: Callable[[Event], None] | None = None,
    tell: Tell,
) -> RedactResult:
    """Hide one place of one event; arguments and errors as of `redact_found` and `choose_place`."""
    from pipelines.redaction.record import append_redaction, refuse_telling
    from pipelines.redaction.selection import Chosen, choose_place
    from pipelines.store.access import Accessed, record_access

    with changing_store(settings, must_exist=True) as store:
        event = choose_place(store, name, path, span)
        result = RedactResult(Chosen(), is_dry_run)
        assert result.chosen is not None
        result.chosen.add(event)
        if on_event is not None:
            on_event(event)
        if is_dry_run:
            return result
        refuse_telling(reason, event.hits.hits)
        if event.hits.hits:
            record_access(store, "redact", reason, [Accessed(event.stream, event.version, event.version)])
            result.redactions = append_redaction(store, event, reason)
        _finish(settings, store, result, tell)
        return result


def finish(settings: Settings, *, tell: Tell) -> RedactResult:
    """Let all redactions that there are reach what was derived: those that others appended, and those that were begun."""
    with changing_store(settings, must_exist=True) as store:
        result = RedactResult()
        _finish(settings, store, result, tell)
        return result


def _finish(settings: Settings, store: Store, result: RedactResult, tell: Tell) -> None:
    from assets.verbs.forget import forget_runs_that_say
    from pipelines.export.home_log import copy_home_log
    from pipelines.redaction.derived import find_waiting, hide_derived

    waiting = find_waiting(store, settings.home)
    result.waited = len(waiting.streams)
    if not waiting.streams:
        return
    lake = Lake.from_settings(settings)
    copy_home_log(store, lake)
    _write_anew(settings, store, lake, waiting, result, tell)
    if not result.failed:
        result.forgotten = hide_derived(
            settings, store, Lake.from_settings(settings), waiting, forget_runs=partial(forget_runs_that_say, settings)
        )


def _write_anew(
    settings: Settings, store: Store, lake: Lake, waiting: Waiting, result: RedactResult, tell: Tell
) -> None:
    """Export the months of the redactions, and fold those of what they hide and all after them."""
    exported = lake.months(EVENTS.name)
    if not exported:
        return
    months = {month for month in exported if waiting.redacted and month >= waiting.redacted[0]} | set(waiting.redacting)
    done = write_anew(settings, store, months, tell)
    result.exported, result.folded, result.failed = done.exported, done.folded, done.failed
