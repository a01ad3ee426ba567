"""Verbs `refold erase` and `hold`: forget what events say, and say what must not be forgotten yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import click

from pipelines.cli.options import json_option
from pipelines.console import counted, print_result, render_table, tell, to_plain
from pipelines.errors import BadInputError, CheckFailedError
from pipelines.settings import Settings, parse_age

if TYPE_CHECKING:
    from assets.verbs.erase import EraseResult
    from pipelines.erasure.scrub import ScrubReport
    from pipelines.erasure.selection import Selection
    from pipelines.lake.lake import Lake
    from pipelines.store import Store


@click.command()
@click.option(
    "--customer", help="Everything about this person (subject_id): their streams, and single events in others'."
)
@click.option(
    "--stream",
    "streams",
    multiple=True,
    help="All of a stream, by its id or as source/conversation_id; may be given more than once.",
)
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="STREAM@VERSION",
    help="One event; the stream by its id or as source/conversation_id; may be given more than once.",
)
@click.option("--older-than", metavar="DAYS", help="Conversations and calls that ended longer ago, as 400d.")
@click.option("--where", help="With --older-than: only those; SQL over the conversations, as in an experiment.")
@click.option("--reason", help="Why; kept for good, so without a word of what is erased.")
@click.option(
    "--scrub",
    is_flag=True,
    help="Also write over what PostgreSQL keeps, of all erasures since the last scrub; months are closed meanwhile.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be erased.")
@json_option
def erase(
    customer: str | None,
    streams: tuple[str, ...],
    events: tuple[str, ...],
    older_than: str | None,
    where: str | None,
    reason: str | None,
    scrub: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Forget what events say, everywhere; that they were there stays proven.

    Without anything named it finishes what was begun before.
    """
    from assets.verbs.erase import erase as erase_events
    from assets.verbs.erase import retention_reason

    days = parse_age("--older-than", older_than) if older_than is not None else 0
    given = _given(customer, streams, events, older_than)
    if where is not None and older_than is None:
        raise BadInputError("--where narrows --older-than; it is of no use without it")
    why = _reason(reason, given, retention_reason(days) if older_than is not None else None)

    def choose(store: Store, lake: Lake) -> Selection:
        from pipelines.erasure import named, selection

        if customer is not None:
            return selection.select_customer(store, customer)
        if streams:
            return selection.select_streams(store, named.find_streams(store, streams, "erased"))
        if events:
            return selection.select_events(store, events)
        return selection.select_older(store, datetime.now(UTC) - timedelta(days=days), _matching(lake, where))

    result = erase_events(
        Settings.from_env(),
        choose if given else None,
        why,
        customer=customer,
        is_dry_run=dry_run,
        is_scrub=scrub,
        tell=tell,
    )
    print_result(to_plain(result), _tell(result), as_json=as_json)
    if result.failed:
        raise click.exceptions.Exit(CheckFailedError.exit_code)


def _given(
    customer: str | None, streams: tuple[str, ...], events: tuple[str, ...], older_than: str | None
) -> str | None:
    """The option that says what to erase; None where none does."""
    if customer is not None and not customer.strip():
        raise BadInputError("--customer is empty; nothing was erased")
    named = [("--customer", customer), ("--stream", streams), ("--event", events), ("--older-than", older_than)]
    given = [name for name, value in named if value]
    if len(given) > 1:
        raise BadInputError(f"{' and '.join(given)}: one erasure has one reason, so give one of them")
    return given[0] if given else None


def _reason(reason: str | None, given: str | None, made: str | None) -> str:
    """Why: as it was given, or as it is made for what is old."""
    from pipelines.store.access import require_reason

    if given is None and reason is not None:
        raise BadInputError(
            "--reason says why, and nothing is named that is to be erased; without both, what was begun is finished"
        )
    why = made if reason is None else reason
    return require_reason(why, "why is this erased?") if given is not None else ""


def _matching(lake: Lake, where: str | None) -> list[str] | None:
    if where is None:
        return None
    from pipelines.lake.where import matching_streams

    return matching_streams(lake, where)


def _tell(result: EraseResult) -> str:
    chosen = result.selection
    lines = []
    if chosen is not None and chosen.events:
        what = f"{counted(chosen.events, 'event')} of {counted(chosen.streams, 'stream')}, {', '.join(chosen.months)}"
        lines.append(f"would erase {what}" if result.is_dry_run else f"erased {what}; erasure {result.erasure}")
    elif chosen is not None:
        lines.append("nothing to erase: there is no event of it, or its content is gone already")
    if chosen is not None and chosen.held:
        lines.append(f"{counted(chosen.held, 'stream')} on hold stay as they are")
    if result.exported:
        lines.append(f"written anew: events of {', '.join(result.exported)}")
    if result.folded:
        lines.append(f"folded anew: {', '.join(result.folded)}")
    lines += [f"{each.place}: {each.told}" for each in result.forgotten if each.is_reached and each.count]
    unreached = [each.told for each in result.forgotten if not each.is_reached]
    if result.scrub is not None:
        lines += _tell_scrub(result.scrub)
    if unreached:
        lines += ["not reached, so look yourself:", *(f"  {each}" for each in unreached)]
    if not lines:
        lines.append("no erasure waits to be finished")
    return "\n".join([*lines, *(f"failed: {each}" for each in result.failed)])


def _tell_scrub(report: ScrubReport) -> list[str]:
    if report.entry is None and not report.left:
        lines = ["scrub: nothing was erased since the last one"]
    else:
        tables = [each.table for each in report.relations]
        lines = [
            f"scrub: {counted(report.erasures, 'erasure')} covered; written anew in PostgreSQL: {', '.join(tables) or 'nothing'}"
        ]
    if report.left:
        lines.append(f"scrub: {counted(report.left, 'erasure')} not covered")
    return lines + [f"scrub did not reach {each.kind} {each.name}: {each.detail}" for each in report.not_reached]


@click.command()
@click.option("--customer", help="Everything about this person, also what comes later.")
@click.option("--stream", help="Everything in this stream, by its id or as source/conversation_id.")
@click.option("--reason", help="Why; kept for good, so without naming whom.")
@click.option("--lift", type=click.UUID, metavar="HOLD", help="End the hold with this id.")
@json_option
def hold(customer: str | None, stream: str | None, reason: str | None, lift: UUID | None, as_json: bool) -> None:
    """Refuse erasure of a person's events or of a stream until the hold is lifted; without anything named, list the holds."""
    from pipelines.erasure import holds
    from pipelines.erasure.named import find_streams
    from pipelines.store import Store
    from pipelines.store.access import require_reason
    from pipelines.store.erasures import list_holds

    if lift is not None and (customer is not None or stream is not None):
        raise BadInputError("--lift names a hold; give it alone")
    if customer is not None and stream is not None:
        raise BadInputError("--customer and --stream are two holds")
    is_change = lift is not None or customer is not None or stream is not None
    question = "why may it not be erased?" if lift is None else "why may it be erased from now on?"
    why = require_reason(reason, question) if is_change else ""
    with Store.open(Settings.from_env(), must_exist=True) as store:
        if lift is not None:
            holds.lift(store, lift, why)
            print_result({"lifted": str(lift)}, f"hold {lift} is lifted", as_json=as_json)
        elif is_change:
            held = None if stream is None else find_streams(store, [stream], "put on hold")[0]
            placed = holds.place(store, why, customer=customer, stream=held)
            text = f"hold {placed} is placed; `refold hold --lift {placed}` ends it"
            print_result({"hold": str(placed)}, text, as_json=as_json)
        else:
            found = list_holds(store.conn)
            rows = [
                [str(h.hold), h.customer or f"stream {h.stream}", h.reason, f"{h.placed_at:%Y-%m-%d}"] for h in found
            ]
            text = render_table(["hold", "on", "reason", "since"], rows) if rows else "nothing is on hold"
            print_result({"holds": found}, text, as_json=as_json)
