"""Server-sent events, read by the rule of their standard as far as providers use it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def data_of(events: Iterable[bytes]) -> list[dict[str, Any]]:
    """The data of events, in order; each is one event, whose name is the type of its data. `[DONE]` is none."""
    found = []
    for event in events:
        *name, data = event.decode().removesuffix("\n\n").split("\n")
        assert data.startswith("data: ")
        if data != "data: [DONE]":
            found.append(json.loads(data.removeprefix("data: ")))
            assert name in ([], [f"event: {found[-1].get('type')}"])
    return found
