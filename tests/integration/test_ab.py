"""Experiments on a small recorded history of our own: selection, versions, candidates that fail, metrics."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from pipelines.diff.dataset import build_diff
from pipelines.diff.gating import decide_version
from pipelines.diff.inputs import stale_inputs
from pipelines.diff.names import require_known_gate
from pipelines.diff.versions import list_versions
from pipelines.errors import BadInputError, RefoldError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.registry import load_experiment, register_experiment
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.lake.lake import Lake
from pipelines.recorder import Recorder
from pipelines.replay.run import run_replay
from pipelines.review.page import render_page
from pipelines.settings import Settings
from pipelines.store import EmbeddedServer, NewEvent, Store
from tests.support.databases import filled_template
from tests.support.shop import add, conversation, plan_of, refresh, run
from tests.support.waiting import PATIENCE

TASKS = 8


@pytest.fixture(scope="module")
def folded_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the lake to copy is."""
    return tmp_path_factory.mktemp("folded") / "lake"


@pytest.fixture(scope="module")
def template(
    server: EmbeddedServer, template: str, folded_lake: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A database to copy with that lake: eight tasks run by two variants on eight days of January; v2 refunds half in the odd tasks."""
    lines = []
    for task in range(TASKS):
        for variant in ("v1", "v2"):
            amount = 10.0 * (task + 1) * (0.5 if variant == "v2" and task % 2 else 1.0)
            lines.append(conversation(task, variant, amount, f"2026-01-{task + 1:02d} 12:00:00"))

    def fill(store: Store, lake: Lake) -> None:
        add(store, lake, tmp_path_factory.mktemp("lines"), lines, "first.jsonl")

    with filled_template(server, template, folded_lake, fill) as name:
        yield name


@pytest.fixture
def lake(settings: Settings, template: str, folded_lake: Path) -> Lake:
    """A copy of that lake; `store` is one of its store."""
    assert template
    shutil.copytree(folded_lake, settings.lake)
    return Lake.from_settings(settings)


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """A folder with a candidate module `my_agent`."""
    (tmp_path / "policy.py").write_text("LIMIT = 30\n", encoding="utf-8")
    (tmp_path / "my_agent.py").write_text(
        """
import policy
from refold import Reply, ToolCall


def capped(decision):
    last = decision.messages[-1]
    if last["role"] == "user":
        return Reply(tool_calls=[ToolCall("lookup_order", {"id": int(last["content"].split()[-1])})])
    call = next(m for m in decision.messages if m["role"] == "tool")
    import json
    order = json.loads(call["content"])
    if last["content"] != "ok":
        amount = min(order["total"], policy.LIMIT)
        return Reply("Paying it back.", [ToolCall("refund", {"amount_usd": amount, "id": order["order"]})])
    return Reply(f"Refunded {order['total']} USD")


def broken(decision):
    if decision.decision == 2:
        raise RuntimeError("secret sk-123")
    return capped(decision)


def wrong(decision):
    return "not a reply"


def unstorable(decision):
    return Reply("\\ud800") if decision.decision == 1 else Reply(None, [ToolCall("x", {"n": float("nan")})])
""",
        encoding="utf-8",
    )
    return tmp_path


RECORDED = """
experiment: shop
baseline: {recorded: {source: shop, variant: v1}}
candidate: {recorded: {source: shop, variant: v2}}
mode: conversation
"""
PYTHON = """
experiment: cap
baseline: {recorded: {source: shop, variant: v1}}
candidate: {python: "my_agent:capped"}
metrics:
  refund_usd:
    sql: "coalesce((SELECT sum((c.arguments ->> '$.amount_usd')::DOUBLE) FROM (SELECT unnest(tool_calls) AS c) WHERE c.name = 'refund'), 0)"
    goal: lower
    margin: 1
segments: [task]
"""


def test_recorded_variants_are_paired_and_aligned(lake, tmp_path):
    """Half of the tasks differ in one argument of one call, in the final text, and in the outcome of the others."""
    result = run(lake, RECORDED, tmp_path)
    assert (result.pairs, result.same_names, result.same_calls, result.same_final) == (8, 8, 4, 4)
    assert (result.outcomes.both, result.outcomes.only_a) == (4, 4)
    assert result.classes == {"same_calls": 4, "args_only": 4}
    with lake.connect() as connection:
        ops = connection.sql(
            "SELECT op.path, op.old, op.new FROM (SELECT unnest(arg_ops) AS op, unit_id, pair FROM ab_tool_calls) ORDER BY op.old::DOUBLE"
        ).fetchall()
    assert ops == [
        ("/amount_usd", "20", "10"),
        ("/amount_usd", "40", "20"),
        ("/amount_usd", "60", "30"),
        ("/amount_usd", "80", "40"),
    ]


def test_running_again_writes_nothing(lake, tmp_path):
    """The same experiment on the same data is the same version, and no table gets a commit."""
    first = run(lake, RECORDED, tmp_path)
    commits = [len(lake.commits(name)) for name in ("replays", "ab_units", "ab_summary")]
    versions = [
        lake.table(name).load().version() for name in ("replays", "ab_units", "ab_tool_calls", "ab_summary", "commits")
    ]
    again = run(Lake(lake.root), RECORDED, tmp_path)
    assert (again.is_written, again.version_id, again.result_hash) == (False, first.version_id, first.result_hash)
    assert [len(lake.commits(name)) for name in ("replays", "ab_units", "ab_summary")] == commits
    assert [
        lake.table(name).load().version() for name in ("replays", "ab_units", "ab_tool_calls", "ab_summary", "commits")
    ] == versions


def test_new_data_elsewhere_is_the_same_version(lake, store, tmp_path):
    """Conversations that the experiment does not select leave its version alone; one more event of a selected one does not."""
    text = RECORDED + "window: {from: 2026-01-01, to: 2026-02-01}\n"
    first = run(lake, text, tmp_path)
    add(
        store,
        lake,
        tmp_path,
        [conversation(99, "v1", 5.0, "2026-02-10 12:00:00"), conversation(99, "v2", 5.0, "2026-02-10 12:00:00")],
    )
    assert run(lake, text, tmp_path).version_id == first.version_id
    assert run(lake, RECORDED, tmp_path).pairs == 9
    with lake.connect() as connection:
        stream = connection.sql(
            "SELECT aggregate_id FROM conversations WHERE variant = 'v1' AND task = 'task/0'"
        ).fetchall()[0][0]
    store.append(
        UUID(stream), "conversation", [NewEvent("user.utterance.v1", {"text": "thanks"}, {"actor": "user"})], "exists"
    )
    refresh(store, lake)
    assert run(lake, text, tmp_path).version_id != first.version_id


def test_whatever_changes_a_cell_changes_the_version(lake, agent):
    """Candidate source (also of a module it imports), filter, metric, window and mode make another version; both stay readable."""
    seen = {run(lake, PYTHON, agent).version_id}
    for text in (
        PYTHON + "where: \"task <> 'task/3'\"\n",
        PYTHON.replace("margin: 1", "margin: 2"),
        PYTHON + "window: {from: 2026-01-02}\n",
        PYTHON + "mode: single\n",
        PYTHON + "sample: {conversations: 3, seed: 1}\n",
        PYTHON + "sample: {conversations: 3, seed: 2}\n",
    ):
        seen.add(run(lake, text, agent).version_id)
    (agent / "policy.py").write_text("LIMIT = 40\n", encoding="utf-8")
    seen.add(plan_of(lake, PYTHON, agent).version_id)
    assert len(seen) == 8
    assert plan_of(lake, PYTHON + "gate: same_calls >= 0.5\nactive: true\n", agent).version_id in seen
    assert {version.version_id for version in list_versions(lake, "cap")} < seen
    with lake.connect() as connection:
        kept = connection.sql("SELECT DISTINCT version_id FROM ab_units_history").fetchall()
        newest = connection.sql("SELECT DISTINCT version_id FROM ab_units").fetchall()
    assert len(kept) == 7
    assert newest == [(list_versions(lake, "cap")[0].version_id,)]


@pytest.mark.quick
def test_a_python_candidate_answers_every_decision(lake, agent):
    """Its replies are rows, the recorded context is what it got, and the metric is summed on both sides."""
    result = run(lake, PYTHON, agent)
    assert (result.pairs, result.conversations, result.failed) == (24, 8, 0)
    assert result.same_calls == 24 - 5  # orders of 40 to 80 USD are capped at 30
    with lake.connect() as connection:
        totals = connection.sql(
            "SELECT total_a, total_b FROM ab_summary WHERE metric = 'refund_usd' AND segment = 'all'"
        ).fetchall()
        segments = connection.sql(
            "SELECT count(*) FROM ab_summary WHERE metric = 'refund_usd' AND segment = 'task'"
        ).fetchall()
    assert totals == [(360.0, 210.0)]
    assert segments == [(8,)]
    assert "refund_usd" in render_page(lake, result)


def test_failures_are_rows_and_keep_their_place(lake, agent):
    """A candidate that raises, returns nonsense or cannot be stored fails those units only; no error text is kept."""
    plan = plan_of(lake, PYTHON.replace("capped", "broken"), agent)
    replayed = run_replay(lake, plan)
    result = build_diff(lake, plan)
    assert replayed.failures == {"candidate_error": 8}
    assert "secret sk-123" in (replayed.first_error or "")
    assert (result.pairs, result.failed) == (24, 8)
    with lake.connect() as connection:
        share = connection.sql(
            "SELECT n, estimate FROM ab_summary WHERE metric = 'same_names' AND segment = 'all'"
        ).fetchall()
    assert share == [(24, pytest.approx(16 / 24))]
    assert not any(b"sk-123" in path.read_bytes() for path in lake.root.rglob("*") if path.is_file())
    for name in ("wrong", "unstorable"):
        assert run(lake, PYTHON.replace("capped", name), agent).failed == 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (RECORDED.replace("v2", "v3"), "no task was run by both sides.*variant: v1.*variant: v2"),
        (RECORDED + "where: \"task = 'nope'\"\n", "no conversation is selected: 0 match"),
        (RECORDED + "where: tsk = 1\n", "where: 'tsk = 1'.*\"tsk\""),
        (RECORDED + 'where: "1 = 1); DROP TABLE conversations; SELECT (1"\n', "is not a single expression"),
        (RECORDED + "where: \"task IN (SELECT content FROM read_text('/etc/passwd'))\"\n", "where: .*disabled"),
        (PYTHON + "window: {last: 7d}\n", "the newest started on 2026-"),
        (PYTHON.replace("my_agent", "nobody"), "no Python module 'nobody'"),
        (PYTHON.replace("capped", "nothing"), "has no function 'nothing'"),
        (PYTHON.replace("sum((", "sum((("), "metric refund_usd"),
        (PYTHON.replace("), 0)", "), 'x')"), "metric refund_usd"),
    ],
)
def test_bad_experiments_say_what_is_wrong(lake, agent, text, message):
    """Input that cannot be compared is refused with the value and the way out, and leaves no version."""
    with pytest.raises(BadInputError, match=message):
        run(lake, text, agent)
    assert list_versions(lake) == []


def test_a_diff_needs_its_replay(lake, tmp_path):
    """Diffing a version that was not replayed is an error, not an empty result."""
    with pytest.raises(RefoldError, match="is not replayed"):
        build_diff(lake, plan_of(lake, RECORDED, tmp_path))


def test_states_behind_the_log_are_not_compared(lake, store, tmp_path):
    """Events that are exported and not folded stop the plan: the answer would be of yesterday."""
    with lake.connect() as connection:
        stream = connection.sql(
            "SELECT aggregate_id FROM conversations WHERE variant = 'v1' AND task = 'task/0'"
        ).fetchall()[0][0]
    store.append(UUID(stream), "conversation", [NewEvent("user.utterance.v1", {"text": "hm"}, {})], "exists")
    for month in months_to_export(store, lake):
        export_month(store.dsn, lake, month)
    with pytest.raises(BadInputError, match="run `refold fold`"):
        plan_of(lake, RECORDED, tmp_path)


def test_stale_inputs_are_counted(lake, store, tmp_path):
    """After new events the newest version says how many conversations changed, came or went."""
    experiment = parse_experiment(RECORDED, "test")
    assert register_experiment(lake, experiment, tmp_path)
    assert not register_experiment(lake, experiment, tmp_path)
    assert load_experiment(lake, "shop") == (experiment, tmp_path.resolve())
    run(lake, RECORDED, tmp_path)
    assert stale_inputs(lake, "shop").is_current
    add(store, lake, tmp_path, [conversation(50, variant, 5.0, "2026-01-20 12:00:00") for variant in ("v1", "v2")])
    stale = stale_inputs(lake, "shop")
    assert (stale.changed, stale.new, stale.gone, stale.is_current) == (0, 1, 0, False)
    with pytest.raises(BadInputError, match="there are: shop"):
        load_experiment(lake, "shops")
    register_experiment(lake, parse_experiment(RECORDED + "where: \"task = 'nobody'\"\n", "test"), tmp_path)
    none = stale_inputs(lake, "shop")
    assert (none.changed, none.new, none.gone, none.current_version_id) == (0, 0, 8, None)


def test_the_gate_decides_on_the_summary(lake, agent):
    """Clauses are evaluated on the version's numbers; unknown names are refused before anything runs."""
    text = PYTHON + 'gate: "same_names >= 0.9; same_calls >= 0.9; refund_usd.high <= 0"\n'
    result = run(lake, text, agent)
    experiment = parse_experiment(text, "test")
    gate = decide_version(lake, experiment.experiment, result.version_id, experiment.gate).gate
    assert gate is not None
    assert [clause.passed for clause in gate.clauses][:2] == [True, False]
    assert not gate.passed
    with pytest.raises(BadInputError, match="refunds_usd"):
        require_known_gate(parse_experiment(PYTHON + "gate: refunds_usd >= 1\n", "test"))


def test_more_decisions_than_one_batch(lake, store, agent, tmp_path):
    """Replies are written while later contexts are still read: thousands of decisions in one replay."""
    lines = [conversation(1000 + n, "v1", 10.0, "2026-01-20 12:00:00") for n in range(900)]
    add(store, lake, tmp_path, lines)
    result = run(lake, PYTHON.replace("segments: [task]", ""), agent)
    assert (result.pairs, result.failed) == (24 + 2700, 0)


def test_relative_windows_are_of_live_traffic(lake, store, tmp_path):
    """`last` selects what agents recorded live, under whatever source; imported history only when `where` names it."""
    newest = datetime(2026, 4, 10, 15, tzinfo=UTC)
    with Recorder(store.dsn, source="desk") as recorder:
        with recorder.conversation("live-1", agent="desk", system=["Be brief."]) as talk:
            talk.user("hello")
            talk.agent("hi")
        assert recorder.flush(PATIENCE)
    refresh(store, lake)
    echo = "experiment: echo\ncandidate: {echo: true}\nmode: conversation\n"
    with lake.connect() as connection:
        started = connection.sql("SELECT started_at FROM conversations WHERE source = 'desk'").fetchall()[0][0]
    assert started > newest
    both = plan_of(lake, echo, tmp_path)
    assert both.streams.num_rows == 2 * TASKS + 1
    with pytest.raises(BadInputError, match=r"1 match baseline and where \(imported history is left out"):
        plan_of(lake, echo + "window: {last: 7d}\n", tmp_path)  # whole days: today is not over
    stray = NewEvent("user.utterance.v1", {"text": "one more"}, {"actor": "user"}, started + timedelta(days=2))
    store.ensure_months([stray.created_at])
    with lake.connect() as connection:
        stream = connection.sql("SELECT aggregate_id FROM conversations WHERE source = 'desk'").fetchall()[0][0]
    store.append(UUID(stream), "conversation", [stray], "exists")
    refresh(store, lake)
    with pytest.raises(BadInputError, match="1 match"):  # a clock that is ahead makes no new day
        plan_of(lake, echo + "window: {last: 7d}\n", tmp_path)
    with lake.connect() as connection:
        imported_at = connection.sql(
            "SELECT max(started_at)::DATE FROM conversations WHERE source = 'shop'"
        ).fetchall()[0][0]
    with pytest.raises(BadInputError, match=f"the newest started on {imported_at}"):  # nor is old history of this week
        plan_of(lake, echo + "window: {last: 7d}\nwhere: source = 'shop'\n", tmp_path)
    days = (datetime.now(UTC).date() - imported_at).days + 1
    imported = plan_of(lake, echo + f"window: {{last: {days}d}}\nwhere: source = 'shop'\n", tmp_path)
    assert set(imported.streams.column("source").to_pylist()) == {"shop"}
