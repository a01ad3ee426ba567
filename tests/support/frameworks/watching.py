"""What an agent did, seen from its own side: the tool calls that it made, and the text that it returned."""

from __future__ import annotations

import inspect
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.replay.agents.session import Session

_LOST = "[lost]"
"""What a forgetful agent reads instead of a result; an empty text is recorded here and there."""
Run = Callable[[Session], Any]


@dataclass
class Seen:
    """One unit.

    Attributes:
        calls: Name and arguments of each tool call, in the order in which they were made.
        texts: What each run returned.
    """

    calls: list[tuple[str, Any]] = field(default_factory=list)
    texts: list[str | None] = field(default_factory=list)


def watch(run: Run, seen: defaultdict[str, Seen], *, is_forgetful: bool = False) -> Run:
    """The same agent, watched.

    Args:
        run: The agent.
        seen: Where it is noted, by unit.
        is_forgetful: Whether it loses the first tool result of each unit.
    """

    def watched(session: Session) -> tuple[Seen, Session]:
        unit = seen[f"{session.metadata['aggregate_id']}/t{session.metadata['turn']}"]

        def fetch(name: str, arguments: Any) -> Any:
            unit.calls.append((name, json.loads(arguments) if isinstance(arguments, str) else dict(arguments)))
            result = session.result(name, arguments)
            return _LOST if is_forgetful and len(unit.calls) == 1 else result

        tools = [replace(tool, _fetch=fetch) for tool in session.tools]
        return unit, replace(session, tools=tools, _fetch=fetch)

    if not inspect.iscoroutinefunction(run):

        def sync_run(session: Session) -> Any:
            unit, given = watched(session)
            unit.texts.append(run(given))
            return unit.texts[-1]

        return sync_run

    async def async_run(session: Session) -> Any:
        unit, given = watched(session)
        unit.texts.append(await run(given))
        return unit.texts[-1]

    return async_run
