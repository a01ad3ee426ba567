"""What the desk's agents are told: the system prompt and the tool schemas of each vertical.

Only what the model is shown belongs here; what the tools do is in `backend`. Effects are hints in the schemas
(`annotations.readOnlyHint`), where a replay finds out which recorded calls changed something.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, get_args

from pipelines.log.context import tools_sha256

Vertical = Literal["real_estate", "healthcare", "sales"]
Effect = Literal["read", "write"]
VERTICALS: tuple[Vertical, ...] = get_args(Vertical)

_TEXT = {"type": "string"}
_USD = {"type": "number", "minimum": 0, "description": "US dollars"}
_ORDER = {"type": "string", "description": "Order, bill or deposit number, two letters and digits"}
_REASON = {"type": "string", "enum": ["changed_mind", "damaged", "duplicate_charge", "late", "other", "wrong_item"]}

_TOOLS: Mapping[str, tuple[Effect, str, Mapping[str, Any]]] = {
    "find_customer": ("read", "Find the customer that an order, bill or deposit belongs to.", {"order_id": _ORDER}),
    "lookup_order": (
        "read",
        "Read one order, bill or deposit: item, total, state, refundable or not.",
        {"order_id": _ORDER},
    ),
    "refund_order": (
        "write",
        "Pay money back for an order, now and finally.",
        {"reason": _REASON, "order_id": _ORDER, "amount_usd": _USD},
    ),
    "escalate_refund": (
        "write",
        "Open an approval ticket: a colleague decides on the refund.",
        {"reason": _REASON, "order_id": _ORDER, "amount_usd": _USD},
    ),
    "send_message": (
        "write",
        "Send the customer a message in a channel of their choice.",
        {"body": _TEXT, "channel": {"type": "string", "enum": ["email", "sms"]}},
    ),
    "book_appointment": ("write", "Book an appointment.", {"slot": _TEXT, "service": _TEXT}),
    "cancel_appointment": ("write", "Cancel an appointment.", {"appointment_id": _TEXT}),
    "check_claim": ("read", "Read the state of an insurance claim.", {"claim_id": _TEXT}),
    "list_viewings": ("read", "Free times for viewing a listing.", {"listing_id": _TEXT}),
    "book_viewing": ("write", "Book a viewing of a listing.", {"slot": _TEXT, "listing_id": _TEXT}),
}

_SHARED = ("find_customer", "lookup_order", "refund_order", "escalate_refund", "send_message")
_OFFERED: Mapping[Vertical, tuple[str, ...]] = {
    "real_estate": (*_SHARED, "list_viewings", "book_viewing"),
    "healthcare": (*_SHARED, "book_appointment", "cancel_appointment", "check_claim"),
    "sales": _SHARED,
}
_BUSINESS: Mapping[Vertical, str] = {
    "real_estate": "a letting agency: viewings of flats, and the deposits paid for them",
    "healthcare": "a group of clinics: appointments, insurance claims and the bills of visits",
    "sales": "an online shop: orders, deliveries and refunds",
}


def tools(vertical: Vertical | None = None) -> list[dict[str, Any]]:
    """Tool schemas in chat-completions form, each with `annotations.readOnlyHint`.

    Args:
        vertical: What its agents are offered, or None for all tools.
    """
    names = _TOOLS if vertical is None else _OFFERED[vertical]
    return [_schema(name, *_TOOLS[name]) for name in names]


def _schema(name: str, effect: Effect, description: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": dict(properties), "required": list(properties)}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
        "annotations": {"readOnlyHint": effect == "read"},
    }


def prompt(vertical: Vertical) -> str:
    """The system prompt that the desk runs with in `vertical`."""
    return (
        f"You answer the customers of {_BUSINESS[vertical]}. Be brief and friendly. Use the tools; never guess a "
        "number. Refund up to 200 USD yourself; above that, open a ticket for approval."
    )


@cache
def prompt_hash(vertical: Vertical) -> str:
    """SHA-256 (hex) of the prompt's UTF-8 bytes."""
    return hashlib.sha256(prompt(vertical).encode()).hexdigest()


@cache
def tools_hash(vertical: Vertical) -> str:
    """SHA-256 (hex) of the vertical's tool schemas, as `tools_sha256` defines it."""
    return tools_sha256(tools(vertical))
