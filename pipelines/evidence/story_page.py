"""Stories as a page that stands alone: whole texts, an anchor for every event, made to be printed; no script, nothing loaded.

What a page says beyond the stories, its heading, notes, and a line of proof for an event, is the caller's, as plain text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.evidence.decision_words import describe_decisions
from pipelines.evidence.parts import Story
from pipelines.evidence.story_words import describe_head, describe_part, describe_title
from pipelines.review.markup import fill_page


def render_stories(
    stories: Sequence[Story],
    *,
    heading: str | None = None,
    notes: Sequence[str] = (),
    marks: Mapping[tuple[str, int], str] | None = None,
) -> str:
    """One whole HTML page with stories, one after the other.

    The event of version 12 has the anchor `v12`; where there are several stories, `s2-v12` in the second.

    Args:
        stories: At least one.
        heading: Of the page; None is the title of the only story.
        notes: Sentences at the top: why the page was made, what of it is proven.
        marks: By stream and version of an event a short text that is shown with it.
    """
    if heading is None:
        heading = describe_title(stories[0]) if len(stories) == 1 else f"{len(stories):,} stories"
    views = [
        _view(story, "" if len(stories) == 1 else f"s{number}-", marks or {}, has_title=len(stories) > 1)
        for number, story in enumerate(stories, 1)
    ]
    return fill_page("story.html", title=heading, notes=list(notes), stories=views)


def _view(story: Story, prefix: str, marks: Mapping[tuple[str, int], str], *, has_title: bool) -> dict[str, Any]:
    """The values of the template for one story."""
    decisions = describe_decisions(story.decisions)
    days: list[tuple[str, list[dict[str, Any]]]] = []
    for part in story.parts:
        block = describe_part(part)
        at = f"{block.at:%A, %-d %B %Y}"
        if not days or days[-1][0] != at:
            days.append((at, []))
        days[-1][1].append(
            {
                "block": block,
                "anchor": f"{prefix}v{block.version}",
                "link": None if block.link is None else (f"#{prefix}v{block.link}", f"{block.link:,}"),
                "time": f"{block.at:%H:%M:%S}",
                "decision": decisions.get(part.version),
                "mark": marks.get((story.stream, part.version)),
            }
        )
    return {
        "title": describe_title(story) if has_title else None,
        "anchor": f"{prefix}story",
        "contents": [(f"#{prefix}v{each.first_version}", f"{each.decision:,}") for each in story.decisions]
        if story.focus is None
        else [],
        "facts": describe_head(story),
        "days": days,
        "is_focused": story.focus is not None,
    }
