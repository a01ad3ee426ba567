"""Every mode on a small lake: walks are rows and steps, both sides cover the same."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipelines.diff.dataset import build_diff
from pipelines.diff.result import DiffResult
from pipelines.errors import BadInputError
from pipelines.experiment.code import CandidateEndedError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.manifest import read_manifest
from pipelines.experiment.plan import Plan, make_plan
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from pipelines.lake.partition import PartitionWriter
from pipelines.replay import streams
from pipelines.replay.replan import read_candidate, replan
from pipelines.replay.run import ReplayResult, run_replay
from pipelines.replay.suggest import render_manifest, suggest_tools
from pipelines.review.replanned import describe_replan, render_replan
from tests.benchmarks.log import MONTH, write_lake
from tests.support.waiting import wait_until

CONVERSATIONS = 12
AGENT = '''
import asyncio
import json
import os
import sys
import time
from pathlib import Path

from pipelines.experiment.decision import Reply, ToolCall


def recorded(decision, change=None):
    """What the log's agent does: a look-up after each user text, a text after each result."""
    last = decision.messages[-1]
    if last["role"] == "tool":
        return Reply("It is done.", cost_usd=0.001, output_tokens=3)
    order = decision.metadata["task"].removeprefix("task ")
    return Reply(None, [ToolCall(change or "lookup_order", {"order_id": "A-" + order})])


def texts(decision):
    return Reply("I only talk.")


async def waits(decision):
    await asyncio.sleep(0.001)
    return texts(decision)


def waits_undeclared(decision):
    return waits(decision)


def talks_at_length(decision):
    return Reply(f"{decision.aggregate_id} {decision.decision} " * 200)


def raises(decision):
    raise ValueError(f"secret {decision.decision}")


def raises_now_and_then(decision):
    if decision.turn % 2:
        raise ValueError(f"{decision.aggregate_id} {decision.decision}")
    return texts(decision)


def dies(decision):
    os._exit(3)


def leaves(decision):
    sys.exit(0)


def sleeps(decision):
    Path(__file__).with_name(f"{os.getpid()}.asleep").touch()
    time.sleep(60)
'''


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Conversations of four turns, each: context, the user's text, a tool call, its result, a text."""
    made = write_lake(tmp_path_factory.mktemp("modes") / "lake", CONVERSATIONS * 30)
    fold_month(made, MONTH)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the candidates and of what is said of the tools."""
    made = tmp_path_factory.mktemp("agent")
    (made / "modes_agent.py").write_text(AGENT, encoding="utf-8")
    tools = {name: {"effect": "read"} for name in ("lookup_order", "track_package", "search")}
    (made / "tools.yaml").write_text(
        json.dumps({"tools": {**tools, "refund_order": {"effect": "write"}}}), encoding="utf-8"
    )
    return made


def plan_of(lake: Lake, folder: Path, mode: str, candidate: str = "echo: true", rest: str = "") -> Plan:
    name = f"{mode}-{abs(hash((candidate, rest)))}"
    text = f"experiment: {name}\ncandidate: {{{candidate}}}\nmode: {mode}\n{rest}"
    return make_plan(lake, parse_experiment(text, "test"), folder)


def run(
    lake: Lake, folder: Path, mode: str, candidate: str = "echo: true", rest: str = ""
) -> tuple[ReplayResult, DiffResult]:
    plan = plan_of(lake, folder, mode, candidate, rest)
    return run_replay(lake, plan), build_diff(lake, plan)


def rows(lake: Lake, table: str, columns: str, plan_result: ReplayResult) -> list[tuple]:
    with lake.connect() as connection:
        query = f"SELECT {columns} FROM {table}_history WHERE version_id = $version_id ORDER BY ALL"
        return connection.sql(query, params={"version_id": plan_result.version_id}).fetchall()


@pytest.mark.parametrize(
    ("mode", "units", "steps"),
    [
        ("decision", CONVERSATIONS * 8, 0),
        ("single", CONVERSATIONS, 0),
        ("turn", CONVERSATIONS * 4, CONVERSATIONS * 8),
        ("conversation", CONVERSATIONS, CONVERSATIONS * 8),
    ],
)
def test_the_echo_is_the_same_in_every_mode(lake, folder, mode: str, units: int, steps: int):
    """Units and steps are as many as the mode says, all the same; a complete version is not run again."""
    replayed, diffed = run(lake, folder, mode)
    assert (replayed.units, replayed.failures, diffed.pairs) == (units, {}, units)
    assert diffed.same_calls == units
    assert len(rows(lake, "replay_steps", "unit_id, step", replayed)) == steps
    assert not run_replay(lake, plan_of(lake, folder, mode)).is_written
    with lake.connect() as connection:
        texts = connection.sql(
            "SELECT count(*) FROM ab_units_history WHERE version_id = $v AND text_a IS DISTINCT FROM text_b",
            params={"v": replayed.version_id},
        ).fetchall()
    assert texts == [(0,)]


def test_a_walks_requests_are_those_of_its_decisions(lake, folder):
    """Second route: what a walk puts before the echo, step by step, has the hashes of the recorded contexts."""
    walked, decided = run(lake, folder, "conversation")[0], run(lake, folder, "decision")[0]
    steps = rows(lake, "replay_steps", "aggregate_id, decision, request_sha256", walked)
    assert steps == rows(lake, "replays", "aggregate_id, decision, request_sha256", decided)


def test_both_sides_of_a_walk_end_at_the_same_place(lake, folder):
    """A candidate that leaves the recording in its first turn is compared up to there, and only to there."""
    _, diffed = run(lake, folder, "conversation", 'python: "modes_agent:texts"')
    assert (diffed.failed, diffed.classes) == (0, {"tool_to_text": CONVERSATIONS})
    with lake.connect() as connection:
        found = connection.sql(
            "SELECT DISTINCT calls_a, calls_b, covered_to, first_divergence_step, divergence, matched_steps, prefix_fraction "
            "FROM ab_units_history AS units JOIN replays_history AS replays USING (version_id, unit_id) "
            "WHERE version_id = $v",
            params={"v": diffed.version_id},
        ).fetchall()
    assert found == [(1, 0, 2, 1, "tool_to_text", 0, 0.0)]


def test_a_miss_fails_the_unit_and_is_reported(lake, folder):
    """A call without a recorded result fails its turn; the step names the nearest recorded call."""
    replayed, diffed = run(lake, folder, "turn", 'python: "modes_agent:recorded"', "tools: {manifest: tools.yaml}\n")
    assert replayed.failures == {"diverged": CONVERSATIONS * 4}
    assert diffed.failed == CONVERSATIONS * 4
    missed = rows(lake, "replay_steps", "tool_calls[1].miss", replayed)
    assert {json.loads(miss)["differs"][0] for (miss,) in missed} <= {"name", "arguments"}
    stubbed, _ = run(
        lake, folder, "turn", 'python: "modes_agent:recorded"', "tools: {manifest: tools.yaml, on_miss: stub_error}\n"
    )
    assert stubbed.failures == {}
    assert set(rows(lake, "replays", "is_tainted, coverage, missed_calls, cost_usd", stubbed)) == {
        (True, 0.0, 1, None)  # its first message does not say what it cost, so the sum is not known
    }


@pytest.mark.parametrize(
    ("mode", "answer"),
    [
        ("decision", "texts"),
        ("single", "raises_now_and_then"),
        ("turn", "raises_now_and_then"),
        ("conversation", "texts"),
    ],
)
def test_workers_write_what_one_process_writes(lake, folder, monkeypatch, mode, answer):
    """Two worker processes that take several ranges each give the rows of one process that reads a single range, failures and
    the first error too; how many there are is no part of the version."""
    here = plan_of(lake, folder, mode, f'python: "modes_agent:{answer}"', "segments: [task]\n")
    there = plan_of(lake, folder, mode, f'python: "modes_agent:{answer}"', "segments: [task]\nworkers: 2\n")
    assert here.version_id == there.version_id
    first = run_replay(lake, here)
    with monkeypatch.context() as patch:
        patch.setattr(streams, "CHUNK_EVENTS", 60)
        second = run_replay(lake, there)
    assert second.is_written
    assert (second.units, second.failures, second.first_error) == (first.units, first.failures, first.first_error)
    assert bool(first.failures) == (answer != "texts")
    for table in ("replays", "replay_steps"):
        # both experiments have this version
        both = [rows(lake, table, "* EXCLUDE (experiment)", each) for each in (first, second)]
        assert both[0] == both[1]
        assert len(rows(lake, table, "experiment", first)) % 2 == 0


@pytest.mark.parametrize("mode", ["decision", "turn"])
def test_long_answers_are_written_in_ranges_of_bounded_texts(lake, folder, monkeypatch, mode):
    """More text than is sorted at once is sorted in several ranges, one after the other; the rows are those of a single sort."""
    answer = 'python: "modes_agent:talks_at_length"'
    first = run_replay(lake, plan_of(lake, folder, mode, answer))
    plan = plan_of(lake, folder, mode, answer, "segments: [task]\n")
    sorted_at_once: list[list[tuple[str, int]]] = []
    write = PartitionWriter.write_query

    def spy(writer, connection, query, params=None):
        texts = f"SELECT unit_id, coalesce(strlen(text), 0) FROM ({query}) ORDER BY unit_id"
        sorted_at_once.append(connection.sql(texts, params=params).fetchall())
        write(writer, connection, query, params)

    with monkeypatch.context() as patch:
        patch.setattr("pipelines.replay.run.RANGE_SHARE", 100_000 / lake.memory_bytes)
        patch.setattr(PartitionWriter, "write_query", spy)
        second = run_replay(lake, plan)
    assert len(sorted_at_once) > 3
    for each in sorted_at_once:
        assert sum(size for unit, size in each if unit != each[-1][0]) <= 100_000
    for table in ("replays", "replay_steps")[: 1 if mode == "decision" else 2]:
        units = [
            unit
            for file in lake.files(table, plan.partition)
            for (unit,) in duckdb.sql(f"SELECT unit_id FROM '{file}'").fetchall()
        ]
        assert units == sorted(units)
        both = [rows(lake, table, "* EXCLUDE (experiment, version_id)", each) for each in (first, second)]
        assert both[0] == both[1]


KILLED = """
import sys
from pathlib import Path

from pipelines.lake.lake import Lake
from pipelines.replay import streams
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.replay.run import run_replay

streams.CHUNK_EVENTS = 60
lake = Lake(Path(sys.argv[1]))
text = "experiment: killed\\ncandidate: {python: 'modes_agent:sleeps'}\\nworkers: 2\\n"
run_replay(lake, make_plan(lake, parse_experiment(text, "test"), Path(sys.argv[2])))
"""


def test_workers_end_with_the_process_that_started_them(lake, folder):
    """However a replay is killed, no worker stays behind, though each is in the middle of a decision; nothing is written."""
    arguments = [sys.executable, "-c", KILLED, str(lake.root), str(folder)]
    with subprocess.Popen(arguments, cwd=Path(__file__).parents[2]) as process:
        try:
            wait_until(lambda: len(list(folder.glob("*.asleep"))) == 2)
            workers = [int(path.stem) for path in folder.glob("*.asleep")]
            assert all(map(is_running, workers))
        finally:
            process.kill()
    wait_until(lambda: not any(map(is_running, workers)))
    with lake.connect() as connection:
        assert connection.sql("SELECT count(*) FROM replays_history WHERE experiment = 'killed'").fetchall() == [(0,)]


def is_running(process: int) -> bool:
    """Whether there is such a process, one that ended and waits to be collected apart."""
    try:
        os.kill(process, 0)
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_worker_that_dies_is_an_error_and_leaves_nothing(lake, folder):
    """The run fails, no version is written, no file stays behind."""
    plan = plan_of(lake, folder, "decision", 'python: "modes_agent:dies"', "workers: 2\n")
    before = set((lake.root / ".spill").glob("workers-*"))
    with pytest.raises(Exception, match="worker process of the replay died"):
        run_replay(lake, plan)
    assert lake.last_commit("replays", plan.partition) is None
    assert set((lake.root / ".spill").glob("workers-*")) == before


def test_a_candidate_that_ends_the_process(lake, folder):
    """In this process `os._exit` is one clear error and nothing is written; `sys.exit` is that unit's failure, whatever its code."""
    plan = plan_of(lake, folder, "decision", 'python: "modes_agent:dies"')
    with pytest.raises(CandidateEndedError, match=r"called os\._exit\(3\).*nothing was written"):
        run_replay(lake, plan)
    assert lake.last_commit("replays", plan.partition) is None
    left = run_replay(lake, plan_of(lake, folder, "decision", 'python: "modes_agent:leaves"'))
    assert {status for (status,) in rows(lake, "replays", "status", left)} == {"failed"}


def test_an_async_candidate_is_awaited(lake, folder):
    """What is declared async is awaited, many units at once; what waits undeclared fails and says how to declare it."""
    waited = run_replay(lake, plan_of(lake, folder, "turn", 'python: "modes_agent:waits"'))
    spoken = run_replay(lake, plan_of(lake, folder, "turn", 'python: "modes_agent:texts"'))
    columns = "unit_id, status, text, step_count"
    assert rows(lake, "replays", columns, waited) == rows(lake, "replays", columns, spoken)
    undeclared = run_replay(lake, plan_of(lake, folder, "single", 'python: "modes_agent:waits_undeclared"'))
    assert undeclared.failures == {"candidate_error": CONVERSATIONS}
    assert "async def" in (undeclared.first_error or "")


def test_what_a_candidate_raises_is_told_and_not_kept(lake, folder):
    """Failures are rows with a code; the message is told once, and is in no dataset."""
    replayed = run_replay(lake, plan_of(lake, folder, "conversation", 'python: "modes_agent:raises"'))
    assert replayed.failures == {"candidate_error": CONVERSATIONS}
    assert "secret 1" in (replayed.first_error or "")
    assert not [path for path in lake.root.rglob("*.parquet") if b"secret" in path.read_bytes()]


def test_one_decision_is_replanned(lake, folder, tmp_path):
    """The recorded action beside the candidate's, in words and as JSON; the recording itself is the same; nothing is written."""
    with lake.connect() as connection:
        stream = connection.sql("SELECT min(aggregate_id) FROM decisions").fetchall()[0][0]
    path = folder / "candidate.yaml"
    path.write_text('python: "modes_agent:texts"\n', encoding="utf-8")
    before = sorted(lake.root.rglob("*"))
    found = replan(lake, stream, 3, read_candidate(path), folder, draws=3)
    page, described = render_replan(found), describe_replan(found)
    assert sorted(path for path in lake.root.rglob("*") if ".spill" not in path.parts) == [
        path for path in before if ".spill" not in path.parts
    ]
    assert [draw["compared"]["unit_class"] for draw in described["draws"]] == ["tool_to_text"] * 3
    assert described["recorded"]["tool_calls"]
    assert json.dumps(described)
    assert "only A calls tools" in page
    assert "3 ×" in page
    assert max(map(len, page.splitlines())) <= 100
    path.write_text("candidate: {echo: true}\n", encoding="utf-8")
    same = describe_replan(replan(lake, stream, 3, read_candidate(path), folder))
    assert same["draws"][0]["compared"]["unit_class"] == "same_calls"
    with pytest.raises(BadInputError, match="it has decisions 1 to 8"):
        replan(lake, stream, 9, read_candidate(path), folder)
    path.write_text("recorded: {variant: v1}\n", encoding="utf-8")
    with pytest.raises(BadInputError, match="recorded variant cannot be asked"):
        read_candidate(path)


def test_a_manifest_is_drafted_from_the_log(lake, tmp_path):
    """The draft is a manifest that can be read back, with every tool of the log and the reason beside it."""
    found = suggest_tools(lake)
    assert {tool.name: tool.effect for tool in found} == {
        "lookup_order": "read",
        "refund_order": "write",
        "search": "read",
        "track_package": "read",
    }
    assert sum(tool.calls for tool in found) == CONVERSATIONS * 4
    path = tmp_path / "tools.yaml"
    path.write_text(render_manifest(found), encoding="utf-8")
    assert {name: tool.effect for name, tool in read_manifest(path).tools.items()} == {t.name: t.effect for t in found}
