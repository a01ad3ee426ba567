"""The page of a story: whatever the log says, it holds its own elements and every text; every event can be linked to."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.console import printable
from pipelines.evidence.parts import (
    ContextCall,
    ContextMessage,
    Erased,
    Field,
    Hidden,
    Part,
    Prompt,
    Story,
    StoryDecision,
    StoryMonth,
    Tool,
)
from pipelines.evidence.story_page import render_stories
from pipelines.evidence.story_text import render_story
from tests.support.fragments import ATTRIBUTES, HARMLESS, Fragment

HOSTILE = "<script>alert(1)</script>\"' onload=x &lt; ]]> --> </div>{{ 1 }}{% raw %}"
TEXTS = [
    HOSTILE,
    "",
    "</title></style><script>",
    '" style="x" onclick="y',
    "<!--",
    "\x00\u202e\x1b[2J{{ 7*77777 }}",
    '{"a": "<b>", "\x07": [1, {"c": null}]}',
    "مرحبا",
]
OF_THE_FILE = {"html", "head", "meta", "title", "style", "body", "main", "h1", "ul", "li", "article", "a"}
ITS_ATTRIBUTES = {"lang", "charset", "name", "content", "http-equiv", "aria-label", "id", "href"}
CODES = {"kind", "verification", "state", "stream_type", "status"}
"""Fields that hold codes, in which no log has a part."""
AT = datetime(2026, 5, 1, 12, tzinfo=UTC)
KINDS = (
    "start",
    "context",
    "user",
    "model",
    "agent",
    "call",
    "result",
    "end",
    "redaction",
    "row",
    "prompt",
    "tools",
    "record",
    "unknown",
)


def make_story() -> Story:
    """A story with something in every place that a page has."""
    hidden = (Hidden(3, AT, "/text", 0, 4, "method", "asked to"), Hidden(4, AT, "", None, None, "", ""))
    said = (Field("name", "value"), Field("before", '{"a": 1, "b": 2}'), Field("after", '{"a": 2, "b": 2}'))
    parts = [
        Part(
            version=number,
            position=number,
            at=AT + timedelta(hours=number),
            event_type=f"{kind}.happened.v1",
            kind=kind,  # type: ignore[arg-type]
            decision=1 if kind in {"model", "agent", "call"} else None,
            messages=(number,),
            actor="agent",
            name="name",
            text=f"text {number}",
            fields=said,
            answers=3 if kind == "result" else None,
            target=2 if kind == "redaction" else None,
            hidden=hidden if kind == "user" else (),
        )
        for number, kind in enumerate(KINDS, 1)
    ]
    gone = Part(99, 99, AT, "user.utterance.v1", "user", erased=Erased("e", AT, "asked to be forgotten"))
    context = (
        ContextMessage(1, "system", None, "be brief"),
        ContextMessage(2, "assistant", "bot", None, (ContextCall("call_1_0", "look", "{}"),)),
        ContextMessage(3, "tool", None, "found", (), "call_1_0"),
    )
    decision = StoryDecision(
        decision=1,
        turn=1,
        first_version=4,
        last_version=6,
        at=AT,
        asked=3,
        context_messages=3,
        verification="same",
        model="asked",
        response_model="answered",
        error="failed",
        params=(Field("temperature", "0"),),
        prompt=Prompt("00" * 32, "desk", 2, 3, AT, "be brief"),
        tools_sha256="11" * 32,
        tools=(Tool("look", "looks", '{"type": "object"}'), Tool("bare", None, None)),
        input_tokens=1,
        output_tokens=2,
        latency_ms=3.5,
        cost_usd=0.1,
        finish_reason="stop",
        context=context,
    )
    months = (StoryMonth("2026-04", 1, 2, "open"), StoryMonth("2026-05", 3, 99, "sealed", AT))
    return Story(
        "id",
        "conversation",
        "source",
        "source-id",
        "subject",
        "agent",
        "variant",
        "channel",
        "vertical",
        "task",
        "ended",
        '{"good": true}',
        AT,
        AT,
        last_version=99,
        known_version=120,
        is_original=False,
        months=months,
        parts=(*parts, gone),
        decisions=(decision,),
        decision_count=1,
        redacted_events=1,
        erased_events=1,
        skipped={"unknown.happened.v1": 1},
        missing=((20, 98),),
    )


def with_texts(value: Any, draw: Random, share: float) -> Any:
    """The same with hostile texts: each text in it that is no code is replaced with this chance."""
    if isinstance(value, str):
        return draw.choice(TEXTS) if draw.random() < share else value
    if isinstance(value, tuple):
        return tuple(with_texts(each, draw, share) for each in value)
    if isinstance(value, dict):
        return {with_texts(key, draw, share): each for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        changed = {
            each.name: with_texts(getattr(value, each.name), draw, share)
            for each in fields(value)
            if each.name not in CODES
        }
        return replace(value, **changed)
    return value


def parsed(html: str) -> Fragment:
    """A page; `meta` has no end, so the parser is told of one."""
    return Fragment(re.sub(r"(<meta [^>]*>)", r"\1</meta>", html))


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.02, 0.3, 1.0]), count=st.integers(1, 2))
def test_hostile_text_in_any_field_stays_text(seed: int, share: float, count: int):
    """A page holds its own elements and attributes alone, and its links lead to its own events."""
    draw = Random(seed)
    stories = [with_texts(make_story(), draw, share) for _ in range(count)]
    marks = {(stories[0].stream, 1): draw.choice(TEXTS)}
    html = render_stories(stories, heading=draw.choice(TEXTS), notes=[draw.choice(TEXTS)], marks=marks)
    page = parsed(html)
    assert page.tags <= OF_THE_FILE | HARMLESS
    assert page.attributes <= ITS_ATTRIBUTES | ATTRIBUTES
    assert html.count("<style>") == 3
    assert "544439" not in html  # nothing of a text is computed
    links = set(re.findall(r'href="([^"]*)"', html))
    assert links <= {f"#{anchor}" for anchor in re.findall(r'id="([^"]*)"', html)}


@given(seed=st.integers(0, 2**32))
def test_hostile_text_is_printable_on_a_terminal(seed: int):
    """What the terminal is handed has every text in it; `printable`, which all output passes, leaves nothing unseen."""
    story = with_texts(make_story(), Random(seed), 1.0)
    assert "\x1b" not in printable(render_story(story))


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_is_told_and_has_its_anchor(kind: str):
    """Each kind of event is on the page and on the terminal, with its place, and its text."""
    story = make_story()
    part = next(part for part in story.parts if part.kind == kind)
    html, text = render_stories([story]), render_story(story)
    assert f'id="v{part.version}"' in html
    assert f"\n{part.version:>5}  " in text
    for shown in (parsed(html).words, text):
        assert f"text {part.version}" in shown


def test_a_long_text_is_shortened_on_the_terminal_alone():
    """A text of a megabyte is whole on the page; the terminal says how much of it is left out."""
    story = make_story()
    long = "word " * 200_000 + "END"
    parts = tuple(replace(part, text=long) if part.kind == "user" and part.text else part for part in story.parts)
    story = replace(story, parts=parts)
    text = render_story(story)
    assert long in parsed(render_stories([story])).words
    assert len(text) < 100_000
    (left,) = re.findall(r"… ([\d,]+) characters more", text)
    shown = text[text.index("User") : text.index("characters more")].count("word")
    assert abs(int(left.replace(",", "")) - (len(long) - 5 * shown)) < 100
    assert "END" not in text
