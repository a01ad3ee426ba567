"""Verb `refold show`: the story of a stream, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.options import COUNT, PATH, json_option
from pipelines.console import print_long, print_result, tell
from pipelines.errors import BadInputError
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.evidence.stream_events import Target


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
        _record(settings, find_target(lake, stream), reason)
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


def _record(settings: Settings, target: Target, reason: str) -> None:
    """Record that a stream is shown as recorded."""
    from pipelines.home import changing_store
    from pipelines.store.access import Accessed, record_access

    with changing_store(settings, must_exist=True) as store:
        record_access(store, "show", reason, [Accessed(target.stream, 1, target.version)])
