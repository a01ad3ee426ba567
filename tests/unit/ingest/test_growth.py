"""Conversations that go on: what a line says more is appended, and the whole is what one import would have made."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipelines.ingest import growth
from pipelines.ingest.canonical import canonical_json, digest, digest_of, same_json
from pipelines.ingest.convert import Place, convert
from pipelines.ingest.restore import restore
from pipelines.store.events import NewEvent
from tests.support import chat_strategies

AT = datetime(2026, 3, 1, tzinfo=UTC)
LATER = datetime(2026, 3, 2, tzinfo=UTC)
ENDS = ("outcome", "ended_at", "ended_reason", "scores")


def made(line: dict[str, Any], leading: int | None = None, name: str = "f.jsonl") -> list[NewEvent]:
    """The events of a line."""
    return convert(line, place=Place(name, 1), at=AT, default_source="d", leading=leading).events


def with_source(line: dict[str, Any]) -> dict[str, Any]:
    """A line with its source filled in."""
    return {**line, "source": line.get("source") or "d"}


def grown(old: dict[str, Any], new: dict[str, Any]) -> list[NewEvent]:
    """The stream of a line, and what another adds to it."""
    stored = made(old)
    leading = len(stored[0].payload["messages"])
    return [*stored, *growth.rest(stored, made(new, leading), with_source(restore(stored)), with_source(new))]


@settings(max_examples=300)
@given(line=chat_strategies.lines, cut=st.integers(0, 6), has_end=st.booleans())
def test_day_one_and_then_both_days_is_both_days(line: dict[str, Any], cut: int, has_end: bool) -> None:
    """Cut anywhere, before its end was known: the same line comes back, and the events are those of one import."""
    line = {
        key: value for key, value in line.items() if value is not None and key != "usage"
    }  # that says nothing, or of one message
    early = {**line, "messages": line["messages"][:cut]}
    if not has_end:
        early = {key: value for key, value in early.items() if key not in ENDS}
    assume(has_end or cut < len(line["messages"]) or "outcome" not in line or line.get("kind") == "call")
    assume(has_end is False or not isinstance(line.get("scores"), list) or all_scores_fit(line, cut))
    assert growth.difference(with_source(early), with_source(line)) is None
    stored = made(early)
    leading = len(stored[0].payload["messages"])
    events = grown(early, line)
    assert same_json(with_source(restore(events)), with_source(line))
    whole = made(line, leading)
    said = [
        event for event in events if event.event_type.split(".v")[0] not in ("conversation.started", "score.recorded")
    ]
    wanted = [
        event for event in whole if event.event_type.split(".v")[0] not in ("conversation.started", "score.recorded")
    ]
    if not has_end:
        assert [(e.event_type, e.payload) for e in said] == [(e.event_type, e.payload) for e in wanted]
    assert growth.rest(events, whole, with_source(restore(events)), with_source(line)) == []


def all_scores_fit(line: dict[str, Any], cut: int) -> bool:
    """Whether no score is of a message that is still to come."""
    return all(not isinstance(each, dict) or (each.get("message") or 0) < cut for each in line["scores"])


@given(line=chat_strategies.lines, name=st.sampled_from(["agent", "task_id", "metadata", "x"]))
def test_what_says_something_else_does_not_go_on(line: dict[str, Any], name: str) -> None:
    """A message that is another, or a fact that is, is named with its place."""
    assume(line["messages"])
    other = {**line, "messages": [{"role": "user", "content": "another"}, *line["messages"][1:]]}
    if not same_json(other, line):
        found = growth.difference(with_source(line), with_source(other))
        assert found is not None
        assert found.startswith("$.messages[0]")
    one, two = {**with_source(line), name: {"k": "one"}}, {**with_source(line), name: {"k": "two"}}
    assert growth.difference(one, two) == f"$.{name}"
    assert growth.difference(one, {**one, name: {"k": "one", "more": 1}}) is None
    assert (
        growth.difference({**one, "messages": line["messages"]}, {**one, "messages": line["messages"][:-1]}) is not None
    )


@given(line=chat_strategies.lines, places=st.lists(st.text("abc", min_size=1, max_size=2), max_size=4))
def test_links_say_how_far_two_lines_are_one(line: dict[str, Any], places: list[str]) -> None:
    """A link is that of all messages before it; decimals that a double does not hold are part of it."""
    texts = [canonical_json(each) for each in line["messages"]]
    links = growth.links(texts)
    for cut in range(len(texts)):
        assert growth.links(texts[: cut + 1]) == links[: cut + 1]
        changed = growth.links([*texts[:cut], '"other"', *texts[cut + 1 :]])
        assert [a == b for a, b in zip(links, changed, strict=True)] == [n < cut for n in range(len(texts))]
        literal = growth.links(texts, [(f"$.messages[{cut}].content", "0.10000000000000000001")])
        assert [a == b for a, b in zip(links, literal, strict=True)] == [n < cut for n in range(len(texts))]
    inexact = [(place, "1") for place in places]
    assert digest_of(line, {"messages": texts}, inexact) == digest(line, inexact)


def test_records_of_other_places_are_kept_once() -> None:
    """The same leftovers under another file's name say nothing new."""
    old = {"source": "s", "conversation_id": "c", "messages": [], "records": {"a:1": {"x": 1}}}
    same = {**old, "records": {"b:7": {"x": 1}}}
    assert growth.difference(old, same) is None
    assert grown(old, same) == made(old)
    more = grown(old, {**old, "records": {"b:7": {"x": 1}, "b:8": {"x": 2}}})
    assert restore(more)["records"] == {"a:1": {"x": 1}, "b:8": {"x": 2}}
    assert growth.digests_of(more) == {digest(old), digest({**old, "records": {"b:7": {"x": 1}, "b:8": {"x": 2}}})}
