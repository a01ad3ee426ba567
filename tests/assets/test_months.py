"""Months materialised for real: store to lake to folds, with their checks, errors and metadata."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from uuid import uuid4

import duckdb
import pytest

import pipelines.export.month
from assets.folds import FOLDS
from assets.instance import open_instance
from assets.partitions import find_first_month, is_remote
from assets.runs import materialize
from assets.verbs.months import export_months, fold_months
from pipelines.audit.verify import verify
from pipelines.errors import BadInputError, CheckFailedError
from pipelines.export.errors import ExportLossError
from pipelines.export.month import export_month
from pipelines.lake.datasets import DATASETS, EVENTS
from pipelines.lake.lake import Lake
from pipelines.store import NewEvent, Store

LOG = ("events", "stream_months")
CHECKS = ("row_parity", "freshness", "strays", "stalls", "gapless_versions")


def lose_january(store):
    """Damage that only a superuser can do: all guards off, then the month's events deleted."""
    store.conn.execute("SET event_triggers = off")
    store.conn.execute("ALTER TABLE refold.events_2026_01 DISABLE TRIGGER ALL")
    store.conn.execute("DELETE FROM refold.events_2026_01")


def counts(settings, *tables):
    reads = f"FROM {', '.join(DATASETS[t].relation for t in tables)}"
    with Lake.from_settings(settings).connect(reads) as connection:
        return {t: connection.sql(f"SELECT count(*) FROM {DATASETS[t].relation}").fetchall()[0][0] for t in tables}


def test_two_months_end_up_in_the_lake(store_settings, conversations, secret):
    """Export and folds of each month write what the store holds; the catalog shows it; no record of a run holds what was said;
    again, nothing is written."""
    told, results = [], []
    for month, rows in (("2026-01", 24), ("2026-02", 8)):
        result = materialize(store_settings, [*LOG, *FOLDS], month, on_event=told.append).require()
        results.append(result)
        assert result.success
        assert {check.name: check.passed for check in result.checks} == dict.fromkeys(
            [*CHECKS, "every_stream_fits"], True
        )
        assert set(result.metadata) == {*LOG, *FOLDS}
        assert (result.metadata["events"]["row_count"], result.metadata["events"]["is_written"]) == (rows, True)
        assert result.metadata["conversation_months"]["row_count"] == result.metadata["stream_months"]["row_count"]
    assert len(told) == 2 * (2 + len(CHECKS) + len(FOLDS))  # each fold has one check
    assert counts(store_settings, "events", "utterances", "tool_calls") == {
        "events": 32,
        "utterances": 16,
        "tool_calls": 8,
    }
    with duckdb.connect(str(store_settings.home / "lake.duckdb"), read_only=True) as catalog:
        assert catalog.sql("SELECT count(*) FROM conversations").fetchall() == [(3,)]
    assert_no_personal_text(store_settings, results, secret)
    again = materialize(store_settings, [*LOG, *FOLDS], "2026-01").require()
    assert not any(metadata["is_written"] for metadata in again.metadata.values())


def assert_no_personal_text(settings, results, secret):
    """Metadata is counts, bytes, hashes, seconds: never a personal column; no record holds what was said."""
    columns = {column.name for dataset in DATASETS.values() for column in dataset.columns if column.is_personal}
    personal = columns - {"redactions"}  # in a state what was asked for, on a run how many
    for metadata in (metadata for result in results for metadata in result.metadata.values()):
        assert not personal & set(metadata)
        for value in metadata.values():
            assert isinstance(value, int | float | bool) or re.fullmatch(r"[0-9a-f]{16,64}", value)
    words = [word.encode() for word in (secret, "Hopper", "grace@example.org", settings.dsn)]
    files = [path for path in (settings.home / "dagster").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) > 10_000
    for path in files:
        content = path.read_bytes()
        assert not [word for word in words if word in content], path


def test_a_fold_alone(store_settings, conversations):
    """Folds can be materialised one by one; the two tables of the log come together."""
    assert set(materialize(store_settings, ["events"], "2026-01").require().metadata) == set(LOG)
    assert set(materialize(store_settings, ["utterances"], "2026-01").require().metadata) == {"utterances"}
    assert counts(store_settings, "tool_calls") == {"tool_calls": 0}


@pytest.mark.parametrize("month", ["1969-07", f"{datetime.now(UTC).year + 3}-02"])
def test_any_month_can_be_materialised(store_settings, speak, month):
    """History of any year, and a clock that runs ahead, are partitions as good as this month."""
    speak(uuid4(), datetime(int(month[:4]), int(month[5:]), 7, tzinfo=UTC))
    result = materialize(store_settings, ["events", "utterances"], month).require()
    assert (result.metadata["events"]["row_count"], result.metadata["utterances"]["row_count"]) == (4, 2)


def test_what_does_not_exist_is_refused(store_settings):
    """An unknown asset, month or experiment, or a mixture, is bad input and starts no run."""
    for names, partition, message in (
        (["nothing"], "2026-01", "no asset 'nothing'; there are ab_summary"),
        (["events"], "2026-13", "'2026-13' is not a month"),
        (["events"], None, "None is not a month"),
        (["replays"], "mine", "no experiment 'mine'"),
        (["replays", "events"], "2026-01", "cannot be materialised in one run"),
    ):
        with pytest.raises(BadInputError, match=message):
            materialize(store_settings, names, partition)
    with open_instance(store_settings) as instance:
        assert instance.get_runs_count() == 0


def test_the_librarys_own_error_comes_back(store_settings, store, conversations):
    """What the library raised in an asset is what the caller gets, type and message; the run is failed."""
    materialize(store_settings, ["events"], "2026-01").require()
    lose_january(store)
    result = materialize(store_settings, ["events"], "2026-01")
    assert (result.success, type(result.error)) == (False, ExportLossError)
    with pytest.raises(ExportLossError, match="3 streams of the lake are not the store's"):
        result.require()
    with open_instance(store_settings) as instance:
        assert instance.get_run_by_id(result.run_id).status.value == "FAILURE"


def test_nothing_of_dagster_on_the_terminal(store_settings, conversations, capfd):
    """A run writes nothing to stdout and stderr; what there is to say goes to `on_event`."""
    materialize(store_settings, ["events"], "2026-01").require()
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def remove_from_lake(settings, month, condition):
    """Damage: take rows out of the lake's month, under the same provenance."""
    lake = Lake.from_settings(settings)
    commit = lake.last_commit("events", {"month": month})
    with lake.connect() as connection:
        query = f"SELECT * FROM events WHERE month = '{month}' AND NOT ({condition})"
        lake.write_partition(
            EVENTS,
            {"month": month},
            connection,
            query,
            input_hash=commit.input_hash,
            provenance=commit.provenance,
        )


def test_row_parity_finds_a_lost_event(store_settings, conversations):
    """A lake that lacks an event fails the check, and the run with it: nothing is folded from it."""
    materialize(store_settings, ["events"], "2026-01").require()
    remove_from_lake(store_settings, "2026-01", "stream_version = 1")
    result = materialize(store_settings, ["events", "utterances"], "2026-01")
    parity = next(check for check in result.checks if check.name == "row_parity")
    assert (parity.passed, parity.severity) == (False, "ERROR")
    assert parity.description == "2026-01: 24 events in the store, 21 in the lake"
    assert isinstance(result.error, CheckFailedError)
    assert "utterances" not in result.metadata


def test_row_parity_holds_while_agents_append(store_settings, speak, conversations, monkeypatch):
    """Events appended between the export and its check are not missed by it."""

    def export_then_append(*args, **kwargs):
        result = export_month(*args, **kwargs)
        speak(conversations[2], datetime(2026, 1, 31, 23, 55, tzinfo=UTC))
        return result

    monkeypatch.setattr(pipelines.export.month, "export_month", export_then_append)
    result = materialize(store_settings, ["events"], "2026-01").require()
    assert [check.passed for check in result.checks] == [True] * len(CHECKS)


def test_gaps_wait_for_earlier_months_and_fail_without_them(store_settings, store, conversations):
    """A later month exported first warns; it fails when the earlier versions are nowhere."""
    result = materialize(store_settings, ["events"], "2026-02").require()
    gapless = next(check for check in result.checks if check.name == "gapless_versions")
    assert (gapless.passed, gapless.severity) == (False, "WARN")
    assert gapless.description.startswith(
        "earlier versions missing: 2 streams; waiting for export: 1 earlier month; first: "
    )
    lose_january(store)
    result = materialize(store_settings, ["events"], "2026-02")
    gapless = next(check for check in result.checks if check.name == "gapless_versions")
    assert (gapless.passed, gapless.severity) == (False, "ERROR")
    assert isinstance(result.error, CheckFailedError)


def test_a_month_of_any_year_is_exported_and_folded(store_settings):
    """What SQL appends in the years 1 to 9999 is exported whole, to the last microsecond, and blocks no other month."""
    remote = ("0001-01", "9999-12")
    with Store.open(store_settings) as store:
        times = [datetime(2026, 1, 7, tzinfo=UTC)]
        for month in remote:
            first = datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC)
            times += [first, first.replace(day=31, hour=23, minute=59, second=59, microsecond=999_999)]
        for at in times:
            store.append(uuid4(), "conversation", [NewEvent("user.utterance.v1", {"text": "hi"}, {}, at)], "no_stream")
    counted = {"0001-01": 2, "2026-01": 1, "9999-12": 2}
    exported = export_months(store_settings, None, lambda _: None)
    assert {run.month: run.tables["events"]["row_count"] for run in exported} == counted
    assert [run.failed for run in exported] == [[], [], []]
    folded = fold_months(store_settings, None, None, lambda _: None)
    assert {run.month: run.tables["utterances"]["row_count"] for run in folded} == counted
    assert counts(store_settings, "events") == {"events": 5}
    with Store.open(store_settings) as store:
        audit = verify(Lake.from_settings(store_settings), store, deep=True)
    assert (audit.all_findings, audit.completeness) == ([], "holds")
    assert find_first_month(store_settings) <= "2026-01"
    assert not is_remote(find_first_month(store_settings)), "the web page does not list two thousand years"
