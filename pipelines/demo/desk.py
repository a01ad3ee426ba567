"""The history of the simulated support desk, stream by stream, in the order in which things began.

`generate` decides who comes when and for what; a conversation itself is played by `session`. The same arguments give
the same events, in every process. Memory holds the customers and one conversation, never the history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from random import Random

from pipelines.demo.backend import Backend, Change, Customer
from pipelines.demo.people import Person
from pipelines.demo.recording import SOURCE, Identity, Recording
from pipelines.demo.session import Channel, Session, Task
from pipelines.demo.span import DEMO_END, Span, from_ms
from pipelines.demo.toolbox import VERTICALS, Vertical, prompt, prompt_hash, tools, tools_hash
from pipelines.errors import BadInputError
from pipelines.store.events import NewEvent, StreamBatch, stream_id

MIN_EVENTS = 1_000
"""Below this, one conversation more or less would be several percent of the history."""
_TYPICAL_CONTACT_EVENTS = 20
_NEW_CUSTOMER_SHARE = 0.25
_NEW_ORDER_SHARE = 0.5
_VOICE_SHARE = 0.25
_ERASURE_SHARE = 0.02
_SYNC_MS = 5_000
"""The shop's rows reach the desk this long before the customer is served."""

_TASKS: Mapping[Vertical, tuple[tuple[float, Task], ...]] = {
    "real_estate": ((0.45, "refund"), (0.9, "viewing"), (1.0, "question")),
    "healthcare": ((0.4, "refund"), (0.62, "appointment"), (0.74, "cancel"), (0.92, "claim"), (1.0, "question")),
    "sales": ((0.62, "refund"), (0.92, "status"), (1.0, "question")),
}
"""Cumulated shares of what customers come for."""


def generate(events: int = 20_000, *, end: date = DEMO_END, seed: int = 7, months: int = 3) -> Iterator[StreamBatch]:
    """Write the desk's history.

    Args:
        events: How many events; the history has this many within one long conversation (2 % from 2,000 events on).
        end: The history ends with the last whole month before this day.
        seed: Another seed gives another history of the same kind.
        months: How many whole months.

    Yields:
        Batches to append, ordered by the first event of their stream. A customer's stream comes in several batches,
        one for each time that the customer turned to the desk, with the exact expected version; every other stream is
        one batch.

    Raises:
        BadInputError: `events` or `months` is too small.
    """
    if events < MIN_EVENTS:
        raise BadInputError(f"{events} events were asked for; a history of the demo has at least {MIN_EVENTS:,}")
    return _Desk(Span.of(end, months), seed).run(events)


class _Desk:
    """The desk while its history is written."""

    def __init__(self, span: Span, seed: int) -> None:
        self._span = span
        # Random's stream of floats is the same in every Python version; nothing here is secret.
        self._rng = Random(seed)  # noqa: S311 -- a simulation
        self._backend = Backend(self._rng)
        self._customers: list[Customer] = []
        self._contacts = 0

    def run(self, events: int) -> Iterator[StreamBatch]:
        written = 0
        for batch in self._registrations():
            written += len(batch.events)
            yield batch
        at_ms = self._span.start_ms
        while written + _TYPICAL_CONTACT_EVENTS // 2 < events:
            # Driven by what is written, the clock reaches the end of the history with the last event.
            at_ms = max(at_ms, self._span.at(written / events))
            for batch in self._contact(at_ms):
                written += len(batch.events)
                yield batch

    def _registrations(self) -> Iterator[StreamBatch]:
        """The prompt and the tools of each vertical, registered as the history begins."""
        for ordinal, vertical in enumerate(VERTICALS, 1):
            source_id = f"prompt-{vertical}"
            identity = Identity(stream_id(SOURCE, source_id), source_id, ordinal, None)
            prompted = {"name": f"desk-{vertical}", "text": prompt(vertical), "sha256": prompt_hash(vertical)}
            tooled = {"tools": tools(vertical), "sha256": tools_hash(vertical)}
            at = from_ms(self._span.start_ms)
            registered = (
                NewEvent("prompt.registered.v1", prompted, identity.envelope("system", "m1"), at),
                NewEvent("tools.registered.v1", tooled, identity.envelope("system", "m2"), at),
            )
            yield StreamBatch(identity.stream_id, "prompt", registered)

    def _contact(self, at_ms: int) -> Iterator[StreamBatch]:
        """One customer turns to the desk."""
        rng = self._rng
        customer = self._customer(at_ms)
        self._contacts += 1
        channel: Channel = "voice" if rng.random() < _VOICE_SHARE else "chat"
        kind = "call" if channel == "voice" else "conversation"
        draw = rng.random()
        task = next(task for share, task in _TASKS[customer.vertical] if draw <= share)
        source_id = f"{kind}-{self._contacts:06d}"
        identity = Identity(stream_id(SOURCE, source_id), source_id, self._contacts, str(customer.stream_id))
        recording = Recording(identity, customer.vertical, at_ms + _SYNC_MS, self._span.middle_ms, rng)
        Session(recording, customer, channel, self._backend, self._span, rng).play(task)
        rows = self._rows(customer, str(identity.stream_id), at_ms)
        conversation = StreamBatch(identity.stream_id, kind, recording.events)
        if rows is not None and rows.events[0].created_at == from_ms(at_ms):
            yield rows
            yield conversation
        else:
            yield conversation
            if rows is not None:
                yield rows

    def _customer(self, at_ms: int) -> Customer:
        """Somebody who is not being served at the moment: mostly one who was here before."""
        rng, backend = self._rng, self._backend
        if self._customers and rng.random() >= _NEW_CUSTOMER_SHARE:
            customer = self._customers[int(rng.random() * len(self._customers))]
            if customer.free_at_ms < at_ms:
                self._settle_approvals(customer, at_ms)
                if rng.random() < _NEW_ORDER_SHARE:
                    backend.new_order(customer, at_ms)
                return customer
        number = 10_000 + len(self._customers)
        vertical = VERTICALS[int(rng.random() * len(VERTICALS))]
        customer = Customer(number, stream_id(SOURCE, f"customer-{number}"), vertical, Person.number(number))
        person = customer.person
        row = {"email": person.email, "phone": person.phone, "address": person.address, "vertical": vertical}
        customer.changes.append(Change(at_ms, "customers", {"customer_id": f"C-{number}"}, None, row))
        backend.new_order(customer, at_ms)
        self._customers.append(customer)
        return customer

    def _settle_approvals(self, customer: Customer, at_ms: int) -> None:
        """Refunds that waited for approval and were decided before the customer came again."""
        for due_ms, order in [approval for approval in customer.approvals if approval[0] < at_ms]:
            customer.approvals.remove((due_ms, order))
            status = "paid" if self._rng.random() < 0.7 else "refused"
            self._backend.settle_refund(customer, order, status, max(due_ms, customer.free_at_ms))

    def _rows(self, customer: Customer, conversation_id: str, at_ms: int) -> StreamBatch | None:
        """What changed in the customer's rows since the last time, as events of the customer's stream."""
        if not customer.changes:
            return None
        number = customer.number
        identity = Identity(customer.stream_id, f"customer-{number}", number - 9_999, str(customer.stream_id))
        expected = customer.version
        written: list[NewEvent] = []
        for change in sorted(customer.changes, key=lambda change: change.at_ms):
            metadata = identity.envelope("service", f"r{expected + len(written) + 1}")
            if change.at_ms > at_ms:
                metadata["trace_id"] = conversation_id
            payload = {"table": change.table, "key": change.key, "before": change.before, "after": change.after}
            written.append(NewEvent("row.changed.v1", payload, metadata, from_ms(change.at_ms)))
        customer.changes.clear()
        if expected == 0 and self._rng.random() < _ERASURE_SHARE:
            written.append(_erasure(identity, len(written) + 1, customer.free_at_ms))
        customer.version += len(written)
        return StreamBatch(customer.stream_id, "customer", written, expected or "no_stream")


def _erasure(identity: Identity, version: int, at_ms: int) -> NewEvent:
    """A customer asks that their e-mail address be hidden; it stands in the first row of their stream."""
    payload = {
        "path": "/after/email",
        "method": "mask",
        "reason": "the customer asked for it",
        "target": {"stream_version": 1},
    }
    return NewEvent("redaction.applied.v1", payload, identity.envelope("service", f"r{version}"), from_ms(at_ms))
