"""The candidate of the benchmarks: it costs nothing, so that what is measured is the program around it."""

from __future__ import annotations

from pipelines.experiment.decision import Decision, Reply, ToolCall

_TEXT = Reply("Thank you. Your order is on its way.")
_CALL = Reply(None, [ToolCall("lookup_order", {"order_id": "A-1", "amount_usd": 12.5})])


def decide(decision: Decision) -> Reply:
    """A tool call after the user spoke, a text otherwise."""
    return _CALL if decision.messages[-1]["role"] == "user" else _TEXT
