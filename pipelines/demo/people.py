"""What the desk's customers are and say. All of it is made up: example.com addresses, 555 numbers, no names.

The agents must understand these sentences (`reading` has the words); personal data are sentences of their own or stand
at the end, so that a redacted text still says the same to an agent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from pipelines.demo.toolbox import Vertical

SLOTS = tuple(
    f"{day} {hour:02d}:{half}"
    for day in ("Mon", "Tue", "Wed", "Thu", "Fri")
    for hour in range(9, 18)
    for half in ("00", "30")
)
SERVICES = ("check-up", "vaccination", "lab test", "follow-up")
ITEMS: Mapping[Vertical, tuple[str, ...]] = {
    "real_estate": ("viewing deposit", "reservation fee", "key deposit", "cleaning deposit"),
    "healthcare": ("visit co-payment", "lab bill", "vaccination fee", "X-ray bill"),
    "sales": ("desk lamp", "kettle", "rain jacket", "headphones", "office chair", "bread knife", "running shoes"),
}
ORDER_PREFIX: Mapping[Vertical, str] = {"real_estate": "DP", "healthcare": "VS", "sales": "OR"}
ORDER_STATES: Mapping[Vertical, tuple[str, ...]] = {
    "real_estate": ("paid",),
    "healthcare": ("paid", "sent to the insurer"),
    "sales": ("delivered", "on its way", "packed"),
}

REASONS: Mapping[Vertical, tuple[str, ...]] = {
    "real_estate": ("I was charged twice", "I no longer need the flat", "the confirmation came too late"),
    "healthcare": ("I was charged twice", "the wrong service was billed", "the result came too late"),
    "sales": ("it arrived damaged", "it is broken", "it came too late", "you sent the wrong one", "I changed my mind"),
}

OPENINGS: Mapping[str, tuple[str, ...]] = {
    "refund": (
        "Hi, I'd like a refund for {reference}: {why}.",
        "Hello – I want my money back for {reference}, {why}.",
        "{why}. Please refund {reference}.",
        "Can you reimburse me for {reference}? {why}.",
    ),
    "status": (
        "Where is {reference}?",
        "Hello, {reference} has not arrived yet.",
        "What's the status of {reference}, please?",
    ),
    "claim": ("I'd like to know how my claim {reference} is doing.", "Any decision on claim {reference}?"),
    "cancel": ("Please cancel my appointment {reference}.", "I have to cancel {reference}, I can't make it."),
    "appointment": (
        "I'd like an appointment for a {service}.",
        "Could I get an appointment for a {service}, {slot} if possible?",
    ),
    "viewing": ("I'd like a viewing of {reference}.", "Are there viewings for {reference} this week?"),
    "question": (
        "When are you open on Saturday?",
        "What does it cost to change a date?",
        "Which documents do I have to bring?",
        "Do you also have a branch in the north of the town?",
    ),
}
NUMBERLESS: Mapping[str, tuple[str, ...]] = {
    "refund": ("I'd like a refund, please: {why}.", "I want my money back, {why}!"),
    "status": ("Where is my order?", "My order has not arrived."),
    "claim": ("How is my claim doing?",),
    "cancel": ("I need to cancel an appointment.",),
    "viewing": ("I'd like a viewing of the flat that you advertise.",),
}
ANGRY = ("This is ridiculous.", "This is the third time I have to ask!", "I'm fed up with this. 😠", "Unacceptable!")
NAMED = ("I expect ${usd} back.", "It's about ${usd}.")
GIVEN = ("It's {reference}.", "{reference}.", "Sure: {reference}.")
CORRECTED = ("Sorry, I meant {reference}.", "Oh, it's {reference}.")
PICKED = ("{slot} works for me.", "{slot}, please.", "Then {slot}.")
WAITING = ("Hello? Are you still there?", "Is there any news?")
CLOSING = ("Thanks, bye.", "Thank you, that's all.", "Great, thank you!", "OK. Bye.")
PERSONAL = (
    ("You can reach me at {datum}.", "phone"),
    ("My number is {datum}.", "phone"),
    ("Please write to {datum}.", "email"),
    ("I live at {datum}.", "address"),
)
PERSONAL_ALONE = (
    "For your files: {email}, {phone}.",
    "Here is how to reach me: {phone} or {email}.",
    "My new address is {address}, my number is still {phone}.",
)
SPOKEN = ("Um, ", "Yeah, ", "So, ", "Well, ")


@dataclass(frozen=True, slots=True)
class Person:
    """A customer's made-up personal data."""

    phone: str
    email: str
    address: str

    @classmethod
    def number(cls, n: int) -> Person:
        """The personal data of the customer with number `n`; 555-0100 to 555-0199 are kept for fiction."""
        return cls(f"202-555-{100 + n % 100:04d}", f"c{n}@example.com", f"{n % 90 + 1} Exämple Street")


def pick(rng: Random, choices: Sequence[str]) -> str:
    """One of `choices`, all equally likely."""
    return choices[int(rng.random() * len(choices))]
