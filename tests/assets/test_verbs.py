"""Verbs that work over months: one run for all that have something to do, none where nothing has."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg  # noqa: TID251 - these tests are of the code location
import pytest

import pipelines.folds.run
from assets.instance import open_instance
from assets.live import hold
from assets.verbs.compare import compare
from assets.verbs.months import export_months, fold_months, seal_month
from pipelines.diff.check import read_checked
from pipelines.errors import RefoldError
from pipelines.folds.result import find_folded
from pipelines.folds.run import fold_month
from pipelines.lake.lake import Lake
from tests.support.two_months import FEBRUARY, say


def quiet(_line: str) -> None:
    """Takes what is told."""


def runs_of(settings) -> int:
    with open_instance(settings) as instance:
        return instance.get_runs_count()


def materialized(settings, name: str) -> dict[str, dict[str, object]]:
    """The months of an asset as the page has them: what each materialisation says."""
    with open_instance(settings) as instance:
        found = instance.fetch_materializations(dg.AssetKey(["refold", name]), limit=100).records
    return {
        record.asset_materialization.partition: {
            key: value.value for key, value in record.asset_materialization.metadata.items()
        }
        for record in reversed(found)
    }


def test_months_are_one_run_and_each_a_materialisation(store_settings, conversations):
    """Two months are exported in one run and folded in one; the page has each month with its own counts."""
    told = []
    exported = export_months(store_settings, None, told.append)
    assert [run.tables["events"]["row_count"] for run in exported] == [24, 8]
    assert len({run.run_id for run in exported}) == runs_of(store_settings) == 1
    folded = fold_months(store_settings, ["conversation_months", "redacted_events"], None, told.append)
    assert [run.tables["conversation_months"]["row_count"] for run in folded] == [3, 2]
    assert runs_of(store_settings) == 2
    assert [line for line in told if line.endswith((" export", " fold"))] == [
        f"2026-0{month} {what}" for what in ("export", "fold") for month in (1, 2)
    ]
    pages = {name: materialized(store_settings, name) for name in ("events", "conversation_months", "redacted_events")}
    assert {name: sorted(page) for name, page in pages.items()} == {name: ["2026-01", "2026-02"] for name in pages}
    lake = Lake.from_settings(store_settings)
    for name, page in pages.items():
        for month, said in page.items():
            commit = lake.last_commit(name, {"month": month})
            assert (said["row_count"], said["input_hash"]) == (commit.row_count, commit.input_hash)


def test_nothing_to_do_starts_no_run_and_needs_no_dagster(store_settings, store, conversations, tmp_path, monkeypatch):
    """Months and versions that are up to date are told as they are; Dagster could not even be imported."""
    path = tmp_path / "same.yaml"
    path.write_text("experiment: same\ncandidate: {echo: true}\n", encoding="utf-8")
    experiment = read_checked(path, store_settings).experiment
    verbs = {
        "export": lambda: export_months(store_settings, None, quiet),
        "fold": lambda: fold_months(store_settings, None, None, quiet),
        "ab": lambda: compare(store_settings, Lake.from_settings(store_settings), experiment, tmp_path, quiet),
        "seal": lambda: [seal_month(store_settings, "2026-01", quiet)],
    }
    first = {name: verb() for name, verb in verbs.items()}
    runs = runs_of(store_settings)
    assert runs == len(verbs)
    report = next((store_settings.home / "reports").rglob("*.html"))
    report.unlink()
    for name in [name for name in sys.modules if name.partition(".")[0] == "dagster" or name == "assets.runs"]:
        monkeypatch.setitem(sys.modules, name, None)
    again = {name: verb() for name, verb in verbs.items()}
    monkeypatch.undo()
    assert runs_of(store_settings) == runs
    assert report.exists(), "what somebody removed is written again"
    for name in ("export", "fold", "seal"):
        for before, after in zip(first[name], again[name], strict=True):
            assert after.run_id is None
            assert set(after.tables) == set(before.tables) - ({"events", "stream_months"} if name == "seal" else set())
            for table, values in after.tables.items():
                assert values["is_written"] is False
                known = {
                    key: value for key, value in before.tables[table].items() if key in ("row_count", "input_hash")
                }
                assert {key: values[key] for key in known} == known
    assert [result.is_written for result in again["ab"]] == [False]
    assert [result.result_hash for result in again["ab"]] == [result.result_hash for result in first["ab"]]


def test_only_months_with_something_to_do_are_run(store_settings, store, conversations):
    """What came to one month is exported and folded for it; the other is told as it is."""
    export_months(store_settings, None, quiet)
    fold_months(store_settings, ["utterances"], None, quiet)
    say(store, conversations[0], FEBRUARY)
    for verb in (export_months, lambda *given: fold_months(given[0], ["utterances"], *given[1:])):
        january, february = verb(store_settings, None, quiet)
        assert january.run_id is None
        assert february.run_id is not None


def test_a_month_without_all_of_its_streams_is_never_up_to_date(store_settings, conversations, monkeypatch):
    """Streams that were set aside are a failed check each time that somebody folds, until they fit."""
    export_months(store_settings, None, quiet)
    fold_months(store_settings, ["utterances"], None, quiet)

    def find_with_one_set_aside(*given):
        found = find_folded(*given)
        return {**found, "2026-02": [replace(each, set_aside={"s": 10**9}) for each in found["2026-02"]]}

    monkeypatch.setattr("pipelines.folds.result.find_folded", find_with_one_set_aside)
    runs = fold_months(store_settings, ["utterances"], None, quiet)
    assert [run.run_id is None for run in runs] == [True, False]


def test_a_month_that_fails_is_named_and_those_before_it_are_noted(store_settings, store, conversations, monkeypatch):
    """The error is the library's own, the month is told, and the page has the months that were done."""
    say(store, conversations[0], datetime(2026, 3, 3, tzinfo=UTC))
    export_months(store_settings, None, quiet)

    def fail(lake, month, *given, **more):
        if month == "2026-02":
            raise RefoldError("the disk was away")
        return fold_month(lake, month, *given, **more)

    monkeypatch.setattr(pipelines.folds.run, "fold_month", fail)
    told = []
    with pytest.raises(RefoldError, match="the disk was away"):
        fold_months(store_settings, ["conversation_months"], None, told.append)
    assert "2026-02: fold failed; of this run, done before it: 2026-01" in told
    assert list(materialized(store_settings, "conversation_months")) == ["2026-01"]
    monkeypatch.undo()
    runs = fold_months(store_settings, ["conversation_months"], None, quiet)
    assert [run.run_id is None for run in runs] == [True, False, False]
    assert sorted(materialized(store_settings, "conversation_months")) == ["2026-01", "2026-02", "2026-03"]


def test_after_a_run_that_ended_without_a_word_the_months_are_noted_again(store_settings, conversations):
    """A process that was killed after its commit may not have told the page: the next verb does, though the lake is up to date."""
    export_months(store_settings, None, quiet)
    live = store_settings.home / "dagster" / "live"
    (live / "dead").touch()
    os.utime(live / "dead", (0, 0))
    assert all(run.run_id is not None for run in export_months(store_settings, None, quiet))
    with hold(live / "alive"):
        assert all(run.run_id is None for run in export_months(store_settings, None, quiet))
