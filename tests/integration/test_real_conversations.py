"""The whole way on 1,697 real conversations: recorded pairs against independently counted answers, and the echo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.diff.dataset import build_diff
from pipelines.diff.gating import decide_version
from pipelines.diff.result import DiffResult, Outcomes
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.manifest import ToolBook, ToolPolicy, read_manifest
from pipelines.experiment.plan import make_plan
from pipelines.experiment.units import create_stream_relations
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.folds.run import fold_month
from pipelines.ingest.chat import import_chat
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.lake.query import query_result
from pipelines.log.readable import create_readable_events
from pipelines.replay.cassette import Cassette, Lookup
from pipelines.replay.recording import Recording
from pipelines.replay.run import run_replay
from pipelines.replay.streams import list_chunks, read_streams
from pipelines.replay.work import recording_of
from pipelines.store import EmbeddedServer, Store, connect
from tests.integration.exported import both
from tests.support.cookbook import PROOFS, answer, answer_of, read_talks
from tests.support.documented import documented_queries


@pytest.fixture(scope="module")
def lake(shared_data: Path, server: EmbeddedServer, template: str, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """All real conversations, imported, exported and folded once."""
    name = "refold_real"
    with connect(server.dsn) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        admin.execute(f'CREATE DATABASE {name} TEMPLATE "{template}"')
    lake = Lake(tmp_path_factory.mktemp("real") / "lake")
    dsn = server.dsn_of(name)
    with connect(dsn) as connection:
        store = Store(connection, dsn)
        import_chat(store, [shared_data / "conversations.jsonl.gz"])
        for month in months_to_export(store, lake):
            export_month(dsn, lake, month)
            fold_month(lake, month)
    return lake


def test_every_real_event_is_in_the_lake_to_the_byte(lake: Lake, server: EmbeddedServer):
    """Payload and metadata text, times to the microsecond, ids and hashes are the store's, and nothing else is there."""
    with connect(server.dsn_of("refold_real")) as connection:
        store = Store(connection, server.dsn_of("refold_real"))
        months = months_to_export(store, lake)
        compared = 0
        for month in months:
            in_store, in_lake = both(store, lake, month)
            assert in_lake == in_store
            compared += len(in_lake)
        assert connection.execute("SELECT count(*) FROM refold.events").fetchone() == (compared,)
    assert compared > 29_214  # its messages; what started and ended comes on top


@dataclass(frozen=True)
class Expected:
    """What an independent reader counted for one pair of recorded variants."""

    source: str
    a: str
    b: str
    pairs: int
    same: tuple[int, int, int]
    outcomes: Outcomes


PAIRS = [
    Expected(
        "agentdojo/none",
        "gpt-4o-2024-05-13",
        "gpt-4o-2024-05-13-repeat_user_prompt",
        83,
        (60, 34, 3),
        Outcomes(62, 1, 13, 7),
    ),
    Expected("agentdojo/none", "gpt-4o-2024-05-13", "gpt-4o-mini-2024-07-18", 83, (43, 16, 1), Outcomes(47, 16, 9, 11)),
    Expected(
        "agentdojo/none",
        "claude-3-5-sonnet-20240620",
        "claude-3-5-sonnet-20241022",
        83,
        (61, 35, 0),
        Outcomes(53, 7, 5, 18),
    ),
    Expected("tau-bench", "gpt-4o#trial0", "gpt-4o#trial1", 50, (8, 4, 0), Outcomes(12, 9, 10, 19)),
]


def compare(lake: Lake, text: str) -> DiffResult:
    plan = make_plan(lake, parse_experiment(text, "test"), Path.cwd())
    run_replay(lake, plan)
    return build_diff(lake, plan)


def pair_text(pair: Expected, name: str = "recorded-pair") -> str:
    return f"""
        experiment: {name}
        baseline: {{recorded: {{source: "{pair.source}", variant: "{pair.a}"}}}}
        candidate: {{recorded: {{source: "{pair.source}", variant: "{pair.b}"}}}}
        mode: conversation
    """


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair.a} against {pair.b}")
def test_recorded_pairs_have_the_counted_answers(lake: Lake, pair: Expected):
    """Pairs, equal names, calls and texts, and outcomes are those that somebody else counted."""
    result = compare(lake, pair_text(pair))
    assert result.pairs == pair.pairs
    assert (result.same_names, result.same_calls, result.same_final) == pair.same
    assert result.outcomes == pair.outcomes


def test_the_sql_cookbook_on_real_conversations(lake: Lake):
    """Every query runs; what plain Python says of the events is what they give, and the counts are those that are known."""
    queries = documented_queries("sql-cookbook.md")
    talks = read_talks(lake)
    found = {name: query_result(lake, query) for name, query in queries.items()}
    for name in PROOFS:
        assert answer_of(name, found[name]) == answer(name, talks), name
    assert sum(found["failing_tools"]["calls"].to_pylist()) == 9_138
    assert sum(found["unanswered_calls"]["unanswered"].to_pylist()) == 9_138 - 9_134
    assert sum(found["fidelity_by_source"]["conversations"].to_pylist()) == 1_697


# Decisions that are steps of a walk; a decision that is its own unit is none.
WALKED = {"decision": "false", "single": "false", "turn": "turn >= 1", "conversation": "context_messages > 0"}
Shares = tuple[float, float, float]
AGENT_CALLS = 9_138 - 902  # the user makes 902 of the calls; none of the agent's comes before the user's first text


def test_the_real_noise_floor_covers_nothing_but_noise(lake: Lake):
    """One model on 50 tasks, four trials: 0 and 2 as control, 1 and 3 as candidate. 93 % of the pairs of trials differ, and yet
    the excess over the model's own noise is .02 [-.06, .10]; the recording is one of the control's runs, so no drift is told."""
    text = """
experiment: noise
baseline: {recorded: {source: tau-bench, variant: "gpt-4o#trial0"}}
candidate: {recorded: {source: tau-bench, variant: ["gpt-4o#trial1", "gpt-4o#trial3"]}}
control: {recorded: {source: tau-bench, variant: ["gpt-4o#trial0", "gpt-4o#trial2"]}}
mode: conversation
metrics: {calls_made: {sql: call_count, goal: lower, margin: 1}}
gate: "noise_excess.low <= 0; noise_excess <= 0.05"
"""
    result = compare(lake, text)
    assert (result.pairs, result.same_calls) == (50, 4)  # the candidate's first draw is what is paired
    with lake.connect() as connection:
        rows = connection.sql(
            "SELECT metric, estimate, low, high, n, g, verdict, reason FROM ab_summary_history "
            "WHERE version_id = $version",
            params={"version": result.version_id},
        ).fetchall()
    lines = {row[0]: row[1:] for row in rows}
    estimate, low, high, *counts = lines["noise_excess"]
    assert (estimate, low, high) == pytest.approx((0.02, -0.06, 0.10), abs=0.005)
    assert counts == [50, 50, None, None]
    assert lines["noise_between"][0] == pytest.approx(0.93)
    assert lines["noise_drift"][0] is None
    assert lines["noise_drift"][-1] == "recorded_is_control"
    assert not {line[-2] for line in lines.values()} & {"improved", "regressed"}
    experiment = parse_experiment(text, "test")
    gate = decide_version(lake, experiment.experiment, result.version_id, experiment.gate).gate
    assert gate is not None
    assert gate.passed
    shared = text.replace("#trial3", "#trial2")
    with pytest.raises(BadInputError, match="would stand for candidate and control alike"):
        make_plan(lake, parse_experiment(shared, "test"), Path.cwd())


@pytest.mark.parametrize("mode", ["decision", "turn", "conversation", "single"])
def test_the_echo_is_all_the_same(lake: Lake, mode: str):
    """The recording beside itself: every unit of all real conversations is the same, and none is lost."""
    result = compare(lake, f"experiment: echo-{mode}\ncandidate: {{echo: true}}\nmode: {mode}")
    assert result.conversations == 1697
    assert result.failed == 0
    assert result.same_names == result.same_calls == result.pairs
    assert result.classes == {"same_calls": result.pairs}
    with lake.connect() as connection:
        rest = connection.sql(
            f"SELECT count(*) FROM ab_units WHERE experiment = 'echo-{mode}' AND (text_class <> 'identical' "
            "OR reordered + args_changed + name_changed + name_args_changed + added + removed > 0)"
        ).fetchall()
        steps = connection.sql(
            f"SELECT count(*), coalesce(sum(len(tool_calls)) FILTER (WHERE result_source = 'exact'), 0) FROM replay_steps "
            f"WHERE experiment = 'echo-{mode}'"
        ).fetchall()
        walked = connection.sql(f"SELECT count(*) FROM decisions WHERE {WALKED[mode]}").fetchall()[0][0]
        units = connection.sql(
            "SELECT count(*) FILTER (WHERE is_tainted OR is_off_policy OR divergence IS NOT NULL OR missed_calls > 0 "
            "OR unverified_calls > 0 OR coverage < 1 OR prefix_fraction < 1) FROM replays "
            f"WHERE experiment = 'echo-{mode}'"
        ).fetchall()
    assert rest == units == [(0,)]
    assert steps == [(walked, AGENT_CALLS if walked else 0)]


def paired_streams(lake: Lake, pair: Expected) -> list[tuple[str, str]]:
    """The streams of A and of B, by task."""
    plan = make_plan(lake, parse_experiment(pair_text(pair), "test"), Path.cwd())
    columns = (plan.streams.column(name).to_pylist() for name in ("aggregate_id", "recorded_aggregate_id"))
    return list(zip(*columns, strict=True))


@pytest.fixture(scope="module")
def recordings(lake: Lake) -> dict[Expected, list[tuple[Recording, Recording]]]:
    """What was recorded of A and of B, for every pair of variants; read once."""
    ids = {pair: paired_streams(lake, pair) for pair in PAIRS}
    wanted = {stream for streams in ids.values() for both_ids in streams for stream in both_ids}
    with lake.connect() as connection:
        create_stream_relations(connection)
        create_readable_events(connection)
        connection.execute("CREATE TEMP TABLE plan_streams AS FROM streams")
        read = read_streams(connection, list_chunks(connection, lake))
        found = {stream.aggregate_id: recording_of(stream) for stream in read if stream.aggregate_id in wanted}
    return {pair: [(found[a], found[b]) for a, b in streams] for pair, streams in ids.items()}


def answered(pairs: Iterable[tuple[Recording, Recording]], book: ToolBook) -> tuple[float, float]:
    """Share of the calls of B's recorded runs that A's cassettes answer, under one policy.

    First with every run stopped at its first miss, as a replay stops (the calls that it no longer makes count as
    unanswered), then with every run going on.
    """
    calls = until_miss = in_all = 0
    for a, b in pairs:
        player = Cassette(a.blocks(), book).player()
        found: list[Lookup] = []
        for segment in b.segments:
            for step in segment.steps:
                found += player.answer([(call.name, call.arguments) for call in step.calls], segment.turn)
        hits = [lookup.source != "miss" for lookup in found]
        calls += len(hits)
        in_all += sum(hits)
        until_miss += hits.index(False) if False in hits else len(hits)
    return until_miss / calls, in_all / calls


@pytest.mark.parametrize(
    ("pair", "stopped", "going_on"),
    [
        (PAIRS[0], (0.25, 0.54, 0.61), (0.25, 0.58, 0.68)),
        (PAIRS[1], (0.42, 0.50, 0.50), (0.44, 0.56, 0.57)),
        (PAIRS[2], (0.65, 0.67, 0.67), (0.65, 0.74, 0.76)),
        (PAIRS[3], (0.17, 0.34, 0.37), (0.17, 0.40, 0.48)),
    ],
    ids=lambda value: value.b if isinstance(value, Expected) else "",
)
def test_coverage_of_real_pairs(
    recordings: dict[Expected, list[tuple[Recording, Recording]]], pair: Expected, stopped: Shares, going_on: Shares
):
    """Unknown tools taken for writes answer least, a manifest more, and no guard most. The shares of runs that stop at their
    first miss are those that somebody else counted; `docs/replay.md` quotes both."""
    manifest = read_manifest(Path(__file__).parents[1] / "unit" / "replay" / "real_tools.yaml")
    policies = (ToolPolicy(unknown="write"), ToolPolicy(manifest), ToolPolicy(unknown="read"))
    shares = [answered(recordings[pair], ToolBook(policy)) for policy in policies]
    assert shares == sorted(shares)
    for counted, expected in zip(zip(*shares, strict=True), (stopped, going_on), strict=True):
        assert tuple(int(share * 100 + 0.5) / 100 for share in counted) == expected


def test_a_version_survives_a_rewrite_of_its_inputs(lake: Lake):
    """Writing the same events again (other files, other Delta versions) leaves version and result as they were."""
    first = compare(lake, pair_text(PAIRS[0], "rewrite"))
    with lake.connect() as connection:
        partition = {"month": lake.months("events")[0]}
        query = "SELECT * FROM events WHERE month = $month"
        last = lake.last_commit("events", partition)
        assert last is not None
        lake.write_partition(EVENTS, partition, connection, query, partition, input_hash=last.input_hash)
    again = compare(lake, pair_text(PAIRS[0], "rewrite"))
    assert (again.version_id, again.result_hash, again.is_written) == (first.version_id, first.result_hash, False)


def test_the_name_of_an_experiment_is_no_input(lake: Lake):
    """Two names for the same comparison give one version id and one result."""
    one, two = (compare(lake, pair_text(PAIRS[3], name)) for name in ("one", "two"))
    assert (one.version_id, one.result_hash) == (two.version_id, two.result_hash)
