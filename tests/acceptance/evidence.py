"""Evidence of real conversations and of the demo's refunds, checked by a bare Python; and a bit of each flipped.

    python tests/acceptance/evidence.py [--conversations FILE] [--most N] [--flips 100] [--demo-events N] [--commands 5]

The conversations of FILE (default: those beside the checkout; all of them without --most) are imported into a home of their own, each
month is sealed but the newest, and evidence of each is made by the library in one process, signed. Every bundle is checked by
`verify_bundle.py` under an interpreter without site packages, that knows nothing of Refold, with the key demanded; some by the command
that an outsider types, in an empty folder and an empty environment. The same for every conversation of the demo in which a refund was asked for.
Then, of bundles at random, signed and unsigned, one bit of a file is another: each must be found.
`tests/integration/test_evidence_acceptance.py` runs the same on twenty conversations.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipelines.demo.load import load_demo
from pipelines.evidence.bundle import Bundle
from pipelines.evidence.chosen import choose_stream
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.export.seal import seal_month
from pipelines.ingest.chat import import_chat
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, Store
from tests.support.evidence import KEY, ORIGIN, REASON, flipped, flips, make_maker, pem, raw

DATA = Path(__file__).parents[3] / "shared" / "data" / "conversations.jsonl.gz"
PYTHON = Path(sys.base_prefix) / "bin" / "python3"
"""An interpreter without this project's environment."""
AT = datetime(2026, 5, 5, tzinfo=UTC)
"""Of conversations without a time: in a month that can be sealed."""
_LOOP = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("verify_bundle", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
key = module.read_pem(sys.argv[2])
for path in sys.stdin.read().splitlines():
    try:
        report = module.verify(path, [key])
        print(report.events, path)
    except (module.Failure, module.Unreadable) as error:
        print("WRONG", path, error)
"""
_STREAMS = """
SELECT aggregate_id::text FROM refold.streams WHERE aggregate_type IN ('conversation', 'call') ORDER BY aggregate_id
"""
_REFUNDS = """
SELECT DISTINCT aggregate_id::text FROM refold.events
WHERE event_type = 'tool.call.v1' AND payload ->> 'name' = 'refund_order' ORDER BY 1
"""


@dataclass
class Outcome:
    """What was tried, and what came of it.

    Attributes:
        what: Of which streams.
        bundles: Bundles made.
        events: Events in them, as the verifier counted.
        sealed: Bundles with events of a sealed month.
        make_seconds: What making them took.
        verify_seconds: What checking them took.
        commands: Of how many the command was typed.
        flips: Bits that were another.
        wrong: What was not as it must be; empty is what is to be shown.
    """

    what: str
    bundles: int = 0
    events: int = 0
    sealed: int = 0
    make_seconds: float = 0.0
    verify_seconds: float = 0.0
    commands: int = 0
    flips: int = 0
    wrong: list[str] = field(default_factory=list)

    def line(self) -> str:
        return (
            f"{self.what}: {self.bundles:,} bundles of {self.events:,} events, {self.sealed:,} with a sealed month; made in "
            f"{self.make_seconds:.1f} s ({1000 * self.make_seconds / max(self.bundles, 1):.0f} ms each), checked under a bare Python in "
            f"{self.verify_seconds:.1f} s, {self.commands} by the command; {self.flips} bits flipped; wrong: {len(self.wrong)}"
        )


def fill(store: Store, lake: Lake, *, left_open: int) -> None:
    """Seal the months of a store, and export the newest without."""
    months = [month for month in months_to_export(store, lake) if month < f"{datetime.now(UTC):%Y-%m}"]
    for month in months:
        if month in months[len(months) - left_open :]:
            export_month(store.dsn, lake, month)
        else:
            seal_month(store, lake, month)


def prove(
    store: Store, lake: Lake, streams: Sequence[str], folder: Path, what: str, *, count: int, commands: int
) -> Outcome:
    """Make evidence of each stream, check all of it, and flip bits of some."""
    found = Outcome(what)
    key = pem(KEY, folder / "key.pem")
    maker, started = make_maker(store, lake, KEY), time.perf_counter()
    made = [maker.make(choose_stream(store, lake, stream), folder / stream, REASON) for stream in streams]
    found.bundles, found.make_seconds = len(made), time.perf_counter() - started
    found.sealed = sum(bool(each.sealed) for each in made)
    _verify(found, made, key)
    rng = random.Random(1)
    for each in rng.sample(made, min(commands, len(made))):
        _as_an_outsider(found, each, key)
    unsigned = make_maker(store, lake, None)
    some = rng.sample(made, min(5, len(made)))
    bare = [
        unsigned.make(choose_stream(store, lake, each.folder.name), folder / f"{each.folder.name}-u", REASON)
        for each in some
    ]
    for number in range(count):
        each, keys = (rng.choice(made), [(), (raw(KEY),)][number % 2]) if number % 3 else (rng.choice(bare), ())
        name = sorted(path.name for path in each.folder.iterdir())[number % 6]
        ((_, bit),) = flips(each.folder, 1, number, [name])
        found.flips += 1
        if flipped(each.folder, name, bit, *keys) is None:
            found.wrong.append(f"bit {bit} of {each.folder / name} was not found")
    return found


def _verify(found: Outcome, made: Sequence[Bundle], key: Path) -> None:
    """Check all bundles with the verifier of the first, in one bare process; folders and zips in turn."""
    paths = [str(each.zip if number % 2 else each.folder) for number, each in enumerate(made)]
    started = time.perf_counter()
    done = subprocess.run(
        [PYTHON, "-I", "-S", "-B", "-c", _LOOP, made[0].folder / "verify_bundle.py", key],
        input="\n".join(paths),
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    found.verify_seconds = time.perf_counter() - started
    lines = done.stdout.splitlines()
    found.wrong += [line for line in lines if line.startswith("WRONG")]
    counts = {path: int(events) for events, _, path in (line.partition(" ") for line in lines if line[0].isdigit())}
    found.events = sum(counts.values())
    for each, path in zip(made, paths, strict=True):
        if counts.get(path) != each.events:
            found.wrong.append(
                f"{path}: {counts.get(path)} events checked, {each.events} written; {done.stderr[-500:]}"
            )


def _as_an_outsider(found: Outcome, made: Bundle, key: Path) -> None:
    """Unzip, run, read, with a bare Python in an empty folder and an empty environment."""
    found.commands += 1
    with tempfile.TemporaryDirectory() as empty:
        shutil.copy(made.zip, empty)
        shutil.copy(key, empty)
        for words in (
            ["-m", "zipfile", "-e", made.zip.name, "."],
            ["audit/verify_bundle.py", "--public-key", "key.pem"],
        ):
            done = subprocess.run(
                [PYTHON, "-I", "-S", *words], cwd=empty, env={}, capture_output=True, text=True, check=False
            )
            if done.returncode or done.stderr:
                found.wrong.append(
                    f"{made.zip}: {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}"
                )


def real(store: Store, lake: Lake, folder: Path, conversations: Path, *, count: int, commands: int) -> Outcome:
    """Evidence of recorded conversations."""
    import_chat(store, [conversations], at=AT)
    fill(store, lake, left_open=0)
    streams = [row[0] for row in store.conn.execute(_STREAMS).fetchall()]
    return prove(store, lake, streams, folder, "recorded conversations", count=count, commands=commands)


def refunds(store: Store, lake: Lake, folder: Path, events: int, *, count: int, commands: int) -> Outcome:
    """Evidence of the demo's refunds."""
    load_demo(store, events)
    fill(store, lake, left_open=1)
    streams = [row[0] for row in store.conn.execute(_REFUNDS).fetchall()]
    return prove(store, lake, streams, folder, "refunds of the demo", count=count, commands=commands)


def first_lines(path: Path, most: int, target: Path) -> Path:
    """The first conversations of a file."""
    with gzip.open(path, "rb") as lines, target.open("wb") as output:
        output.writelines(islice(lines, most))
    return target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=Path, default=DATA)
    parser.add_argument("--most", type=int, help="Only so many conversations.")
    parser.add_argument("--flips", type=int, default=100)
    parser.add_argument("--commands", type=int, default=5)
    parser.add_argument("--demo-events", type=int, default=20_000)
    given = parser.parse_args()
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="refold-evidence-") as name:
        for which in ("real", "refunds"):
            home = Path(name) / which
            settings = Settings.from_env({"REFOLD_HOME": str(home), "REFOLD_ORIGIN": ORIGIN})
            bundles = Path(name) / f"{which}-bundles"
            bundles.mkdir()
            try:
                with Store.open(settings) as store:
                    lake, asked = Lake.from_settings(settings), {"count": given.flips, "commands": given.commands}
                    if which == "real":
                        path = given.conversations
                        if given.most:
                            path = first_lines(path, given.most, Path(name) / "some.jsonl")
                        outcome = real(store, lake, bundles, path, **asked)
                    else:
                        outcome = refunds(store, lake, bundles, given.demo_events, **asked)
            finally:
                EmbeddedServer(home).stop(force=True)
            print(outcome.line(), flush=True)
            wrong += outcome.wrong
            shutil.rmtree(bundles)
    print(json.dumps({"wrong": wrong}))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
