"""Verbs `refold find` and `refold show`: where something stands in the log, and the story of a stream, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.options import COUNT, PATH, json_option
from pipelines.console import counted, print_long, print_result, render_table, tell, to_plain
from pipelines.errors import BadInputError
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.evidence.find import Found
    from pipelines.evidence.stream_events import Target


@click.command()
@click.argument("text", required=False, help="A text that stands in a value; names of members are no values.")
@click.option("--ignore-case", is_flag=True, help="TEXT in any case of letters.")
@click.option(
    "--field",
    metavar="NAME=VALUE",
    help="A member NAME whose value is VALUE, anywhere; numbers by what they are worth.",
)
@click.option("--tool", metavar="NAME", help="Calls of this tool.")
@click.option("--where", metavar="SQL", help="With --tool: only those; SQL over the columns of tool_calls.")
@click.option(
    "--customer", metavar="ID", help="About this person (subject_id): alone their streams, or only hits there."
)
@click.option("--limit", type=COUNT, default=20, show_default=True, help="Places to show; all are counted.")
@json_option
def find(
    text: str | None,
    ignore_case: bool,
    field: str | None,
    tool: str | None,
    where: str | None,
    customer: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find where something stands: stream, version, time, and the decision that caused it; what is redacted is not found."""
    from pipelines.evidence.find import Question
    from pipelines.evidence.find import find as find_places
    from pipelines.home import tell_behind
    from pipelines.lake.lake import Lake

    question = Question(text, ignore_case, None if field is None else _member(field), tool, where, customer)
    settings = Settings.from_env()
    lake = Lake.from_settings(settings)
    tell_behind(settings, tell, lake)
    found = find_places(lake, question, limit)
    print_result(to_plain(found), _tell(found), as_json=as_json)


def _member(field: str) -> tuple[str, str]:
    name, equals, value = field.partition("=")
    if not equals:
        raise BadInputError(f"--field is {field!r}; write NAME=VALUE, for example order_id=A-1")
    return name, value


def _tell(found: Found) -> str:
    withheld = (
        f"{counted(found.withheld, 'event')} not searched: a redaction waits for its fold; run `refold fold`"
        if found.withheld
        else ""
    )
    if not found.places:
        return "\n".join(line for line in ("nothing found", withheld) if line)
    rows = [
        [
            f"{hit.at:%Y-%m-%d %H:%M:%S}",
            f"{hit.name}@{hit.version}",
            hit.kind,
            hit.path,
            hit.text,
            None if hit.decision is None else f"{hit.decision} (@{hit.decision_version})",
        ]
        for hit in found.hits
    ]
    summary = (
        f"{counted(found.places, 'place')} in {counted(found.events, 'event')} of {counted(found.streams, 'stream')}"
    )
    if len(found.hits) < found.places:
        summary += f"; the first {len(found.hits):,} are shown, --limit shows more"
    table = render_table(["when, UTC", "stream@version", "event", "where", "found", "decision"], rows)
    return "\n".join(line for line in (table, summary, withheld) if line)


@click.command()
@click.argument(
    "stream", metavar="STREAM[@VERSION]", help="Stream id, or source/conversation_id; @VERSION: up to there."
)
@click.option("--decision", type=COUNT, help="Only this decision, at length: with all that the model was sent.")
@click.option("--html", type=PATH, metavar="FILE", help="Write a page with whole texts to this file.")
@click.option("--original", is_flag=True, help="As recorded, redactions not applied; takes --reason and is recorded.")
@click.option("--reason", help="Why redacted texts are shown; kept for good, so without a word of what they say.")
@json_option
def show(
    stream: str, decision: int | None, html: Path | None, original: bool, reason: str | None, as_json: bool
) -> None:
    """Tell what happened in one stream, in order: who asked, what the agent was sent, said and did, and what came of it."""
    from pipelines.evidence.story import read_story
    from pipelines.evidence.story_text import render_story
    from pipelines.evidence.stream_events import find_target
    from pipelines.home import tell_waiting
    from pipelines.lake.lake import Lake

    if reason is not None and not original:
        raise BadInputError("--reason says why redacted texts are shown: it is for --original, which is not given")
    settings = Settings.from_env()
    lake = Lake.from_settings(settings)
    tell_waiting(settings, tell, lake)
    if original:
        from pipelines.store.access import require_reason

        reason = require_reason(reason, "why are redacted texts shown?")
        read_story(
            lake, stream, decision=decision
        )  # what is wrong with the question is said before anything is recorded
        _record_showing(settings, find_target(lake, stream), reason)
    story = read_story(lake, stream, decision=decision, is_original=original)
    if html is not None:
        from pipelines.evidence.story_page import render_stories
        from pipelines.review.files import write_report

        write_report(render_stories([story]), html)
        tell(f"page: {html.resolve()}")
    if as_json:
        print_long(story, as_json=True)
    elif html is None:
        print_result(story, render_story(story), as_json=False)


def _record_showing(settings: Settings, target: Target, reason: str) -> None:
    """Record that a stream is shown as recorded."""
    from pipelines.home import changing_store
    from pipelines.store.access import Accessed, record_access

    with changing_store(settings, must_exist=True) as store:
        record_access(store, "show", reason, [Accessed(target.stream, 1, target.version)])
