"""`refold.Lake`: the same rows as SQL gives, from the files that are asked for and no others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from pipelines.diff.dataset import build_diff
from refold import BadInputError, Lake
from tests.support.history import MONTHS, ONE, copy_lake
from tests.support.replayed_lake import replayed_lake

EXPERIMENT = "experiment: {name}\ncandidate: {{echo: true}}\nmetrics: {{made: {{sql: call_count * {factor}}}}}\n"


@pytest.fixture
def home(tmp_path: Path, history_lake: Path) -> Path:
    """A home with three months of events."""
    copy_lake(history_lake, tmp_path / "lake")
    return tmp_path


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    """A home with two versions of one experiment and one of another."""
    units = [{"stream": n, "text_a": "a", "text_b": "b", "calls_a": [], "calls_b": [("look", "{}")]} for n in range(3)]
    for name, factor in (("shop", 1), ("other", 1), ("shop", 2)):
        build_diff(*replayed_lake(tmp_path / "lake", units, EXPERIMENT.format(name=name, factor=factor)))
    return tmp_path


def same_rows(frame: pl.LazyFrame, other: pl.DataFrame) -> bool:
    """Whether two results hold the same columns and rows, in any order."""
    one = frame.collect()
    return one.columns == other.columns and sorted(map(str, one.rows())) == sorted(map(str, other.rows()))


def test_a_table_is_that_of_sql(home: Path, compared: Path):
    """Every table that can be scanned has the rows and columns of the relation of its name, empty ones too."""
    lake = Lake.open(home)
    tables = lake.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal")["view_name"].to_list()
    views = {
        "access",
        "agent_refusals",
        "calls",
        "conversations",
        "customers",
        "decisions",
        "experiments",
        "tool_calls",
        "readable_events",
        "reviews",
        "scores",
        "refold_query_result",
        "versions",
    }
    assert views < set(tables)
    for table in set(tables) - views:
        frame = lake.scan(table)
        assert same_rows(frame, lake.sql(f"FROM {table}")), table
        assert frame.collect_schema() == frame.collect().schema
    assert lake.scan("ab_units").collect().height == 2 * 3
    assert lake.scan("ab_units_history").collect().height == 3 * 3


@pytest.mark.parametrize(
    "ask",
    [
        lambda lake: lake.scan("events", month="2026-02"),
        lambda lake: lake.scan("events", month=["2026-02", "2031-01"]),
        lambda lake: lake.scan("events").filter(pl.col("month") == "2026-02"),
        lambda lake: lake.scan("events").filter(pl.col("month") > "2026-01", pl.col("month").is_in(["2026-02"])),
    ],
)
def test_only_the_partitions_asked_for_are_read(home: Path, ask: Callable[[Lake], pl.LazyFrame]):
    """Files of other months may be anything: they are not opened."""
    lake = Lake.open(home)
    expected = lake.sql("FROM events WHERE month = $month", {"month": "2026-02"})
    assert expected.height
    for month in {*MONTHS} - {"2026-02"}:
        for file in (home / "lake" / "events" / f"month={month}").glob("*.parquet"):
            file.write_bytes(b"no parquet")
    assert same_rows(ask(lake), expected)
    with pytest.raises(pl.exceptions.PolarsError):
        lake.scan("events").collect()


def test_a_version_is_read_by_its_id(compared: Path):
    """An old version is there under its id, which may be shortened; the newest is what the plain name shows."""
    lake = Lake.open(compared)
    newest, oldest = lake.versions("shop")
    assert [version.experiment for version in lake.versions()] == ["shop", "other", "shop"]
    old = lake.scan("ab_units", experiment="shop", version_id=oldest.version_id[:8])
    assert old.select("version_id").unique().collect().rows() == [(oldest.version_id,)]
    with pytest.raises(BadInputError, match=r"several versions; they are: .*\(other\), .*\(shop\)"):
        lake.scan("ab_units", version_id=oldest.version_id)
    plain = lake.scan("ab_units", experiment="shop")
    assert plain.select("version_id").unique().collect().rows() == [(newest.version_id,)]


def test_sql_binds_values_and_gives_frames_or_arrow(home: Path):
    """A value is bound, never part of the text; columns of one name are told apart."""
    lake = Lake.open(home)
    hostile = "x' OR 1 = 1 --"
    assert lake.sql("SELECT $given AS given, 1 AS a, 2 AS a", {"given": hostile}).to_dicts() == [
        {"given": hostile, "a": 1, "a_1": 2}
    ]
    assert lake.sql("SELECT ? + 1 AS n", [1])["n"].to_list() == [2]
    assert isinstance(lake.sql_arrow("FROM events"), pa.Table)
    frame = lake.sql(
        "SELECT '{\"a\": 1}'::JSON AS j, uuid() AS u, MAP {'a': 1} AS m, sum(version) AS s FROM (SELECT 1 AS version)"
    )
    assert frame.schema["j"] == frame.schema["u"] == pl.String
    assert (frame["m"].to_list(), frame["s"].to_list()) == ([{"a": 1}], [1])


def test_a_state_is_that_of_the_stream(home: Path):
    """At any version and time; before its first event there is none."""
    lake = Lake.open(home)
    first = lake.state(str(ONE), version=1)
    assert (first["aggregate_type"], first["last_version"]) == ("conversation", 1)
    assert lake.state(str(ONE))["last_version"] > 1
    with pytest.raises(BadInputError, match="had no event yet"):
        lake.state(str(ONE), at=datetime(2020, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("ask", "reason"),
    [
        (
            lambda lake: lake.scan("conversations"),
            r"is a view: .* sql\('FROM conversations'\), or scan conversation_months, of which",
        ),
        (lambda lake: lake.scan("event"), "there is no table 'event'; there are .*events"),
        (lambda lake: lake.scan("events", experiment="shop"), "events is not partitioned by experiment, but by month"),
        (lambda lake: lake.scan("commits", month="2026-01"), "commits is not partitioned by month; filter"),
        (lambda lake: lake.scan("events", month="2026-1"), "month is '2026-1'; write YYYY-MM"),
        (
            lambda lake: lake.scan("ab_units", experiment="shop"),
            "no complete version of 'shop'; there are versions of: none",
        ),
        (lambda lake: lake.scan("ab_units", version_id="ff"), "'ff' is no complete version"),
        (lambda lake: lake.sql("DROP TABLE events"), "gives no rows; write one SELECT"),
        (lambda lake: lake.sql("SELECT nonsense FROM events"), "query failed: .*nonsense"),
        (lambda lake: lake.state("shop/none"), "no stream 'shop/none' in the lake"),
        (lambda lake: lake.versions("shop"), "no complete version of 'shop'"),
    ],
)
def test_what_is_not_there_is_said(home: Path, ask: Callable[[Lake], object], reason: str):
    """One class of error, with the value seen and what to do."""
    with pytest.raises(BadInputError, match=reason):
        ask(Lake.open(home))


def test_a_home_is_opened_where_it_is(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The environment's by default; one that is named is not mixed with another's lake; one without a lake is refused."""
    monkeypatch.setenv("REFOLD_HOME", str(home))
    monkeypatch.delenv("REFOLD_LAKE", raising=False)
    assert repr(Lake.open()) == f"Lake({str(home / 'lake')!r})"
    monkeypatch.setenv("REFOLD_LAKE", str(tmp_path / "elsewhere"))
    assert repr(Lake.open(home)) == f"Lake({str(home / 'lake')!r})"
    assert repr(Lake.open(tmp_path / "other", lake=home / "lake")) == f"Lake({str(home / 'lake')!r})"
    with pytest.raises(BadInputError, match=r"there is no lake in .*elsewhere .* `refold demo`"):
        Lake.open()
