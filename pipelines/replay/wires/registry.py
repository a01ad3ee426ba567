"""The wires that there are."""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.experiment.sides import Api
from pipelines.replay.wires.chat import Chat
from pipelines.replay.wires.messages import Messages
from pipelines.replay.wires.responses import Responses
from pipelines.replay.wires.wire import Wire

WIRES: Mapping[Api, Wire] = {wire.api: wire for wire in (Chat(), Responses(), Messages())}
"""Every wire, by its name."""


def find_wire(api: Api) -> Wire:
    """The wire of that name."""
    return WIRES[api]
