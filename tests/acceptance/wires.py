"""One model behind three wires, before real recorded contexts: what it decides is the same over each. Prints counts.

    python tests/acceptance/wires.py [--shared ../shared] [--conversations 20] [--modes decision turn] [--apis chat responses messages]

So many conversations of each source of real data, spread over it, and every sample of a foreign form are imported into a home of their
own. The model answers each recorded context with what was recorded, but for one in eight, and others by a hash of what they say
(`tests/support/wires/scripted.py`); the server that it stands behind refuses what the providers refuse. Units that differ between wires
are shown, and make the exit code 1. `tests/integration/test_wires_acceptance.py` runs the same on a few conversations.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from pipelines.errors import RefoldError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import Plan, make_plan
from pipelines.experiment.units import READS, create_plan_relations
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.folds.run import fold_month
from pipelines.ingest.chat import import_chat
from pipelines.ingest.form_files import import_form
from pipelines.ingest.forms.form import Options, form_named
from pipelines.lake.lake import Lake
from pipelines.replay.run import run_replay
from pipelines.replay.sides import list_units
from pipelines.replay.streams import list_chunks
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, Store, connect
from tests.support.formats import samples
from tests.support.model_server import ModelServer, serving
from tests.support.wires.form import Message, digest
from tests.support.wires.scripted import Following, essence
from tests.support.wires.wires import WIRES, Api

SHARED = Path(__file__).parents[3] / "shared"
PARAMS: dict[Api, str] = {"chat": "{}", "responses": "{}", "messages": "{max_tokens: 4096}"}
_UNITS = """
SELECT
    replays.unit_id, coalesce(streams.source, '-'), status, reason, text,
    [[call.name, call.arguments] FOR call IN tool_calls], divergence, coverage, step_count
FROM replays_history AS replays
JOIN (SELECT aggregate_id, source FROM conversations) AS streams USING (aggregate_id)
WHERE replays.version_id = $version
ORDER BY replays.unit_id
"""


@dataclass
class Agreement:
    """What one mode came to.

    Attributes:
        mode: It.
        units: Units that were answered, by source; the same number over each wire.
        failed: Failed ones, by wire and reason.
        refused: Requests that the server refused, by wire and its words.
        not_everywhere: Units for which a wire says that it has no form.
        known: Requests whose context arrived as it was recorded, by wire, and all.
        different: Units that are not the same, as seen over each wire.
    """

    mode: str
    units: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    not_everywhere: int = 0
    known: dict[str, tuple[int, int]] = field(default_factory=dict)
    different: dict[str, dict[str, tuple[Any, ...]]] = field(default_factory=dict)


def import_some(store: Store, lake: Lake, shared: Path, most: int, folder: Path, *, has_forms: bool = True) -> None:
    """Conversations of each source, spread over it, and samples of forms; exported and folded."""
    by_source: dict[str, list[str]] = {}
    with gzip.open(shared / "data" / "conversations.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            by_source.setdefault(json.loads(line)["source"], []).append(line)
    path = folder / "some.jsonl"
    spread = (line for each in by_source.values() for line in each[:: max(1, len(each) // most)][:most])
    path.write_text("".join(spread), encoding="utf-8")
    import_chat(store, [path])
    for sample in samples(shared / "data") if has_forms else ():
        form = form_named(sample.importer, folder)
        source = f"{sample.form}/{sample.name}"
        try:
            import_form(store, form, [sample.path], replace(Options(), source=source), home=folder)
        except RefoldError as error:
            sys.stdout.write(f"not imported: {source}: {error}\n")
    for month in months_to_export(store, lake):
        export_month(store.dsn, lake, month)
        fold_month(lake, month)


def recorded_replies(lake: Lake, folder: Path) -> dict[str, Message]:
    """What was replied in each recorded context, by what was said before; where contexts are the same, the first."""
    plan = plan_of(lake, "experiment: wires\ncandidate: {model: m, base_url: 'http://127.0.0.1:9/v1'}\n", folder)
    with lake.connect(READS) as connection:
        create_plan_relations(connection, plan)
        rows = connection.sql("SELECT aggregate_id, decision, text, tool_calls FROM decisions").fetchall()
        replies = {(stream, number): (text, calls) for stream, number, text, calls in rows}
        found: dict[str, Message] = {}
        for unit in list_units(connection, plan, "candidate", list_chunks(connection, lake)):
            request = unit.request
            if request is not None:
                decision = request.decision
                given: dict[str, Any] = {"messages": [dict(message) for message in decision.messages]}
                text, calls = replies[request.aggregate_id, request.number]
                reply = reply_of(text, calls, request.head.custom)
                if reply is not None:
                    found.setdefault(digest(essence(given)), reply)
    return found


def reply_of(text: str | None, calls: Sequence[dict[str, Any]] | None, custom: frozenset[str]) -> Message | None:
    """A recorded reply as the model gives it; None where it says nothing. Arguments are an object on every wire."""
    made = []
    for number, call in enumerate(calls or ()):
        value = json.loads(call["arguments"])
        if not isinstance(value, dict):
            value = {"input" if call["name"] in custom else "value": str(value)}
        function = {"name": call["name"], "arguments": json.dumps(value, ensure_ascii=False)}
        made.append({"id": f"call_{number}", "type": "function", "function": function})
    if not (text or "").strip() and not made:
        return None
    return {"role": "assistant", "content": text or None, **({"tool_calls": made} if made else {})}


def plan_of(lake: Lake, text: str, folder: Path) -> Plan:
    return make_plan(lake, parse_experiment(text, "wires"), folder)


def compare(lake: Lake, settings: Settings, folder: Path, mode: str, apis: Sequence[Api]) -> Agreement:
    """Ask over each wire, and hold every unit of one to the same of the others."""
    recorded = recorded_replies(lake, folder)
    agreement = Agreement(mode)
    found: dict[str, dict[str, tuple[Any, ...]]] = {}
    for api in apis:
        model = Following(recorded)
        with serving(ModelServer(answer=model)) as server:
            candidate = f"{{api: {api}, model: m, base_url: '{server.address(api)}', params: {PARAMS[api]}}}"
            plan = plan_of(
                lake,
                f"experiment: wires\ncandidate: {candidate}\nmode: {mode}\ntools: {{unknown: read}}\nbudget: {{concurrency: 16}}\n",
                folder,
            )
            version = run_replay(lake, plan, settings=settings).version_id
        agreement.refused.update((api, words) for words in server.refused.elements())
        agreement.known[api] = model.known, model.known + model.unknown
        with lake.connect() as connection:
            rows = connection.execute(_UNITS, {"version": version}).fetchall()
        for unit, source, *row in rows:
            found.setdefault(unit, {})[api] = tuple(row)
            agreement.units[source] += row[0] == "ok" and api == apis[0]
            if row[0] == "failed":
                agreement.failed[api, row[1]] += 1
    for unit, seen in found.items():
        if any(row[1] == "not_expressible" for row in seen.values()):
            agreement.not_everywhere += 1
        elif len({repr(row) for row in seen.values()}) > 1:
            agreement.different[unit] = seen
    return agreement


def told(agreement: Agreement) -> Iterator[str]:
    """Lines that say it."""
    yield f"{agreement.mode}: {agreement.units.total():,} units answered, {len(agreement.different):,} not the same over each wire"
    yield f"    {agreement.not_everywhere:,} units have no form on some wire"
    for source, count in sorted(agreement.units.items()):
        yield f"    {count:6,}  {source}"
    for api, (known, asked) in agreement.known.items():
        yield f"    {api}: {known:,} of {asked:,} requests arrived as they were recorded"
    for (api, reason), count in sorted(agreement.failed.items()):
        yield f"    {api}: {count:,} failed as {reason}"
    for (api, words), count in agreement.refused.most_common(20):
        yield f"    {api}: {count:,} refused: {words[:200]}"
    for unit, seen in list(agreement.different.items())[:20]:
        yield f"    DIFFERENT {unit}"
        yield from (f"        {api}: {str(row)[:300]}" for api, row in seen.items())


def main() -> int:
    """Import, ask, compare; 1 where a unit differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, default=SHARED)
    parser.add_argument("--conversations", type=int, default=20)
    parser.add_argument("--modes", nargs="+", default=["decision", "turn"])
    parser.add_argument("--apis", nargs="+", default=list(WIRES))
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="refold-wires-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        home = folder / "home"
        with EmbeddedServer(home) as server, connect(server.dsn) as connection:
            store, lake = Store(connection, server.dsn), Lake(home / "lake")
            store.migrate()
            import_some(store, lake, given.shared, given.conversations, folder)
        settings = Settings(home=home, dsn=None, lake=lake.root, memory_bytes=3 * 10**9)
        for mode in given.modes:
            agreement = compare(lake, settings, folder, mode, given.apis)
            wrong += len(agreement.different)
            sys.stdout.write("\n".join(told(agreement)) + "\n")
            sys.stdout.flush()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
