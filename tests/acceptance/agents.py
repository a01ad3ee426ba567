"""Agents of every documented framework in real recorded turns, the recording answering their models. Prints counts.

    python tests/acceptance/agents.py [--shared ../shared] [--conversations 30] [--frameworks plain openai_agents pydantic_ai langgraph]

So many conversations of each source of real data, spread over it, are imported into a home of their own; a reader of its own says what the
agent did in each turn that has answered tool calls and a final text. Each agent of `docs/agents.md` acts in all of them, in an environment of its
framework (`tests/agents/requirements`). It must make the same tool calls, as JSON values, in order, and say the same at the end, but for at
most 2 % that are named. The same agent without one tool result must fail in each. How its requests differ from what was recorded is counted.
`tests/agents/test_frameworks.py` runs the same on a few conversations.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.folds.run import fold_month
from pipelines.ingest.chat import import_chat
from pipelines.lake.lake import Lake
from pipelines.store import EmbeddedServer, Store, connect
from pipelines.store.events import stream_id
from tests.support.documented import write_documented
from tests.support.environments import python_beside

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
REQUIREMENTS = ROOT / "tests" / "agents" / "requirements"
AGENTS: dict[str, tuple[str, ...]] = {
    "plain": ("plain_agent", "openai_agent", "-plain_agent"),
    "openai_agents": ("agents_sdk_agent", "agents_sdk_mcp_agent", "-agents_sdk_agent"),
    "pydantic_ai": ("pydantic_agent", "pydantic_mcp_agent", "desk_agent", "-pydantic_agent"),
    "langgraph": ("langgraph_agent", "langgraph_mcp_agent", "-langgraph_agent"),
}
"""By framework: the agents of the document. The last, with a dash, loses a tool result."""
MOST_EXCEPTIONS = 0.02


@dataclass(frozen=True, slots=True)
class Turn:
    """What the agent did in one recorded turn.

    Attributes:
        calls: Name and arguments of its tool calls, in order.
        text: Its final text.
    """

    calls: list[list[Any]]
    text: str


def import_talks(store: Store, lake: Lake, shared: Path, most: int, folder: Path) -> dict[str, Turn]:
    """Conversations of each source in which there is such a turn, spread over it, exported and folded; their turns by unit.

    Nobody recorded which tools there were: each conversation gets those that were called in it, with any arguments.
    """
    by_source: dict[str, list[tuple[str, dict[str, Turn]]]] = defaultdict(list)
    with gzip.open(shared / "data" / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            talk = json.loads(line)
            turns = recorded_turns(talk)
            if turns:
                by_source[talk["source"]].append((json.dumps(talk | {"tools": _tools_of(talk)}), turns))
    spread = [each for talks in by_source.values() for each in talks[:: max(1, len(talks) // most)][:most]]
    path = folder / "talks.jsonl"
    path.write_text("\n".join(line for line, _ in spread), encoding="utf-8")
    import_chat(store, [path])
    for month in months_to_export(store, lake):
        export_month(store.dsn, lake, month)
        fold_month(lake, month)
    return {unit: turn for _, turns in spread for unit, turn in turns.items()}


def _tools_of(talk: Mapping[str, Any]) -> list[dict[str, Any]]:
    calls = (call for message in talk["messages"] for call in message.get("tool_calls") or ())
    any_object = {"type": "object", "properties": {}, "additionalProperties": True}
    return [
        {"type": "function", "function": {"name": name, "description": name, "parameters": any_object}}
        for name in dict.fromkeys(call["function"]["name"] for call in calls)
    ]


def recorded_turns(talk: Mapping[str, Any]) -> dict[str, Turn]:
    """By unit, the turns of a conversation in which every tool call was answered and the last message is a text; read from its line."""
    stream = stream_id(talk["source"], talk["conversation_id"])
    turns = {f"{stream}/t{number}": _turn_of(each) for number, each in enumerate(_by_turn(talk["messages"])) if number}
    return {unit: turn for unit, turn in turns.items() if turn is not None}


def _by_turn(messages: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """What follows each text of the user's; before the first one is turn 0."""
    turns: list[list[Mapping[str, Any]]] = [[]]
    for message in messages:
        if message["role"] == "user" and _text(message["content"]).strip():
            turns.append([])
        turns[-1].append(message)
    return turns


def _turn_of(messages: Sequence[Mapping[str, Any]]) -> Turn | None:
    replies = [message for message in messages if message["role"] == "assistant"]
    calls = [call["function"] for reply in replies for call in reply.get("tool_calls") or ()]
    results = [message for message in messages if message["role"] == "tool" and message.get("requestor") != "user"]
    is_plain = all(message["role"] in ("assistant", "tool") for message in messages[1:])
    if not calls or not is_plain or len(results) != len(calls) or messages[-1] is not replies[-1]:
        return None
    if replies[-1].get("tool_calls") or not _text(replies[-1]["content"]).strip():
        return None
    return Turn([[call["name"], _value(call["arguments"])] for call in calls], _text(replies[-1]["content"]))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text") or part.get("content") or "" for part in content)
    return content or ""


def _value(arguments: Any) -> Any:
    """Arguments as a value; none are an empty object, and what is no JSON is text."""
    if not isinstance(arguments, str):
        return {} if arguments is None else arguments
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


@dataclass
class Echo:
    """What one agent came to.

    Attributes:
        agent: Its name in the document; a dash before it, without one tool result in each unit.
        units: Recorded turns that it was put into.
        exact: Those that are as recorded.
        exceptions: The others: reason, or what differs, by unit.
        calls: Model calls.
        differences: Kinds in which its requests differ from what was recorded, and how many of them each.
        like: Requests that differ in nothing.
        others: Units that are no such turn, by what their row says.
    """

    agent: str
    units: int = 0
    exact: int = 0
    exceptions: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    like: int = 0
    others: Counter[str] = field(default_factory=Counter)


def run_agents(framework: str, agents: Sequence[str], lake: Lake, folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """What became of each unit of some agents of a framework, run in its environment."""
    python = Path(sys.executable) if framework == "plain" else python_beside(REQUIREMENTS / f"{framework}.txt")
    folder.mkdir()
    write_documented("agents.md", folder)
    command = [
        str(python),
        "-m",
        "tests.support.frameworks.echo_child",
        str(lake.root),
        str(folder),
        *agents,
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith(("REFOLD_", "OPENAI_"))}
    done = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}")
    found: dict[str, dict[str, dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def hold(agent: str, units: Mapping[str, Mapping[str, Any]], turns: Mapping[str, Turn]) -> Echo:
    """Hold an agent's units to what was recorded."""
    echo = Echo(agent)
    for unit, row in units.items():
        turn = turns.get(unit)
        if turn is None:
            echo.others[str(row["reason"] or row["status"])] += 1
            continue
        echo.units += 1
        echo.calls += row["steps"]
        asked = [kinds for kinds in row["differences"] or () if kinds is not None]
        echo.like += sum(not kinds for kinds in asked)
        echo.differences.update(kind for kinds in asked for kind in kinds)
        wrong = difference(row, turn, is_watched="mcp" not in agent)
        echo.exact += wrong is None
        if wrong is not None:
            echo.exceptions[unit] = wrong
    return echo


def difference(row: Mapping[str, Any], turn: Turn, *, is_watched: bool) -> str | None:
    """What is not as recorded, seen from the agent's side: its tool calls where they are watched, and the text that it returned."""
    if row["status"] != "ok":
        return str(row["reason"])
    if is_watched and row["calls"] != turn.calls:
        return "tool calls"
    if (row["texts"] or [None])[-1] != turn.text:
        return "returned text"
    return None if row["text"] == turn.text else "text of the unit"


def faults_of(echo: Echo) -> list[str]:
    """What is not as it must be."""
    if echo.agent.startswith("-"):
        found_out = Counter(echo.exceptions.values())["incomplete_request"]
        is_right = echo.exact == 0 < found_out >= (1 - MOST_EXCEPTIONS) * echo.units
        return [] if is_right else [f"of {echo.units} units without a tool result, {found_out} were found out"]
    if len(echo.exceptions) > MOST_EXCEPTIONS * echo.units or not echo.units:
        return [f"{len(echo.exceptions)} of {echo.units} units are not as recorded"]
    return []


def told(echo: Echo) -> Iterator[str]:
    """Lines that say it."""
    yield f"{echo.agent}: {echo.exact:,} of {echo.units:,} turns as recorded, {echo.calls:,} model calls"
    for reason, count in Counter(echo.exceptions.values()).most_common():
        shown = [unit for unit, why in echo.exceptions.items() if why == reason][:3]
        yield f"    {count:,} {reason}: {', '.join(shown)} …"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in echo.differences.most_common())
    yield f"    requests: {echo.like:,} as the recording would have them; {kinds or 'none differs'}"
    yield f"    other units: {dict(echo.others)}"


def main() -> int:
    """Import, act, hold; 1 where something is not as it must be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--conversations", type=int, default=30)
    parser.add_argument("--frameworks", nargs="+", default=list(AGENTS))
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="refold-agents-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        home = folder / "home"
        with EmbeddedServer(home) as server, connect(server.dsn) as connection:
            store, lake = Store(connection, server.dsn), Lake(home / "lake")
            store.migrate()
            turns = import_talks(store, lake, given.shared, given.conversations, folder)
        for framework in given.frameworks:
            for agent, units in run_agents(framework, AGENTS[framework], lake, folder / framework).items():
                echo = hold(agent, units, turns)
                faults = faults_of(echo)
                wrong += len(faults)
                sys.stdout.write("\n".join([*told(echo), *(f"    WRONG: {fault}" for fault in faults)]) + "\n")
                sys.stdout.flush()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
