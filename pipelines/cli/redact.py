"""Verb `refold redact`: hide what must not be shown, in the log and everywhere it was derived, and prove that it is gone."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pipelines.cli.options import json_option
from pipelines.console import counted, on_one_line, print_result, tell, to_plain
from pipelines.errors import BadInputError, CheckFailedError
from pipelines.settings import Settings

if TYPE_CHECKING:
    from assets.verbs.redact import RedactResult
    from pipelines.redaction.proof import Proof
    from pipelines.redaction.selection import Event, Scope, Wanted
    from pipelines.store import Store

_STDIN = "-"
_SHOWN = 10_000
"""Hits of a dry run that are shown; of more their number is told."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for.

    Attributes:
        event: STREAM@VERSION; with it `path` and `span`.
        path: JSON Pointer.
        span: START:END.
        value: A value, or None.
        detectors: Names of detectors.
        customer: Scope: a person.
        streams: Scope: streams.
        everywhere: Scope: everything.
    """

    event: str | None
    path: str | None
    span: str | None
    value: str | None
    detectors: tuple[str, ...]
    customer: str | None
    streams: tuple[str, ...]
    everywhere: bool

    @property
    def named(self) -> str | None:
        """The option that says what to hide; None where none does."""
        named = [("--event", self.event), ("--value", self.value), ("--detector", self.detectors)]
        given = [name for name, each in named if each]
        if len(given) > 1:
            raise BadInputError(f"{' and '.join(given)}: give one of them")
        return given[0] if given else None

    def check(self) -> None:
        """Refuse what does not go together, before anything is opened."""
        named = self.named
        scopes = [("--customer", self.customer), ("--stream", self.streams), ("--everywhere", self.everywhere)]
        given = [name for name, each in scopes if each]
        if self.customer is not None and not self.customer.strip():
            raise BadInputError("--customer is empty; nothing was redacted")
        if named == "--event":
            if self.path is None:
                raise BadInputError("--path is missing: which value of the event's payload? A JSON Pointer, as /text")
            if given:
                raise BadInputError(f"{given[0]} says where a --value or a --detector looks; --event names one event")
        elif self.path is not None or self.span is not None:
            raise BadInputError("--path and --span name a part of an event: give --event STREAM@VERSION with them")
        elif named is not None and len(given) != 1:
            raise BadInputError(
                f"{named}: say where: one of --customer ID, --stream ID and --everywhere"
                + (f"; there are {' and '.join(given)}" if given else "")
            )
        elif named is None and given:
            raise BadInputError(f"{given[0]} says where, and nothing says what: give --value or --detector")


@click.command()
@click.option("--event", metavar="STREAM@VERSION", help="One event; the stream by its id or as source/conversation_id.")
@click.option("--path", metavar="POINTER", help="With --event: JSON Pointer of the value in its payload, as /text.")
@click.option("--span", metavar="START:END", help="With --path: code points of the string there, from 0, END beyond.")
@click.option(
    "--value",
    metavar="TEXT",
    help="Every occurrence of this, in any spelling; - reads it from standard input (a command line is seen by others and kept).",
)
@click.option(
    "--detector",
    "detectors",
    multiple=True,
    metavar="NAME",
    help="What a detector finds (email, iban, card, phone, ...), or all; may be given more than once.",
)
@click.option("--customer", metavar="ID", help="In all streams with an event about this person (subject_id).")
@click.option("--stream", "streams", multiple=True, metavar="ID", help="In this stream; may be given more than once.")
@click.option("--everywhere", is_flag=True, help="In all streams.")
@click.option("--reason", help="Why; kept for good, so without a word of what is hidden.")
@click.option("--dry-run", is_flag=True, help="Only show each hit in its sentence.")
@click.option(
    "--prove",
    metavar="TEXT",
    help="Say where this still stands, in everything under the home; - reads it from standard input.",
)
@json_option
def redact(reason: str | None, dry_run: bool, prove: str | None, as_json: bool, **given: Any) -> None:
    """Hide what must not be shown, everywhere it was derived; the log keeps it, and `refold erase` takes it.

    Without anything named it finishes redactions whose derived places still show what they hide, whoever appended them.
    """
    asked = _Asked(**given)
    asked.check()
    if prove is not None:
        if asked.named is not None or reason is not None or dry_run:
            raise BadInputError("--prove looks for a value and changes nothing: give it alone")
        _prove(_text("--prove", prove), as_json=as_json)
        return
    if asked.named is None:
        if reason is not None or dry_run:
            raise BadInputError(
                f"{'--reason' if reason is not None else '--dry-run'}: nothing is named that is to be hidden; without both, "
                "what was begun is finished"
            )
        from assets.verbs.redact import finish

        _end(finish(Settings.from_env(), tell=tell), [], as_json=as_json)
        return
    _redact(asked, reason, is_dry_run=dry_run, as_json=as_json)


def _redact(asked: _Asked, reason: str | None, *, is_dry_run: bool, as_json: bool) -> None:
    from assets.verbs.redact import redact_found, redact_place
    from pipelines.store.access import require_reason

    why = "" if is_dry_run and reason is None else require_reason(reason, "why is this hidden?")
    settings = Settings.from_env()
    hits: list[dict[str, Any]] = []

    def take(event: Event) -> None:
        if is_dry_run:
            hits.extend(_hits_of(event)[: _SHOWN - len(hits)])

    if asked.event is not None:
        assert asked.path is not None
        result = redact_place(
            settings, asked.event, asked.path, _span(asked.span), why, is_dry_run=is_dry_run, on_event=take, tell=tell
        )
    else:
        result = redact_found(
            settings, _scope(asked), _wanted(asked, settings, why), why, is_dry_run=is_dry_run, on_event=take, tell=tell
        )
    _end(result, hits, as_json=as_json)


def _wanted(asked: _Asked, settings: Settings, why: str) -> Wanted:
    from pipelines.redaction.record import refuse_value
    from pipelines.redaction.selection import Wanted
    from pipelines.redaction.value import Value

    if asked.value is not None:
        value = Value(_text("--value", asked.value))
        refuse_value(why, value.text)
        return Wanted.of_value(value)
    from pipelines.detect import named_detector, shipped_detectors

    if "all" in asked.detectors:
        return Wanted.of_detectors(shipped_detectors(settings.region))
    return Wanted.of_detectors([named_detector(name, settings.region) for name in dict.fromkeys(asked.detectors)])


def _scope(asked: _Asked) -> Any:
    def scope_of(store: Store) -> Scope:
        from pipelines.erasure.named import find_streams
        from pipelines.redaction.selection import Scope, require_customer

        if asked.customer is not None:
            require_customer(store, asked.customer)
            return Scope(customer=asked.customer)
        return Scope(streams=find_streams(store, asked.streams, "redacted") if asked.streams else None)

    return scope_of


def _text(option: str, given: str) -> str:
    """A value as it was given, or the one that standard input holds."""
    if given != _STDIN:
        return given
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadInputError(f"{option} -: standard input is not UTF-8 (byte {error.start})") from None
    return text.removesuffix("\n").removesuffix("\r")


def _span(given: str | None) -> tuple[int, int] | None:
    if given is None:
        return None
    first, mark, last = given.partition(":")
    if not mark or not (first.isascii() and first.isdecimal() and last.isascii() and last.isdecimal()):
        raise BadInputError(f"--span {given!r}: write START:END, whole numbers from 0, as 4:12")
    if len(first) > 9 or len(last) > 9 or int(first) >= int(last):
        raise BadInputError(f"--span {given!r} names nothing: END is one beyond the last code point")
    return int(first), int(last)


def _hits_of(event: Event) -> list[dict[str, Any]]:
    return [
        {
            "stream": event.stream,
            "version": event.version,
            "event_type": event.event_type,
            "path": hit.redaction.path,
            "start": hit.redaction.start,
            "end": hit.redaction.end,
            "class": hit.kind,
            "score": hit.score,
            "before": hit.before,
            "found": hit.found,
            "after": hit.after,
        }
        for hit in event.hits.hits
    ]


def _end(result: RedactResult, hits: list[dict[str, Any]], *, as_json: bool) -> None:
    plain = to_plain(result)
    if result.is_dry_run:
        plain["hits"] = hits
    print_result(plain, _tell(result, hits), as_json=as_json)
    if result.failed:
        raise click.exceptions.Exit(CheckFailedError.exit_code)


def _tell(result: RedactResult, hits: list[dict[str, Any]]) -> str:
    lines = [
        f"{hit['stream']}@{hit['version']} {on_one_line(hit['path']) or '(payload)'}  {hit['class']} {hit['score']:.2f}\n"
        f"    {on_one_line(hit['before'])}»{on_one_line(hit['found'])}«{on_one_line(hit['after'])}"
        for hit in hits
    ]
    chosen = result.chosen
    if chosen is not None:
        lines += _tell_chosen(result)
    elif not result.waited:
        lines.append("no redaction waits to be finished")
    if result.exported:
        lines.append(f"written anew: events of {', '.join(result.exported)}")
    if result.folded:
        lines.append(f"folded anew: {', '.join(result.folded)}")
    lines += [f"{each.place}: {each.told}" for each in result.forgotten if each.is_reached and each.count]
    lines += [f"not reached: {each.place}: {each.told}" for each in result.forgotten if not each.is_reached]
    lines += [f"failed: {each}" for each in result.failed]
    return "\n".join(lines)


def _tell_chosen(result: RedactResult) -> list[str]:
    chosen = result.chosen
    assert chosen is not None
    what = f"{counted(chosen.hits, 'occurrence')} in {counted(chosen.events, 'event')} of {counted(len(chosen.streams), 'stream')}"
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(chosen.kinds.items()))
    lines = []
    if not chosen.hits:
        lines.append("nothing to redact: it stands nowhere there, or is hidden already")
    elif result.is_dry_run:
        lines.append(f"would redact {what} ({kinds}), {', '.join(chosen.months)}")
        if chosen.hits > _SHOWN:
            lines.append(f"the first {_SHOWN:,} are shown")
    else:
        lines.append(f"redacted {what} ({kinds}), {', '.join(chosen.months)}")
    if chosen.in_metadata:
        lines.append(
            f"the metadata of {counted(len(chosen.in_metadata), 'event')} has it too, which no redaction hides and `refold erase` "
            f"takes: {_some(chosen.in_metadata)}"
        )
    if chosen.left:
        lines.append(f"it is the name of a member of a payload, which no redaction hides: {_some(chosen.left)}")
    return lines


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _prove(text: str, *, as_json: bool) -> None:
    from pipelines.redaction.proof import prove
    from pipelines.store import Store

    settings = Settings.from_env()
    with Store.open(settings, must_exist=True) as store:
        proof = prove(settings, store, text)
    print_result({**to_plain(proof), "is_proven": proof.is_proven}, _tell_proof(proof, settings), as_json=as_json)
    if not proof.is_proven:
        raise click.exceptions.Exit(CheckFailedError.exit_code)


def _tell_proof(proof: Proof, settings: Settings) -> str:
    lines = []
    for place in proof.derived:
        path = place.path.relative_to(settings.home) if place.path.is_relative_to(settings.home) else place.path
        lines.append(f"{on_one_line(str(path))}: {on_one_line(place.part)}")
    if proof.derived:
        lines.append(f"it stands in {counted(len(proof.derived), 'place')} outside of the log")
    else:
        lines.append("it stands nowhere outside of the log: every file under the home was decoded")
    if proof.shown_events:
        lines.append(f"{counted(proof.shown_events, 'event')} of the log show it: {', '.join(proof.shown)}")
    if proof.metadata:
        lines.append(f"{proof.metadata:,} of them in their metadata, which no redaction hides and `refold erase` takes")
    if proof.holds or proof.entries:
        lines.append(
            f"the words of {counted(proof.holds, 'hold')} and {counted(proof.entries, 'entry', 'entries')} of the home log have it"
        )
    if proof.hidden_events:
        lines.append(
            f"the log keeps it in {counted(proof.hidden_events, 'event')}, where redactions hide it, and in "
            f"{counted(proof.log_files, 'file')} of the lake's copy of the log; `refold erase` takes it"
        )
    elif not proof.shown_events:
        lines.append("no event of the log has it")
    return "\n".join(lines)
