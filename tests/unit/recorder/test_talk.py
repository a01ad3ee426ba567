"""A talk against the left fold: whatever is recorded, the fold rebuilds the requests that were sent."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.chat_strategies import json_values, text
from tests.support.kept import Kept, folded, new_talk

_contents = text | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": text}), min_size=1, max_size=2)
_ids = st.sampled_from(["a", "b", "", None])
_calls = st.lists(
    st.fixed_dictionaries(
        {
            "id": _ids,
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": st.sampled_from(["f", "g"]), "arguments": text}),
        }
    ),
    max_size=3,
)
_inputs = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system", "developer"]), "content": _contents}),
    st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": _ids, "content": text}),
)


@st.composite
def _answers(draw: st.DrawFn) -> dict[str, Any]:
    """The model's message; what a provider adds empty is there or not."""
    message: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | text)}
    if calls := draw(_calls):
        message["tool_calls"] = calls
    return message | draw(st.sampled_from([{}, {"refusal": None, "annotations": []}]))


_rounds = st.lists(st.tuples(st.lists(_inputs, max_size=3), _answers()), min_size=1, max_size=4)
_params = st.dictionaries(st.sampled_from(["temperature", "seed", "stop"]), json_values, max_size=2)


@given(rounds=_rounds, params=_params)
def test_every_request_verifies_when_only_requests_are_recorded(rounds: list[Any], params: dict[str, Any]) -> None:
    """Any chat, recorded by its model calls alone: the left fold finds every request as it was sent."""
    kept = Kept()
    talk = new_talk(kept)
    messages: list[dict[str, Any]] = []
    for inputs, answer in rounds:
        messages += inputs
        request = {"model": "m", "messages": messages, **params}
        talk.decision(request=request, response={"choices": [{"message": answer}]})
        messages = [*messages, answer]
    rows = folded(kept)
    assert [row["context_verified"] for row in rows] == [True] * len(rounds)
    assert kept.told == []
    assert [row["text"] for row in rows] == [answer["content"] for _, answer in rounds]


@given(rounds=_rounds, data=st.data())
def test_any_changed_message_is_noticed(rounds: list[Any], data: st.DataObject) -> None:
    """One character more in any message of a request: the fold says that it is not what was sent."""
    kept = Kept()
    talk = new_talk(kept)
    messages: list[dict[str, Any]] = []
    for inputs, answer in rounds:
        messages += inputs
        talk.decision(request={"model": "m", "messages": messages}, response={"choices": [{"message": answer}]})
        messages = [*messages, answer]
    altered = json.loads(json.dumps(messages))
    place = data.draw(st.integers(0, len(messages) - 1))
    altered[place]["content"] = str(altered[place]["content"] or "") + "!"
    talk.decision(request={"model": "m", "messages": altered}, response={"choices": [{"message": rounds[0][1]}]})
    rows = folded(kept)
    assert rows[-1]["context_verified"] is False
    assert kept.told == ["difference"]


def test_real_conversations_verify(shared_data: Path) -> None:
    """Real agents' chats, recorded by their model calls alone: the left fold finds every request as it was sent."""
    decisions = 0
    with gzip.open(shared_data / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        # one in four keeps the test short; a person's own tool calls are never part of a request
        for text in islice(lines, 0, None, 4):
            messages = json.loads(text)["messages"]
            if any(message["role"] == "user" and message.get("tool_calls") for message in messages):
                continue
            kept = Kept()
            talk = new_talk(kept)
            answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
            for index in answers:
                response = {"choices": [{"message": messages[index]}]}
                talk.decision(request={"model": "m", "messages": messages[:index]}, response=response)
            assert [row["context_verified"] for row in folded(kept)] == [True] * len(answers)
            assert kept.told == []
            decisions += len(answers)
    assert decisions > 2000


def test_versions_count_what_was_recorded() -> None:
    """Every call answers the stream versions of its events, without a gap, the start included in the first."""
    kept = Kept()
    talk = new_talk(kept, [{"role": "system", "content": "s"}])
    versions = [*talk.agent("Hello"), *talk.user("Hi"), *talk.context("row", {"a": 1}), *talk.end(None)]
    assert versions == list(range(1, len(kept.events) + 1))
    assert [event.event_type for event in kept.events] == [
        "conversation.started.v1",
        "agent.utterance.v1",
        "user.utterance.v1",
        "context.supplied.v1",
        "conversation.ended.v1",
    ]


def test_a_recorder_that_fails_changes_nothing() -> None:
    """What could not be kept is not counted: the next call takes its versions."""
    kept = Kept()
    talk = new_talk(kept)
    real, kept.send = kept.send, _fail  # type: ignore[method-assign] # the outbox is down for one call
    try:
        talk.user("lost")
    except OSError:
        kept.send = real  # type: ignore[method-assign]
    assert talk.user("kept") == range(1, 3)


def _fail(*_: object) -> None:
    raise OSError
