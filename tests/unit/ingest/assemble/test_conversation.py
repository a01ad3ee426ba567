"""A conversation is got back from its model's calls, however a recorder kept them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ingest.assemble.conversation import Assembled, assemble
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Call, Facts, Row, Step
from tests.support.formats import hashed, stream_sha256, streams_of
from tests.support.recorders import (
    SECOND,
    START,
    Chat,
    Told,
    as_text,
    calls_of,
    message,
    one_by_one,
    only_results,
    told,
    tool_spans,
    without_ids,
    wrapped,
)

MANY = settings(max_examples=80, deadline=None)


def of(rows: Sequence[Row]) -> Assembled:
    return assemble("conversation", iter(deepcopy(list(rows))), source="test")


def expected(*conversations: Told) -> list[list[Any]]:
    return [[hashed(each) for each in conversation.whole()] for conversation in conversations]


def histories(made: Assembled) -> dict[str, int]:
    return dict(made.tally.histories)


@MANY
@given(told())
def test_exact_copies(conversation: Told) -> None:
    """Each call was sent all before it: one stream, every call of it exact."""
    made = of(calls_of(conversation))
    assert streams_of(made.lines) == expected(conversation)
    calls = len(conversation.asked)
    assert histories(made) == {"opened": 1} | ({"exact": calls - 1} if calls > 1 else {})
    assert made.tally.repeated == _sent(calls_of(conversation)) - _first_said(conversation)


def _sent(calls: list[Call]) -> int:
    return sum(each.leaves for call in calls for each in call.input or ())


def _first_said(conversation: Told) -> int:
    """Leaves of what calls were sent and no call answered: said once each."""
    lead = len(conversation.whole()) - len(conversation.messages)
    sent = conversation.whole()[: lead + conversation.asked[-1]]
    return sum(leaves(each) for each in sent if each["role"] != "assistant")


@MANY
@given(told(), st.sampled_from([without_ids, one_by_one]))
def test_other_spelling(conversation: Told, history: Callable[[list[Chat]], list[Chat]]) -> None:
    """Ids, blanks and spellings of JSON make no other message, and parallel calls may come back one by one."""
    made = of(calls_of(conversation, history=history))
    assert streams_of(made.lines) == expected(conversation)
    assert set(histories(made)) <= {"opened", "exact", "rendered"}


@MANY
@given(told())
def test_rendered_anew(conversation: Told) -> None:
    """What the agent said comes back as another text: the answer stays as it was recorded, and the call says so."""
    made = of(calls_of(conversation, history=as_text))
    assert streams_of(made.lines) == expected(conversation)
    places = [conversation.messages[place] for place in conversation.asked[:-1]]
    assert ("rendered" in histories(made)) == any(each.get("tool_calls") for each in places)


@MANY
@given(told())
def test_deltas(conversation: Told) -> None:
    """After a tool ran, only its result was recorded as sent."""
    made = of(calls_of(conversation, history=only_results))
    assert streams_of(made.lines) == expected(conversation)
    after_tools = sum(conversation.messages[place - 1]["role"] == "tool" for place in conversation.asked)
    assert made.tally.histories["delta"] == after_tools


@MANY
@given(told(), st.booleans(), st.randoms(use_true_random=False))
def test_wrappers(conversation: Told, is_parent: bool, shuffling: random.Random) -> None:
    """A call that two instrumentations recorded is one, with the tokens of the inner one, in whatever order they come."""
    rows = wrapped(calls_of(conversation), is_parent=is_parent)
    shuffling.shuffle(rows)
    made = of(rows)
    assert streams_of(made.lines) == expected(conversation)
    calls = len(conversation.asked)
    assert (made.tally.model_calls, made.tally.wrapper_calls) == (calls, calls)
    assert made.tally.input_tokens == 10 * calls
    decisions = [each["decision"] for each in made.lines[0]["messages"] if "decision" in each]
    assert all(each["wrapped_by"][0]["usage"] == {"input_tokens": 3, "output_tokens": 3} for each in decisions)


@MANY
@given(told(), st.randoms(use_true_random=False))
def test_any_order(conversation: Told, shuffling: random.Random) -> None:
    """Rows in any order, and all calls of one time: the same lines, but for what says where things stood."""
    rows: list[Row] = [*calls_of(conversation), *tool_spans(conversation)]
    straight = of(rows).lines
    shuffling.shuffle(rows)
    assert of(rows).lines == straight
    at_once = [replace(each, start=START, end=START) for each in calls_of(conversation)]
    shuffling.shuffle(at_once)
    assert streams_of(of(at_once).lines) == expected(conversation)


@MANY
@given(told(), st.data())
def test_retries(conversation: Told, data: st.DataObject) -> None:
    """A call that failed, and was made again with the same input: one answer, and the failure before it."""
    calls = calls_of(conversation)
    number = data.draw(st.integers(0, len(calls) - 1))
    again = calls[number]
    assert again.start is not None
    failed = replace(deepcopy(again), id="failed", end=again.start - SECOND, start=again.start - 2 * SECOND)
    failed.output, failed.error = [], {"type": "timeout"}
    made = of([*calls[:number], failed, *calls[number:]])
    assert streams_of(made.lines) == expected(conversation)
    decisions = [each["decision"] for each in made.lines[0]["messages"] if "decision" in each]
    assert [each.get("error") for each in decisions].index({"type": "timeout"}) == number
    assert decisions[number + 1]["retries"] == 1


@MANY
@given(told(calls_max=1), told())
def test_sub_agents(outer: Told, inner: Told) -> None:
    """What a tool asks of another agent is a stream of its own, and names the call that it came from."""
    spans = tool_spans(outer)
    inner.system = "You are the other one."
    calls = calls_of(outer, step=1000 * SECOND)
    if not spans:
        return
    spans = tool_spans(outer, step=1000 * SECOND)
    own = calls_of(inner, name="inner", at=(spans[0].start or 0) + 1, agent="other", parent=spans[0].id)
    made = of([*calls, *spans, *own])
    assert streams_of(made.lines[:1]) == expected(outer)
    assert streams_of(made.lines[1:]) == expected(inner)
    line = made.lines[1]
    first = next(c for each in outer.messages for c in each.get("tool_calls") or ())
    assert line["parent"] == {"conversation_id": "conversation", "call_id": first["id"]}
    assert (line["conversation_id"], line["agent"]) == ("conversation/other", "other")


@MANY
@given(told(max_turns=3), told(max_turns=2))
def test_compaction(before: Told, after: Told) -> None:
    """History that gave way to a summary: one stream, in which it is told what was replaced."""
    task = {"role": "user", "content": "The task, which stays."}
    summary = {"role": "user", "content": "Summary of all before: it went well."}
    before.messages[0] = task
    after.messages[0] = {"role": "user", "content": "And now something else."}
    first, number = calls_of(before), len(before.asked)
    later = Told(before.system, [task, summary, *after.messages], [place + 2 for place in after.asked])
    made = of([*first, *calls_of(later, name="d", at=START + number * 10 * SECOND)])
    assert len(made.lines) == 1
    assert histories(made)["compacted"] == 1
    assert made.lines[0]["fidelity"] == ["history_compacted"]
    lead = len(before.whole()) - len(before.messages)
    payload = next(each["compacted"] for each in made.lines[0]["messages"] if "compacted" in each)
    assert (payload["from_message"], payload["to_message"]) == (lead + 1, len(before.whole()))
    assert payload["replacement"] == [summary]
    said = [*before.whole(), *after.messages]
    assert streams_of(made.lines) == [[hashed(each) for each in said]]


@MANY
@given(told(), st.data())
def test_growth(conversation: Told, data: st.DataObject) -> None:
    """What a conversation said on its first days is how it begins later, whatever a recorder makes of its history."""
    history = data.draw(st.sampled_from([lambda sent: sent, as_text, without_ids, one_by_one, only_results]))
    calls = calls_of(conversation, history=history)
    count = data.draw(st.integers(1, len(calls)))
    first, whole = of(calls[:count]).lines, of(calls).lines
    assert len(first) == len(whole) == 1
    assert whole[0]["messages"][: len(first[0]["messages"])] == first[0]["messages"]


@MANY
@given(told())
def test_spans_of_tools(conversation: Told) -> None:
    """A result that the model was sent is what it saw; what the tool returned stays beside it, and is the result where there is no other."""
    made = of([*calls_of(conversation), *tool_spans(conversation)])
    results = [each for each in made.lines[0]["messages"] if each["role"] == "tool"]
    assert streams_of(made.lines) == expected(conversation)
    assert all(each["time_source"] == "span" for each in results)
    kept = [each for each in made.lines[0].get("records", {}).values() if "tool_span_output" in each]
    assert len(kept) == len(results)


def test_a_result_that_only_a_span_says() -> None:
    """The trace ends on a tool: its result is the span's, and is not counted among those that the model was sent."""
    call = {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    told = Told(
        "", [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": [call]}], [1]
    )
    made = of([*calls_of(told), *tool_spans(told)])
    assert made.lines[0]["messages"][-1]["content"] == "from the span"
    assert (made.tally.tool_results, made.tally.span_results, made.tally.open_tool_calls) == (0, 1, 0)


def test_turns_without_history() -> None:
    """A recorder that keeps a trace a turn, without what was said before: turns of one stream."""
    one = Told("Be brief.", [{"role": "user", "content": "one"}, {"role": "assistant", "content": "1"}], [1])
    two = Told("Be brief.", [{"role": "user", "content": "two"}, {"role": "assistant", "content": "2"}], [1])
    calls = [*calls_of(one, parent="a"), *calls_of(two, name="d", at=START + 60 * SECOND, parent="b")]
    made = of(calls)
    assert [each.get("content") for each in made.lines[0]["messages"]] == ["Be brief.", "one", "1", "two", "2"]
    assert len(made.lines) == 1


def test_a_second_answer_is_a_branch() -> None:
    """Two answers to one input: what the conversation went on with is the stream, and the other a branch of it."""
    first = Told("", [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "no"}], [1])
    other = Told("", [*first.messages[:1], {"role": "assistant", "content": "yes"}], [1])
    other.messages += [{"role": "user", "content": "go on"}, {"role": "assistant", "content": "done"}]
    other.asked.append(3)
    made = of([*calls_of(first, parent="r"), *calls_of(other, name="d", at=START + 5 * SECOND, parent="r")])
    assert streams_of(made.lines) == expected(other, first)
    assert made.lines[1]["branch_of"] == {"conversation_id": "conversation", "messages": 1}
    assert (made.tally.user, made.tally.agent_text) == (2, 3)  # what both begin with is counted once


def test_calls_without_content() -> None:
    """Content was not captured: the calls are there, and what turns it on."""
    calls = [
        Call(f"c{n}", f"f:{n}", start=START + n, end=START + n + 1, model="m", content_switch="CAPTURE=true")
        for n in range(3)
    ]
    made = of(calls)
    assert (made.tally.contentless, made.tally.switches) == (3, {"CAPTURE=true"})
    assert [each["decision"]["content_missing"] for each in made.lines[0]["messages"]] == [True] * 3
    assert made.lines[0]["fidelity"] == ["content_missing"]


def test_parents_in_a_circle() -> None:
    """Spans that are each other's parents are roots; nothing waits for them."""
    calls = calls_of(Told("", [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}], [1]))
    calls[0].parent = "x"
    made = of([Step("mark", "x", "f:x", parent="y"), Step("mark", "y", "f:y", parent="x"), *calls])
    assert made.tally.model_calls == 1


def test_facts_that_differ() -> None:
    """The first to say a thing is believed, and what another says is kept."""
    made = of([Facts("f:1", {"agent": "a", "tags": ["x"]}), Facts("f:2", {"agent": "b", "tags": ["y"]})])
    assert (made.lines[0]["agent"], made.lines[0]["tags"]) == ("a", ["x", "y"])
    assert list(made.lines[0]["records"].values()) == [{"facts": {"agent": "b"}}]


@pytest.mark.parametrize("count", [3000])
def test_long_traces(count: int) -> None:
    """Calls that share nothing, and one conversation of many calls, take time by their number."""
    alone = [
        Call(
            f"c{n:06}",
            f"f:{n}",
            start=START + n,
            end=START + n + 1,
            input=[message({"role": "user", "content": str(n)})],
        )
        for n in range(count)
    ]
    assert of(alone).tally.model_calls == count


def test_the_same_conversation_has_the_same_hash() -> None:
    """Whatever the recorder, what was said hashes alike."""
    conversation = Told("s", [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}], [1])
    kinds = [calls_of(conversation, history=each) for each in (as_text, without_ids, one_by_one, only_results)]
    assert len({stream_sha256(of(calls).lines) for calls in kinds}) == 1
