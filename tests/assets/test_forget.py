"""What was derived of erased events is forgotten: on a home in real use, found by decoding every file of it."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import dagster as dg  # noqa: TID251 - these tests are of the records of runs
import pytest

from assets.instance import hold_run, open_instance
from assets.verbs import forget as forget_module
from assets.verbs.compare import compare
from assets.verbs.forget import find_runs, forget_runs
from assets.verbs.months import export_months, fold_months
from pipelines.demo.desk import generate
from pipelines.diff.check import read_checked
from pipelines.diff.result import DiffResult
from pipelines.diff.versions import list_versions
from pipelines.erasure.derived import Forgotten, find_unforgotten, forget_derived
from pipelines.errors import RefoldError
from pipelines.lake.datasets import DATASETS
from pipelines.lake.lake import Lake
from pipelines.proof.erasure import Target
from pipelines.redaction.places import Place, find_values
from pipelines.replay.asking import forgetting
from pipelines.replay.asking.responses import ResponseStore, asking_alone
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, Store
from tests.support.databases import copied_database
from tests.support.model_server import serving
from tests.support.two_months import FEBRUARY, SECRET, say

ERASURE = "5d6f"
OF_THE_LOG = {name for name, dataset in DATASETS.items() if dataset.layer in ("log", "fold")}
"""Tables that are functions of the log: another step's."""
PYTHON = """
experiment: python
candidate: {python: "pipelines.demo.policies:agent_v2"}
where: "source = 'demo'"
window: {from: 2026-06-23, to: 2026-06-30}
segments: [vertical]
"""
ASKED = """
experiment: {name}
candidate: {{model: m, base_url: '{url}'}}
mode: {mode}
where: "source = 'demo'"
window: {{from: 2026-06-23, to: 2026-06-30}}
sample: {{conversations: 12}}
"""


def repeating(body: dict[str, Any]) -> dict[str, Any]:
    """An answer that repeats what was said: in a text as it stands, in arguments in capitals."""
    said = next((m["content"] for m in reversed(body["messages"]) if m["role"] == "user"), "nothing")
    function = {"name": "note", "arguments": json.dumps({"said": said.upper()})}
    calls = [{"id": "c", "type": "function", "function": function}]
    return {"role": "assistant", "content": f"You said: {said}", "tool_calls": calls if len(said) % 2 else None}


def compared(settings: Settings, folder: Path, text: str) -> DiffResult:
    """What `refold ab FILE` does."""
    path = folder / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    checked = read_checked(path, settings)
    lake = Lake.from_settings(settings)
    (result,) = compare(
        settings, lake, checked.experiment, folder, lambda _line: None, require_keys=checked.require_keys
    )
    return result


def leaves(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    elif isinstance(value, str):
        yield value


def said_by_nobody_else(lake: Lake, stream: str) -> list[str]:
    """Texts of a stream's events, long enough to be found, that no other stream has anywhere."""
    with lake.connect() as connection:
        query = "SELECT aggregate_id, payload, metadata FROM events"
        rows = connection.sql(query).fetchall()
    others = "\0".join(f"{payload}\0{metadata}" for other, payload, metadata in rows if other != stream).lower()
    mine = {
        text for each, *texts in rows if each == stream for each_text in texts for text in leaves(json.loads(each_text))
    }
    return sorted(
        t
        for t in mine
        if len(t) >= 8 and json.dumps(t, ensure_ascii=False)[1:-1].lower() not in others and not is_id(t)
    )


def is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def derived(found: dict[str, list[Place]], lake: Lake) -> dict[str, list[Place]]:
    """Of places those that are not the log's, nor the folds'."""
    return {
        value: kept
        for value, places in found.items()
        if (kept := [place for place in places if not OF_THE_LOG & set(place.path.relative_to(lake.root.parent).parts)])
    }


@pytest.fixture(scope="module")
def made(
    server: EmbeddedServer, template: str, dagster_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A home with a month of the demo and three experiments: a Python agent, and a model asked about decisions and about turns."""
    folder = tmp_path_factory.mktemp("used")
    home = folder / "home"
    shutil.copytree(dagster_home, home / "dagster")
    with copied_database(server, template) as name:
        settings = Settings(home=home, dsn=server.dsn_of(name), lake=home / "lake", memory_bytes=3 * 10**9)
        with Store.open(settings) as store:
            batches = list(generate(1_000, months=1))
            store.ensure_months([event.created_at for batch in batches for event in batch.events if event.created_at])
            store.append_many(batches)
        export_months(settings, None, lambda _line: None)
        fold_months(settings, None, None, lambda _line: None)
        compared(settings, folder, PYTHON)
        with serving(answer=repeating) as server_of_models:
            for mode in ("decision", "turn"):
                compared(settings, folder, ASKED.format(name=f"asked-{mode}", url=server_of_models.base_url, mode=mode))
        yield settings


@pytest.fixture
def used(made: Settings, tmp_path: Path) -> Settings:
    """A copy of that home; the store is the same, and nothing is written to it."""
    home = tmp_path / "home"
    shutil.copytree(made.home, home)
    return replace(made, home=home, lake=home / "lake")


def a_stream(lake: Lake) -> str:
    """A conversation that all experiments have, and of which reports show a pair."""
    with lake.connect() as connection:
        rows = connection.sql(
            "SELECT aggregate_id FROM ab_units GROUP BY 1 HAVING count(DISTINCT experiment) = 3 ORDER BY count(*) DESC, 1"
        ).fetchall()
    return str(rows[0][0])


def forget(settings: Settings, stream: str) -> list[Forgotten]:
    lake = Lake.from_settings(settings)
    return forget_derived(
        settings,
        lake,
        [Target(stream, 1, 99, True)],
        erasure=ERASURE,
        forget_runs=lambda streams: forget_runs(settings, streams),
    )


def left(settings: Settings, stream: str) -> list[str]:
    lake = Lake.from_settings(settings)
    target = [Target(stream, 1, 99, True)]
    return find_unforgotten(
        settings, lake, target, erasure=ERASURE, find_runs=lambda streams: find_runs(settings, streams)
    )


def test_nothing_derived_holds_what_was_erased(used, tmp_path):
    """Values that only one conversation has stand in comparisons, answers of models and reports; afterwards nowhere but in the log
    and its folds. Versions say that they were revised; again there is nothing to do."""
    lake = Lake.from_settings(used)
    stream = a_stream(lake)
    values = said_by_nobody_else(lake, stream)
    before = derived(find_values(used.home, values), lake)
    where = Counter(place.path.relative_to(used.home).parts[0] for places in before.values() for place in places)
    assert len(values) > 5
    assert {"lake", "replays", "reports"} <= set(where)
    tables = {
        place.path.relative_to(lake.root).parts[0]
        for places in before.values()
        for place in places
        if lake.root in place.path.parents
    }
    assert {"replays", "replay_steps", "ab_units", "ab_tool_calls"} <= tables
    assert len(left(used, stream)) > 5
    with ResponseStore(used.responses) as store:
        answers, others = forgetting.count(store, [stream], [], None), store.charged()

    done = forget(used, stream)

    assert derived(find_values(used.home, values), lake) == {}
    assert left(used, stream) == []
    told = {each.place: each for each in done if each.is_reached}
    assert told["responses"].count == answers
    assert (told["versions"].count > 0, told["responses"].count > 0, told["reports"].count) == (True, True, 3)
    assert not [each for each in done if not each.is_reached and each.place not in ("texts", "elsewhere")]
    revisions = [version.revision for version in list_versions(Lake.from_settings(used))]
    assert [list(revision.erasures) for revision in revisions] == [[ERASURE]] * 3
    assert {revision.is_recomputed for revision in revisions} == {True}
    with ResponseStore(used.responses) as store:
        assert store.charged() == others  # what was paid was paid
    for path in (used.home / "reports").rglob("*.html"):
        assert "revised: " in path.read_text(encoding="utf-8")
    again = [each for each in forget(used, stream) if each.is_reached]
    assert [each.count for each in again] == [0] * len(again)


def test_answers_that_are_read_at_this_moment_are_told(used):
    """A reader in another connection keeps the log of the file of answers; a replay at work may keep more."""
    stream = a_stream(Lake.from_settings(used))
    with closing(sqlite3.connect(used.responses, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM responses").fetchone()
        with asking_alone(used.replays / "locks", "http://somewhere", lambda _line: None):
            done = [each for each in forget(used, stream) if each.place == "responses"]
    assert [each.is_reached for each in done] == [False, False]
    assert all(each.is_reached for each in forget(used, stream) if each.place == "responses")


def test_what_is_made_of_a_stream_afterwards_is_left_alone(used, tmp_path):
    """Of a conversation that lost single events: what was made once the erasure was done stays, and is nothing left to do."""
    lake = Lake.from_settings(used)
    stream = a_stream(lake)
    target = [Target(stream, 3, 3, False)]

    def runs(streams: Any) -> Any:
        return forget_runs(used, streams)

    forget_derived(used, lake, target, erasure=ERASURE, forget_runs=runs)
    result = compared(used, tmp_path, PYTHON.replace("vertical", "channel"))
    fresh = Lake.from_settings(used)
    with fresh.connect() as connection:
        query = "SELECT count(*) FROM ab_units WHERE experiment = 'python' AND aggregate_id = $stream"
        assert connection.sql(query, params={"stream": stream}).fetchall()[0][0] > 0
    assert find_unforgotten(used, fresh, target, erasure=ERASURE) == []
    again = forget_derived(used, fresh, target, erasure=ERASURE, forget_runs=runs)
    assert [each.count for each in again if each.is_reached] == [0] * len([each for each in again if each.is_reached])
    assert list_versions(fresh, "python")[0].result_hash == result.result_hash
    # a version from before that a backup brings back is found all the same
    done = find_unforgotten(used, fresh, [Target(stream, 3, 3, False)], erasure="another")
    assert done != []


@dg.op
def careless(context):
    """Says what it should not."""
    context.log.info(context.run.tags["said"])
    context.log_event(dg.AssetMaterialization("careless", metadata={"said": context.run.tags["said"]}))


def ended(_path: Path) -> bool:
    """Not to be caught."""
    raise KeyboardInterrupt


@dg.job
def careless_job() -> None:
    """One careless step."""
    careless()


def test_records_of_runs_that_name_a_stream_go(store_settings, monkeypatch):
    """Its run, events, materialisation and database are deleted, with what SQLite keeps of deleted rows; other runs stay. A run at
    work stays and is told."""
    home = store_settings.home / "dagster"
    stream, other = str(uuid4()), str(uuid4())
    with open_instance(store_settings) as instance:
        runs = [
            careless_job.execute_in_process(instance=instance, tags={"said": f"{named}: {said}"}).run_id
            for named, said in ((stream, "planted value"), (other, "something else"))
        ]
    (home / "storage" / runs[0] / "compute_logs").mkdir(parents=True)
    (home / "storage" / runs[0] / "compute_logs" / "step.err").write_text(f"{stream} planted value", encoding="utf-8")
    assert find_runs(store_settings, [stream]) == [runs[0]]
    assert len({place.path.name for place in find_values(home, ["planted value"])["planted value"]}) >= 4
    with open_instance(store_settings) as instance, hold_run(instance, runs[0]):
        assert "at work" in forget_runs(store_settings, [stream]).left[0]
    with monkeypatch.context() as patch:  # the process ends before what SQLite keeps of deleted rows is cleared
        patch.setattr(forget_module, "_clear", ended)
        with pytest.raises(KeyboardInterrupt):
            forget_runs(store_settings, [stream])
    assert find_runs(store_settings, [stream]) == [runs[0]]
    done = forget_runs(store_settings, [stream])
    assert (done.runs, done.left) == (1, [])
    found = find_values(home, ["planted value", stream, "something else"])
    assert (found["planted value"], found[stream]) == ([], [])
    assert found["something else"] != []
    with open_instance(store_settings) as instance:
        assert [run.run_id for run in instance.get_runs()] == [runs[1]]
        assert len(instance.all_logs(runs[1])) > 5
    assert (find_runs(store_settings, [stream]), forget_runs(store_settings, [stream]).runs) == ([], 0)


def test_records_of_runs_hold_no_content(store, store_settings, tmp_path):
    """Months exported and folded, comparisons, metrics that fail and agents that raise what they were told: Dagster's files, every
    text in them decoded, hold none of it."""
    for number in range(6):
        say(store, uuid4(), FEBRUARY + timedelta(minutes=number), texts=2)
    export_months(store_settings, None, lambda _line: None)
    fold_months(store_settings, None, None, lambda _line: None)
    (tmp_path / "talkative.py").write_text(
        "def decide(decision):\n    raise ValueError(str(decision.messages))\n\n\n"
        "def measure(side):\n    raise KeyError(side.text)\n",
        encoding="utf-8",
    )
    for text in (
        "experiment: raising\ncandidate: {python: 'talkative:decide'}\n",
        "experiment: failing\ncandidate: {echo: true}\nmetrics: {m: {python: 'talkative:measure', goal: lower}}\n",
        "experiment: broken\ncandidate: {echo: true}\nmetrics: {m: {sql: 'text::INTEGER', goal: lower}}\n",
    ):
        with suppress(RefoldError):  # its record is looked at, however it ended
            compared(store_settings, tmp_path, text)
    with open_instance(store_settings) as instance:
        assert instance.get_runs_count() >= 5
    values = [SECRET, "Hopper", "grace@example.org", "where is my order", "it is on its way", "find_order"]
    found = find_values(store_settings.home / "dagster", values)
    assert sum(path.stat().st_size for path in (store_settings.home / "dagster").rglob("*") if path.is_file()) > 50_000
    assert {value: places for value, places in found.items() if places} == {}
