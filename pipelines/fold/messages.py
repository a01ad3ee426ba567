"""Messages and turns: in which message of the agent or the user an event is, in which turn, after how many inputs.

The rules are those of the context that an agent sees. A message of the agent is a maximal run of its outputs and model
decisions that share a message id, not broken by an utterance of the user, a user's tool call, a tool's result or supplied
context. What begins a turn is `canonical.content.begins_turn`'s to say.

Of an erased event the type is known and the message is not: it goes on with the agent's message that is open, unless it is a
model decision or an utterance that comes after an output, as these come first in a message. So does what follows a message
of which nothing but erased events is known. An erased utterance of the user is a message and a turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.canonical.content import begins_turn
from pipelines.fold.columns import Bools, Column, Ints, ends, first_rows, is_said, previous, running, take
from pipelines.fold.pairing import NOBODY

KINDS = (
    "",
    "conversation.started",
    "context.supplied",
    "user.utterance",
    "agent.utterance",
    "tool.call",
    "tool.result",
    "model.decision",
    "agent.reasoning",
    "context.compacted",
)
"""The kinds of events that have a place, by their number; 0 is every other kind."""
STARTED, SUPPLIED, USER_SAID, AGENT_SAID, CALL, RESULT, MODEL, REASONING, COMPACTED = range(1, 10)

ROLES = (None, "start", "input", "result", "user", "agent", "model")
START, INPUT, ANSWER, USER, AGENT, MODEL_CALL = range(1, 7)
_ROLE_OF = np.array([0, START, INPUT, USER, AGENT, AGENT, ANSWER, MODEL_CALL, AGENT, INPUT])

NEVER, CLOSED, ERASED = -1, -2, -3
"""Instead of a message's number: there was none yet; the agent's message is complete; and: all that is there of it is erased."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where streams stand between two events; one value per stream.

    Attributes:
        open_message: Message number of the agent's message that may go on, or `ERASED`; `NEVER` or `CLOSED` if none.
        is_asking: Whether the newest event of that message is a model decision, or what the model thought.
        said_in: Message number of the last user's utterance.
        user_message: Message number of the last output of the user.
        last_role: Role of the last event that is neither start nor model decision; `NEVER` if none.
        groups: Agent messages and lone runs of model decisions so far.
        turns: Turns so far.
        inputs: Rendered messages so far that are not the agent's.
    """

    open_message: Ints
    is_asking: Bools
    said_in: Ints
    user_message: Ints
    last_role: Ints
    groups: Ints
    turns: Ints
    inputs: Ints


@dataclass(frozen=True, slots=True)
class Places:
    """The events that have a place, in order; one value per event.

    Attributes:
        rows: Which events.
        streams: Their streams.
        roles: Number of the role, see `ROLES`.
        is_group_start: Whether it begins an agent message or a run of model decisions.
        is_turn_start: Whether it begins a turn.
        is_user_start: Whether it begins a message of the user.
        groups: Number of the agent message or run that it is in or after.
        turns: Turns up to and including it.
        inputs_before: Rendered messages before it that are not the agent's.
        messages: Message numbers, 0 where none was given.
        names_open: Whether it decides which message of the agent may go on; an erased event that goes on with one does not.
    """

    rows: Ints
    streams: Ints
    roles: Ints
    is_group_start: Bools
    is_turn_start: Bools
    is_user_start: Bools
    groups: Ints
    turns: Ints
    inputs_before: Ints
    messages: Ints
    names_open: Bools


def find_places(
    streams: Ints,
    kinds: Ints,
    messages: Ints,
    is_by_user: Bools,
    is_input: Bools,
    is_erased: Bools,
    rendered: Ints,
    before: Standing,
) -> Places:
    """Place the events of whole streams, or of streams that went on from `before`.

    Args:
        streams: Stream of each event, 0 … n-1, ascending; events are in the order of the stream.
        kinds: Number of the kind, see `KINDS`.
        messages: Message number, 0 where none was given.
        is_by_user: Whether the user did it.
        is_input: Whether it is an utterance of the user that says something, or did.
        is_erased: Whether it is erased.
        rendered: How many messages it renders to, the agent's left out.
        before: Where each stream stood.
    """
    rows = np.flatnonzero(kinds)
    s, kind, message = streams[rows], kinds[rows], messages[rows]
    first = first_rows(s)
    role = _ROLE_OF[kind]
    role[(kind == CALL) & is_by_user[rows]] = USER
    said = np.flatnonzero(kind == USER_SAID)
    is_group_start, names_open = _find_groups(s, kind, role, message, is_erased[rows], first, before)
    user_message = previous(message, role == USER, first, before.user_message[s])
    last_role = previous(role, (role != START) & (role != MODEL_CALL), first, before.last_role[s])
    is_turn_start = np.zeros(len(rows), bool)
    is_turn_start[said] = find_turns(s[said], message[said], is_input[rows[said]], before.said_in)
    goes_on = (user_message == message) & ((message != 0) | ((kind == CALL) & (last_role == USER)))
    shown = rendered[rows]
    return Places(
        rows=rows,
        streams=s,
        roles=role,
        is_group_start=is_group_start,
        is_turn_start=is_turn_start,
        is_user_start=(role == USER) & ~goes_on,
        groups=running(is_group_start, first) + before.groups[s],
        turns=running(is_turn_start, first) + before.turns[s],
        inputs_before=running(shown, first) - shown + before.inputs[s],
        messages=message,
        names_open=names_open,
    )


def _find_groups(
    streams: Ints, kinds: Ints, roles: Ints, messages: Ints, is_erased: Bools, first: Ints, before: Standing
) -> tuple[Bools, Bools]:
    """Which events begin a message of the agent, or a run of model decisions; and which decide what message may go on."""
    is_agents, is_placed = is_agent(roles), roles != START
    opens = np.where(is_agents, messages, CLOSED)
    opened = before.open_message[streams]
    if not (is_erased.any() or (before.open_message == ERASED).any()):
        return is_agents & (previous(opens, is_placed, first, opened) != messages), is_placed
    goes_on_before = (opened != CLOSED) & (opened != NEVER)
    is_open = previous(is_agents, is_placed, first, goes_on_before)
    is_answered = previous(~is_asking(kinds), is_placed, first, ~before.is_asking[streams])
    comes_first = ~is_open | (is_answered & (is_asking(kinds) | (kinds == AGENT_SAID)))
    is_unnamed = is_agents & is_erased
    names_open = is_placed & (~is_unnamed | comes_first)
    open_message = previous(np.where(is_unnamed, ERASED, opens), names_open, first, opened)
    begins = np.where(is_unnamed | (open_message == ERASED), comes_first, open_message != messages)
    return is_agents & begins, names_open


def find_turns(streams: Ints, messages: Ints, is_input: Bools, said_in: Ints) -> Bools:
    """Which of the user's utterances begin a turn.

    Args:
        streams: Stream of each, 0 … n-1, ascending; utterances are in the order of the stream.
        messages: Message number, 0 where none was given.
        is_input: Whether it says something.
        said_in: Of each stream: message number of the utterance before them; `NEVER` for none.
    """
    before = previous(messages, np.ones(len(streams), bool), first_rows(streams), said_in[streams])
    return begins_turn(is_input, messages == 0, messages != before)


def goes_on_after(places: Places, owners: Ints) -> Bools:
    """After which events the next one that has a place, other than a start, goes on with a message of the agent.

    Args:
        places: Of a batch.
        owners: Stream of each of the batch's events.
    """
    placed = np.flatnonzero(places.roles != START)
    following = np.searchsorted(places.rows[placed], np.arange(len(owners)), side="right")
    streams = np.append(places.streams[placed], NOBODY)[following]
    found: Bools = np.append(_goes_on(places)[placed], False)[following] & (streams == owners)
    return found


def continuing(places: Places) -> Ints:
    """The streams whose first event that has a place, other than a start, goes on with a message of before the batch."""
    placed = np.flatnonzero(places.roles != START)
    begins = placed[first_rows(places.streams[placed]) == np.arange(len(placed))]
    found: Ints = places.streams[begins[_goes_on(places)[begins]]]
    return found


def _goes_on(places: Places) -> Bools:
    return is_agent(places.roles) & ~places.is_group_start


def is_asking(kinds: Ints) -> Bools:
    """Which kinds come before what the agent says in a message: the model call, and what the model thought."""
    found: Bools = (kinds == MODEL) | (kinds == REASONING)
    return found


def is_agent(roles: Ints) -> Bools:
    """Which roles are the agent's: its outputs, and the model calls that led to them."""
    found: Bools = (roles == AGENT) | (roles == MODEL_CALL)
    return found


@dataclass(frozen=True, slots=True)
class Messages:
    """The agent's messages, each of them one decision, in order; one value per message.

    Attributes:
        owners: Stream.
        firsts: Place (among `Places`) of the first event.
        finals: Place of the last event.
        said: Event row of the last utterance, `NOBODY` without one.
        models: Event row of the model call that led to it, `NOBODY` without one.
        named: Event row of the last event that is not erased, `NOBODY` without one.
        is_erased: Whether an event of it is erased.
        has_text: Whether that utterance has text that is not blank.
        decisions: Number of the message in its stream, from 1.
    """

    owners: Ints
    firsts: Ints
    finals: Ints
    said: Ints
    models: Ints
    named: Ints
    is_erased: Bools
    has_text: Bools
    decisions: Ints


def find_messages(places: Places, kinds: Ints, texts: Column, is_erased: Bools, decided: Ints) -> Messages:
    """The agent's messages among the events of a batch.

    Args:
        places: Where its events stand.
        kinds: Number of each event's kind, see `KINDS`.
        texts: What each event says.
        is_erased: Which events are erased.
        decided: Of each stream: its messages so far.
    """
    chosen = np.flatnonzero(is_agent(places.roles))
    starts = np.flatnonzero(places.is_group_start[chosen])
    finals = ends(starts, len(chosen))
    here = np.arange(len(chosen))
    kind = kinds[places.rows[chosen]]

    def last(counts: Bools) -> Ints:
        return np.maximum.reduceat(np.where(counts, here, NOBODY), starts) if len(starts) else starts

    kept = np.flatnonzero(last(places.roles[chosen] == AGENT) >= 0)
    event_rows = np.append(places.rows[chosen], NOBODY)
    said = event_rows[last(kind == AGENT_SAID)[kept]]
    firsts = chosen[starts[kept]]
    is_gone = is_erased[places.rows[chosen]]
    owners = places.streams[firsts]
    return Messages(
        owners=owners,
        firsts=firsts,
        finals=chosen[finals[kept]],
        said=said,
        models=event_rows[last(places.roles[chosen] == MODEL_CALL)[kept]],
        named=event_rows[last(~is_gone)[kept]],
        is_erased=last(is_gone)[kept] >= 0,
        has_text=is_said(take(texts, said)),
        decisions=running(np.ones(len(kept), np.int64), first_rows(owners)) + decided[owners],
    )
