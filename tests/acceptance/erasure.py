"""Erase people of the demo and of real conversations, kill it at random moments, and say what is left of them anywhere.

    python tests/acceptance/erasure.py people [--customers 10] [--conversations 10] [--log FILE] [--keep FOLDER]
    python tests/acceptance/erasure.py killed [--times 20] [--seed 0]

`people`: a home with the demo's history and experiment, with marked talks of each person (a value over two messages, JSON-escaped, in
capitals, in a tool's arguments, short and long), and with real conversations of a file of chat-completions lines; all of them erased and
scrubbed by command. Then: no marked value in any file of the home, decoded, nor in the store's own; new files of the tables in
PostgreSQL; all other streams the same to the byte; counts by month as before; everything verifies.
`killed`: the same home, smaller; `refold erase` and, for a redaction, `refold fold`, killed at random moments; one more run must end as
the run does that nobody killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipelines.lake.lake import Lake
from pipelines.redaction.places import find_values
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, NewEvent, Store, stream_id

ROOT = Path(__file__).parents[2]
REASON = "ticket 4711"
DEMO_EVENTS = 20_000
AT = datetime(2026, 5, 20, tzinfo=UTC)
_KEPT = """
SELECT aggregate_id::text, stream_version, position, payload::text, metadata::text, encode(hash, 'hex'), encode(salt, 'hex')
FROM refold.events WHERE octet_length(digest) = 0 AND aggregate_type NOT IN ('access', 'erasure') ORDER BY aggregate_id, stream_version
"""
_STATE = """
SELECT aggregate_id::text, stream_version, payload::text, metadata::text, encode(digest, 'hex') FROM refold.events
WHERE aggregate_type NOT IN ('access', 'erasure') ORDER BY aggregate_id, stream_version
"""
_COUNTS = "SELECT month, count(*), sum(user_messages) FROM conversation_months GROUP BY ALL ORDER BY ALL"
_OWN = ("erasure", "erasures", "computed_at", "committed_at")


@dataclass(frozen=True, slots=True)
class Marks:
    """What a person said that is found nowhere else.

    Attributes:
        customer: The person.
        values: Whole values, as one would look for them.
    """

    customer: str
    values: tuple[str, ...]


def refold(home: Path, *words: str, check: bool = True) -> str:
    """One verb, in a process of its own; what it printed."""
    done = subprocess.run(
        _command(*words), env=_environment(home), cwd=home, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise SystemExit(
            f"refold {' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr[-3000:]}"
        )
    return done.stdout


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "pipelines.cli", *words]


def _environment(home: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
    return {**inherited, "REFOLD_HOME": str(home), "PYTHONPATH": str(ROOT)}


@contextmanager
def opened(home: Path) -> Iterator[Store]:
    """The store of a home."""
    with Store.open(Settings.from_env({"REFOLD_HOME": str(home)})) as store:
        yield store


def mark(store: Store, number: int) -> tuple[Marks, dict[str, Any]]:
    """A person who says values in every way that hides from a search of bytes."""
    rng = random.Random(number)
    word = "".join(rng.choices("bcdfghjklmnpqrstvwxz", k=14))
    customer = f"cust-{word}"
    long = "".join(rng.choices("bcdfghjklmnpqrstvwxz0123456789", k=9_000))
    quoted = f'{word}q "x\\y" ü'
    split = f"{word}s"
    said = [
        ("user.utterance.v1", {"text": f"my name is {word}a, {quoted}"}),
        ("agent.utterance.v1", {"text": f"hello {word.upper()}B"}),
        ("user.utterance.v1", {"text": f"it is {split[:7]}"}),
        ("user.utterance.v1", {"text": f"{split[7:]} of course"}),
        ("user.utterance.v1", {"text": long}),
    ]
    metadata = {"actor": "user", "subject_id": customer, "source": "marked", "source_id": f"talk-{number}"}
    events = [NewEvent(kind, payload, metadata, AT + timedelta(seconds=n)) for n, (kind, payload) in enumerate(said)]
    store.append(stream_id("marked", f"talk-{number}"), "conversation", events, "no_stream")
    line = {
        "source": "marked",
        "conversation_id": f"tools-{number}",
        "subject_id": customer,
        "messages": [
            {"role": "user", "content": f"where is {word}c?"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "c1",
                        "type": "function",
                        "function": {
                            "name": "find",
                            "arguments": json.dumps({"name": f"{word}d", "nested": [{"deep": f"{word}e"}]}),
                        },
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": json.dumps({"found": f"{word}f"})},
            {"role": "assistant", "content": f"{word}g is found"},
        ],
    }
    values = (customer, quoted, long[:40], split[7:], f"{word}b", *(f"{word}{letter}" for letter in "acdefg"))
    return Marks(customer, values), line


@dataclass(frozen=True, slots=True)
class Made:
    """A home in use, whose server is down, and what of it is to be erased.

    Attributes:
        home: Where.
        marked: The marked people.
        demo: Customers of the demo.
        real: Streams of real conversations.
    """

    home: Path
    marked: list[Marks]
    demo: list[str]
    real: list[str]

    def copy(self, to: Path) -> Made:
        """The same in another folder, with owners and times."""
        return replace(self, home=_copy(self.home, to))


def make_home(
    folder: Path, customers: int, log: Path | None = None, conversations: int = 0, events: int = DEMO_EVENTS
) -> Made:
    """The demo's months and experiment, marked people, real conversations, everything exported and folded."""
    home = folder / "home"
    home.mkdir(parents=True)
    with EmbeddedServer(home):  # once for all the verbs
        return _fill(home, folder, customers, log, conversations, events)


def _fill(home: Path, folder: Path, customers: int, log: Path | None, conversations: int, events: int) -> Made:
    refold(home, "demo", "--events", str(events))
    marked, lines = [], []
    with opened(home) as store:
        store.ensure_months([AT])
        for number in range(customers):
            marks, line = mark(store, number)
            marked.append(marks)
            lines.append(json.dumps(line))
    (folder / "marked.jsonl").write_text("\n".join(lines))
    refold(home, "import", "chat", str(folder / "marked.jsonl"), "--at", f"{AT + timedelta(days=1):%Y-%m-%d}")
    (folder / "marked.jsonl").unlink()
    real: list[str] = []
    if log is not None:
        refold(home, "import", "chat", str(log))
        with opened(home) as store:
            query = (
                "SELECT aggregate_id::text FROM refold.events WHERE stream_version = 1 AND starts_with(metadata ->> 'source_place', %s) "
                "ORDER BY md5(aggregate_id::text) LIMIT %s"
            )
            real = [row[0] for row in store.conn.execute(query, [log.name, conversations]).fetchall()]
    refold(home, "export")
    refold(home, "fold")
    with Lake(home / "lake").connect() as connection:
        query = "SELECT subject_id FROM customers WHERE conversations > 1 AND subject_id NOT LIKE 'cust-%' ORDER BY md5(subject_id) LIMIT $n"
        demo = [row[0] for row in connection.sql(query, params={"n": customers}).fetchall()]
    return Made(home, marked, demo, real)


def kept(home: Path) -> list[tuple[Any, ...]]:
    """All events of the store that have their content."""
    with opened(home) as store:
        return store.conn.execute(_KEPT).fetchall()


def people(made: Made) -> list[str]:
    """Erase and scrub; what is wrong afterwards."""
    home = made.home
    with EmbeddedServer(home):
        before, counts = kept(home), refold(home, "sql", _COUNTS)
        gone = {UUID(each) for each in made.real}
        values = {value for marks in made.marked for value in marks.values}
        texts = texts_of(home, made.demo, made.real)
        print(f"{len(texts):,} texts of theirs that stand nowhere else")
        there = find_values(home, list(values))
        print(
            f"{len(before):,} events; of {len(values)} marked values {sum(map(bool, there.values()))} are in the lake's and other files"
        )
        started = time.monotonic()
        for customer in (*(marks.customer for marks in made.marked), *made.demo):
            refold(home, "erase", "--customer", customer, "--reason", REASON)
        if made.real:
            refold(home, "erase", *(word for stream in made.real for word in ("--stream", stream)), "--reason", REASON)
        erased_at = time.monotonic()
        scrubbed = refold(home, "erase", "--scrub")
        print(scrubbed)
        print(
            f"erased {len(made.marked) + len(made.demo)} people and {len(gone)} conversations in {erased_at - started:.0f} s, scrubbed in {time.monotonic() - erased_at:.1f} s"
        )
    wrong = [
        f"{value!r} is in {place}"
        for value, places in find_values(home, [*values, *texts], without=()).items()
        for place in places
    ]
    with EmbeddedServer(home):
        after = kept(home)
        erased = erased_streams(home)
        left = [row for row in before if row[0] not in erased]
        wrong += [] if after == left else ["events of others are not as they were"]
        wrong += (
            []
            if refold(home, "sql", _COUNTS) == counts
            else [f"counts by month were\n{counts}and are\n{refold(home, 'sql', _COUNTS)}"]
        )
        audit = json.loads(refold(home, "verify", "--deep", "--json", check=False))
        wrong += [f"verify: {each}" for month in audit["months"] for each in month["findings"]] + [
            f"verify: {each}" for each in audit["findings"]
        ]
        print(
            f"{len(before) - len(after):,} events erased of {len(erased):,} streams; {len(after):,} as they were; integrity {audit['integrity']}, completeness {audit['completeness']}"
        )
    return wrong


def texts_of(home: Path, customers: Sequence[str], streams: Sequence[str]) -> list[str]:
    """What people of the demo and real conversations said that stands nowhere else, not within another text either."""
    query = """
    SELECT e.payload ->> 'text', lower(e.payload::text),
        coalesce(e.metadata ->> 'subject_id' = ANY(%(customers)s), false) OR e.aggregate_id = ANY(%(streams)s::uuid[])
        OR EXISTS (
            SELECT FROM refold.events AS s
            WHERE s.aggregate_id = e.aggregate_id AND s.stream_version = 1 AND s.metadata ->> 'subject_id' = ANY(%(customers)s)
        )
    FROM refold.events AS e
    """
    with opened(home) as store:
        asked = {"customers": list(customers), "streams": list(streams)}
        rows = store.conn.execute(query.encode(), asked).fetchall()
    others = "\n".join(payload for _, payload, is_theirs in rows if not is_theirs)
    said = sorted({text for text, _, is_theirs in rows if is_theirs and text and 40 <= len(text) <= 2000})
    return [text for text in said if not any(form in others for form in _spellings(text.lower()))]


def _spellings(text: str) -> list[str]:
    """A text as it stands in JSON, and in JSON within JSON."""
    once = json.dumps(text, ensure_ascii=False)[1:-1]
    return [once, json.dumps(once, ensure_ascii=False)[1:-1]]


def erased_streams(home: Path) -> set[str]:
    """Streams that have erased events."""
    with opened(home) as store:
        return {
            row[0] for row in store.conn.execute("SELECT DISTINCT aggregate_id::text FROM refold.erasures").fetchall()
        }


def state(home: Path) -> dict[str, list[str]]:
    """What a home says, wherever: the store's events, and the rows of every table of the lake, without what names a run."""
    with opened(home) as store:
        found = {"store": [repr(row) for row in store.conn.execute(_STATE).fetchall()]}
    lake = Lake(home / "lake")
    with lake.connect() as connection:
        for name in lake.datasets():
            files = lake.files(name)
            if name in ("commits", "home_log") or not files:
                continue
            relation = connection.read_parquet(files, hive_partitioning=True)
            shown = [column for column in relation.columns if column not in _OWN]
            columns = ", ".join(f'"{column}"' for column in shown)
            where = "WHERE aggregate_type NOT IN ('access', 'erasure')" if "aggregate_type" in relation.columns else ""
            query = f"SELECT {columns} FROM read_parquet($files, hive_partitioning = true) {where}"
            found[name] = sorted(map(repr, connection.sql(query, params={"files": files}).fetchall()))
    return found


def killed(made: Made, folder: Path, times: int, seed: int, tell: Any = print) -> list[str]:
    """Kill an erasure, and a redaction's fold, at random moments; what is wrong after one more run."""
    home, marked = made.home, made.marked
    erasing = ["erase", "--customer", marked[0].customer, "--reason", REASON]
    wrong = _killed_at(folder, home, [erasing], marked[0].values, "erasure", times, seed, tell)
    with opened(home) as store:
        stream = stream_id("marked", "talk-0")
        payload = {"target": {"stream_version": 1}, "path": "/text", "method": "hide", "reason": "asked"}
        store.append(
            stream, "conversation", [NewEvent("redaction.applied.v1", payload, {}, AT + timedelta(days=1))], "exists"
        )
    refold(home, "db", "stop", check=False)
    return wrong + _killed_at(folder, home, [["export"], ["fold"]], (), "redaction", times, seed + 1, tell)


def _copy(home: Path, to: Path) -> Path:
    """A home that is stopped, with owners and times."""
    subprocess.run(["cp", "-a", str(home), str(to)], check=True)
    return to


def _killed_at(
    folder: Path, home: Path, verbs: list[list[str]], values: Sequence[str], what: str, times: int, seed: int, tell: Any
) -> list[str]:
    rng = random.Random(seed)
    undisturbed = _copy(home, folder / f"{what}-undisturbed")
    started = time.monotonic()
    for verb in verbs:
        refold(undisturbed, *verb)
    seconds = time.monotonic() - started
    wanted = state(undisturbed)
    refold(undisturbed, "db", "stop", check=False)
    wrong = []
    for number in range(times):
        copy = _copy(home, folder / f"{what}-{number}")
        moment = rng.uniform(0.3, seconds)
        ended = run_until(copy, verbs, moment)
        with EmbeddedServer(copy):  # once for all the verbs
            for verb in verbs:
                refold(copy, *verb)
            found = state(copy)
            differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
            audit = json.loads(refold(copy, "verify", "--json", check=False))
        places = (
            [f"{value!r} in {place}" for value, each in find_values(copy, list(values)).items() for place in each]
            if values
            else []
        )
        findings = [each for month in audit["months"] for each in month["findings"]] + audit["findings"]
        bad = [*(f"{name} differs" for name in differing), *places, *(f"verify: {each}" for each in findings)]
        tell(
            f"{what} {number + 1:>2}: killed after {moment:5.2f} s of {seconds:.1f} ({'had ended' if ended else 'at work'}): {'; '.join(bad) or 'the same'}"
        )
        wrong += [f"{what} killed after {moment:.2f} s: {each}" for each in bad]
        shutil.rmtree(copy)
    return wrong


def run_until(home: Path, verbs: list[list[str]], moment: float) -> bool:
    """Run verbs one after the other and kill whichever is at work; whether all had ended before."""
    deadline = time.monotonic() + moment
    for verb in verbs:
        process = subprocess.Popen(
            _command(*verb),
            env=_environment(home),
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return False
    return True


def main() -> None:
    """Run what is asked for; ends with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["people", "killed"])
    parser.add_argument("--customers", type=int, default=10)
    parser.add_argument("--conversations", type=int, default=10)
    parser.add_argument("--log", type=Path, help="chat-completions lines of real conversations")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a new folder for the homes, which stay")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="refold-erasure-") as temporary:
        folder = given.keep or Path(temporary)
        folder.chmod(0o755) if folder.exists() else folder.mkdir(parents=True)
        if given.what == "people":
            wrong = people(make_home(folder, given.customers, given.log, given.conversations))
        else:
            wrong = killed(make_home(folder, 1), folder, given.times, given.seed)
    print(*(wrong[:50] or ["nothing is wrong"]), sep="\n")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
