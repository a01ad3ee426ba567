"""A story as lines for a terminal: long texts are shortened, and how much of one is left out is said."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from pipelines.evidence.decision_words import DecisionBlock, describe_decisions
from pipelines.evidence.parts import Story
from pipelines.evidence.story_words import (
    Block,
    describe_head,
    describe_part,
    describe_title,
)

WIDTH = 100
"""Characters of a line."""
LINES = 30
"""Lines of one text that are shown."""
_INDENT = 18
_FACT = 22


def render_story(story: Story) -> str:
    """The story as lines of at most about 100 characters, texts shortened."""
    return "\n".join(line.rstrip() for line in _lines(story))


def _lines(story: Story) -> Iterator[str]:
    yield describe_title(story)
    for name, value in describe_head(story):
        yield from _fact(name, value, 2)
    decisions = describe_decisions(story.decisions)
    last_day = None
    for part in story.parts:
        block = describe_part(part)
        if block.at.date() != last_day:
            last_day = block.at.date()
            yield from ("", f"{last_day}")
        if part.version in decisions:
            yield from _decision(decisions[part.version])
        yield from _block(block)


def _decision(block: DecisionBlock) -> Iterator[str]:
    yield ""
    yield f"── Decision {block.number} {'─' * (WIDTH - 13 - len(str(block.number)))}"
    for name, value in block.facts:
        yield from _fact(name, value, 3)
    for tool in block.tools if block.context is not None else ():
        yield from _fact("tool", f"{tool.name}: {tool.description or 'without a description'}", 3)
        if tool.schema:
            yield from _fact("", tool.schema, 3)
    if block.context is not None and block.prompt_text is not None:
        yield from _fact("registered prompt", block.prompt_text, 3)
    if block.context is not None:
        yield ""
        yield "   What the model was sent, message by message"
        for title, text, calls in block.context:
            yield f"   {title}"
            for each in (*([text] if text else []), *(f"→ {call}" for call in calls)):
                yield from _text(each, 6)
    yield ""


def _block(block: Block) -> Iterator[str]:
    place = f"  [{block.place}]" if block.place else ""
    yield f"{block.version:>5}  {block.at:%H:%M:%S}   {block.who}{place}"
    if block.text:
        yield from _text(block.text, _INDENT)
    for name, before, after in block.changes:
        yield from _text(f"{name}: {before or '–'} → {after or '–'}", _INDENT)
    for name, value in block.facts:
        yield from _named(name, value)
    for note in block.notes:
        yield from _text(f"({note})", _INDENT)


def _named(name: str, value: str) -> Iterator[str]:
    """A value with its name: on its line, or below it where it takes several."""
    if not name or "\n" not in value:
        yield from _text(f"{name}: {value}" if name else value, _INDENT)
        return
    yield f"{' ' * _INDENT}{name}:"
    yield from _text(value, _INDENT + 2)


def _fact(name: str, value: str, indent: int) -> Iterator[str]:
    lines = list(_text(value, indent + _FACT))
    lines[0] = f"{' ' * indent}{name:<{_FACT}}{lines[0].lstrip()}"
    yield from lines


def _text(text: str, indent: int) -> Iterator[str]:
    """The beginning of a text in lines; what is left out is counted."""
    width = WIDTH - indent
    room = width * (LINES + 1)
    lines = [piece for line in text[:room].splitlines() for piece in wrap(line, width) or [""]] or [""]
    shown = lines[:LINES] if len(lines) > LINES or len(text) > room else lines
    yield from (" " * indent + line for line in shown)
    left = len(text) - sum(map(len, shown))
    if shown is not lines:
        yield f"{' ' * indent}… {left:,} characters more; --html FILE shows all"
