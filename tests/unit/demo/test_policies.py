"""The two agents on contexts that no simulated customer wrote, and the rules that tell them apart."""

from __future__ import annotations

import copy
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.demo.policies import RULES_V1, RULES_V2, agent_v1, agent_v2
from pipelines.demo.reading import utterance
from pipelines.demo.toolbox import tools
from pipelines.experiment.decision import Decision

AGENTS = [agent_v1, agent_v2]
OFFERED = {t["function"]["name"]: t["function"]["parameters"] for t in tools()}

texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["I want a refund for OR-12345", "cancel AP-10000", "viewing of FL-10000, Tue 14:30", "hello?", "thanks", "Where is OR-1?",
         "appointment Mon 09:00", "claim CL-10000", "This is ridiculous, $12.50 back! refund OR-12345"]
    ),
)  # fmt: skip
contents = st.one_of(
    texts, st.none(), st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": texts}), max_size=2)
)
results = st.one_of(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda inner: st.dictionaries(
            st.sampled_from(["total_usd", "refundable", "slots", "amount_usd", "status", "ticket_id"]), inner, max_size=4
        ) | st.lists(inner, max_size=3),
        max_leaves=6,
    ).map(json.dumps),
    st.just('{"a":' * 3000),
)  # fmt: skip
ids = st.one_of(st.none(), st.sampled_from(["a", "b", ""]))
tool_calls = st.lists(
    st.builds(
        lambda i, name, arguments: {"id": i, "type": "function", "function": {"name": name, "arguments": arguments}},
        ids,
        st.sampled_from([*OFFERED, "unknown_tool"]),
        texts,
    ),
    max_size=3,
)
messages = st.lists(
    st.one_of(
        st.builds(lambda c: {"role": "system", "content": c}, contents),
        st.builds(lambda c: {"role": "user", "content": c}, contents),
        st.builds(lambda c, calls: {"role": "assistant", "content": c, "tool_calls": calls}, contents, tool_calls),
        st.builds(lambda i, c: {"role": "tool", "tool_call_id": i, "content": c}, ids, results),
    ),
    max_size=12,
)


def ask(agent, context):
    return agent(Decision("stream", 1, 0, context))


def check_reply(reply):
    assert reply.text or reply.tool_calls
    for call in reply.tool_calls:
        assert set(call.arguments) == set(OFFERED[call.name]["required"])


@pytest.mark.parametrize("agent", AGENTS)
@given(context=messages)
def test_any_context_gets_a_valid_reply_and_stays_untouched(agent, context):
    """On any context an agent replies with text or with valid tool calls, the same each time, and changes nothing."""
    before = copy.deepcopy(context)
    reply = ask(agent, context)
    check_reply(reply)
    assert ask(agent, before) == reply
    assert context == before


@pytest.mark.parametrize("agent", AGENTS)
def test_real_contexts_get_a_valid_reply(agent, shared_data):
    """On every prefix that ends before an agent message of real conversations, an agent replies."""
    asked = 0
    with gzip.open(shared_data / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in list(lines)[::20]:
            conversation = json.loads(line)["messages"]
            for place, message in enumerate(conversation):
                if message["role"] == "assistant":
                    check_reply(ask(agent, conversation[:place]))
                    asked += 1
    assert asked > 100


def refund_context(total_usd, text="I'd like a refund for OR-12345: it is broken."):
    order = {
        "item": "kettle",
        "status": "delivered",
        "order_id": "OR-12345",
        "total_usd": total_usd,
        "refundable": True,
    }
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "lookup_order", "arguments": '{"order_id":"OR-12345"}'},
    }
    return [
        {"role": "user", "content": text},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": json.dumps(order)},
    ]


@pytest.mark.parametrize(("agent", "limit_usd"), [(agent_v1, 200), (agent_v2, 50)])
@given(total_usd=st.decimals(0, 1000, places=2).map(float))
def test_refunds_above_the_limit_need_approval(agent, limit_usd, total_usd):
    """Up to its limit an agent pays the order's total; above it, it opens a ticket over the same sum."""
    (call,) = ask(agent, refund_context(total_usd)).tool_calls
    assert call.name == ("refund_order" if total_usd <= limit_usd else "escalate_refund")
    assert call.arguments == {"reason": "damaged", "order_id": "OR-12345", "amount_usd": total_usd}


def test_customer_gets_what_they_named_but_not_more_than_the_total():
    """A sum that the customer names is paid up to the order's total."""
    for named, due in [("20.00", 20.0), ("75.00", 30.0)]:
        context = refund_context(30.0, f"I want my money back for OR-12345, I expect ${named} back.")
        assert ask(agent_v1, context).tool_calls[0].arguments["amount_usd"] == due


def test_only_the_recorded_agent_pays_without_looking():
    """An angry customer who names a small sum is paid at once by v1; v2 looks the order up first."""
    context = [{"role": "user", "content": "Refund OR-12345, $12.50, this is ridiculous!"}]
    assert [call.name for call in ask(agent_v1, context).tool_calls] == ["refund_order"]
    assert [call.name for call in ask(agent_v2, context).tool_calls] == ["find_customer", "lookup_order"]


def test_candidate_looks_before_it_promises():
    """Asked for a refund, both look the order up, but only v1 already promises one."""
    for number in range(12345, 12355):
        context = [{"role": "user", "content": f"I'd like a refund for OR-{number}."}]
        first, second = ask(agent_v1, context), ask(agent_v2, context)
        assert first.tool_calls == second.tool_calls
        assert first.text != second.text
        assert "promise" in second.text or "first" in second.text


def test_words_vary_and_rules_differ():
    """The same request about other orders is answered in several phrasings; v2 allows less in every respect."""
    said = {
        ask(agent_v1, [{"role": "user", "content": f"Refund OR-{n}"}]).text.replace(str(n), "N")
        for n in range(10000, 10040)
    }
    assert len(said) == len(RULES_V1.words["promise_refund"])
    assert RULES_V2.refund_limit_usd < RULES_V1.refund_limit_usd
    assert RULES_V2.goodwill_usd < RULES_V1.goodwill_usd


@pytest.mark.parametrize(
    ("text", "intent", "reference"),
    [
        ("Please cancel my appointment AP-10001.", "cancel", "AP-10001"),
        ("Any decision on claim CL-10002?", "claim", "CL-10002"),
        ("Sorry, I meant OR-10003.", None, "OR-10003"),
        ("Call me at 202-555-0100.", None, None),
        ("", None, None),
    ],
)
def test_texts_are_understood(text, intent, reference):
    """Requests are told by their words, numbers by their form; telephone numbers are no references."""
    said = utterance(text)
    assert (said.intent, said.reference) == (intent, reference)


def test_every_tool_has_an_effect_hint():
    """Each schema says whether the tool only reads, and requires all its parameters."""
    hints = {t["function"]["name"]: t["annotations"]["readOnlyHint"] for t in tools()}
    reading = {"find_customer", "lookup_order", "check_claim", "list_viewings"}
    assert hints == {name: name in reading for name in OFFERED}
    assert all(set(p["required"]) == set(p["properties"]) for p in OFFERED.values())
