"""The recording and the agent that made it: a replay finds exactly what was recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pipelines.demo.policies import agent_v1, agent_v2
from pipelines.experiment.decision import Decision, Reply
from pipelines.log.context import Context, request_sha256
from pipelines.store.events import StreamBatch

MASK = "[redacted]"


def jsonb(value: Any) -> Any:
    """`value` with its keys in the order that PostgreSQL's jsonb keeps: shorter first, then by bytes."""
    if isinstance(value, dict):
        return {key: jsonb(value[key]) for key in sorted(value, key=lambda k: (len(k.encode()), k.encode()))}
    return [jsonb(item) for item in value] if isinstance(value, list) else value


def recorded(batch: StreamBatch, *, masked: dict[int, Any] | None = None) -> Iterator[tuple[dict, list, Reply]]:
    """Each decision of a stream: its payload, the context before it and the recorded reply, from stored payloads."""
    context = Context()
    for version, event in enumerate(batch.events, 1):
        payload = jsonb(event.payload) | (masked or {}).get(version, {})
        if event.event_type.startswith("model.decision"):
            same = [e for e in batch.events if e.metadata["message_id"] == event.metadata["message_id"]]
            texts = [e.payload["text"] for e in same if e.event_type == "agent.utterance.v1"]
            calls = [(e.payload["name"], e.payload["arguments"]) for e in same if e.event_type == "tool.call.v1"]
            assert same[0] is event  # the decision stands before its message
            yield payload, [dict(m) for m in context.messages], (texts, calls)
        context.apply(event.event_type, payload, event.metadata)


def answer(agent, messages):
    reply = agent(Decision("stream", 1, 0, messages))
    return [] if reply.text is None else [reply.text], [(call.name, call.arguments) for call in reply.tool_calls]


def test_replayed_agent_gives_the_recorded_reply(talks):
    """On every rebuilt context agent_v1 says and calls exactly what was recorded."""
    decisions = 0
    for batch in talks:
        for _, messages, reply in recorded(batch):
            assert answer(agent_v1, messages) == reply
            decisions += 1
    assert decisions > 1_000


def test_request_hashes_verify_after_a_round_trip_through_jsonb(talks):
    """The recorded request hash is the hash of the context rebuilt from payloads as jsonb gives them back."""
    for batch in talks:
        for decision, messages, _ in recorded(batch):
            again = request_sha256(
                messages,
                model=decision["model"],
                params=decision["params"],
                tools_sha256=decision["tools_sha256"],
            )
            assert again == decision["request_sha256"]


@pytest.mark.parametrize("agent", [agent_v1, agent_v2])
@pytest.mark.parametrize("mask", [MASK, ""])
def test_redaction_changes_no_reply(talks, agent, mask):
    """With personal data masked in its context, an agent acts as with the data: it never used them."""
    checked = 0
    for batch in talks:
        masked = {}
        for event in batch.events:
            if event.event_type == "redaction.applied.v1":
                version = event.payload["target"]["stream_version"]
                text = batch.events[version - 1].payload["text"]
                span = event.payload.get("span", {"start": 0, "end": len(text)})
                masked[version] = {"text": text[: span["start"]] + mask + text[span["end"] :]}
        if masked:
            for (_, plain, _), (_, hidden, _) in zip(recorded(batch), recorded(batch, masked=masked), strict=True):
                assert answer(agent, plain) == answer(agent, hidden)
                checked += 1
    assert checked > 50


def test_candidate_differs_where_it_should(talks):
    """On the recorded contexts the candidate pays nothing above 50 USD, and for each such payment opens a ticket."""
    escalated = paid = 0
    for batch in talks:
        for _, messages, (_, calls) in recorded(batch):
            _, candidate = answer(agent_v2, messages)
            assert all(a["amount_usd"] <= 50 for name, a in candidate if name == "refund_order")
            for (name, arguments), (name_2, arguments_2) in zip(calls, candidate, strict=False):
                if name == "refund_order" and arguments["amount_usd"] > 50:
                    assert (name_2, arguments_2) == ("escalate_refund", arguments)
                    escalated += 1
                paid += name == name_2 == "refund_order"
    assert paid > escalated > 0


def test_agent_may_begin(talks):
    """Some calls begin with the agent's greeting, before the customer has said anything."""
    first = [next(recorded(batch)) for batch in talks if batch.aggregate_type == "call"]
    assert any(messages[-1]["role"] == "system" for _, messages, _ in first)
