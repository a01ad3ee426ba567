"""What the desk's tools do: its customers, their orders, and the rows that change.

Results are JSON objects with keys in the order in which PostgreSQL's jsonb keeps them (shorter first, then by bytes),
so that the request as sent and the request as rebuilt from the store are the same bytes. Some calls fail; which calls
are never answered at all is decided by `session`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from pipelines.demo.people import ITEMS, ORDER_PREFIX, ORDER_STATES, SLOTS, Person, pick
from pipelines.demo.toolbox import Vertical

_TIMEOUT_SHARE = 0.03
_GATEWAY_FAILURE_SHARE = 0.05
_SLOT_TAKEN_SHARE = 0.15
_REFUSED_SHARE = 0.08
_MEDIAN_LOG_USD, _SPREAD_LOG_USD = 3.15, 1.0
"""Order totals are log-normal around 26 USD: about a fifth above 50 USD, one in fifty above 200 USD."""

Result = tuple[dict[str, Any] | None, str | None]
"""A tool's output, or the text of its error."""


@dataclass(slots=True)
class Order:
    """An order, bill or deposit.

    Attributes:
        reference: Its number.
        item: What was paid for.
        total_usd: What was paid, US dollars.
        status: As shown to agents.
        is_refundable: Whether it may be paid back.
        refund: Row of table `refunds`, once a refund was asked.
    """

    reference: str
    item: str
    total_usd: float
    status: str
    is_refundable: bool
    refund: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A changed row: what becomes a `row.changed` event on the customer's stream."""

    at_ms: int
    table: str
    key: Mapping[str, Any]
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


@dataclass(slots=True)
class Customer:
    """A customer, as kept between conversations.

    Attributes:
        number: 10000 and up; the customer number is `C-` and this.
        stream_id: Stream of the customer's rows.
        vertical: Where the customer buys.
        person: Made-up personal data.
        version: Last version of the stream.
        free_at_ms: When the last conversation was over, in milliseconds since 1970.
        orders: By number, oldest first.
        approvals: Orders whose refund waits for approval, with the time of the decision.
        changes: Rows changed and not yet written, in time order.
    """

    number: int
    stream_id: UUID
    vertical: Vertical
    person: Person
    version: int = 0
    free_at_ms: int = 0
    orders: dict[str, Order] = field(default_factory=dict)
    approvals: list[tuple[int, Order]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)


class Backend:
    """The desk's systems: makes orders and answers tool calls for the customer being served."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._serial = 10_000

    def next_number(self, prefix: str) -> str:
        """A new number such as `RF-10007`."""
        self._serial += 1
        return f"{prefix}-{self._serial}"

    def new_order(self, customer: Customer, at_ms: int) -> Order:
        """An order that the customer made; its row reaches the desk at `at_ms`."""
        rng = self._rng
        total = round(min(rng.lognormvariate(_MEDIAN_LOG_USD, _SPREAD_LOG_USD) + 3.0, 900.0), 2)
        order = Order(
            self.next_number(ORDER_PREFIX[customer.vertical]),
            pick(rng, ITEMS[customer.vertical]),
            total,
            pick(rng, ORDER_STATES[customer.vertical]),
            rng.random() >= _REFUSED_SHARE,
        )
        customer.orders[order.reference] = order
        row = {"item": order.item, "status": order.status, "total_usd": total}
        customer.changes.append(Change(at_ms, "orders", {"order_id": order.reference}, None, row))
        return order

    def ask_refund(self, customer: Customer, order: Order, amount_usd: float, at_ms: int) -> dict[str, Any]:
        """The order's row in `refunds`, made with status `asked` when there is none yet."""
        if order.refund is None:
            refund_id = self.next_number("RF")
            row = {"status": "asked", "order_id": order.reference, "amount_usd": amount_usd, "refund_id": refund_id}
            customer.changes.append(Change(at_ms, "refunds", {"refund_id": refund_id}, None, row))
            order.refund = row
        return order.refund

    def settle_refund(
        self, customer: Customer, order: Order, status: str, at_ms: int, amount_usd: float | None = None
    ) -> dict[str, Any]:
        """Move an asked refund to `paid` or `refused`; a paid one also changes the order."""
        before = self.ask_refund(customer, order, amount_usd or 0.0, at_ms)
        after = {**before, "status": status, "amount_usd": before["amount_usd"] if amount_usd is None else amount_usd}
        customer.changes.append(Change(at_ms, "refunds", {"refund_id": before["refund_id"]}, before, after))
        order.refund = after
        if status == "paid":
            rows = [{"item": order.item, "status": s, "total_usd": order.total_usd} for s in (order.status, "refunded")]
            customer.changes.append(Change(at_ms, "orders", {"order_id": order.reference}, *rows))
            order.status, order.is_refundable = "refunded", False
        return after

    def execute(self, customer: Customer, name: str, arguments: Mapping[str, Any], at_ms: int) -> Result:
        """Answer a tool call and keep what it changes."""
        return _TOOLS[name](self, customer, arguments, at_ms)

    def _find_customer(self, customer: Customer, arguments: Mapping[str, Any], _at_ms: int) -> Result:
        if arguments["order_id"] not in customer.orders:
            return None, f"no customer has {arguments['order_id']}"
        return {"orders": len(customer.orders), "customer_id": f"C-{customer.number}"}, None

    def _lookup_order(self, customer: Customer, arguments: Mapping[str, Any], _at_ms: int) -> Result:
        order = customer.orders.get(arguments["order_id"])
        if order is None:
            return None, f"no order {arguments['order_id']}"
        if self._rng.random() < _TIMEOUT_SHARE:
            return None, "upstream timeout after 5000 ms"
        row = {"item": order.item, "status": order.status, "order_id": order.reference}
        return {**row, "total_usd": order.total_usd, "refundable": order.is_refundable}, None

    def _refund_order(self, customer: Customer, arguments: Mapping[str, Any], at_ms: int) -> Result:
        order = customer.orders.get(arguments["order_id"])
        if order is None or not order.is_refundable:
            return None, f"{arguments['order_id']} cannot be refunded"
        row = self.ask_refund(customer, order, arguments["amount_usd"], at_ms)
        if self._rng.random() < _GATEWAY_FAILURE_SHARE:
            return None, "payment gateway refused the transfer"
        paid = self.settle_refund(customer, order, "paid", at_ms, arguments["amount_usd"])
        return {"status": "paid", "refund_id": row["refund_id"], "amount_usd": paid["amount_usd"]}, None

    def _escalate_refund(self, customer: Customer, arguments: Mapping[str, Any], at_ms: int) -> Result:
        order = customer.orders.get(arguments["order_id"])
        if order is None:
            return None, f"no order {arguments['order_id']}"
        self.ask_refund(customer, order, arguments["amount_usd"], at_ms)
        due_ms = at_ms + int((20 + 40 * self._rng.random()) * 3_600_000)
        customer.approvals.append((due_ms, order))
        return {"queue": "approvals", "ticket_id": self.next_number("TK")}, None

    def _send_message(self, _customer: Customer, _arguments: Mapping[str, Any], _at_ms: int) -> Result:
        return {"accepted": True}, None

    def _book_appointment(self, _customer: Customer, arguments: Mapping[str, Any], _at_ms: int) -> Result:
        if self._rng.random() < _SLOT_TAKEN_SHARE:
            return None, f"{arguments['slot']} is taken"
        booked = {"slot": arguments["slot"], "service": arguments["service"]}
        return {**booked, "appointment_id": self.next_number("AP")}, None

    def _cancel_appointment(self, _customer: Customer, arguments: Mapping[str, Any], _at_ms: int) -> Result:
        if self._rng.random() < _TIMEOUT_SHARE:
            return None, f"no appointment {arguments['appointment_id']}"
        return {"status": "cancelled", "appointment_id": arguments["appointment_id"]}, None

    def _check_claim(self, _customer: Customer, arguments: Mapping[str, Any], _at_ms: int) -> Result:
        if self._rng.random() < _TIMEOUT_SHARE:
            return None, f"no claim {arguments['claim_id']}"
        state = pick(self._rng, ("approved", "in review", "declined", "paid out"))
        amount = round(20.0 + 400.0 * self._rng.random(), 2)
        return {"state": state, "claim_id": arguments["claim_id"], "amount_usd": amount}, None

    def _list_viewings(self, _customer: Customer, arguments: Mapping[str, Any], _at_ms: int) -> Result:
        first = int(self._rng.random() * (len(SLOTS) - 20))
        return {"slots": list(SLOTS[first : first + 20 : 7]), "listing_id": arguments["listing_id"]}, None

    def _book_viewing(self, _customer: Customer, arguments: Mapping[str, Any], _at_ms: int) -> Result:
        if self._rng.random() < _SLOT_TAKEN_SHARE:
            return None, f"{arguments['slot']} is taken"
        booked = {"slot": arguments["slot"], "listing_id": arguments["listing_id"]}
        return {**booked, "viewing_id": self.next_number("VW")}, None


# listing_id and viewing_id have the same length: jsonb orders them by bytes, as here.
_TOOLS: Mapping[str, Callable[[Backend, Customer, Mapping[str, Any], int], Result]] = {
    "find_customer": Backend._find_customer,  # noqa: SLF001 -- the class's own dispatch table
    "lookup_order": Backend._lookup_order,  # noqa: SLF001
    "refund_order": Backend._refund_order,  # noqa: SLF001
    "escalate_refund": Backend._escalate_refund,  # noqa: SLF001
    "send_message": Backend._send_message,  # noqa: SLF001
    "book_appointment": Backend._book_appointment,  # noqa: SLF001
    "cancel_appointment": Backend._cancel_appointment,  # noqa: SLF001
    "check_claim": Backend._check_claim,  # noqa: SLF001
    "list_viewings": Backend._list_viewings,  # noqa: SLF001
    "book_viewing": Backend._book_viewing,  # noqa: SLF001
}
