"""The public Python API: the lake as data frames, and the types that code of one's own is given and returns.

Names here are stable; everything under `pipelines` may move. Importing this package loads nothing else: each name is
fetched from where it is defined when it is first used, so that an agent which only records never loads DuckDB.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.diff.measure import MadeCall, UnitSide
    from pipelines.diff.versions import Version
    from pipelines.errors import BadInputError, CheckFailedError, RefoldError
    from pipelines.experiment.decision import Decision, Reply, ToolCall
    from pipelines.recorder import Recorder, RecorderFull, RecorderStatus, Talk
    from pipelines.replay.agents.session import AgentStopped, Session, Tool
    from refold.lake import Lake

__all__ = [
    "AgentStopped",
    "BadInputError",
    "CheckFailedError",
    "Decision",
    "Lake",
    "MadeCall",
    "Recorder",
    "RecorderFull",
    "RecorderStatus",
    "RefoldError",
    "Reply",
    "Session",
    "Talk",
    "Tool",
    "ToolCall",
    "UnitSide",
    "Version",
]

_HOMES = {
    "pipelines.diff.measure": ("MadeCall", "UnitSide"),
    "pipelines.diff.versions": ("Version",),
    "pipelines.errors": ("BadInputError", "CheckFailedError", "RefoldError"),
    "pipelines.recorder": ("Recorder", "RecorderFull", "RecorderStatus", "Talk"),
    "pipelines.experiment.decision": ("Decision", "Reply", "ToolCall"),
    "pipelines.replay.agents.session": ("AgentStopped", "Session", "Tool"),
    "refold.lake": ("Lake",),
}
"""Where each name is defined."""


def __getattr__(name: str) -> Any:
    """The object of that name, imported now."""
    for module, names in _HOMES.items():
        if name in names:
            try:
                found = globals()[name] = getattr(import_module(module), name)
            except ModuleNotFoundError as error:
                if error.name and module.startswith(error.name):
                    raise ImportError(f"refold.{name} is not part of refold-recorder: install refold") from None
                raise
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What there is, whether it has been used yet or not."""
    return sorted({*globals(), *__all__})
