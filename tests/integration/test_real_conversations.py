"""The whole way on 1,697 real conversations: recorded pairs against independently counted answers, and the echo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.diff.dataset import DiffResult, Outcomes, build_diff
from pipelines.export.month import export_month, months_to_export
from pipelines.folds.run import fold_month
from pipelines.ingest.chat import import_chat
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.replay.experiment import parse_experiment
from pipelines.replay.plan import make_plan
from pipelines.replay.run import run_replay
from pipelines.store import EmbeddedServer, Store, connect


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
    assert rest == [(0,)]


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
