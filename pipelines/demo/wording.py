"""What the desk's agents say: several phrasings of each message, one chosen by a hash.

Only words belong here; when to say them is in `policies`. The choice depends on its seed alone, so the same context
always gets the same words, in every process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

Words = Mapping[str, tuple[str, ...]]

WORDS_V1: Words = {
    "greeting": (
        "Hello, this is the service desk. How can I help you?",
        "Good day, you have reached the service desk. What can I do for you?",
    ),
    "ask_reference": (
        "Of course. Could you give me the number, please? It is two letters and five digits.",
        "Happy to help. Which number is it about?",
    ),
    "promise_refund": (
        "I'm sorry about that. I'll get {reference} refunded for you, one moment.",
        "Sorry to hear it! I'll see that you get your money back for {reference}.",
        "That should not happen. Your refund for {reference} is on its way, let me just pull up the details.",
    ),
    "goodwill": ("I'm very sorry. I'm refunding ${usd} to you right now, no questions asked.",),
    "too_large": (
        "This one needs a colleague's approval, I'm opening a ticket for you.",
        "For this sum I need an approval. I'm asking for it now.",
    ),
    "refunded": (
        "Done: ${usd} for {reference} goes back to you within five working days. Anything else?",
        "I have refunded ${usd} for {reference}. You should see it within five working days.",
        "All set, ${usd} is on its way back to you.",
    ),
    "escalated": (
        "I have opened ticket {ticket} for your refund. A colleague decides within two working days.",
        "Your refund waits for approval under {ticket}; you will hear from us within two working days.",
    ),
    "refused": (
        "I'm sorry, {reference} can no longer be refunded: the return period is over.",
        "Unfortunately {reference} is not refundable, so I cannot pay anything back.",
    ),
    "look": ("One moment, I'll check {reference}.", "Let me see what I can find under {reference}."),
    "not_found": (
        "I cannot find {reference}. Could you check the number, please?",
        "There is nothing under {reference} here. Is the number right?",
    ),
    "trouble": (
        "I'm sorry, our system does not answer at the moment. Please try again in an hour.",
        "Something is wrong on our side. A colleague will come back to you.",
    ),
    "order_state": (
        "{reference} ({item}) is {state}. Can I do anything else for you?",
        "I have it here: {item}, {reference}, {state}.",
    ),
    "claim_state": (
        "Claim {reference} over ${usd} is {state}.",
        "I found it: {reference}, ${usd}, currently {state}.",
    ),
    "cancelled": ("Your appointment {reference} is cancelled.", "Done, {reference} is cancelled. No fee is due."),
    "ask_slot": ("With pleasure. Which day and time would suit you?", "Sure, when would you like to come?"),
    "slot_taken": (
        "That time has just been taken. Would another one suit you?",
        "I'm sorry, this time is not free any more. Which other one could you make?",
    ),
    "offer": (
        "For {reference} these times are free: {slots}. Which one do you want?",
        "You could see {reference} at one of these: {slots}.",
    ),
    "viewing_booked": (
        "Your viewing of {reference} is booked for {slot}.",
        "Booked: {slot}, {reference}. The agent waits at the door.",
    ),
    "appointment_booked": ("Your appointment is booked for {slot}.", "You are booked in for {slot}."),
    "confirmation_sent": ("The confirmation is in your messages.", "I have sent you the details as well."),
    "held_up": (
        "I'm still here. The system has not answered yet, please bear with me.",
        "Sorry for the wait, I'm still waiting for our system.",
    ),
    "here": ("I'm here. What can I do for you?",),
    "about_hours": ("We are open from Monday to Friday, 8:00 to 18:00.", "Our hours are 8:00 to 18:00 on weekdays."),
    "about_fees": ("There is no fee for this.", "It costs nothing."),
    "about_documents": ("Please bring an identity document and your customer number.",),
    "about_anything": (
        "Let me put you in touch with a colleague who knows this.",
        "I'm not sure about that; a colleague will write to you.",
    ),
    "bye": ("You're welcome. Have a good day!", "Glad I could help. Goodbye!", "Thank you for contacting us."),
    "bye_sorry": ("Thank you for your patience, and sorry again for the trouble.",),
    "noted": ("Thank you, I have noted that.", "Noted. Is there anything else?"),
}
"""Phrase name -> phrasings; `{reference}` is the number that the request is about."""

WORDS_V2: Words = {
    **WORDS_V1,
    "promise_refund": (
        "I'm sorry about that. Let me look at {reference} before I promise anything.",
        "Sorry to hear it. I'll check {reference} first.",
    ),
    "escalated": (
        "Your refund needs approval; ticket {ticket} is open and you will hear from us within two working days.",
    ),
    "about_fees": ("There is no fee for this.", "This is free of charge."),
    "bye": ("You're welcome. Have a good day!", "Glad I could help. Goodbye!", "Thank you for contacting us today."),
}
"""The candidate's words: as v1, except that it does not promise, and is a little more exact."""


def phrase(words: Words, name: str, seed: str, **values: Any) -> str:
    """One phrasing of `words[name]`, chosen by `seed`, with `values` put in."""
    choices = words[name]
    return choices[crc32(f"{name}{seed}".encode()) % len(choices)].format_map(values)
