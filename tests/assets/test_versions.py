"""A version is planned once and kept: both assets load it, also after a kill, and from the web page."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.runs import Runs
from assets.verbs import compare as verb
from assets.verbs.compare import compare
from assets.verbs.months import export_months, fold_months
from pipelines.experiment import plan as planning
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.registry import register_experiment
from pipelines.lake.datasets import REPLAYS, VERSIONS
from pipelines.lake.lake import Lake
from pipelines.settings import Settings
from pipelines.store import Store

ECHO = "experiment: kept\ncandidate: {echo: true}\n"
DIFFS = ("ab_units", "ab_tool_calls", "ab_summary")


def quiet(_line: str) -> None:
    """Takes what is told."""


@pytest.fixture
def settings(store: Store, store_settings: Settings, conversations: list[object]) -> Settings:
    """A home with some conversations, exported and folded."""
    export_months(store_settings, None, quiet)
    fold_months(store_settings, None, None, quiet)
    return store_settings


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every version that is planned from here on."""
    made: list[str] = []
    make_plan = planning.make_plan

    def spy(*arguments: object, **options: object) -> planning.Plan:
        plan = make_plan(*arguments, **options)
        made.append(plan.version_id)
        return plan

    monkeypatch.setattr(planning, "make_plan", spy)
    return made


def test_a_kill_between_planning_and_asking_is_recovered_from(
    settings: Settings, tmp_path: Path, planned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The version stands as planned; the next run goes on with it, and what is kept is not written again."""
    experiment = parse_experiment(ECHO, "test")
    lake = Lake.from_settings(settings)

    def die(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(verb, "_run", die)
        with pytest.raises(KeyboardInterrupt):
            compare(settings, Lake.from_settings(settings), experiment, tmp_path, quiet)
    with lake.connect() as connection:
        assert connection.sql("SELECT version_id, state FROM versions").fetchall() == [(planned[0], "planned")]
    (result,) = compare(settings, Lake.from_settings(settings), experiment, tmp_path, quiet)
    assert planned == [result.version_id] * 2, "once by each verb, and by no asset"
    assert result.is_written
    with lake.connect() as connection:
        assert connection.sql("SELECT version_id, state FROM versions").fetchall() == [(planned[0], "complete")]
    assert lake.table(VERSIONS.name).number({"experiment": "kept", "version_id": planned[0]}) == 1


def test_the_page_compares_what_was_replayed(settings: Settings, tmp_path: Path, planned: list[str]) -> None:
    """Diffs alone, from the page, load the version that was replayed last, though the experiment is another by now; replays plan."""
    (first,) = compare(settings, Lake.from_settings(settings), parse_experiment(ECHO, "test"), tmp_path, quiet)
    other = parse_experiment(ECHO + "segments: [vertical]\n", "test")
    lake = Lake.from_settings(settings)
    register_experiment(lake, other, tmp_path)
    with Runs(settings) as runs:
        found = runs.materialize(DIFFS, "kept").require().metadata["ab_summary"]
        assert (found["version_id"], found["is_written"]) == (first.version_id, False)
        again = runs.materialize(("replays", "replay_steps", *DIFFS), "kept").require().metadata
    assert again["replays"]["version_id"] == again["ab_summary"]["version_id"] != first.version_id
    assert again["ab_summary"]["is_written"]
    with lake.connect() as connection:
        states = connection.sql("SELECT version_id, state FROM versions ORDER BY version_id").fetchall()
    assert states == sorted((each, "complete") for each in (first.version_id, again["replays"]["version_id"]))
    assert lake.last_commit(REPLAYS.name, {"experiment": "kept", "version_id": first.version_id}) is not None
