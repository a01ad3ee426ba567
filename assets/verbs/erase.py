"""`refold erase`: record, store, lake, what was made of it, and what PostgreSQL keeps; each step goes on from what stands there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
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
    from pipelines.erasure.scrub import ScrubReport
    from pipelines.erasure.selection import Selection
    from pipelines.store import Store


@dataclass(slots=True)
class EraseResult:
    """What an erasure came to.

    Attributes:
        selection: What was chosen.
        erasure: Its id; None where nothing was to be erased, or nothing was done.
        is_dry_run: Nothing was changed.
        exported: Months of the lake whose events were written anew.
        folded: Months in which anything was folded anew.
        forgotten: What became of what was derived, and what was not reached.
        scrub: What PostgreSQL was made to write over; None where that was not asked for.
        failed: Checks of the runs that did not pass, in words.
    """

    selection: Selection | None
    erasure: str | None = None
    is_dry_run: bool = False
    exported: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    forgotten: list[Forgotten] = field(default_factory=list)
    scrub: ScrubReport | None = None
    failed: list[str] = field(default_factory=list)


def erase(
    settings: Settings,
    choose: Callable[[Store, Lake], Selection] | None,
    reason: str,
    *,
    customer: str | None = None,
    is_dry_run: bool = False,
    is_scrub: bool = False,
    tell: Tell,
) -> EraseResult:
    """Erase what is chosen, and finish every erasure that was begun before.

    Args:
        settings: The home.
        choose: What to erase; None only finishes.
        reason: Why; without a word of what is erased.
        customer: The person it is about, where it is about one.
        is_dry_run: Only say what would be erased.
        is_scrub: Whether to write over what PostgreSQL keeps, too, of this and of all erasures since the last time.
        tell: Takes a line of progress.

    Raises:
        BadInputError: There is no such thing, or the reason says something of it; nothing was erased.
        OnHold: Something of it is on hold; nothing was erased.
        ListRefusedError: A sealed month's files are to be listed anew, which takes the key; nothing was erased.
    """
    from assets.verbs.forget import forget_runs
    from pipelines.erasure.derived import forget_all
    from pipelines.erasure.reason import refuse_telling
    from pipelines.erasure.record import record, take_content
    from pipelines.erasure.scrub import scrub
    from pipelines.export.home_log import copy_home_log, finish_erasures
    from pipelines.export.listing import require_keys
    from pipelines.store.access import Accessed, record_access

    with changing_store(settings, must_exist=True) as store:
        lake = Lake.from_settings(settings)
        if not is_dry_run:
            finish_erasures(store, lake)
        result = EraseResult(None, is_dry_run=is_dry_run)
        if choose is not None:
            result.selection = choose(store, lake)
            refuse_telling(store, reason, result.selection.targets, customer)
            require_keys(store, result.selection.months, settings.signing_key)
            if result.selection.targets:
                with store.transaction():  # what is refused is no access
                    result.erasure = record(
                        store, result.selection, reason, settings.signing_key, is_dry_run=is_dry_run
                    )
                    if not is_dry_run:
                        targets = [Accessed(each.stream, each.first, each.last) for each in result.selection.targets]
                        record_access(store, "erase", reason, targets)
        if not is_dry_run:
            take_content(store, Ticker("streams"))
            copy_home_log(store, lake)
            _write_anew(settings, store, lake, result, tell)
            if not result.failed:  # what is folded of erased events is derived from no more, once it is folded
                result.forgotten = forget_all(settings, lake, store.home_log(), partial(forget_runs, settings))
            if is_scrub:
                result.scrub = scrub(store, settings.signing_key, on_table=_telling(tell))
                copy_home_log(store, lake)
    return result


def _telling(tell: Tell) -> Callable[[str, int, int], None]:
    def on_table(table: str, number: int, tables: int) -> None:
        tell(f"scrub {table}, {number} of {tables}")

    return on_table


def retain(settings: Settings, days: int, *, tell: Tell) -> EraseResult:
    """Erase conversations and calls whose last event is older than some days, those on hold left out."""
    from pipelines.erasure.selection import select_older

    def choose(store: Store, _lake: Lake) -> Selection:
        return select_older(store, datetime.now(UTC) - timedelta(days=days))

    return erase(settings, choose, retention_reason(days), tell=tell)


def retention_reason(days: int) -> str:
    """Why what is old is erased."""
    return f"retention: older than {days} days"


def _write_anew(settings: Settings, store: Store, lake: Lake, result: EraseResult, tell: Tell) -> None:
    """Export the months in which events were erased, and fold them and those after them: states go on from month to month."""
    from pipelines.store.erasures import erased_months, recorded_months

    erased, exported = erased_months(store.conn), lake.months(EVENTS.name)
    if not erased or not exported:
        return
    months = {month for month in exported if month >= erased[0]} | set(recorded_months(store.conn))
    done = write_anew(settings, store, months, tell)
    result.exported, result.folded, result.failed = done.exported, done.folded, done.failed
