"""Where what happened beside the calls finds its place, held to a walk over all entries, one after the other."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from pipelines.canonical.content import text_of
from pipelines.ingest.assemble.beside import Spoken, Timeline
from pipelines.ingest.assemble.rows import Message, Step
from pipelines.ingest.assemble.streams import Stream
from pipelines.ingest.assemble.threads import Entry

TIMES = st.one_of(st.none(), st.integers(0, 12))
"""Few, so that equal ones are common, in any order."""


def walk(entries: list[Entry], new: list[Entry], at: int | None) -> None:
    """Before the first that came later, else at the end: the rule as it is said."""
    place = len(entries)
    for number, entry in enumerate(entries):
        if at is not None and entry.at is not None and entry.at > at:
            place = number
            break
    entries[place:place] = new


@settings(max_examples=300)
@given(st.lists(TIMES, max_size=12), st.lists(st.tuples(TIMES, st.lists(TIMES, max_size=3)), max_size=12))
def test_entries_are_put_before_the_first_that_came_later(there, puts):
    """Whatever the order of those that are there, and of those that come; a later answer moves what comes after it."""
    expected, found = [[Entry(at=at, time_source=str(number)) for number, at in enumerate(there)] for _ in range(2)]
    timeline = Timeline(found)
    for number, (at, times) in enumerate(puts):
        one, other = [[Entry(at=each, time_source=f"put {number}") for each in times] for _ in range(2)]
        walk(expected, one, at)
        timeline.put(other, at)
    assert [(entry.time_source, entry.at) for entry in found] == [(entry.time_source, entry.at) for entry in expected]


SAID = st.tuples(st.sampled_from(["user", "assistant"]), st.sampled_from(["yes", " yes ", "no", ""]))


def message(said: tuple[str, str]) -> Message:
    return Message({"role": said[0], "content": said[1]})


@settings(max_examples=300)
@given(st.lists(st.one_of(st.none(), SAID), max_size=10), st.lists(SAID, max_size=10), st.integers(0, 10))
def test_speech_is_of_the_first_message_with_its_text_that_has_none(there, steps, cut):
    """Each message is taken once, over all streams in their order."""
    entries = [Entry(message(said) if said is not None else None) for said in there]
    streams = [Stream(None, part) for part in (entries[:cut], entries[cut:])]
    spoken = Spoken(streams)
    taken: set[int] = set()

    def same(a: Message, b: Message) -> bool:
        return (
            a.chat["role"] == b.chat["role"]
            and text_of(a.chat["content"]).strip() == text_of(b.chat["content"]).strip()
        )

    for said in steps:
        step = Step(kind="utterance", id="s", place="s", message=message(said))
        first = next(
            (
                n
                for n, e in enumerate(entries)
                if n not in taken and e.message is not None and same(e.message, step.message)
            ),
            None,
        )
        assert spoken.take(step) == (first is not None)
        if first is not None:
            taken.add(first)
            assert entries[first].step is step
    assert [entry.step is not None for entry in entries] == [number in taken for number in range(len(entries))]
