"""The SQL cookbook on the demo's history, with a review and two versions: every query runs, and plain Python says the same.

On the real conversations `test_real_conversations` runs it.
"""

from __future__ import annotations

from uuid import UUID

import pytest

from assets.verbs.demo import EXPERIMENT
from pipelines.demo.load import load_demo
from pipelines.diff.dataset import build_diff
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.experiment.versions import keep_version
from pipelines.export.month import export_month
from pipelines.export.result import months_to_export
from pipelines.folds.redacted import fold_redacted
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from pipelines.lake.query import query_result
from pipelines.replay.run import run_replay
from pipelines.store import EmbeddedServer, Store, connect
from pipelines.store.events import NewEvent
from pipelines.verdicts.record import Review
from pipelines.verdicts.verdict import PICKED, Verdict
from tests.support.cookbook import MODELS, PROOFS, Talk, answer, answer_of, read_talks
from tests.support.databases import copied_database
from tests.support.documented import documented_queries

QUERIES = documented_queries("sql-cookbook.md")
EMPTY = {"erased", "who_saw_what"}
"""Of what the demo has none: nobody was erased, and nobody looked."""
JUDGED = [("ann", 0, "better"), ("ben", 0, "better"), ("ann", 1, "worse"), ("ben", 1, "same"), ("ann", 2, "same")]


def bring(store: Store, lake: Lake, dsn: str) -> None:
    """Export and fold what is new."""
    for month in months_to_export(store, lake):
        export_month(dsn, lake, month)
    for month in lake.months("events"):
        fold_redacted(lake, month)
        fold_month(lake, month)


def compare(lake: Lake, text: str) -> tuple[str, str]:
    """A version of an experiment: its name and id."""
    plan = make_plan(lake, parse_experiment(text, "test"), EXPERIMENT.parent)
    keep_version(lake, plan, EXPERIMENT.parent)
    run_replay(lake, plan)
    return plan.experiment.experiment, build_diff(lake, plan).version_id


@pytest.fixture(scope="module")
def lake(server: EmbeddedServer, template: str, tmp_path_factory) -> Lake:
    """The demo's history with two scores, two versions of its experiment, and verdicts of two people on the second."""
    lake = Lake(tmp_path_factory.mktemp("cookbook") / "lake")
    with copied_database(server, template) as name:
        dsn = server.dsn_of(name)
        with connect(dsn) as connection:
            store = Store(connection, dsn)
            load_demo(store, 2000)
            bring(store, lake, dsn)
            talks = query_result(
                lake, "SELECT aggregate_id, last_version, last_at FROM conversations LIMIT 2"
            ).to_pylist()
            for talk, value in zip(talks, (0.25, 0.75), strict=True):
                score = NewEvent(
                    "score.recorded.v1", {"name": "tone", "value": value, "source": "human"}, {}, talk["last_at"]
                )
                store.append(UUID(talk["aggregate_id"]), "conversation", [score], talk["last_version"])
            text = EXPERIMENT.read_text(encoding="utf-8")
            compare(lake, text)
            experiment, version = compare(lake, text.replace("margin: 1.00", "margin: 2.00"))
            pairs = query_result(lake, "SELECT unit_id FROM ab_units ORDER BY unit_id")["unit_id"].to_pylist()
            review = Review(store, experiment, version)
            for number, (who, pair, choice) in enumerate(JUDGED):
                verdict = Verdict(
                    str(UUID(int=number)), experiment, version, pairs[pair], who, choice, None, "A", 1.0, PICKED, None
                )
                review.record(verdict)
            bring(store, lake, dsn)
    return lake


@pytest.fixture(scope="module")
def talks(lake) -> list[Talk]:
    """The demo's conversations, event by event."""
    return read_talks(lake)


def test_there_are_as_many_questions_as_are_promised():
    """Each has a name of its own, and the proofs are of queries that are there."""
    assert len(QUERIES) == 24
    assert {*PROOFS, *MODELS, *EMPTY} <= QUERIES.keys()
    assert len(PROOFS) + len(MODELS) >= 10


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_runs_as_it_stands(lake, name):
    """It gives rows of the demo's history."""
    assert (query_result(lake, QUERIES[name]).num_rows == 0) == (name in EMPTY)


@pytest.mark.parametrize("name", [*PROOFS, *MODELS])
def test_the_answer_is_that_of_plain_python(lake, talks, name):
    """From the events alone, by other code: the same rows."""
    assert answer_of(name, query_result(lake, QUERIES[name])) == answer(name, talks)


def test_answers_that_are_known(lake):
    """What was put in comes out: scores, what changed between the versions, and how often two people agreed."""

    def ask(name: str) -> list[dict]:
        return query_result(lake, QUERIES[name]).to_pylist()

    scores = ask("scores_and_outcomes")
    assert sum(row["scores"] * row["mean"] for row in scores) == 1.0
    assert {(row["name"], row["scorer"]) for row in scores} == {("tone", "human")}
    (changed,) = ask("changed_settings")
    assert changed["setting"] == "metrics"
    assert '"margin":1.0' in changed["before"].replace(" ", "")
    assert '"margin":2.0' in changed["after"].replace(" ", "")
    (agreed,) = ask("agreement")
    assert (agreed["reviewer_a"], agreed["reviewer_b"], agreed["pairs"], agreed["agreed"]) == ("ann", "ben", 2, 0.5)
    classes = ask("changed_classes")
    units = query_result(lake, "SELECT count(*) AS n FROM ab_units").to_pylist()[0]["n"]
    assert sum(row["units"] for row in classes) == units
    assert sum(row["share"] for row in classes) == pytest.approx(len({row["vertical"] for row in classes}), abs=0.01)
