"""One conversation or call at the desk: a simulated customer, the desk's agent and its tools, turn by turn.

The customer knows what they want and answers what happens; the agent is asked through `recording`, tools are answered
by `backend`. Who comes when is decided by `desk`.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from pipelines.demo import people
from pipelines.demo.backend import Backend, Customer, Order
from pipelines.demo.people import pick
from pipelines.demo.recording import Recording
from pipelines.demo.span import DAY_MS, HOUR_MS, Span
from pipelines.demo.toolbox import prompt
from pipelines.experiment.decision import ToolCall

Channel = Literal["chat", "voice"]
Task = Literal["refund", "status", "claim", "cancel", "appointment", "viewing", "question"]

_MAX_TURNS = 9
_NEVER_ANSWERED = {"send_message": 0.4, "lookup_order": 0.012, "refund_order": 0.012}
"""Share of calls that get no result: confirmations are sent and forgotten, other tools hang."""
_MONTH_END_REACH_MS = 3 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Mood:
    """How this customer behaves this time.

    Attributes:
        is_angry: They complain.
        is_known: They are logged in: the agent gets their record.
        is_numberless: They forget to give the number.
        is_mistaken: They first give a wrong number.
        is_late: They answer after the month's end when they started just before it.
        is_slow: They answer days later.
    """

    is_angry: bool
    is_known: bool
    is_numberless: bool
    is_mistaken: bool
    is_late: bool
    is_slow: bool

    @classmethod
    def draw(cls, rng: Random, *, is_month_end: bool) -> Mood:
        """A mood; near a month's end more customers let the desk wait."""
        r = rng.random
        return cls(r() < 0.14, r() < 0.6, r() < 0.1, r() < 0.05, r() < 0.8, r() < (0.4 if is_month_end else 0.02))


class Session:
    """Plays one conversation into its recording."""

    def __init__(
        self, recording: Recording, customer: Customer, channel: Channel, backend: Backend, span: Span, rng: Random
    ) -> None:
        self._recording = recording
        self._customer = customer
        self._channel: Channel = channel
        self._backend = backend
        self._span = span
        self._rng = rng
        end = span.next_month_end(recording.at_ms)
        self._month_end = end
        self._mood = Mood.draw(rng, is_month_end=end is not None and end - recording.at_ms < 2 * DAY_MS)
        self._done: set[str] = set()
        self._is_hanging = False
        self._has_paused = False
        self._spoken: list[tuple[int, str]] = []

    def play(self, task: Task) -> None:
        """Record the whole conversation, redactions included; the customer's rows change with it."""
        recording, customer = self._recording, self._customer
        order = self._order_for(task)
        started = {
            "agent": "desk-voice" if self._channel == "voice" else "desk-chat",
            "variant": "v1",
            "task": f"{customer.vertical}/{task}",
            "channel": self._channel,
            "vertical": customer.vertical,
            "messages": [{"role": "system", "content": prompt(customer.vertical)}],
        }
        recording.add("conversation.started.v1", started, "system", recording.next_message_id())
        if self._mood.is_known:
            record = {"orders": len(customer.orders), "customer_id": f"C-{customer.number}"}
            supplied = {"kind": "customer", "content": record}
            recording.add("context.supplied.v1", supplied, "system", recording.next_message_id())
        if self._channel == "voice" and self._rng.random() < 0.7:
            recording.decide()
        self._talk(task, order)
        self._end(task, order)

    def _order_for(self, task: Task) -> Order | None:
        """The order that a request is about, made when the customer has none that fits."""
        if task not in ("refund", "status"):
            return None
        orders = reversed(self._customer.orders.values())
        fitting = next((o for o in orders if task == "status" or o.refund is None), None)
        return fitting or self._backend.new_order(self._customer, self._recording.at_ms)

    def _talk(self, task: Task, order: Order | None) -> None:
        reference = order.reference if order else self._reference(task)
        text: str | None = self._opening(task, reference, order)
        words = self._correction(task)
        extras = self._extras()
        for _ in range(_MAX_TURNS):
            if text is None:
                return
            self._say(text)
            self._work()
            if self._is_hanging:
                text = None if "waited" in self._done or self._rng.random() < 0.5 else pick(self._rng, people.WAITING)
                self._done.add("waited")
            elif words is not None:
                text, words = pick(self._rng, words).format(reference=reference), None
            elif self._needs_slot(task):
                text = pick(self._rng, people.PICKED).format(slot=pick(self._rng, people.SLOTS))
            else:
                text = extras.pop() if extras else None

    def _correction(self, task: Task) -> tuple[str, ...] | None:
        """How the customer gives the right number where the opening does not, or None."""
        if self._mood.is_numberless and task in people.NUMBERLESS:
            return people.GIVEN
        return people.CORRECTED if self._is_mistaken(task) else None

    def _is_mistaken(self, task: Task) -> bool:
        """Whether the opening gives a wrong number; only orders can be found not to exist."""
        return self._mood.is_mistaken and task in ("refund", "status")

    def _needs_slot(self, task: Task) -> bool:
        return task in ("appointment", "viewing") and not self._done & {"book_appointment", "book_viewing"}

    def _reference(self, task: Task) -> str:
        prefix = {"claim": "CL", "cancel": "AP", "viewing": "FL"}.get(task, "XX")
        return self._backend.next_number(prefix)

    def _opening(self, task: Task, reference: str, order: Order | None) -> str:
        rng, mood = self._rng, self._mood
        values = {
            "reference": f"{reference[:3]}{int(reference[3:]) + 7_000_000}" if self._is_mistaken(task) else reference,
            "why": pick(rng, people.REASONS[self._customer.vertical]),
            "service": pick(rng, people.SERVICES),
            "slot": pick(rng, people.SLOTS),
        }
        is_numberless = mood.is_numberless and task in people.NUMBERLESS
        text = pick(rng, (people.NUMBERLESS if is_numberless else people.OPENINGS)[task]).format_map(values)
        if self._channel == "voice" and rng.random() < 0.5:
            text = pick(rng, people.SPOKEN) + text
        if mood.is_angry:
            text = f"{text} {pick(rng, people.ANGRY)}"
        if task == "refund" and order is not None and rng.random() < (0.6 if mood.is_angry else 0.12):
            text = f"{text} {pick(rng, people.NAMED).format(usd=self._named_usd(order))}"
        if rng.random() < 0.08:
            return self._with_personal_data(text)
        return text

    def _named_usd(self, order: Order) -> str:
        """What the customer says it cost: mostly right, sometimes half of it, sometimes rounded up by the angry."""
        draw = self._rng.random()
        if draw < 0.2:
            return f"{order.total_usd / 2:.2f}"
        if draw < 0.4 and self._mood.is_angry:
            return f"{order.total_usd + 5:.2f}"
        return f"{order.total_usd:.2f}"

    def _with_personal_data(self, text: str) -> str:
        template, kind = people.PERSONAL[int(self._rng.random() * len(people.PERSONAL))]
        return f"{text} {template.format(datum=getattr(self._customer.person, kind))}"

    def _extras(self) -> list[str]:
        """What the customer still says once the request is dealt with, last first."""
        rng, person = self._rng, self._customer.person
        extras = [pick(rng, people.CLOSING)] if self._mood.is_slow or rng.random() < 0.7 else []
        if rng.random() < 0.05:
            alone = pick(rng, people.PERSONAL_ALONE)
            extras.append(alone.format(phone=person.phone, email=person.email, address=person.address))
        if rng.random() < 0.06:
            extras.append(pick(rng, people.OPENINGS["question"]))
        return extras

    def _say(self, text: str) -> None:
        """The customer says `text`, after a pause."""
        recording = self._recording
        recording.at_ms += self._pause_ms()
        version = recording.add("user.utterance.v1", {"text": text}, "user", recording.next_message_id())
        self._spoken.append((version, text))

    def _pause_ms(self) -> int:
        rng, at_ms = self._rng, self._recording.at_ms
        pause = int((2_000 if self._channel == "voice" else 8_000) * (1 + 9 * rng.random()))
        if self._has_paused or self._channel == "voice" or len(self._recording.events) < 4:
            return pause
        if self._mood.is_late and self._month_end is not None and self._month_end - at_ms < _MONTH_END_REACH_MS:
            self._has_paused = True
            return max(self._month_end - at_ms, 0) + int(40 * 60_000 * rng.random()) + pause
        slow = int((1 + 3 * rng.random()) * DAY_MS)
        if self._mood.is_slow and at_ms + slow < self._span.end_ms - _MONTH_END_REACH_MS:
            self._has_paused = True
            return slow
        return pause

    def _work(self) -> None:
        """The agent answers and calls tools until it waits for the customer or a tool hangs."""
        recording = self._recording
        while True:
            reply, call_ids = recording.decide()
            if not reply.tool_calls:
                return
            answered = [
                (call_id, call)
                for call_id, call in zip(call_ids, reply.tool_calls, strict=True)
                if self._rng.random() >= _NEVER_ANSWERED.get(call.name, 0.0)
            ]
            if len(answered) > 1 and self._rng.random() < 0.2:
                answered.reverse()  # parallel calls come back in any order
            for call_id, call in answered:
                self._answer(call_id, call)
            if len(answered) < len(reply.tool_calls):
                self._is_hanging = reply.tool_calls[0].name != "send_message"
                return

    def _answer(self, call_id: str, call: ToolCall) -> None:
        recording = self._recording
        recording.at_ms += 60 + int(700 * self._rng.random())
        output, error = self._backend.execute(self._customer, call.name, call.arguments, recording.at_ms)
        if error is None:
            self._done.add(call.name)
        result = {"call_id": call_id, "name": call.name, "output": output, "error": error}
        recording.add("tool.result.v1", result, "service", recording.next_message_id())

    def _end(self, task: Task, order: Order | None) -> None:
        recording, rng = self._recording, self._rng
        recording.at_ms += 1_000 + int(60_000 * rng.random())
        is_refused = task == "refund" and order is not None and not order.is_refundable and order.refund is None
        if is_refused and order is not None and "lookup_order" in self._done:
            self._backend.settle_refund(self._customer, order, "refused", recording.at_ms, order.total_usd)
        is_resolved = not self._is_hanging and self._is_served(task) and not is_refused
        csat = None
        if rng.random() < 0.55:
            csat = max(1, (4 if is_resolved else 1) + int(2 * rng.random()) - (1 if self._mood.is_angry else 0))
        outcome = {"csat": csat, "resolved": is_resolved}
        recording.add("conversation.ended.v1", {"outcome": outcome}, "system", recording.next_message_id())
        self._redact()
        self._customer.free_at_ms = recording.at_ms

    def _is_served(self, task: Task) -> bool:
        wanted = {
            "refund": {"refund_order", "escalate_refund"},
            "status": {"lookup_order"},
            "claim": {"check_claim"},
            "cancel": {"cancel_appointment"},
            "appointment": {"book_appointment"},
            "viewing": {"book_viewing"},
        }.get(task)
        return wanted is None or bool(wanted & self._done)

    def _redact(self) -> None:
        """Minutes after the end, a scan hides the personal data that the customer said.

        One datum is hidden as a span of code points; a text that holds several is hidden whole.
        """
        recording, person = self._recording, self._customer.person
        for version, text in self._spoken:
            found = [datum for datum in (person.phone, person.email, person.address) if datum in text]
            if not found:
                continue
            recording.at_ms += 60_000 + int(540_000 * self._rng.random())
            hidden = {
                "target": {"stream_version": version},
                "method": "mask",
                "reason": "personal data in a transcript",
            }
            if len(found) > 1:
                where: dict[str, Any] = {"path": "/text"}
            else:
                start = text.index(found[0])
                where = {"span": {"path": "/text", "start": start, "end": start + len(found[0])}}
            recording.add("redaction.applied.v1", {**hidden, **where}, "service", recording.next_message_id())
