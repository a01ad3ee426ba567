"""Versions of comparisons after an erasure: their result is what it would be without the erased, and nothing is left of them."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pipelines.diff.dataset import build_diff
from pipelines.diff.prune import prune_versions
from pipelines.diff.result import find_diff
from pipelines.diff.revise import remake_summary
from pipelines.diff.versions import list_versions
from pipelines.erasure.reach import Reach
from pipelines.erasure.versions import find_touched, is_unfinished, revise_versions
from pipelines.errors import BadInputError
from pipelines.experiment.plan import Plan
from pipelines.experiment.versions import load_version
from pipelines.lake.datasets import AB_SUMMARY, REPLAYS, VERSIONS
from pipelines.lake.lake import Lake
from pipelines.lake.table import Table
from pipelines.proof.erasure import Target
from pipelines.redaction.places import find_value, find_values
from pipelines.replay.run import run_replay
from tests.support.odd_units import some_units
from tests.support.replayed_lake import replayed_lake, stream_id

EXPERIMENT = """
experiment: made
candidate: {echo: true}
segments: [vertical, agent]
metrics:
  letters: {sql: "length(text)", goal: lower, margin: 2}
  odd: {sql: "CASE WHEN length(text) % 3 = 0 THEN sqrt(-1) ELSE 1 END"}
primary: letters
expect: [{name: short, sql: "length(text) < 40"}]
"""
CLUSTERED = EXPERIMENT + "cluster: vertical\n"
MARK = 'Ångström "the first"'
"""Said in every unit of the streams that are erased."""
TABLES = ("replays_history", "ab_units_history", "ab_tool_calls_history", "ab_summary_history")
ERASED = (1, 4)
COUNT = 60
ERASURE, NEXT = "8a3c", "9b4d"


def marked_units(count: int) -> list[dict[str, Any]]:
    """Units of which those of the erased streams say so, on both sides and in arguments."""
    units = [dict(unit) for unit in some_units(5, count)]
    for unit in units:
        if unit["stream"] in ERASED:
            arguments = json.dumps({"who": MARK.upper()})
            unit |= {"text_a": f"I am {MARK}.", "text_b": f"You are {MARK}?", "calls_b": [("find", arguments)]}
    return units


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Plan]]:
    """Makes a lake with one version, complete, for copies: once for each experiment."""

    @cache
    def make(experiment: str) -> tuple[Path, Plan]:
        lake, plan = replayed_lake(tmp_path_factory.mktemp("made") / "lake", marked_units(COUNT), experiment)
        build_diff(lake, plan)
        return lake.root, plan

    return make


@pytest.fixture
def compared(
    request: pytest.FixtureRequest, made: Callable[[str], tuple[Path, Plan]], tmp_path: Path
) -> tuple[Lake, Plan]:
    """A copy of it, to be changed; of the plain experiment, unless a test names others."""
    root, plan = made(getattr(request, "param", EXPERIMENT))
    return Lake(shutil.copytree(root, tmp_path / "lake")), plan


of_either = pytest.mark.parametrize("compared", [EXPERIMENT, CLUSTERED], ids=["alone", "clustered"], indirect=True)
"""Where figures are made again: how they are is the experiment's."""


def reach_of(*streams: int, is_whole: bool = True, done_at: datetime | None = None) -> Reach:
    return Reach.of([Target(stream_id(number), 1, 1, is_whole) for number in streams], done_at)


def revise(lake: Lake, reach: Reach, erasure: str = ERASURE) -> Any:
    return revise_versions(lake, lake.root.parent / "lake.duckdb", reach, erasure)


def rows(lake: Lake, table: str, without: str = "") -> list[dict[str, Any]]:
    query = f"SELECT * {without} FROM {table} ORDER BY ALL"
    with Lake(lake.root).connect(query) as connection:
        found = connection.sql(query)
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def state(lake: Lake) -> dict[str, Any]:
    """All that there is of versions, but for times, names of files and how often it was written."""
    fresh = Lake(lake.root)
    told = {
        (dataset.name, commit.partition): (
            commit.row_count,
            commit.input_hash.partition("/")[0] if dataset is not VERSIONS else "",  # of its folder, too
            _timeless(commit.provenance),
        )
        for dataset in (VERSIONS, REPLAYS, AB_SUMMARY)
        for commit in fresh.commits(dataset.name)
    }
    tables = {name: rows(lake, name) for name in TABLES}
    return {"commits": told, **tables, "versions": rows(lake, "versions_history", "EXCLUDE (folder)")}


def _timeless(provenance: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in provenance.items() if name not in ("completed_at", "compared_as")}


@of_either
def test_a_summary_that_is_made_again_is_the_same(compared):
    """With nothing erased: every line, the headline and the hash of what came out, to the last bit."""
    lake, plan = compared
    before = lake.last_commit(AB_SUMMARY.name, plan.partition)
    remade = remake_summary(lake, plan.partition, before, ())
    assert remade.why is None
    assert remade.headline == before.provenance
    made = {(row["metric"], row["segment"], row["segment_value"]): row for row in remade.rows}
    kept = rows(lake, "ab_summary_history", "EXCLUDE (experiment, version_id, erased_units)")
    assert [made[row["metric"], row["segment"], row["segment_value"]] for row in kept] == kept


@of_either
def test_the_result_is_that_of_a_version_without_them(compared, tmp_path):
    """Rows of every table and lines of the summary equal those of a lake in which the erased never were."""
    lake, plan = compared
    before = find_diff(lake, plan)
    done = revise(lake, reach_of(*ERASED))
    others = [unit for unit in marked_units(COUNT) if unit["stream"] not in ERASED]
    other, plan_without = replayed_lake(tmp_path / "other" / "lake", others, plan.experiment.to_json())
    without = build_diff(other, plan_without)
    for table in TABLES[:-1]:
        assert rows(lake, table, "EXCLUDE (version_id)") == rows(other, table, "EXCLUDE (version_id)")
    told = "EXCLUDE (version_id, erased_units)"
    assert rows(lake, "ab_summary_history", told) == rows(other, "ab_summary_history", told)
    units = before.pairs + before.not_asked - without.pairs - without.not_asked
    assert done.units == units > 0
    assert {row["erased_units"] for row in rows(lake, "ab_summary_history")} == {units}
    after = find_diff(Lake(lake.root), plan)
    named = {"version_id", "seconds", "is_written", "revision", "side_a", "side_b", "window", "first_metric_errors"}
    for name in {*type(after).__slots__} - named:
        assert getattr(after, name) == getattr(without, name), name
    assert after.revision.units == units
    assert (after.revision.erasures, after.revision.pairs_before) == ({ERASURE: units}, before.pairs)
    assert after.revision.result_hash_before == before.result_hash != after.result_hash
    assert f"{units} decision pairs of {before.pairs} erased ({ERASURE})" in after.revision.describe("decision")


def test_nothing_is_left_of_them(compared):
    """Neither a value in any file, packed or told by a footer or a log, nor what the plan knew of the conversation."""
    lake, _ = compared
    home = lake.root.parent
    folds = {"decisions", "conversation_months", "stream_months", "events"}  # what is derived of the log is the fold's

    def derived(value: str) -> list[Any]:
        return [place for place in find_value(home, value) if not folds & set(place.path.parts)]

    assert len({place.path.parent.parent.parent.name for place in derived(MARK)}) == 3
    done = revise(lake, reach_of(*ERASED))
    assert derived(MARK) == []
    assert done.left == []
    assert done.files >= 5
    for row in rows(lake, "versions_history"):
        for stream in row["streams"]:
            is_erased = stream["aggregate_id"] in map(stream_id, ERASED)
            assert (stream["vertical"] is None) == is_erased
            assert stream["last_hash"]


def test_again_there_is_nothing_to_do(compared):
    """No table gets a commit, and no file goes."""
    lake, _ = compared
    revise(lake, reach_of(*ERASED))
    versions = [
        Lake(lake.root).table(name).load().version() for name in ("replays", "ab_summary", "versions", "commits")
    ]
    fresh = Lake(lake.root)
    assert not any(is_unfinished(fresh, each) for each in find_touched(fresh, reach_of(*ERASED)))
    again = revise(fresh, reach_of(*ERASED))
    assert (again.versions, again.units, again.rows, again.files, again.left) == ([], 0, 0, 0, [])
    assert [
        Lake(lake.root).table(name).load().version() for name in ("replays", "ab_summary", "versions", "commits")
    ] == versions


class Killed(BaseException):
    """The process ends here."""


def files_of(lake: Lake) -> frozenset[tuple[str, int]]:
    """How many files each folder of a lake has: their own names differ from run to run."""
    files = (path.relative_to(lake.root) for path in lake.root.rglob("*") if path.is_file())
    return frozenset(Counter(str(path.parent) for path in files).items())


def test_killed_anywhere_and_run_again_it_ends_the_same(made, tmp_path, monkeypatch):
    """Before or after commits of a table and notes of one, every third place: the state is that of a run that was not killed. Where
    nothing is written between the end of one commit and the beginning of the next, the same files are left, and one of both is
    looked at. `tests/acceptance/erasure.py killed` ends whole erasures at random moments."""
    root, plan = made(EXPERIMENT)

    def lake_of(name: str) -> Lake:
        return Lake(shutil.copytree(root, tmp_path / name / "lake"))

    wanted_lake = lake_of("whole")
    revise(wanted_lake, reach_of(*ERASED))
    wanted = state(wanted_lake)
    commit = Table._commit  # every commit and every note of one goes through here

    def killed(lake: Lake, step: int, *, is_after: bool) -> bool:
        left = step

        def counted(self: Table, *args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0 and not is_after:
                raise Killed
            done = commit(self, *args, **kwargs)
            if left < 0:
                raise Killed
            return done

        with monkeypatch.context() as patch, suppress(Killed):
            patch.setattr(Table, "_commit", counted)
            revise(lake, reach_of(*ERASED))
            return False
        return True

    seen: set[frozenset[tuple[str, int]]] = set()
    for step, is_after in ((number // 2, number % 2 == 1) for number in count(0, 3)):
        lake = lake_of(f"{step} {is_after}")
        if not killed(lake, step, is_after=is_after):
            break
        if files_of(lake) in seen:
            continue
        seen.add(files_of(lake))
        again = Lake(lake.root)
        assert any(is_unfinished(again, each) for each in find_touched(again, reach_of(*ERASED)))
        revise(again, reach_of(*ERASED))
        assert state(lake) == wanted
        assert find_diff(Lake(lake.root), plan).revision is not None  # complete, as it is
        assert not find_values(lake.root / "ab_units", [MARK])[MARK]
    assert step >= 8
    assert len(seen) > step // 3


def test_a_second_erasure_is_counted_beside_the_first(compared):
    """The figures are of what both left; each is named with what it took, and the version is no newer than it was."""
    lake, plan = compared
    before = list_versions(lake)[0]
    first = revise(lake, reach_of(1))
    second = revise(Lake(lake.root), reach_of(4), NEXT)
    after = list_versions(Lake(lake.root))[0]
    assert after.revision.erasures == {ERASURE: first.units, NEXT: second.units}
    assert after.committed_at == before.committed_at
    assert after.pairs == find_diff(Lake(lake.root), plan).pairs == before.pairs - first.units - second.units
    with Lake(lake.root).connect() as connection:
        assert connection.sql("SELECT count(DISTINCT version_id) FROM ab_summary").fetchall() == [(1,)]


def test_the_version_is_closed(compared, tmp_path):
    """Neither replayed nor compared again: who would is told to plan anew."""
    lake, plan = compared
    revise(lake, reach_of(*ERASED))
    fresh = Lake(lake.root)
    with pytest.raises(BadInputError, match="were erased"):
        load_version(fresh, "made", plan.version_id)
    commit = fresh.last_commit(REPLAYS.name, plan.partition)
    with fresh.replacing(
        REPLAYS, plan.partition
    ) as writer:  # as after a replay of failed units that was not compared yet
        writer.commit(input_hash=commit.input_hash, provenance={**commit.provenance, "failures": {"timeout": 1}})
    with pytest.raises(BadInputError, match="were erased"):
        build_diff(fresh, plan)
    with pytest.raises(BadInputError, match="were erased"):
        run_replay(fresh, plan, retry_failed=True)


def test_a_version_of_nothing_else_is_a_version_no_more(tmp_path):
    """All its pairs are erased: it is in no list, and no row of it is left."""
    lake, plan = replayed_lake(
        tmp_path / "lake", [unit for unit in marked_units(40) if unit["stream"] in ERASED], EXPERIMENT
    )
    build_diff(lake, plan)
    revise(lake, reach_of(*ERASED))
    fresh = Lake(lake.root)
    assert list_versions(fresh) == []
    assert [rows(lake, table) for table in TABLES] == [[], [], [], []]
    assert not any(is_unfinished(fresh, each) for each in find_touched(fresh, reach_of(*ERASED)))


def test_what_cannot_be_made_again_says_that_it_is_of_before(compared):
    """The plan's row is lost: rows go all the same, and every line of the summary is labelled."""
    lake, plan = compared
    with lake.replacing(VERSIONS, plan.partition) as writer:
        writer.commit(input_hash="gone")
    before = rows(lake, "ab_summary_history", "EXCLUDE (reason, erased_units)")
    done = revise(lake, reach_of(*ERASED))
    assert rows(lake, "ab_summary_history", "EXCLUDE (reason, erased_units)") == before
    assert {row["reason"] for row in rows(lake, "ab_summary_history")} == {"before_erasure"}
    assert not find_value(lake.root / "ab_units", MARK)
    ((named, why),) = done.not_recomputed
    assert named == f"made/{plan.version_id}"
    assert "is not planned" in why
    revision = list_versions(Lake(lake.root))[0].revision
    assert "of before the erasure" in revision.describe("decision")
    assert not any(is_unfinished(lake, each) for each in find_touched(Lake(lake.root), reach_of(*ERASED)))


def test_files_of_pruned_versions_do_not_wait_for_the_grace(compared):
    """A version that was removed has files on the disk for the readers of before; what was erased is in none of them."""
    lake, _ = compared
    prune_versions(lake, keep=0, newest_too=True)
    assert find_value(lake.root / "ab_units", MARK)
    revise(Lake(lake.root), reach_of(*ERASED))
    for name in ("ab_units", "ab_tool_calls", "replays", "versions"):
        assert not find_value(lake.root / name, MARK)
    assert list_versions(Lake(lake.root)) == []


def test_what_is_made_of_a_stream_afterwards_stays(compared):
    """Of a stream that lost single events, versions from before lose their rows, and one planned after the erasure is left alone."""
    lake, plan = compared
    later = datetime.now(UTC) + timedelta(hours=1)
    assert revise(lake, reach_of(*ERASED, is_whole=False, done_at=later - timedelta(days=1))).units == 0
    assert revise(lake, reach_of(*ERASED, is_whole=False, done_at=later)).units > 0
    assert replace(plan).version_id == list_versions(Lake(lake.root))[0].version_id


def test_others_are_left_alone(compared):
    """An erasure of streams that no version has writes nothing."""
    lake, _ = compared
    before = state(lake)
    done = revise(lake, reach_of(1_000))
    assert (done.versions, done.files, done.left) == ([], 0, [])
    assert state(lake) == before
