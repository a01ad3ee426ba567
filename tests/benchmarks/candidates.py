"""The candidates of the benchmarks: they cost next to nothing, so that what is measured is the program around them."""

from __future__ import annotations

from typing import Any

from pipelines.experiment.decision import Decision, Reply, ToolCall
from pipelines.replay.agents.session import Session

_TEXT = Reply("Thank you. Your order is on its way.")
_CALL = Reply(None, [ToolCall("lookup_order", {"order_id": "A-1", "amount_usd": 12.5})])


def decide(decision: Decision) -> Reply:
    """A tool call after the user spoke, a text otherwise."""
    return _CALL if decision.messages[-1]["role"] == "user" else _TEXT


def ask_once(session: Session) -> str:
    """A model call, and its text."""
    messages = [*session.messages, {"role": "user", "content": session.user}]
    text: str = _said(session, messages)["content"]
    return text


def loop(session: Session) -> str:
    """An agent's loop: ask, fetch what its tools answered, until there is a text."""
    messages = [*session.messages, {"role": "user", "content": session.user}]
    while (message := _said(session, messages)).get("tool_calls"):
        messages.append(message)
        for call in message["tool_calls"]:
            result = session.result(call["function"]["name"], call["function"]["arguments"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    return message["content"]


def _said(session: Session, messages: list[Any]) -> dict[str, Any]:
    message: dict[str, Any] = session.ask("chat", {"model": session.model, "messages": messages})["choices"][0][
        "message"
    ]
    return message
