"""Versions side by side, and versions that go: old ones stay readable until they are removed, the newest stays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipelines.cli import app
from pipelines.diff import prune
from pipelines.diff.dataset import build_diff
from pipelines.diff.prune import PRUNED, prune_versions
from pipelines.diff.version_diff import compare_versions
from pipelines.diff.versions import Version, find_definition, list_versions, resolve_version
from pipelines.errors import BadInputError
from pipelines.experiment.file import parse_experiment
from pipelines.experiment.plan import make_plan
from pipelines.experiment.versions import keep_version
from pipelines.lake.datasets import AB_SUMMARY, AB_TOOL_CALLS, AB_UNITS, REPLAYS, VERSIONS
from pipelines.lake.lake import Lake
from pipelines.review.files import report_path
from pipelines.review.version_diff import render_versions
from tests.support.replayed_lake import replayed_lake, stream_id

STREAMS = 30
TEXT = """
experiment: %s
candidate: {model: m, base_url: "http://127.0.0.1:1/v1", prompt_file: p.md, params: {temperature: %s}}
metrics: {made: {sql: call_count, goal: lower, margin: 0.5}}
primary: made
"""
TABLES = ("versions", "replays", "ab_units", "ab_tool_calls", "ab_summary")


@pytest.fixture
def lake(made: Path, tmp_path: Path) -> Lake:
    """A copy of what was made, for a test to change."""
    shutil.copytree(made, tmp_path / "lake")
    return Lake(tmp_path / "lake")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions `one` and `two` of an experiment: another prompt, temperature and selection, and candidates that call more or less;
    and the one version of another experiment."""
    tmp_path = tmp_path_factory.mktemp("versions")
    (tmp_path / "p.md").write_text("Be kind.\nBe brief.\n", encoding="utf-8")
    units = [
        {"stream": n, "text_a": "a", "text_b": "a", "calls_a": [("look", "{}")], "calls_b": [("look", "{}")] * (n % 2)}
        for n in range(STREAMS)
    ]
    lake, plan = replayed_lake(tmp_path, units, TEXT % ("shop", 0))
    build_diff(lake, plan)
    (tmp_path / "p.md").write_text("Be kind.\nBe thorough.\n", encoding="utf-8")
    for name, extra, calls in (("other", "", 1), ("shop", "where: \"source = 'source 0'\"\n", 2)):
        text = TEXT % (name, 1) + extra
        following = make_plan(lake, parse_experiment(text, "test"), tmp_path)
        keep_version(lake, following, tmp_path)
        _replay_again(lake, plan, following, calls)
        build_diff(lake, following)
    return lake.root


def _replay_again(lake: Lake, plan: Any, following: Any, calls: int) -> None:
    """The replays of another version: as many calls everywhere."""
    query = """
    SELECT * EXCLUDE (experiment, version_id) REPLACE (
        list_transform(range($calls), LAMBDA n: {'block': 0, 'name': 'look', 'arguments': '{}'}) AS tool_calls,
        $calls::INTEGER AS call_count, NULL AS l0_hash, NULL AS l1_hash, NULL AS l2_hash
    )
    FROM replays_history
    WHERE version_id = $version
    """
    with lake.connect() as connection:
        params = {"calls": calls, "version": plan.version_id}
        lake.write_partition(
            REPLAYS,
            following.partition,
            connection,
            query,
            params,
            input_hash=following.version_id,
            provenance={"failures": {}, "not_asked": 0},
        )


def test_what_differs_between_two_versions(lake: Lake):
    """Settings with both values, the prompts as a diff, the conversations by count, and every verdict that is another."""
    second, first = list_versions(lake, "shop")
    found = compare_versions(lake, first, second)
    assert {each.path: (each.first, each.second) for each in found.settings} == {
        "candidate.params.temperature": (0, 1),
        "where": (None, "source = 'source 0'"),
    }
    assert found.code == []
    assert found.prompts["candidate"][3:] == [" Be kind.", "-Be brief.", "+Be thorough."]
    streams = found.streams
    assert (streams.same, streams.changed, streams.only_first, streams.only_second) == (15, 0, 15, 0)
    assert streams.examples["only_first"] == sorted(stream_id(n) for n in range(1, STREAMS, 2))[:5]
    moved = {each.metric: each for each in found.conclusions if each.is_moved}
    made = moved["made"]
    assert made.first is not None
    assert made.second is not None
    assert (made.first.verdict, made.first.estimate) == ("improved", -0.5)
    assert (made.second.verdict, made.second.estimate) == ("inconclusive", 1.0)  # 15 conversations are few
    assert [answer.word for answer in found.answers] == ["ship", "not_enough_data"]
    page = render_versions(found)
    assert "candidate.params.temperature: 0 → 1" in page
    assert page.endswith("answer: ship → not enough data")
    same = compare_versions(lake, first, first)
    assert same.is_same
    assert not [each for each in same.conclusions if each.is_moved]
    assert "nothing that determines them differs" in render_versions(same)


def test_a_version_is_named_by_the_beginning_of_its_id(lake: Lake):
    """A beginning that one version has is enough; what several or none have is refused."""
    version = list_versions(lake, "other")[0]
    assert resolve_version(lake, version.version_id[:10]) == version
    for wrong in ("", "xyz"):
        with pytest.raises(BadInputError, match="is no complete version; there are: "):
            resolve_version(lake, wrong)


def rows(lake: Lake, experiment: str) -> dict[str, int]:
    with lake.connect(f"FROM {', '.join(f'{name}_history' for name in TABLES)}") as connection:
        return {
            name: connection.sql(
                f"SELECT count(*) FROM {name}_history WHERE experiment = $name", params={"name": experiment}
            ).fetchall()[0][0]
            for name in TABLES
        }


def test_old_versions_go_and_the_newest_stays(lake: Lake):
    """The rows of what is removed are gone from every table and view, what it came to stays in its commits, and everything else is
    as it was; the newest version of an experiment goes only when that is asked for. A removed version can be made again."""
    second, first = list_versions(lake, "shop")
    before = {name: rows(lake, name) for name in ("shop", "other")}
    definition = find_definition(lake, first.partition)
    assert definition["primary"] == "made"
    tried = prune_versions(lake, keep=1, is_dry_run=True)
    assert rows(lake, "shop") == before["shop"]
    done = prune_versions(lake, keep=1)
    assert (tried.versions, tried.rows, tried.size_bytes) == (done.versions, done.rows, done.size_bytes)
    assert [version.version_id for version in done.versions] == [first.version_id]
    assert done.kept == 2
    assert list_versions(lake, "shop") == [second]
    after = rows(lake, "shop")
    assert done.rows == sum(before["shop"][name] - after[name] for name in TABLES) > 0
    assert rows(lake, "other") == before["other"]
    commit = lake.last_commit(AB_SUMMARY.name, first.partition)
    assert commit is not None
    assert (commit.input_hash, commit.provenance["result_hash"]) == (PRUNED, first.result_hash)
    assert find_definition(lake, first.partition) == definition
    assert prune_versions(lake, keep=1).versions == []
    assert prune_versions(lake, keep=0).versions == []
    assert prune_versions(lake, older_than_days=1, newest_too=True).versions == []
    gone = prune_versions(lake, "shop", keep=0, newest_too=True)
    assert [version.version_id for version in gone.versions] == [second.version_id]
    with lake.connect() as connection:
        assert connection.sql("SELECT DISTINCT experiment FROM ab_units").fetchall() == [("other",)]
    assert list(rows(lake, "shop").values()) == [0, 0, 0, 0, 0]


def test_views_fall_back_to_the_version_before(lake: Lake):
    """With the newest version removed, views show the newest that is left."""
    second, first = list_versions(lake, "shop")
    for dataset in (AB_SUMMARY, AB_UNITS):
        prune._remove(lake, dataset, second.partition)
    with lake.connect() as connection:
        found = connection.sql("SELECT DISTINCT version_id FROM ab_units WHERE experiment = 'shop'").fetchall()
    assert found == [(first.version_id,)]


def test_a_prune_that_was_killed_is_finished_by_the_next(lake: Lake):
    """With the summary gone and the rest left, the next prune removes the rest, and leaves what was made again since."""
    second, first = list_versions(lake, "shop")
    prune._remove(lake, AB_SUMMARY, first.partition)
    assert rows(lake, "shop")["ab_units"] == STREAMS + STREAMS // 2
    prune_versions(lake, keep=5)
    assert rows(lake, "shop")["ab_units"] == STREAMS // 2
    assert lake.last_commit(REPLAYS.name, first.partition).input_hash == PRUNED  # type: ignore[union-attr]
    prune._remove(lake, AB_SUMMARY, second.partition)
    with lake.connect() as connection:
        query = "SELECT * FROM replays_history WHERE version_id = $version"
        lake.write_partition(
            REPLAYS,
            second.partition,
            connection,
            query,
            {"version": second.version_id},
            input_hash=second.version_id,
            provenance={"failures": {}, "not_asked": 0},
        )
    prune_versions(lake, keep=5)
    assert (rows(lake, "shop")["replays"], rows(lake, "shop")["ab_units"]) == (STREAMS, 0)


def test_what_was_never_completed_goes_with_what_is_older(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    """A version that was planned, or replayed, and has no summary goes once a newer one of its experiment is complete and it is as old as
    retention asks; not within a day, while it may be at work, and not where nothing newer is complete."""
    second, first = list_versions(lake, "shop")
    prune._remove(lake, AB_SUMMARY, first.partition)
    for dataset in (AB_UNITS, AB_TOOL_CALLS, REPLAYS):
        prune._remove(lake, dataset, first.partition)
    with lake.connect() as connection:  # planned again, after its prune
        query = "SELECT * FROM versions_history WHERE version_id = $version"
        version = {"version": first.version_id}
        lake.write_partition(VERSIONS, first.partition, connection, query, version, input_hash="planned again")
    assert prune_versions(lake, keep=1).unfinished == []
    monkeypatch.setattr(prune, "_AT_WORK_DAYS", 0.0)
    assert prune_versions(lake, keep=1).unfinished == []  # the newest complete version is older
    _complete_again(lake, second)
    assert prune_versions(lake, keep=5, older_than_days=1).unfinished == []
    tried = prune_versions(lake, keep=5, is_dry_run=True)
    done = prune_versions(lake, keep=5)
    assert tried.unfinished == done.unfinished == [first.partition]
    assert (tried.rows, tried.versions, done.versions) == (1, [], [])
    assert rows(lake, "shop")["versions"] == 1
    assert prune_versions(lake, keep=5).unfinished == []


def _complete_again(lake: Lake, version: Version) -> None:
    """Commit a version's summary anew, as one that was diffed just now."""
    last = lake.last_commit(AB_SUMMARY.name, version.partition)
    assert last is not None
    query = "SELECT * FROM ab_summary_history WHERE version_id = $version"
    with lake.connect() as connection:
        params = {"version": version.version_id}
        lake.write_partition(
            AB_SUMMARY,
            version.partition,
            connection,
            query,
            params,
            input_hash=last.input_hash,
            provenance=last.provenance,
        )


def test_the_verb(lake: Lake, monkeypatch: pytest.MonkeyPatch):
    """`refold diffs` lists, compares two versions by the beginnings of their ids, and prunes."""
    monkeypatch.setenv("REFOLD_HOME", str(lake.root.parent / "home"))
    monkeypatch.setenv("REFOLD_LAKE", str(lake.root))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["diffs", *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.stdout

    second, first = list_versions(lake, "shop")
    assert run().count("shop") == 2
    assert len(json.loads(run("--json"))["versions"]) == 3
    assert len(json.loads(run("shop", "--json"))["versions"]) == 2
    assert "answer: ship → not enough data" in run(first.version_id[:8], second.version_id[:8])
    for wrong, told in (
        (("prune",), "say what stays"),
        (("prune", "--keep", "-1"), "negative"),
        (("prune", "--older-than", "soon"), "write a number of days"),
        (("a", "b", "c"), "give an experiment, or two versions"),
        (("prune", "nobody", "--keep", "1"), "no complete version of 'nobody'"),
    ):
        with pytest.raises(BadInputError, match=told):
            run(*wrong)
    reports = [report_path(lake.root.parent / "home", "shop", each.version_id) for each in (first, second)]
    for path in reports:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert run("prune", "--keep", "1", "--dry-run").startswith("would remove 1 versions")
    assert reports[0].exists()
    assert run("prune", "--keep", "1", "--older-than", "0d").startswith("removed 1 versions")
    assert [path.exists() for path in reports] == [False, True]
    assert run("prune", "--keep", "1").startswith("removed 0 versions")
