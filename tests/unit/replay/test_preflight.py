"""A dry run's count of what can be asked over a wire: each decision once, every reason by its name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from pipelines.experiment.sides import Api
from pipelines.replay.preflight import Preflight
from pipelines.replay.request import Head, Lines, Request
from pipelines.replay.work import Unit

CALL = {"id": "call_1_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PLAIN = [{"role": "user", "content": "Hi"}]
UNANSWERED = [*PLAIN, {"role": "assistant", "content": None, "tool_calls": [CALL]}, {"role": "user", "content": "And?"}]
SOUND = [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "secret"}}]}]


@dataclass
class Given:
    """One unit and draw."""

    row: dict[str, Any]
    request: Request | None = None
    reason: str | None = None


@dataclass
class Decided:
    """A decision of a plan."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    reason: str | None = None


def units_of(api: Api, *decided: Decided, draws: int = 2) -> list[Unit]:
    units = []
    for number, each in enumerate(decided):
        lines = Lines(Head("m", {"max_tokens": 9}, (), api))
        lines.add(*each.messages)
        for draw in range(draws):
            request = lines.request(f"s/{number}", "candidate", draw, ("s", number), lambda: (1, {}))
            is_asked = each.reason is None
            units.append(Given({"unit_id": f"s/{number}"}, request if is_asked else None, each.reason))
    return cast("list[Unit]", units)


DECIDED = [Decided(PLAIN), Decided(UNANSWERED), Decided(SOUND), Decided(reason="unknown_tools")]


def test_decisions_are_counted_once_and_requests_as_often_as_they_are_drawn():
    """What can be asked, what of that with a note, what cannot; the words have nothing of what was recorded."""
    preflight = Preflight()
    requests = list(preflight.requests(units_of("messages", *DECIDED)))
    assert [request.unit_id for request in requests] == ["s/0", "s/0", "s/1", "s/1"]
    assert (preflight.replayable, preflight.noted, preflight.not_replayable) == (2, 1, 2)
    assert preflight.notes == {"result_added": 1}
    assert preflight.unasked == {"not_expressible": 2, "unknown_tools": 2}
    assert preflight.describe("messages") == [
        "  over messages: 2 decisions can be replayed, 1 of them with a note; 2 cannot",
        "  note: 1 × result_added: a call that nothing answered gets a result that says so",
        "  would not be asked: 2 × not_expressible",
        "  would not be asked: 2 × unknown_tools",
        "  no form: 1 × content_part: content of type input_audio has no form over messages",
    ]


def test_a_wire_notes_what_it_changes_itself():
    """The same decisions over chat completions: nothing is added there, and sound has a form."""
    preflight = Preflight()
    assert len(list(preflight.requests(units_of("chat", *DECIDED)))) == 6
    assert (preflight.replayable, preflight.noted, preflight.not_replayable) == (3, 1, 1)
    assert preflight.notes == {"call_unanswered": 1}
