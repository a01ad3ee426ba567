"""The lake on a real Delta table: replace, provenance, races, and what readers see."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable

from pipelines.duck import scratch
from pipelines.lake.catalog import describe, publish_catalog
from pipelines.lake.datasets import DATASETS, STREAM_MONTHS
from pipelines.lake.delta import CHECKPOINT_COMMITS
from pipelines.lake.errors import CommitLostError
from pipelines.lake.housekeeping import CLOCK_SECONDS, vacuum
from pipelines.lake.lake import Lake
from pipelines.lake.own import own_column, own_dataset
from pipelines.lake.views import list_views

ROWS = "SELECT 's' || i AS aggregate_id, 'conversation' AS aggregate_type, 1 AS first_version, i AS last_version, i AS event_count, 0 AS erased_events, NULL AS prev_hash, NULL AS last_hash FROM range(1, $n + 1) r(i)"


def write(lake: Lake, month: str, n: int, input_hash: str = "h"):
    with scratch() as connection:
        return lake.write_partition(STREAM_MONTHS, {"month": month}, connection, ROWS, {"n": n}, input_hash=input_hash)


def count(lake: Lake) -> dict[str, int]:
    query = "SELECT month, count(*) FROM stream_months GROUP BY 1"
    with lake.connect(query) as connection:
        return dict(connection.sql(query).fetchall())


def test_replaces_one_partition_and_leaves_the_others(tmp_path):
    """A commit replaces its partition whole and touches no other."""
    lake = Lake(tmp_path)
    write(lake, "2026-01", 5)
    write(lake, "2026-02", 7)
    write(lake, "2026-01", 2)
    assert count(lake) == {"2026-01": 2, "2026-02": 7}
    assert lake.months("stream_months") == ["2026-01", "2026-02"]


def test_a_connection_for_one_query_has_what_it_needs(tmp_path):
    """Every relation can be read on a connection that was made for it alone, and is there as on one that has all."""
    lake = Lake(tmp_path)
    write(lake, "2026-01", 5)
    views = "SELECT view_name FROM duckdb_views() WHERE NOT internal"
    counts = "SELECT count(*) FROM {}"
    with lake.connect() as everything:
        names = [name for (name,) in everything.sql(views).fetchall()]
        there = {name: everything.sql(counts.format(name)).fetchall() for name in names}
    assert there["stream_months"] == [(5,)]
    for name in names:
        with lake.connect(counts.format(name)) as connection:
            assert len(connection.sql(views).fetchall()) < len(names)
            assert connection.sql(counts.format(name)).fetchall() == there[name]


def test_an_empty_result_empties_the_partition(tmp_path):
    """No rows is a result: the partition is committed and holds nothing."""
    lake = Lake(tmp_path)
    write(lake, "2026-01", 5)
    commit = write(lake, "2026-01", 0)
    assert (commit.number, commit.row_count, count(lake)) == (2, 0, {})


def test_last_commit_tells_inputs_and_numbers(tmp_path):
    """Another process finds the last commit's input hash and number."""
    write(Lake(tmp_path), "2026-01", 5, "one")
    write(Lake(tmp_path), "2026-01", 5, "two")
    last = Lake(tmp_path).last_commit("stream_months", {"month": "2026-01"})
    assert last is not None
    assert (last.number, last.input_hash, last.row_count) == (2, "two", 5)
    assert Lake(tmp_path).last_commit("stream_months", {"month": "2026-02"}) is None


def test_a_lake_knows_of_commits_what_is_on_disk(tmp_path):
    """Whoever writes, in whatever order, and however much was remembered: every lake tells what a new one reads."""
    writers = [Lake(tmp_path), Lake(tmp_path)]
    for number, (writer, month) in enumerate([(0, 1), (0, 2), (0, 1), (1, 1), (0, 2), (1, 3), (1, 1), (0, 1), (0, 3)]):
        write(writers[writer], f"2026-0{month}", number + 1, f"hash {number}")
        wanted = Lake(tmp_path)
        months = [{"month": each} for each in wanted.months("stream_months")]
        for lake in writers:
            assert lake.commits("stream_months") == wanted.commits("stream_months")
            assert lake.last_commits("stream_months") == [wanted.last_commit("stream_months", each) for each in months]
    table = writers[0].table("stream_months")
    table.commit([], {"month": "2026-01"}, table.number({"month": "2026-01"}) + 1)
    assert [commit.partition for commit in writers[1].last_commits("stream_months")] == [
        "month=2026-02",
        "month=2026-03",
    ]


def test_data_without_provenance_reads_as_unknown(tmp_path, monkeypatch):
    """A crash between data and provenance makes the inputs unknown, so the partition is written again."""
    lake = Lake(tmp_path)
    write(lake, "2026-01", 5)
    monkeypatch.setattr(lake, "_remember", lambda _commit: None)
    assert write(lake, "2026-01", 3).number == 2
    monkeypatch.undo()
    assert lake.last_commit("stream_months", {"month": "2026-01"}) is None
    assert write(lake, "2026-01", 4).number == 3


def test_the_loser_of_a_race_leaves_only_what_vacuum_removes(tmp_path):
    """Of two writers of one partition with stale handles, one commits; the other raises, and no commit names its files."""
    first, second = Lake(tmp_path), Lake(tmp_path)
    write(first, "2026-01", 1)
    before = set(tmp_path.rglob("*.parquet"))
    with second.connect() as connection, second.replacing(STREAM_MONTHS, {"month": "2026-01"}) as writer:
        writer.write_query(connection, ROWS, {"n": 9})
        write(first, "2026-01", 4)
        with pytest.raises(CommitLostError, match="another writer made commit 2"):
            writer.commit(input_hash="h")
    assert count(Lake(tmp_path)) == {"2026-01": 4}
    current = {Path(file) for name in ("stream_months", "commits") for file in Lake(tmp_path).files(name)}
    (lost,) = set(tmp_path.rglob("*.parquet")) - before - current
    assert str(lost) not in Lake(tmp_path).files("stream_months")
    os.utime(lost, (time.time() - 2 * CLOCK_SECONDS,) * 2)
    vacuum(Lake(tmp_path), tmp_path.parent / "lake.duckdb", grace_days=7)
    assert not lost.exists()


def test_a_stale_handle_may_commit_another_month(tmp_path):
    """A race for different months has no loser."""
    first, second = Lake(tmp_path), Lake(tmp_path)
    write(first, "2026-01", 1)
    second.table("stream_months").load()
    write(first, "2026-02", 2)
    write(second, "2026-03", 3)
    assert count(Lake(tmp_path)) == {"2026-01": 1, "2026-02": 2, "2026-03": 3}


def test_a_failing_query_leaves_no_file(tmp_path):
    """A query that fails half-way leaves neither file nor commit."""
    lake = Lake(tmp_path)
    with lake.connect() as connection, pytest.raises(duckdb.Error):
        lake.write_partition(
            STREAM_MONTHS,
            {"month": "2026-01"},
            connection,
            ROWS.replace("i AS last_version", "CAST('x' || i AS INTEGER) AS last_version"),
            {"n": 5},
            input_hash="h",
        )
    assert not list(tmp_path.rglob("*.parquet"))


def test_an_empty_lake_answers_with_typed_columns(tmp_path):
    """Before anything is written every dataset and view has its columns and no rows."""
    with Lake(tmp_path).connect() as connection:
        for name, (_, columns) in describe().items():
            relation = connection.sql(f'SELECT * FROM "{name}"')
            assert relation.columns == [column.name for column in columns]
            assert relation.fetchall() == []


def test_every_dataset_writes_and_reads_its_own_types(tmp_path):
    """Delta, Parquet and DuckDB agree on the type of every column of every dataset."""
    lake = Lake(tmp_path)
    for dataset in DATASETS.values():
        if not dataset.partition_by:
            continue
        partition = dict.fromkeys(dataset.partition_by, "p")
        nulls = ", ".join(f'NULL AS "{column.name}"' for column in dataset.columns)
        with scratch() as connection:
            lake.write_partition(dataset, partition, connection, f"SELECT {nulls}", input_hash="h")
        with lake.connect(f'FROM "{dataset.relation}"') as connection:
            types = dict(
                connection.sql(f'SELECT column_name, column_type FROM (DESCRIBE "{dataset.relation}")').fetchall()
            )
            declared = dict(
                connection.sql(f"SELECT column_name, column_type FROM (DESCRIBE {dataset.typed_empty()})").fetchall()
            )
        assert types == declared, dataset.name


def test_a_column_that_was_added_is_null_in_what_was_there(tmp_path, monkeypatch):
    """A dataset that gains a column: old partitions stay readable with null in it, before and after new ones are written,
    through this process and another, and Delta itself agrees."""
    columns = tuple(column for column in STREAM_MONTHS.columns if column.name != "prev_hash")
    with monkeypatch.context() as before:
        before.setitem(DATASETS, "stream_months", replace(STREAM_MONTHS, columns=columns))
        lake = Lake(tmp_path)
        with lake.connect() as connection:
            narrow = DATASETS["stream_months"]
            lake.write_partition(narrow, {"month": "2026-01"}, connection, ROWS, {"n": 3}, input_hash="h")
    lake = Lake(tmp_path)
    query = "SELECT month, count(*), count(prev_hash), max(event_count) FROM stream_months GROUP BY 1 ORDER BY 1"
    with lake.connect() as connection:
        assert connection.sql(query).fetchall() == [("2026-01", 3, 0, 3)]
        rows = ROWS.replace("NULL AS prev_hash", "'\\x01'::BLOB AS prev_hash")
        lake.write_partition(STREAM_MONTHS, {"month": "2026-02"}, connection, rows, {"n": 2}, input_hash="h")
    for reader in (lake, Lake(tmp_path)):
        with reader.connect() as connection:
            assert connection.sql(query).fetchall() == [("2026-01", 3, 0, 3), ("2026-02", 2, 2, 2)]
    assert DeltaTable(str(tmp_path / "stream_months")).to_pyarrow_table().column("prev_hash").null_count == 3
    write(lake, "2026-01", 4)
    assert count(lake) == {"2026-01": 4, "2026-02": 2}


def test_the_catalog_opens_read_only_and_describes_itself(tmp_path):
    """`lake.duckdb` opens in a plain client, shows the rows, and carries a comment for every view and column."""
    lake = Lake(tmp_path / "lake")
    write(lake, "2026-01", 5)
    publish_catalog(lake, tmp_path / "lake.duckdb")
    with duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as reader:
        assert reader.sql("SELECT count(*) FROM stream_months").fetchall() == [(5,)]
        write(lake, "2026-02", 1)
        publish_catalog(lake, tmp_path / "lake.duckdb")
        assert reader.sql("SELECT count(*) FROM stream_months").fetchall() == [(5,)]
    with duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as reader:
        assert reader.sql("SELECT count(*) FROM stream_months").fetchall() == [(6,)]
        bare = reader.sql(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'lake' AND comment IS NULL"
        ).fetchall()
        assert bare == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lake.json", "lake", "lake.duckdb"]


def test_a_catalog_is_written_anew_when_anything_it_shows_changed(tmp_path, monkeypatch):
    """Nothing is opened where lake and file are as they were; a commit of another, another file, a projection and code are seen."""
    lake, path = Lake(tmp_path / "lake"), tmp_path / "lake.duckdb"
    write(lake, "2026-01", 5)

    def is_current() -> bool:
        with monkeypatch.context() as patched:
            patched.setattr(Lake, "relations", lambda *_given: pytest.fail("the tables are opened"))
            return not publish_catalog(Lake(tmp_path / "lake"), path)

    assert publish_catalog(lake, path)
    assert is_current()
    write(Lake(tmp_path / "lake"), "2026-01", 6)
    assert publish_catalog(lake, path)
    assert is_current()
    path.unlink()
    assert publish_catalog(lake, path)
    path.write_bytes(b"cut short")
    assert publish_catalog(lake, path)
    assert is_current()
    (tmp_path / ".lake.json").unlink()  # then the file itself is looked at
    assert not publish_catalog(lake, path)
    assert is_current()
    shutil.copytree(tmp_path / "lake" / "stream_months", tmp_path / "lake" / "other")
    shutil.rmtree(tmp_path / "lake" / "stream_months")
    assert publish_catalog(Lake(tmp_path / "lake"), path)
    with duckdb.connect(str(path), read_only=True) as reader:
        assert reader.sql("SELECT count(*) FROM stream_months").fetchall() == [(0,)]
    monkeypatch.setattr("pipelines.lake.catalog.metadata.version", lambda _name: "another")
    with pytest.raises(BaseException, match="the tables are opened"):
        is_current()


def test_a_catalog_that_was_renewed_is_one_that_was_written_whole(tmp_path):
    """Relations, comments and rows are the same, whether the file was made over what was there or from nothing; so is a smaller one."""
    lake, path, whole = Lake(tmp_path / "lake"), tmp_path / "lake.duckdb", tmp_path / "whole.duckdb"
    queries = (
        "SELECT view_name, sql, comment FROM duckdb_views() WHERE NOT internal ORDER BY ALL",
        "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal ORDER BY ALL",
        "SELECT function_name, macro_definition FROM duckdb_functions() WHERE NOT internal ORDER BY ALL",
        "SELECT * FROM stream_months ORDER BY ALL",
    )

    def shown(file):
        with duckdb.connect(str(file), read_only=True) as reader:
            return [reader.sql(query).fetchall() for query in queries]

    own = own_dataset("mine", "one stream", ("aggregate_id",), (own_column("aggregate_id", "VARCHAR", "The stream."),))
    lake.begin(own)
    write(lake, "2026-01", 5)
    publish_catalog(lake, path)
    for change in (
        lambda: write(Lake(tmp_path / "lake"), "2026-02", 1),
        lambda: shutil.rmtree(tmp_path / "lake" / "mine"),
        lambda: write(Lake(tmp_path / "lake"), "2026-01", 2),
    ):
        change()
        lake = Lake(tmp_path / "lake")
        assert publish_catalog(lake, path)
        whole.unlink(missing_ok=True)
        assert publish_catalog(lake, whole)
        assert shown(path) == shown(whole)
    assert "mine" not in {name for name, _, _ in shown(path)[0]}


def test_every_view_shows_the_columns_of_its_dataset(tmp_path):
    """A view's header names the dataset whose columns it shows, and what it adds, and it does."""
    with Lake(tmp_path).connect() as connection:
        for view in list_views():
            assert connection.sql(f'SELECT * FROM "{view.name}"').columns == [column.name for column in view.columns]


def test_newest_views_show_each_key_once(tmp_path):
    """A row stated in several months is shown as its newest month has it; all others as they are."""
    lake = Lake(tmp_path)
    stated = {
        "2026-01": [("s1", 1, "old"), ("s1", 2, "only"), ("s2", 1, "only")],
        "2026-02": [("s1", 1, "new"), ("s1", 3, "only")],
    }
    for month, rows in stated.items():
        values = ", ".join(f"('{stream}', {version}, '{name}')" for stream, version, name in rows)
        columns = {"aggregate_id", "stream_version", "name"}
        nulls = ", ".join(f'NULL AS "{c.name}"' for c in DATASETS["tool_calls"].data_columns if c.name not in columns)
        query = f"SELECT *, {nulls} FROM (VALUES {values}) AS t(aggregate_id, stream_version, name)"
        streams = f"SELECT DISTINCT aggregate_id, 'conversation' AS aggregate_type, 1 AS first_version, 1 AS last_version, 1 AS event_count, 0 AS erased_events, NULL AS prev_hash, NULL AS last_hash FROM (VALUES {values}) AS t(aggregate_id, a, b)"
        with lake.connect() as connection:
            lake.write_partition(DATASETS["tool_calls"], {"month": month}, connection, query, input_hash="h")
            lake.write_partition(STREAM_MONTHS, {"month": month}, connection, streams, input_hash="h")
    with lake.connect() as connection:
        rows = connection.sql("SELECT aggregate_id, stream_version, name FROM tool_calls ORDER BY ALL").fetchall()
        history = connection.sql("SELECT count(*) FROM tool_calls_history").fetchall()
    assert rows == [("s1", 1, "new"), ("s1", 2, "only"), ("s1", 3, "only"), ("s2", 1, "only")]
    assert history == [(5,)]


def test_what_is_remembered_together_is_known_before_it_is_kept(tmp_path):
    """Inside of the block a commit is the partition's last, as it is afterwards, for another reader too; one entry keeps all."""
    lake = Lake(tmp_path)
    write(lake, "2026-01", 1)
    before = lake.table("commits").load().version()
    with lake.remembering():
        written = [write(lake, month, 2, input_hash="two") for month in ("2026-01", "2026-02")]
        inside = lake.last_commits("stream_months")
        assert Lake(tmp_path).last_commit("stream_months", {"month": "2026-02"}) is None
    assert [(commit.partition, commit.number, commit.input_hash) for commit in inside] == [
        (commit.partition, commit.number, "two") for commit in written
    ]
    assert lake.table("commits").load().version() == before + 1
    assert inside == lake.last_commits("stream_months") == Lake(tmp_path).last_commits("stream_months")


def test_what_was_committed_before_an_error_is_remembered(tmp_path):
    """An error between two commits that are remembered together leaves the first with what it comes from."""
    lake = Lake(tmp_path)

    def write_then_fail() -> None:
        with lake.remembering():
            write(lake, "2026-01", 2)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_then_fail()
    assert Lake(tmp_path).last_commit("stream_months", {"month": "2026-01"}).row_count == 2


def test_a_table_is_read_again_when_another_wrote_it(tmp_path):
    """A table that is open shows another's commits at once, also those behind a checkpoint whose entries are gone."""
    ours, theirs = Lake(tmp_path), Lake(tmp_path)
    write(ours, "2026-01", 1)
    for rows in range(2, 5):
        write(theirs, "2026-01", rows)
        assert count(ours) == {"2026-01": rows}
    for rows in range(5, CHECKPOINT_COMMITS + 4):
        write(theirs, "2026-01", rows)
    log = tmp_path / "stream_months" / "_delta_log"
    newest = max(log.glob("*.checkpoint.parquet")).name.split(".")[0]
    for entry in log.glob("*.json"):
        if entry.name < newest:
            entry.unlink()
    assert count(ours) == {"2026-01": CHECKPOINT_COMMITS + 3}
