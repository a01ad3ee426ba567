"""Polars functions on a lake: the same tables as SQL makes, the same refusals, and nothing that depends on order or chance."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from pipelines.lake.lake import Lake
from pipelines.lake.locked import frame_session, locked_session
from pipelines.projections.fold import ProjectionKeyError, check_projection, fold_projection
from pipelines.projections.function import OUTPUT, run_function
from pipelines.projections.projection import ProjectionError, read_projection
from pipelines.projections.relations import RELATIONS, empty_relations, write_files
from tests.support.history import HISTORY, MONTHS, ONE, REDACTION, copy_lake, event, query, write_log
from tests.support.own_projections import CALLS, fold, fold_built_in, write

HEADER = "# purpose: p\n# parameters: none\n# grain: g\n# key: {key}\nimport polars as pl\n"
CALLS_IN_POLARS = HEADER.format(key="name") + (
    "def fold(tool_calls: pl.LazyFrame) -> pl.LazyFrame:\n"
    '    return tool_calls.group_by("name").agg(calls=pl.len(), answered=pl.col("output").count())\n'
)
KEYS = {
    "events": "aggregate_id, stream_version",
    "customers": "subject_id",
    "conversations": "aggregate_id",
    "calls": "aggregate_id",
}


@pytest.fixture
def lake(tmp_path: Path, folded_history: Path) -> Lake:
    """A lake with three months of history; what the files of these tests read is folded."""
    return copy_lake(folded_history, tmp_path / "lake")


def function(tmp_path: Path, body: str, *, key: str = "name", name: str = "made", of: str = "events") -> Path:
    """A file whose function is `body`, from line 7 on."""
    path = tmp_path / "folds" / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{HEADER.format(key=key)}def fold({of}):\n{body}\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def folded_states(history_lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three months of history with all that the relations below read folded, for `copy_lake`."""
    lake = copy_lake(history_lake, tmp_path_factory.mktemp("states") / "lake")
    states = ("conversation_months", "call_months", "customer_months")
    return fold_built_in(lake, ("utterances", "tool_calls", "decisions", *states)).root


@pytest.mark.parametrize("relation", ["conversations", "customers", "decisions", "events"])
def test_a_relation_comes_through_as_it_does_in_sql(tmp_path: Path, folded_states: Path, relation: str):
    """What is read and given back unchanged makes the table that `SELECT *` makes: every column, type and value."""
    lake = copy_lake(folded_states, tmp_path / "lake")
    key = KEYS.get(relation, "aggregate_id, " + ("decision" if relation == "decisions" else "stream_version"))
    header = f"-- purpose: p\n-- parameters: none\n-- grain: g\n-- key: {key}\n"
    fold(lake, write(tmp_path, f"{header}SELECT * FROM {relation}", "in_sql"))
    fold(lake, function(tmp_path, f"    return {relation}", key=key, name="in_polars", of=relation))
    assert lake.datasets()["in_sql"].data_columns == lake.datasets()["in_polars"].data_columns
    for one, other in (("in_sql", "in_polars"), ("in_polars", "in_sql")):
        assert query(lake, f"SELECT count(*) FROM (FROM {one} EXCEPT ALL FROM {other})") == [(0,)]
    if relation in ("events", "conversations"):
        assert query(lake, "SELECT count(*) FROM in_polars") != [(0,)]


def test_a_month_is_written_when_file_rows_or_rules_changed(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The same hash decides as for SQL: the file's text, the rows that it reads, and the code that makes a table of them."""
    path = tmp_path / "folds" / "calls_in_polars.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(CALLS_IN_POLARS, encoding="utf-8")
    fold(lake, write(tmp_path, CALLS, "calls_in_sql"))
    assert [result.is_written for result in fold(lake, path)] == [True, True, True]
    rows = "SELECT month, name, calls, answered FROM {} ORDER BY 1, 2"
    assert query(lake, rows.format("calls_in_polars")) == query(lake, rows.format("calls_in_sql")) != []
    assert [result.is_written for result in fold(Lake(lake.root), path)] == [False, False, False]
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.projections.fold.projection_hash", lambda: "another rule")
        assert [result.is_written for result in fold(lake, path, MONTHS[:1])] == [True]
    path.write_text(CALLS_IN_POLARS + "# another text\n", encoding="utf-8")
    assert [result.is_written for result in fold(lake, path)] == [True, True, True]
    more = [event("tool.call", 46, {"call_id": "d", "name": "find", "arguments": {}}, message_id="m5")]
    changed = fold_built_in(write_log(lake.root, [*HISTORY, (ONE, "conversation", more)]))
    assert [result.is_written for result in fold(changed, path)] == [False, False, True]


def test_a_late_redaction_reaches_it(lake: Lake, tmp_path: Path):
    """What a redaction names is gone from every month."""
    said = "    return events.select('aggregate_id', 'stream_version', said=pl.col('payload').str.json_path_match('$.text'))"
    path = function(tmp_path, said, key="aggregate_id, stream_version")
    fold(lake, path)
    assert "Anna" in str(query(lake, "SELECT said FROM made"))
    redacted = fold_built_in(write_log(lake.root, [*HISTORY, (ONE, "conversation", [REDACTION])]))
    assert [result.is_written for result in fold(redacted, path)] == [True, False, True]
    assert "Anna" not in str(query(redacted, "SELECT said FROM made"))
    assert "[redacted] here, refund please" in str(query(redacted, "SELECT said FROM made"))


@pytest.mark.parametrize(
    ("body", "column"),
    [
        ("    return events.group_by(name='aggregate_type').agg(pl.col('event_name').first())", "event_name"),
        ("    return events.group_by(name='aggregate_type').agg(pl.col('event_name'))", "event_name"),
        ("    return events.with_row_index('place').select(name=pl.col('stream_version').cast(str) + pl.col('aggregate_id'), place='place')", "place"),
        ("    import random\n    return events.select(name='aggregate_type', n=pl.lit(random.random())).unique()", "n"),
        ("    import os\n    return events.select(name=pl.lit(os.getpid())).unique()", "name"),
        ("    import uuid\n    return events.select(name=pl.lit(str(uuid.uuid4()))).unique()", "name"),
        ("    from datetime import datetime\n    return events.select(name='aggregate_type', at=pl.lit(datetime.now())).unique()", "at"),
        ("    return events.select(name='aggregate_type', n=pl.lit(hash('a'))).unique()", "n"),
        ("    return events.select(name=pl.lit('x'), n=pl.len().cast(float) * pl.col('stream_version').first()).unique()", "n"),
    ],
)  # fmt: skip
def test_what_order_or_chance_decides_is_refused(lake: Lake, tmp_path: Path, body: str, column: str):
    """The same rows in another order and another process must give the same; the column that differs is named, no value."""
    path = function(tmp_path, body)
    with pytest.raises(
        ProjectionError, match=rf"made\.py:6: the same rows in another order give another {column}; "
    ) as raised:
        fold(lake, path, MONTHS[:1])
    assert "Anna" not in str(raised.value)
    assert "made" not in lake.datasets()


def test_a_check_refuses_what_order_decides(lake: Lake, tmp_path: Path):
    """As a fold does."""
    body = "    return events.group_by(name='aggregate_type').agg(pl.col('event_name').first())"
    with pytest.raises(ProjectionError, match="give another event_name; "):
        check_projection(lake, function(tmp_path, body), MONTHS[0])


def test_sums_of_floats_may_differ_in_their_last_digits(lake: Lake, tmp_path: Path):
    """What rounding alone changes is no other result; nulls, NaN and infinities are values like others."""
    body = (
        "    n = pl.col('stream_version') * 0.1 + 1e15 * (pl.col('stream_version') % 2) - 1e15 * (pl.col('position') % 2)\n"
        "    return events.group_by(name='aggregate_id').agg(a=n.sum(), b=n.cast(pl.Float32).mean(), c=pl.lit(float('nan')).first(), "
        "d=pl.lit(float('inf')).first(), e=pl.lit(None, pl.Float64).first())"
    )
    assert [result.is_written for result in fold(lake, function(tmp_path, body))] == [True, True, True]


@pytest.mark.parametrize(
    ("body", "line", "reason"),
    [
        ("    return events.select(name=pl.col('payload').cast(int))", 6, "InvalidOperationError …"),
        ("    return events.select(name=pl.col('payload').map_elements(lambda text: int(text), pl.Int64))", 7, "ValueError …"),
        ("    for text in events.select('payload').collect()['payload']:\n        raise ValueError(text)\n    return events.select(name=1)", 8, "ValueError …"),
        ("    n = events.select(pl.len()).collect().item()\n    return events.select(name='aggregate_id', **{f'n{n}': 'position'})", 6, "with rows it gives the columns name, n"),
        ("    return events.select(name=pl.lit(2**64 - 1, pl.UInt64))", 6, "Conversion Error: "),
        ("    while events.select(pl.len()).collect().item(): pass\n    return events.select(name=1)", 6, "the function: stopped after 2 s"),
        ("    text = events.select('payload').collect().height * 'x' * 10**9\n    return events.select(name=pl.lit(text))", 6, "the function: wants more memory"),
        ("    n = events.select(pl.len()).collect().item()\n    pl.int_range(0, n * 10**8, eager=True).sort(descending=True)\n    return events.select(name=1)", 6, "the function: its process was ended by SIGABRT, most likely for want of memory"),
    ],
)  # fmt: skip
def test_a_fault_on_the_data_has_a_line_and_no_value(lake: Lake, tmp_path: Path, body: str, line: int, reason: str):
    """What fails on the rows names the kind of error and the line, never what stood in a row; nothing is written."""
    if "stopped after" in reason:
        lake.sql_seconds = 2
    path = function(tmp_path, body)
    with pytest.raises(ProjectionError) as raised:
        fold(lake, path, MONTHS[:1])
    assert str(raised.value).startswith(f"{path}:{line}: {reason}")
    assert "Anna" not in str(raised.value)
    assert "made" not in lake.datasets()
    assert not list(lake.spill.glob("*"))


def test_rows_that_break_the_key_are_not_written(lake: Lake, tmp_path: Path):
    """As for SQL."""
    with pytest.raises(ProjectionKeyError, match=r"made\.py:4: key name: of \d rows of 2026-02, \d share their key"):
        fold_projection(
            lake,
            read_projection(function(tmp_path, "    return events.select(name=pl.lit('x'), n='position')")),
            MONTHS[1],
        )


def test_a_check_says_what_a_file_would_make(lake: Lake, tmp_path: Path):
    """Month, streams, rows and columns; nothing is written."""
    path = function(tmp_path, "    return events.group_by(name='aggregate_id').agg(n=pl.len())")
    found = check_projection(lake, path, "2026-02")
    assert (found.month, found.key, found.reads, [column.name for column in found.columns]) == (
        "2026-02",
        ("name",),
        ("events",),
        ["name", "n"],
    )
    assert found.rows == query(lake, "SELECT count(DISTINCT aggregate_id) FROM events WHERE month = '2026-02'")[0][0]
    assert "made" not in lake.datasets()
    assert not list(lake.spill.glob("*"))


def test_the_page_says_what_runs(lake: Lake, tmp_path: Path):
    """The example of docs/projections.md, word for word, beside the same in SQL."""
    page = (Path(__file__).parents[2] / "docs" / "projections.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    path = tmp_path / "folds" / "tools.py"
    path.parent.mkdir()
    path.write_text(example, encoding="utf-8")
    fold(lake, path)
    expected = query(
        lake,
        "SELECT month, name, count(*), count(*) FILTER (result_version IS NULL), max(epoch_us(answered_at) - epoch_us(created_at)) / 1e6 "
        "FROM tool_calls_history GROUP BY ALL ORDER BY ALL",
    )
    assert query(lake, "SELECT month, name, calls, unanswered, slowest_s FROM tools ORDER BY ALL") == expected != []


ROWS, REPEATS = 700_000, 32


@pytest.fixture(scope="module")
def large_events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the file of `events`: 700 MB of payloads in streams of 20 events."""
    folder = tmp_path_factory.mktemp("large")
    columns = {column.name: f"NULL::{column.type}" for column in RELATIONS["events"].columns}
    columns |= {"aggregate_id": "(n // 20)::VARCHAR", "stream_version": "(n % 20)::INTEGER"}
    columns |= {"payload": f"repeat(md5(n::VARCHAR), {REPEATS})"}
    listed = ", ".join(f"{value} AS {name}" for name, value in columns.items())

    def read() -> pa.RecordBatchReader:
        return connection.sql(f"SELECT {listed} FROM range({ROWS}) AS numbers (n)").to_arrow_reader(2_048)

    with (
        duckdb.connect() as connection,
        locked_session({"events": read}, memory_bytes=256 * 10**6, spill=folder) as locked,
    ):
        connection.execute("SET TimeZone = 'UTC'")
        write_files(locked, ["events"], folder, is_shuffled=False)
    return folder


@pytest.mark.parametrize(
    "body",
    [
        "events.select('aggregate_id', 'stream_version', 'payload')",
        "events.group_by('aggregate_id').agg(size=pl.col('payload').str.len_bytes().sum())",
    ],
)
def test_a_month_need_not_fit_into_memory(tmp_path: Path, large_events: Path, body: str):
    """Rows of 700 MB go through a process that may have 450 MB of data, as long as what is done with them can be streamed."""
    (tmp_path / "events.parquet").hardlink_to(large_events / "events.parquet")
    text = f"import polars as pl\ndef fold(events):\n    return {body}"
    with frame_session(body, memory_bytes=64 * 10**6) as session:
        relations = {"events": empty_relations()["events"]}
        session.call("the function", run_function, text, "made.py", relations, str(tmp_path), "2026-01")
    found = pl.scan_parquet(tmp_path / OUTPUT)
    if "size" in found.collect_schema():
        assert found.select(pl.len(), pl.col("size").sum()).collect().row(0) == (ROWS // 20, ROWS * 32 * REPEATS)
    else:
        assert found.select(pl.len()).collect().item() == ROWS
