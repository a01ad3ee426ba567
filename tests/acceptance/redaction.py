"""Redact values of real conversations after a comparison, kill it at random moments, and say where they still stand.

    python tests/acceptance/redaction.py --log FILE [--conversations 40] [--values 5] [--times 10] [--seed 0] [--keep FOLDER]

A home with conversations of a file of chat-completions lines, compared with an endpoint of this machine that repeats what it was told, in
capitals, with its report. Of the conversations some values are chosen that stand in many places: words of what people said, and numbers of tool
calls. `--prove` must find each before. Then each is redacted everywhere, the verb killed at random moments; one more run must end so that
`--prove` finds it in no place, all pairs and all lines of the summary are as they were, and everything verifies.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipelines.lake.lake import Lake
from pipelines.store import EmbeddedServer
from tests.acceptance.erasure import refold, run_until
from tests.support.model_server import serving

REASON = ("--reason", "ticket 4711")
EXPERIMENT = """
experiment: repeated
candidate: {{model: m, base_url: '{url}'}}
"""
_PAIRS = "SELECT unit_id, status, unit_class, calls_a, calls_b, same, added, removed, sim_tok FROM ab_units_history ORDER BY ALL"
_LINES = "SELECT metric, segment, estimand, n, mean_a, mean_b, estimate, low, high FROM ab_summary_history ORDER BY ALL"
_WORD = re.compile(r"[A-Za-z0-9#][A-Za-z0-9_@.#-]{5,30}[A-Za-z0-9]")


def repeating(body: dict[str, Any]) -> dict[str, Any]:
    """An answer that repeats what was said: as a text in capitals, and as arguments of a call."""
    said = next((m["content"] for m in reversed(body["messages"]) if isinstance(m.get("content"), str)), "")
    function = {"name": "note", "arguments": json.dumps({"said": said[:2_000]})}
    return {
        "role": "assistant",
        "content": f"You said: {said[:2_000].upper()}",
        "tool_calls": [{"id": "c", "type": "function", "function": function}],
    }


def fill(home: Path, folder: Path, lines: Sequence[str]) -> None:
    """Conversations, exported, folded, and compared with the repeating endpoint."""
    (folder / "lines.jsonl").write_text("".join(lines), encoding="utf-8")
    refold(home, "import", "chat", str(folder / "lines.jsonl"), "--at", "2026-05-21")
    (folder / "lines.jsonl").unlink()
    refold(home, "export")
    refold(home, "fold")
    with serving(answer=repeating) as server:
        (home / "experiment.yaml").write_text(EXPERIMENT.format(url=server.base_url), encoding="utf-8")
        refold(home, "ab", str(home / "experiment.yaml"), check=False)


def choose(lines: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """Words of what was said and done that stand in a few of the conversations."""
    found: Counter[str] = Counter()
    for line in lines:
        words = {word for text in _texts(json.loads(line)["messages"]) for word in _WORD.findall(text)}
        found.update(word for word in words if any(letter.isdigit() for letter in word) or "@" in word)
    several = sorted(word for word, number in found.items() if number <= 5)
    return rng.sample(several, min(count, len(several)))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def measured(home: Path) -> list[Any]:
    """The pairs and lines of all versions, without a word."""
    with Lake(home / "lake").connect() as connection:
        return [connection.sql(query).fetchall() for query in (_PAIRS, _LINES)]


def proof(home: Path, value: str) -> dict[str, Any]:
    """What `--prove` says."""
    return dict(json.loads(refold(home, "redact", "--prove", value, "--json", check=False)))


def redacted(folder: Path, lines: Sequence[str], values: int, times: int, seed: int, tell: Any = print) -> list[str]:
    """Redact each value, killed `times` times in all; what is wrong afterwards."""
    home = folder / "home"
    home.mkdir(parents=True)
    with EmbeddedServer(home):  # once for all the verbs
        fill(home, folder, lines)
        return _redacted(home, lines, values, times, seed, tell)


def _redacted(home: Path, lines: Sequence[str], values: int, times: int, seed: int, tell: Any) -> list[str]:
    rng = random.Random(seed)
    before, chosen = measured(home), choose(lines, values, rng)
    tell(f"{len(lines):,} conversations, {len(before[0]):,} pairs; {len(chosen)} values")
    wrong = [f"{value!r} is not found before" for value in chosen if not proof(home, value)["derived"]]
    seconds = 20.0
    for number, value in enumerate(chosen):
        verb = ["redact", "--value", value, "--everywhere", *REASON]
        for kill in range(times // max(len(chosen), 1) + (number < times % max(len(chosen), 1))):
            ended = run_until(home, [verb], rng.uniform(0.5, seconds))
            tell(f"value {number + 1}, kill {kill + 1}: {'had ended' if ended else 'killed at work'}")
        started = time.monotonic()
        refold(home, *verb)
        seconds = max(time.monotonic() - started, 5.0)
        found = proof(home, value)
        tell(
            f"value {number + 1}: {seconds:.1f} s; proven {found['is_proven']}; hidden in {found['hidden_events']:,} events"
        )
        wrong += [f"{value!r} is in {place}" for place in found["derived"]]
        wrong += [f"{value!r} is shown by {event}" for event in found["shown"]]
    wrong += [] if measured(home) == before else ["pairs or lines of the summary are not as they were"]
    audit = json.loads(refold(home, "verify", "--json", check=False))
    wrong += [f"verify: {each}" for month in audit["months"] for each in month["findings"]]
    wrong += [f"verify: {each}" for each in audit["findings"]]
    return wrong


def main() -> None:
    """Run what is asked for; ends with 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, required=True, help="chat-completions lines of real conversations")
    parser.add_argument("--conversations", type=int, default=40)
    parser.add_argument("--values", type=int, default=5)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a new folder for the home, which stays")
    given = parser.parse_args()
    opened = gzip.open if given.log.suffix == ".gz" else open
    with opened(given.log, "rt", encoding="utf-8") as file:
        lines = list(islice(file, given.conversations))
    with tempfile.TemporaryDirectory(prefix="refold-redaction-") as temporary:
        folder = given.keep or Path(temporary)
        folder.chmod(0o755) if folder.exists() else folder.mkdir(parents=True)
        wrong = redacted(folder, lines, given.values, given.times, given.seed)
    print(*(wrong[:50] or ["nothing is wrong"]), sep="\n")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
