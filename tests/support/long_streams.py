"""A log of one month: a few streams that are long where snapshots are made every few events."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from pipelines.store.events import NewEvent, stream_id

MONTH = "2026-02"
START = datetime(2026, 2, 1, tzinfo=UTC)
EVERY = 8
STREAMS = [str(stream_id("desk/long", str(number))) for number in range(4)]


def talk(seed: int, length: int) -> list[NewEvent]:
    """Events of a stream, as odd as recorded ones: ids that repeat or are missing, results that nobody waits for."""
    draw = random.Random(seed)
    made = []
    for number in range(length):
        metadata: dict[str, Any] = {"message_id": draw.choice([None, "m1", "m2"]), "subject_id": "ann"}
        call_id = draw.choice([None, "a", "b", f"c{number}"])
        kind, payload = draw.choice(
            [
                ("user.utterance.v1", {"text": f"said {number}"}),
                ("agent.utterance.v1", {"text": f"answered {number}"}),
                ("tool.call.v1", {"call_id": call_id, "name": "find", "arguments": {"n": number}}),
                ("tool.result.v1", {"call_id": call_id, "output": number, "error": draw.choice([None, "no"])}),
                ("model.decision.v1", {"model": "m", "usage": {"prompt_tokens": number}, "cost_usd": 0.1}),
                ("weather.changed.v1", {}),
            ]
        )
        if kind == "tool.call.v1" and draw.random() < 0.3:
            metadata["actor"] = "user"
        made.append(NewEvent(kind, payload, metadata, START + timedelta(minutes=number)))
    return made


LOG = [(stream, "conversation", talk(number, 60)) for number, stream in enumerate(STREAMS)]
