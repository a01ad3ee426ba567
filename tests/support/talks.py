"""Small recorded conversations for the replay's tests, and candidates to walk through them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import Any

from pipelines.experiment.decision import Decision, Reply, ToolCall
from pipelines.experiment.file import Divergence, Tools
from pipelines.experiment.manifest import Manifest, ToolBook, ToolPolicy
from pipelines.replay.cassette import Cassette
from pipelines.replay.failure import Answer
from pipelines.replay.ledger import ListHasher, Outcome
from pipelines.replay.recording import Event, Recording, read_recording
from pipelines.replay.request import Head, Request
from pipelines.replay.rollout import Scene, Walk, walk_conversation, walk_turn

Said = tuple[str, Any]
"""`("system", text)`, `("user", text)`, `("user_calls", (name, arguments))`, `("context", text)`, or
`("agent", (text, [(name, arguments, result or None), …]))`: one message, its calls answered right after it; `("late", result)`: the
answer to the oldest call that has none."""


def events(talk: Sequence[Said]) -> list[Event]:
    """The events of a conversation, as a recorder writes them."""
    made: list[Event] = []
    decision = 0
    unanswered: list[str] = []

    def add(event_type: str, payload: dict[str, Any], actor: str, message: int, **more: Any) -> None:
        metadata = {"message_id": f"m{message}", "actor": actor}
        made.append(Event(len(made) + 1, event_type, payload, metadata, **more))

    systems = [{"role": "system", "content": text} for role, text in talk if role == "system"]
    add("conversation.started", {"messages": systems}, "service", 0)
    for number, (role, said) in enumerate(talk, start=1):
        if role == "user":
            add("user.utterance", {"text": said}, "user", number)
        elif role == "context":
            add("context.supplied", {"kind": "note", "content": said}, "service", number)
        elif role == "user_calls":
            name, arguments = said
            payload = {"call_id": f"u{number}", "name": name, "arguments": arguments}
            add("tool.call", payload, "user", number, arguments=json.dumps(arguments))
            add("tool.result", {"call_id": f"u{number}", "output": "done", "error": None}, "service", number)
        elif role == "late" and unanswered:
            payload = {"call_id": unanswered.pop(0), "output": said, "error": None}
            add("tool.result", payload, "service", 2_000 + number)
        elif role == "agent":
            decision += 1
            text, calls = said
            more: dict[str, Any] = {"decision": decision}
            if text is not None or not calls:
                add("agent.utterance", {"text": text}, "agent", number, **more)
                more = {}
            for place, (name, arguments, _) in enumerate(calls):
                payload = {"call_id": f"c{number}.{place}", "name": name, "arguments": arguments}
                add("tool.call", payload, "agent", number, arguments=json.dumps(arguments), **more)
                more = {}
            for place, (_, _, result) in enumerate(calls):
                if result is None:
                    unanswered.append(f"c{number}.{place}")
                else:
                    payload = {"call_id": f"c{number}.{place}", "output": result, "error": None}
                    add("tool.result", payload, "service", 1_000 + number)
    return made


def recording(talk: Sequence[Said]) -> Recording:
    """The recording of a conversation."""
    return read_recording(events(talk))


def scene(talk: Sequence[Said], effects: dict[str, Any] | None = None, **settings: Any) -> Scene:
    """What walks through a conversation share.

    Args:
        talk: The conversation.
        effects: A manifest's tools.
        settings: Fields of `Tools` and `Divergence`.
    """
    given = {name: settings.pop(name) for name in ("level", "past") if name in settings}
    tools, divergence = Tools(**settings), Divergence(**given)
    manifest = Manifest.model_validate({"tools": effects or {}})
    policy = ToolPolicy(manifest, on_miss=tools.on_miss, unknown=tools.unknown)
    read = recording(talk)
    return Scene(
        aggregate_id="s",
        recording=read,
        cassette=Cassette(read.blocks(), ToolBook(policy)),
        head=Head(),
        metadata={},
        hasher=ListHasher(),
        on_miss=tools.on_miss,
        level=divergence.level,
        past=divergence.past,
        max_steps=tools.max_steps,
        first_asked=next((step.decision for step in read.steps if step.offset), None),
    )


def walk(setting: Scene, candidate: Callable[[Decision], Answer], turn: int | None = None) -> Outcome:
    """Walk a candidate through one turn, or the conversation."""
    return walk_with(setting, lambda request: candidate(request.decision), turn)


def walk_with(setting: Scene, answer: Callable[[Request], Answer], turn: int | None = None) -> Outcome:
    """The same, of somebody who looks at the request."""

    async def ask(request: Request) -> Answer:
        await asyncio.sleep(0)
        return answer(request)

    unit: dict[str, Any] = {
        "unit_id": "s" if turn is None else f"s/t{turn}",
        "aggregate_id": "s",
        "side": "candidate",
        "draw": 0,
    }
    walk = Walk(setting, unit["unit_id"], "candidate", 0)
    if turn is None:
        return asyncio.run(walk_conversation(walk, unit, ask))
    return asyncio.run(walk_turn(walk, turn, unit, ask))


def echo(talk: Sequence[Said], changes: dict[int, Reply] | None = None) -> Callable[[Decision], Answer]:
    """A candidate that says what was recorded, but for the decisions in `changes`."""
    acts = [said for role, said in talk if role == "agent"]
    recorded = {
        number: Reply(text, [ToolCall(name, arguments) for name, arguments, _ in calls])
        for number, (text, calls) in enumerate(acts, start=1)
    }
    known = recorded | (changes or {})
    return lambda decision: known[decision.decision]
