"""A version is planned once and kept: both assets load it, also after a kill, and from the web page."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.runs import Runs
from assets.verbs import compare as verb
from assets.verbs.compare import compare
from assets.verbs.unchanged import find_unchanged
from pipelines.diff.result import DiffResult
from pipelines.experiment import plan as planning
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.registry import register_experiment
from pipelines.lake.datasets import REPLAYS, VERSIONS
from pipelines.lake.lake import Lake
from pipelines.review.files import report_path
from pipelines.settings import Settings

ECHO = "experiment: kept\ncandidate: {echo: true}\n"
DIFFS = ("ab_units", "ab_tool_calls", "ab_summary")


def quiet(_line: str) -> None:
    """Takes what is told."""


@pytest.fixture
def settings(folded_settings: Settings) -> Settings:
    """A home with some conversations, exported and folded."""
    return folded_settings


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


def test_an_experiment_is_planned_again_when_anything_changed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found complete and noted, it is answered without planning; every thing that its versions depend on, when another, has it planned."""
    agent, prompt, tools = tmp_path / "agent_kept.py", tmp_path / "p.md", tmp_path / "tools.json"
    agent.write_text(
        "from refold import Reply\n\ndef answer(decision):\n    return Reply(text='a')\n", encoding="utf-8"
    )
    prompt.write_text("Be kind.", encoding="utf-8")
    tools.write_text("[]", encoding="utf-8")
    text = "experiment: kept\ncandidate: {python: 'agent_kept:answer'}\ntools: {schemas: tools.json}\n"
    lake = Lake.from_settings(settings)

    def is_unchanged(written: str = text, folder: Path = tmp_path) -> bool:
        experiment = parse_experiment(written, "test")
        found = find_unchanged(settings, Lake.from_settings(settings), experiment, folder, quiet)
        if found is not None:
            assert [(each.version_id, each.is_written) for each in found] == [(results[0].version_id, False)]
        return found is not None

    def run() -> list[DiffResult]:
        return compare(settings, Lake.from_settings(settings), parse_experiment(text, "test"), tmp_path, quiet)

    assert not is_unchanged()
    results = run()
    assert not is_unchanged(), "made, not found"
    assert [each.version_id for each in run()] == [results[0].version_id]
    assert is_unchanged()
    for other in (
        "segments: [vertical]\n",
        "gate: failed < 0.5\n",
        "window: yesterday\n",
        "mode: conversation\n",
    ):
        assert not is_unchanged(text + other), other
    (tmp_path / "elsewhere").mkdir()
    assert not is_unchanged(folder=tmp_path / "elsewhere")
    for path in (agent, tools):
        kept = path.read_text(encoding="utf-8")
        path.write_text(kept + "\n\n", encoding="utf-8")
        assert is_unchanged() == (path == tools), "a schema file is what it says, code is its text"
        path.unlink()
        assert not is_unchanged()
        path.write_text(kept, encoding="utf-8")
        assert is_unchanged()
    for name in ("version_hash", "fold_hash"):
        with monkeypatch.context() as edited:
            edited.setattr(f"pipelines.experiment.state.{name}", lambda: "another")
            assert not is_unchanged()
    report = report_path(settings.home, "kept", results[0].version_id)
    report.rename(report.with_suffix(".away"))
    assert not is_unchanged()
    report.with_suffix(".away").rename(report)
    dead = settings.home / "dagster" / "live" / "dead"
    dead.touch()
    assert not is_unchanged()
    dead.unlink()
    assert is_unchanged()
    register_experiment(lake, parse_experiment(ECHO.replace("kept", "another"), "test"), tmp_path)
    assert not is_unchanged(), "whoever commits to whatever table: it is planned"
    run()
    assert is_unchanged()
    note = report_path(settings.home, "kept", "complete").with_suffix(".json")
    for damage in ("", "{}", "[]", "null", note.read_text(encoding="utf-8")[:-9]):
        note.write_text(damage, encoding="utf-8")
        assert not is_unchanged()
