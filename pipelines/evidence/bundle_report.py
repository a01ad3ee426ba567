"""The page of a bundle: the stories of its streams, with what is proven of each event beside it.

What the bundle does not show, the page does not either: events about others and of another time have their place and time here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipelines.console import counted
from pipelines.evidence.chain_lines import Chain, Says
from pipelines.evidence.parts import Part, Story
from pipelines.evidence.story import read_story
from pipelines.evidence.story_page import render_stories
from pipelines.lake.lake import Lake

_WITHHELD: tuple[Says, ...] = ("outside", "not_about")
_MARKS: dict[Says, str] = {
    "redacted": "redacted in part: what is shown is not proven",
    "erased": "erased",
    "outside": "not of the time that was asked for: not shown",
    "not_about": "about somebody else: not shown",
}
_CHAIN_ONLY = "chain only, not sealed"


def render_report(
    lake: Lake, chains: Sequence[Chain], is_sealed: Callable[[str], bool], proof: Mapping[str, Any]
) -> str:
    """The whole page.

    Args:
        lake: Holds the streams.
        chains: What the bundle says of each.
        is_sealed: Whether a month is.
        proof: What `proof.json` says.
    """
    stories = [_shown(read_story(lake, f"{each.chosen.stream}@{each.chosen.last}"), each) for each in chains]
    marks = {
        (chain.chosen.stream, version): mark for chain in chains for version, mark in _marks(chain, is_sealed).items()
    }
    return render_stories(stories, heading="Evidence", notes=_notes(chains, is_sealed, proof), marks=marks)


def _marks(chain: Chain, is_sealed: Callable[[str], bool]) -> dict[int, str]:
    """By version what is proven of an event."""
    found = {}
    for month, (first, last) in chain.months.items():
        sealed = f"sealed in {month}" if is_sealed(month) else _CHAIN_ONLY
        for version in range(first, last + 1):
            said = _MARKS.get(chain.said[version])
            found[version] = f"{sealed}; {said}" if said else sealed
    return found


def _notes(chains: Sequence[Chain], is_sealed: Callable[[str], bool], proof: Mapping[str, Any]) -> list[str]:
    events = sum(len(chain.said) for chain in chains)
    sealed = sum(
        last - first + 1 for chain in chains for month, (first, last) in chain.months.items() if is_sealed(month)
    )
    signed = (
        "It is signed: with --public-key FILE the verifier demands the key that you have from whom you trust."
        if proof["key"]
        else "It is not signed: it shows damage, not forgery."
    )
    return [
        f"{counted(events, 'event')} of {counted(len(chains), 'stream')} of the log {proof['origin']}, written {proof['made_at']}.",
        f"{sealed:,} of the events are of sealed months; {events - sealed:,} are bound by the chain alone, not sealed.",
        signed,
        "This page is for reading and is not proven itself. What is, python3 verify_bundle.py says, which lies beside it.",
    ]


def _shown(story: Story, chain: Chain) -> Story:
    """The story without what the bundle does not show."""
    withheld = {version for version, says in chain.said.items() if says in _WITHHELD}
    if not withheld:
        return story
    decisions = tuple(
        replace(each, asked=None if each.asked in withheld else each.asked, context=None)
        for each in story.decisions
        if withheld.isdisjoint(range(each.first_version, each.last_version + 1))
    )
    parts = tuple(_blank(part) if part.version in withheld else part for part in story.parts)
    # what the head says of a stream is said by events that may be among those
    return replace(
        story,
        parts=parts,
        decisions=decisions,
        decision_count=len(decisions),
        source_id=None,
        subject_id=None,
        agent=None,
        variant=None,
        channel=None,
        vertical=None,
        task=None,
        outcome=None,
    )


def _blank(part: Part) -> Part:
    """An event of which only place, time and type are shown."""
    return Part(part.version, part.position, part.at, part.event_type, "record")
