"""Take homes of large events, messages and lines through the verbs, each in a process of its own, and say what memory it took.

    python tests/acceptance/memory_bound.py [KIND…] [--memory 1GB] [--scale 1.0] [--keep FOLDER] [--without-ab]

Kinds: `events` (600 conversations of 40 events of 51 kB), `messages` (one of 20,000 messages of 10 kB) and `line` (one line of
200 MB), each beside 20 ordinary ones. `--scale` is of their number, or of the line's size. Every verb must do its work within the
bound and a tenth, or refuse and name the bound that would do; with that one it must do it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import psycopg

from pipelines.settings import parse_size

ROOT = Path(__file__).parents[2]
SLACK = 1.1
_AGENT = """
from pipelines.experiment.decision import Reply

def decide(decision):
    return Reply(text="what the candidate says of " + decision.unit_id)
"""
# One statement a conversation: hashes, heads and months are the store's own.
_FILL = """
SELECT refold.append_events(
    md5('c' || %(stream)s)::uuid, 'conversation', 'no_stream',
    array_agg(CASE WHEN v %% 2 = 0 THEN 'user.utterance.v1' ELSE 'agent.utterance.v1' END ORDER BY v),
    array_agg(jsonb_build_object('text', 'conversation ' || %(stream)s || ' ' || v || ' '
        || (SELECT string_agg(md5(%(stream)s || '/' || v || '/' || n), ' ') FROM generate_series(1, %(size)s / 33) AS n)) ORDER BY v),
    array_agg(jsonb_build_object('message_id', 'm' || v, 'source', 'shop') ORDER BY v),
    array_agg('2026-01-03'::timestamptz + v * interval '1 second' ORDER BY v)
)
FROM generate_series(0, %(events)s - 1) AS v
"""


@dataclass(frozen=True, slots=True)
class Took:
    """What one verb took: its bound and its largest resident memory in bytes, exit code, seconds, and the end of what it said."""

    verb: str
    code: int
    memory_bytes: int
    peak_bytes: int
    seconds: float
    said: str


def run(home: Path, memory: int, *words: str) -> Took:
    """One verb on a home, in a process of its own; helpers that it starts are not in the peak."""
    started = time.monotonic()
    env = {**os.environ, "REFOLD_HOME": str(home), "REFOLD_MEMORY": str(memory)}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *words], cwd=ROOT, env=env, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    return Took(
        words[0], process.returncode, memory, usage.ru_maxrss * 1024, round(time.monotonic() - started, 1), text[-1500:]
    )


@contextmanager
def served(home: Path) -> Iterator[None]:
    """The home's server, stopped afterwards."""
    run(home, 10**9, "db", "start")
    try:
        yield
    finally:
        run(home, 10**9, "db", "stop")


def fill(home: Path, conversations: int, events: int, size: int) -> None:
    """Conversations of large events, appended by the server itself."""
    from pipelines.settings import Settings  # noqa: PLC0415 -- the script is imported by a test that needs none of it
    from pipelines.store import Store  # noqa: PLC0415

    with Store.open(Settings.from_env({"REFOLD_HOME": str(home)})) as store:
        dsn = store.dsn
    with psycopg.connect(dsn, autocommit=True) as connection:
        for stream in range(conversations):
            connection.execute(_FILL, {"stream": str(stream), "events": events, "size": size})


def write_lines(path: Path, messages: int, size: int) -> None:
    """One conversation of messages of a size, and 20 ordinary ones, as chat-completions JSON lines."""
    texts = random.Random(1)

    def write_line(name: str, contents: Iterable[str]) -> None:
        # message by message: what this process holds when it starts a verb, the system counts as that verb's
        head = {"source": "shop", "conversation_id": name, "started_at": "2026-01-03T00:00:00Z"}
        file.write(json.dumps(head).removesuffix("}") + ', "messages": [')
        for n, text in enumerate(contents):
            said = {"role": ("user", "assistant")[n % 2], "content": text}
            file.write(("," if n else "") + json.dumps(said))
        file.write("]}\n")

    with path.open("w") as file:
        write_line("large", (texts.randbytes(size // 2).hex() for _ in range(messages)))
        for n in range(20):
            write_line(f"c{n}", ["hello", "yes?"])


def walk(home: Path, memory: int, first: list[tuple[str, ...]], *, with_ab: bool) -> Iterator[Took]:
    """Every verb of a home, in order; one that refuses is run again with the bound that it names."""
    (home / "candidate.py").write_text(_AGENT)
    for name, text in {
        "echo": "candidate: {echo: true}\n",
        "callable": 'candidate: {python: "candidate:decide"}\n',
        "turns": "mode: turn\ncandidate: {echo: true}\n",
    }.items():
        (home / f"{name}.yaml").write_text(
            f"experiment: {name}\nwindow: {{from: 2026-01-01, to: 2026-02-01}}\nbaseline: {{recorded: {{source: shop}}}}\n{text}"
        )
    verbs = [*first, ("export",), ("fold",), ("verify",)]
    experiments = ("echo", "callable", "turns") if with_ab else ()
    for verb in [*verbs, *(("ab", str(home / f"{name}.yaml")) for name in experiments)]:
        done = run(home, memory, *verb)
        yield done
        enough = re.search(r"REFOLD_MEMORY=(\d+)MB", done.said)
        if done.code and enough is not None:
            yield run(home, int(enough[1]) * 10**6, *verb)


def measure(kind: str, memory: int, scale: float, folder: Path, *, with_ab: bool) -> Iterator[dict[str, Any]]:
    """One kind, as rows of a table, each when it is known."""
    home = folder / kind
    home.mkdir(parents=True, exist_ok=True)
    first: list[tuple[str, ...]] = []
    if kind != "events":
        messages, size = {"messages": (int(20_000 * scale), 10_000), "line": (4, int(50_000_000 * scale))}[kind]
        write_lines(folder / f"{kind}.jsonl", messages, size)
        first = [("import", "chat", str(folder / f"{kind}.jsonl"))]
    with served(home):
        if kind == "events":
            fill(home, int(600 * scale), 40, 51_000)
        for each in walk(home, memory, first, with_ab=with_ab):
            yield {"kind": kind, **asdict(each)}


def main() -> None:
    """Measure what is named, or everything; fail where a verb took more than it may."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=["events", "messages", "line"])
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--keep")
    parser.add_argument("--without-ab", action="store_true")
    given = parser.parse_args()
    memory, is_over = parse_size("--memory", given.memory), False
    with tempfile.TemporaryDirectory() as folder:
        for kind in given.kinds:
            kept = Path(given.keep or folder)
            for row in measure(kind, memory, given.scale, kept, with_ab=not given.without_ab):
                sys.stdout.write(json.dumps(row) + "\n")
                sys.stdout.flush()
                enough = re.search(r"REFOLD_MEMORY=(\d+)MB", row["said"])
                is_over |= row["peak_bytes"] > SLACK * row["memory_bytes"] and enough is None
    sys.exit(int(is_over))


if __name__ == "__main__":
    main()
