"""How fast the review page is for a version of 5,000 pairs, in a browser: opening it, choosing pairs, judging.

    .ci/uv run --locked python tests/acceptance/review_page.py [--pairs N]

Prints seconds, and the processor time that the server took, which says more on a busy machine. A quiet one is to open the page in under 5 s
and to answer a filter in under 1 s.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from pipelines.lake.datasets import DECISIONS, EVENTS
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store
from tests.support import small_lake
from tests.support.browser import Page, find_chromium, open_browser
from tests.support.pages import served

RUNS = 5
WORDS = [f"word{number}" for number in range(800)]
CLASSES = {"same_calls": "same", "args_only": "args_changed", "set_changed": "name_changed"}
IS_OPEN = "document.querySelector('.rf-pair') !== null && document.querySelector('marimo-table') !== null"
SWITCH = "document.querySelector('marimo-switch')?.shadowRoot?.querySelector('button[role=switch]')"
TABLE = "document.querySelector('marimo-table')?.outerHTML.slice(0, 4000)"
UNIT = "new URL(location).searchParams.get('unit')"


def write_home(home: Path, pairs: int) -> None:
    """A home with one version of so many pairs, of which three fifths changed, each in a conversation of its own."""
    chance = random.Random(1)
    lake = Lake(home / "lake")

    def text(words: int) -> str:
        return " ".join(chance.choice(WORDS) for _ in range(words))

    units, calls, events = [], [], []
    for number in range(1, pairs + 1):
        a = text(60)
        is_changed = chance.random() < 0.6
        b = " ".join(word if chance.random() > 0.3 else chance.choice(WORDS) for word in a.split()) if is_changed else a
        kind = chance.choice(list(CLASSES)) if is_changed else "same_calls"
        values: dict[str, Any] = {
            "vertical": chance.choice(["retail", "health", "travel"]),
            "agent": chance.choice(["desk", "voice"]),
            "text_a": a,
            "text_b": b,
            "is_same_final": a == b,
            "sim_tok": 1.0 if a == b else 0.7,
            "text_class": "identical" if a == b else "moderate",
            "unit_class": kind,
            "is_same_calls": kind == "same_calls",
            "is_same_names": kind != "set_changed",
            "metrics_b": [("refund_usd", round(chance.random() * 80, 2) if is_changed else 80.0)],
            "same": int(kind == "same_calls"),
            "args_changed": int(kind == "args_only"),
            "name_changed": int(kind == "set_changed"),
        }
        units.append(small_lake.unit(number, **values))
        name = "escalate" if kind == "set_changed" else "refund"
        calls.append(small_lake.call(number, 1, **{"class": CLASSES[kind]}, name_b=name))
        events += small_lake.conversation(f"s{number}", text(40))
    for position, event in enumerate(events, start=1):
        event["position"] = position
    small_lake.write_rows(lake, EVENTS, {"month": "2026-06"}, events)
    starts = [{"aggregate_id": f"s{n}", "decision": 1, "turn": 1, "first_version": 3} for n in range(1, pairs + 1)]
    small_lake.write_rows(lake, DECISIONS, {"month": "2026-06"}, [{**start, "last_version": 4} for start in starts])
    small_lake.CALLS[:] = calls
    small_lake.write_version(lake, "large", units)
    with Store.open(Settings.from_env({"REFOLD_HOME": str(home)})) as store:
        store.migrate()


def processor_time(pid: int) -> float:
    """Seconds that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Clock:
    """Times of one kind of step, printed at its end."""

    def __init__(self, name: str, pid: int) -> None:
        self._name = name
        self._pid = pid
        self._times: list[tuple[float, float]] = []

    def take(self, page: Page, begin: Any, until: str) -> None:
        """Time from a step to when an expression holds."""
        start, taken = time.monotonic(), processor_time(self._pid)
        begin()
        page.wait(until)
        self._times.append((time.monotonic() - start, processor_time(self._pid) - taken))

    def tell(self) -> None:
        """Print the medians."""
        wall, taken = (statistics.median(values) for values in zip(*self._times, strict=True))
        print(f"{self._name:<28}{wall:>7.2f} s{taken:>9.2f} s of processor time of the server, medians of {RUNS}")


def measure(page: Page, url: str, pid: int) -> None:
    """Open, filter, judge."""
    opened, filtered, judged = (
        Clock(name, pid) for name in ("open the page", "answer a filter", "verdict to the next pair")
    )
    for _ in range(RUNS):
        page.open("about:blank")
        opened.take(page, lambda: page.open(url), IS_OPEN)
    opened.tell()
    page.wait(f"Boolean({SWITCH})")
    for _ in range(RUNS):
        before = json.dumps(page.evaluate(TABLE))
        filtered.take(page, lambda: page.evaluate(f"{SWITCH}.click()"), f"({TABLE} ?? {before}) !== {before}")
        time.sleep(0.5)
    filtered.tell()
    page.open(f"{url}&view=judge")
    page.wait("document.querySelector('#queue .rf-pair') !== null")
    for _ in range(RUNS):
        time.sleep(0.5)
        before = json.dumps(page.evaluate(UNIT))
        judged.take(page, lambda: page.press("3"), f"{UNIT} !== {before}")
    judged.tell()


def main() -> None:
    """Write the home, serve it, measure."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--pairs", type=int, default=5_000)
    pairs = reader.parse_args().pairs
    chromium = find_chromium()
    if chromium is None:
        sys.exit("no chromium on PATH")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        write_home(home, pairs)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REFOLD_")}
        arguments = ["review", "--headless", "--port", "0"]
        with (
            served(arguments, {**environment, "REFOLD_HOME": str(home)}, Path(folder) / "log") as page_of,
            open_browser(chromium, Path(folder) / "profile") as page,
        ):
            page.resize(1280, 900)
            print(f"{pairs:,} pairs, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
            measure(page, page_of.url, page_of.pid)


if __name__ == "__main__":
    main()
