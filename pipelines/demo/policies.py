"""The desk's two agents: `agent_v1`, which it runs, and `agent_v2`, the candidate to compare with it.

Both are pure functions of `decision.messages`, of the form that an experiment's `python: module:function` wants. They
share their conduct and differ in their rules: v1 refunds up to 200 USD itself, promises before it has looked, and pays
a small sum that an angry customer names without looking at all; v2 refunds up to 50 USD, opens an approval ticket
above that, always looks first and says a few things differently. What they understand is in `reading`, what they say
in `wording`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.demo.reading import Reading, read
from pipelines.demo.wording import WORDS_V1, WORDS_V2, Words, phrase
from pipelines.experiment.decision import Decision, Reply, ToolCall


@dataclass(frozen=True, slots=True)
class Rules:
    """What one agent may do and how it speaks.

    Attributes:
        refund_limit_usd: Largest refund in US dollars that it pays without approval.
        goodwill_usd: Largest sum in US dollars that it pays an angry customer who names it, without a look-up.
        words: What it says.
    """

    refund_limit_usd: float
    goodwill_usd: float
    words: Words


RULES_V1 = Rules(refund_limit_usd=200.0, goodwill_usd=40.0, words=WORDS_V1)
RULES_V2 = Rules(refund_limit_usd=50.0, goodwill_usd=0.0, words=WORDS_V2)

_MAX_ATTEMPTS = 2
"""A tool that failed this often for one request is not asked again."""


def agent_v1(decision: Decision) -> Reply:
    """The agent that the desk runs."""
    return reply(decision.messages, RULES_V1)


def agent_v2(decision: Decision) -> Reply:
    """The candidate: lower refund limit, looks before it promises."""
    return reply(decision.messages, RULES_V2)


def reply(messages: Sequence[Mapping[str, Any]], rules: Rules) -> Reply:
    """The agent's next message after `messages` (chat-completions form, oldest first) under `rules`."""
    seen = read(messages)
    said = seen.said
    if seen.intent is not None and (seen.is_answering or seen.is_request):
        return _CONDUCT[seen.intent](seen, rules)
    if said is None:
        return _say("greeting", seen, rules)
    if said.is_waiting:
        return _say("held_up" if seen.open_calls else "here", seen, rules)
    if said.is_bye:
        return _say("bye_sorry" if seen.is_angry else "bye", seen, rules)
    if said.is_question:
        return _say(f"about_{said.topic or 'anything'}", seen, rules)
    return _say("noted", seen, rules)


def _refund(seen: Reading, rules: Rules) -> Reply:
    amount = seen.amount_usd
    if seen.reference is None:
        return _say("ask_reference", seen, rules)
    if seen.is_answering:
        return _refund_further(seen, rules)
    if seen.is_angry and amount is not None and amount <= rules.goodwill_usd:
        return _say("goodwill", seen, rules, calls=[_pay(seen, amount)], usd=f"{amount:.2f}")
    return _say("promise_refund", seen, rules, calls=_look_up(seen))


def _refund_further(seen: Reading, rules: Rules) -> Reply:
    """A refund after tools answered: by the furthest step that was tried."""
    order = seen.result("lookup_order")
    due = _due(seen.amount_usd, order)
    if "escalate_refund" in seen.results:
        ticket = seen.result("escalate_refund")
        return _say("escalated" if ticket else "trouble", seen, rules, ticket=(ticket or {}).get("ticket_id"))
    if "refund_order" in seen.results:
        return _refund_tried(seen, rules, due)
    if order is None:
        return _look_again(seen, rules)
    if not order.get("refundable"):
        return _say("refused", seen, rules)
    if due > rules.refund_limit_usd:
        return _say("too_large", seen, rules, calls=[_escalate(seen, due)])
    return Reply(tool_calls=(_pay(seen, due),))


def _refund_tried(seen: Reading, rules: Rules, due_usd: float) -> Reply:
    """A payment was tried: say so, or try once more where that is allowed, or hand it to a colleague."""
    paid = seen.result("refund_order")
    if paid is not None:
        return _say("refunded", seen, rules, usd=f"{_number(paid.get('amount_usd')):.2f}")
    again = seen.failures.get("refund_order", 0) < _MAX_ATTEMPTS and due_usd <= rules.refund_limit_usd
    return Reply(tool_calls=(_pay(seen, due_usd) if again else _escalate(seen, due_usd),))


def _status(seen: Reading, rules: Rules) -> Reply:
    if seen.reference is None:
        return _say("ask_reference", seen, rules)
    if not seen.is_answering:
        return _say("look", seen, rules, calls=_look_up(seen))
    order = seen.result("lookup_order")
    if order is None:
        return _look_again(seen, rules)
    return _say("order_state", seen, rules, item=order.get("item"), state=order.get("status"))


def _claim(seen: Reading, rules: Rules) -> Reply:
    if seen.reference is None:
        return _say("ask_reference", seen, rules)
    if not seen.is_answering:
        return _say("look", seen, rules, calls=[ToolCall("check_claim", {"claim_id": seen.reference})])
    claim = seen.result("check_claim")
    if claim is None:
        return _say("not_found", seen, rules)
    return _say("claim_state", seen, rules, state=claim.get("state"), usd=f"{_number(claim.get('amount_usd')):.2f}")


def _cancel(seen: Reading, rules: Rules) -> Reply:
    if seen.reference is None:
        return _say("ask_reference", seen, rules)
    if not seen.is_answering:
        return Reply(tool_calls=(ToolCall("cancel_appointment", {"appointment_id": seen.reference}),))
    is_done = seen.result("cancel_appointment") is not None
    return _say("cancelled" if is_done else "not_found", seen, rules)


def _appointment(seen: Reading, rules: Rules) -> Reply:
    if not seen.is_answering:
        if seen.slot is None:
            return _say("ask_slot", seen, rules)
        wanted = {"slot": seen.slot, "service": seen.service or "check-up"}
        return Reply(tool_calls=(ToolCall("book_appointment", wanted),))
    return _booked("book_appointment", "appointment_booked", seen, rules)


def _viewing(seen: Reading, rules: Rules) -> Reply:
    if seen.reference is None:
        return _say("ask_reference", seen, rules)
    if not seen.is_answering:
        if seen.slot is None:
            return _say("look", seen, rules, calls=[ToolCall("list_viewings", {"listing_id": seen.reference})])
        return Reply(tool_calls=(ToolCall("book_viewing", {"slot": seen.slot, "listing_id": seen.reference}),))
    if "book_viewing" in seen.results:
        return _booked("book_viewing", "viewing_booked", seen, rules)
    slots = (seen.result("list_viewings") or {}).get("slots")
    if not isinstance(slots, list) or not slots:
        return _say("not_found", seen, rules)
    return _say("offer", seen, rules, slots=", ".join(map(str, slots)))


_CONDUCT: Mapping[str, Callable[[Reading, Rules], Reply]] = {
    "refund": _refund,
    "cancel": _cancel,
    "claim": _claim,
    "viewing": _viewing,
    "appointment": _appointment,
    "status": _status,
}


def _booked(tool: str, phrase_name: str, seen: Reading, rules: Rules) -> Reply:
    """After a booking was tried: confirm it, and once more when the confirmation went out."""
    if seen.result(tool) is None:
        return _say("slot_taken", seen, rules)
    if "send_message" in seen.results:
        return _say("confirmation_sent", seen, rules)
    note = ToolCall("send_message", {"body": f"Booked: {seen.slot}.", "channel": "sms"})
    return _say(phrase_name, seen, rules, calls=[note], slot=seen.slot)


def _look_up(seen: Reading) -> list[ToolCall]:
    """Read the order and, when nobody is logged in, whose it is: one parallel block."""
    calls = [ToolCall("lookup_order", {"order_id": seen.reference})]
    if not seen.is_known:
        calls.insert(0, ToolCall("find_customer", {"order_id": seen.reference}))
    return calls


def _look_again(seen: Reading, rules: Rules) -> Reply:
    """The look-up brought nothing: a time-out is tried once more, a wrong number is asked for."""
    if "timeout" not in seen.results.get("lookup_order", "timeout"):
        return _say("not_found", seen, rules)
    if seen.failures.get("lookup_order", 0) >= _MAX_ATTEMPTS:
        return _say("trouble", seen, rules)
    return Reply(tool_calls=(ToolCall("lookup_order", {"order_id": seen.reference}),))


# Keys are in the order in which PostgreSQL's jsonb keeps them (shorter first), so that the request as sent and the
# request as rebuilt from the store are the same bytes.
def _pay(seen: Reading, amount_usd: float) -> ToolCall:
    return ToolCall("refund_order", {"reason": seen.reason, "order_id": seen.reference, "amount_usd": amount_usd})


def _escalate(seen: Reading, amount_usd: float) -> ToolCall:
    return ToolCall("escalate_refund", {"reason": seen.reason, "order_id": seen.reference, "amount_usd": amount_usd})


def _due(named_usd: float | None, order: Mapping[str, Any] | None) -> float:
    """US dollars to pay back: what was named, but no more than the order cost."""
    if order is None:
        return named_usd or 0.0
    total = _number(order.get("total_usd"))
    return total if named_usd is None else min(named_usd, total)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _say(name: str, seen: Reading, rules: Rules, calls: Sequence[ToolCall] = (), **values: Any) -> Reply:
    """A phrase of the agent's, chosen by the request and the place in the conversation, with tool calls or without."""
    text = phrase(rules.words, name, f"{seen.reference}{seen.length}", reference=seen.reference, **values)
    return Reply(text=text, tool_calls=tuple(calls))
