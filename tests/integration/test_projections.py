"""Projections of one's own on a lake: what is written when, what is refused, and what redactions leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import deltalake
import duckdb
import pyarrow as pa
import pytest

from pipelines.errors import BadInputError
from pipelines.folds.shipped import PROJECTIONS
from pipelines.lake.catalog import describe, publish_catalog
from pipelines.lake.lake import Lake
from pipelines.projections.fold import (
    ProjectionKeyError,
    check_projection,
    drop_projections,
)
from pipelines.projections.projection import ProjectionError, left_over
from pipelines.projections.relations import RELATIONS
from tests.support.history import HISTORY, MONTHS, ONE, REDACTION, copy_lake, event, query, write_log
from tests.support.own_projections import CALLS, fold, fold_built_in, write

SAID = """-- purpose: What was said.
-- parameters: $month, YYYY-MM
-- grain: one utterance
-- key: stream, place
-- column said: The words.
SELECT aggregate_id AS stream, stream_version AS place, payload ->> '$.text' AS said, $month AS of_month
FROM events
WHERE event_name LIKE '%.utterance'
"""


@pytest.fixture
def lake(tmp_path: Path, folded_history: Path) -> Lake:
    """A lake with three months of history; what the files of these tests read is folded."""
    return copy_lake(folded_history, tmp_path / "lake")


def test_a_file_is_a_table_and_a_view(lake: Lake, tmp_path: Path):
    """Every month is a partition, the view shows them all, and `lake.duckdb` and `--tables` describe it."""
    results = fold(lake, write(tmp_path, SAID))
    assert [(result.month, result.is_written, result.rows) for result in results] == [
        ("2026-01", True, 1),
        ("2026-02", True, 2),
        ("2026-03", True, 1),
    ]
    rows = query(lake, "SELECT month, of_month, said FROM said ORDER BY month, said")
    assert rows == [
        ("2026-01", "2026-01", "Anna here, refund please"),
        ("2026-02", "2026-02", "Done."),
        ("2026-02", "2026-02", "Hello"),
        ("2026-03", "2026-03", "Thanks"),
    ]
    assert lake.months("said") == list(MONTHS)
    grain, columns = describe(lake)["said"]
    assert (grain, [c.name for c in columns]) == ("one utterance", ["month", "stream", "place", "said", "of_month"])
    publish_catalog(lake, tmp_path / "lake.duckdb")
    with duckdb.connect(str(tmp_path / "lake.duckdb"), read_only=True) as reader:
        assert reader.sql("SELECT count(*) FROM said").fetchall() == [(4,)]
        comments = dict(
            reader.sql("SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'said'").fetchall()
        )
    assert comments["said"] == "The words."


def test_folding_again_writes_nothing(lake: Lake, tmp_path: Path):
    """A month is written when the file or what it reads changed, and then only."""
    path = write(tmp_path, CALLS, "calls_by_tool")
    assert [result.is_written for result in fold(lake, path)] == [True, True, True]
    assert [result.is_written for result in fold(Lake(lake.root), path)] == [False, False, False]
    path.write_text(CALLS.replace("count(output)", "count(result_version)"), encoding="utf-8")
    assert [result.is_written for result in fold(lake, path)] == [True, True, True]
    more = [event("tool.call", 46, {"call_id": "d", "name": "find", "arguments": {}}, message_id="m5")]
    changed = fold_built_in(write_log(lake.root, [*HISTORY, (ONE, "conversation", more)]))
    assert [result.is_written for result in fold(changed, path)] == [False, False, True]
    assert query(changed, "SELECT name, calls FROM calls_by_tool WHERE month = '2026-03'") == [("find", 1)]


def test_a_late_redaction_reaches_a_projection(lake: Lake, tmp_path: Path):
    """What a redaction names is gone from every month of it, whether it reads events or tables."""
    events = write(tmp_path, SAID)
    states = write(
        tmp_path,
        "-- purpose: p\n-- parameters: none\n-- grain: one conversation\n-- key: aggregate_id\n"
        "SELECT aggregate_id, transcript::VARCHAR AS said FROM conversations",
        "spoken",
    )
    for path in (events, states):
        fold(lake, path)
    assert "Anna" in str(query(lake, "SELECT said FROM said UNION ALL SELECT said FROM spoken"))
    redacted = fold_built_in(write_log(lake.root, [*HISTORY, (ONE, "conversation", [REDACTION])]))
    again = [[result.is_written for result in fold(redacted, path)] for path in (events, states)]
    assert again[0] == [True, False, True]
    shown = str(query(redacted, "SELECT said FROM said UNION ALL SELECT said FROM spoken"))
    assert "Anna" not in shown
    assert "[redacted] here, refund please" in shown


def test_other_columns_begin_the_table_anew(lake: Lake, tmp_path: Path):
    """A table has one set of columns; going back to the old file folds its months again, none is taken for current."""
    path = write(tmp_path, SAID)
    fold(lake, path)
    path.write_text(SAID.replace(" AS of_month", " AS month_of_it"), encoding="utf-8")
    fold(lake, path, MONTHS[:1])
    assert query(lake, "SELECT month, month_of_it FROM said") == [("2026-01", "2026-01")]
    path.write_text(SAID, encoding="utf-8")
    assert [result.is_written for result in fold(lake, path)] == [True, True, True]
    assert query(lake, "SELECT count(*) FROM said") == [(4,)]


@pytest.mark.parametrize(
    ("key", "counts"),
    [
        ("month_of", "of 2 rows of 2026-02, 2 share their key with another and 0"),
        ("nothing", "of 2 rows of 2026-02, 2 share"),
    ],
)
def test_rows_that_break_the_key_are_not_written(lake: Lake, tmp_path: Path, key: str, counts: str):
    """Two rows with one key, or a key of null, are a fault in the header's line; the month stays as it was."""
    text = SAID.replace("-- key: stream, place", f"-- key: {key}").replace(
        "$month AS of_month", "$month AS month_of, NULL::INT AS nothing"
    )
    path = write(tmp_path, text)
    with pytest.raises(ProjectionKeyError, match=r"said\.sql:4: key") as raised:
        fold(lake, path, MONTHS[1:2])
    assert counts in str(raised.value)
    assert "said" not in lake.datasets()


def test_a_fault_on_the_data_has_a_line_and_no_value(lake: Lake, tmp_path: Path):
    """What fails on the rows names the line of the cast, never what stood in the row; nothing is written."""
    text = SAID.replace("payload ->> '$.text' AS said", "\n    (payload ->> '$.text')::INTEGER AS said")
    path = write(tmp_path, text)
    with pytest.raises(ProjectionError, match=r"said\.sql:7: Conversion Error: Could not convert string …") as raised:
        fold(lake, path, MONTHS[:1])
    assert "Anna" not in str(raised.value)
    assert "said" not in lake.datasets()


def test_a_month_that_is_not_folded_is_refused(lake: Lake, tmp_path: Path):
    """What a projection reads must be there first; the error says what to run."""
    with pytest.raises(BadInputError, match="reads tool_calls, and 2025-01 is not there; run `refold fold tool_calls`"):
        fold(lake, write(tmp_path, CALLS, "calls_by_tool"), ("2025-01",))


def test_a_check_says_what_a_file_would_make(lake: Lake, tmp_path: Path):
    """The newest month by default, streams of it, rows and columns; nothing is written."""
    found = check_projection(lake, write(tmp_path, SAID))
    assert (found.month, found.streams, found.streams_of_month, found.rows) == ("2026-03", 2, 2, 1)
    assert found.key == ("stream", "place")
    assert check_projection(lake, write(tmp_path, SAID), "2026-02").rows == 2
    assert "said" not in lake.datasets()
    with pytest.raises(
        BadInputError, match="month 2027-01: not in the lake with events, redacted_events; there are 2026-01"
    ):
        check_projection(lake, write(tmp_path, SAID), "2027-01")
    empty = check_projection(Lake(tmp_path / "empty"), write(tmp_path, SAID))
    assert (empty.month, empty.rows, [c.name for c in empty.columns]) == (
        None,
        0,
        ["stream", "place", "said", "of_month"],
    )


def test_relations_hold_the_rows_of_the_month(lake: Lake, tmp_path: Path):
    """Every relation has as many rows as the month's partition of the table that it stands for."""
    fold_built_in(lake, PROJECTIONS)
    counts = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS n FROM {name}" for name in RELATIONS)
    header = "-- purpose: p\n-- parameters: none\n-- grain: one relation\n-- key: name\n"
    fold(lake, write(tmp_path, header + counts, "counts"))
    for month in MONTHS:
        found = dict(query(lake, f"SELECT name, n FROM counts WHERE month = '{month}'"))
        for name, relation in RELATIONS.items():
            expected = query(lake, f"SELECT count(*) FROM {relation.datasets[0].relation} WHERE month = '{month}'")
            assert [(found[name],)] == expected, (month, name)


def test_a_table_whose_file_is_gone_stays_until_it_is_dropped(lake: Lake, tmp_path: Path):
    """Nothing is removed by itself: the table is named, and removed when asked, and can be folded again."""
    path = write(tmp_path, SAID)
    fold(lake, path)
    assert left_over(lake, tmp_path) == []
    with pytest.raises(BadInputError, match="'said' is not one"):
        drop_projections(lake, tmp_path, ["said"])
    path.unlink()
    assert left_over(lake, tmp_path) == ["said"]
    assert query(lake, "SELECT count(*) FROM said") == [(4,)]
    with pytest.raises(BadInputError, match="'events' is not one: said"):
        drop_projections(lake, tmp_path, ["events"])
    assert drop_projections(lake, tmp_path, ["said"]) == ["said"]
    assert "said" not in Lake(lake.root).datasets()
    assert not list(lake.root.glob("*said*"))
    for is_written in (True, False):
        assert [result.is_written for result in fold(Lake(lake.root), write(tmp_path, SAID))] == [is_written] * 3


def test_tables_of_others_in_the_folder_are_left_alone(lake: Lake):
    """A Delta table without a specification is none of the lake's."""
    foreign: dict[str, Any] = {"x": [1]}
    deltalake.write_deltalake(str(lake.root / "foreign"), pa.table(foreign))
    assert "foreign" not in lake.datasets()
    assert query(lake, "SELECT count(*) FROM events") == [(10,)]
