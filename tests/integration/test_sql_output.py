"""`refold sql`: where rows go, and that they arrive as what they are. Real streams: files, pipes, descriptors."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.lake.query import run_query


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    """A lake with nothing in it: the queries here bring their rows."""
    return Lake(tmp_path_factory.mktemp("home") / "lake")


@pytest.fixture
def ask(lake, capsys):
    """What a query prints in a format."""

    def run(query: str, output_format: str = "json", **more) -> str:
        run_query(lake, query, output_format, more.pop("output", None), **more)
        return capsys.readouterr().out

    return run


def rows(text: str) -> list[dict]:
    return json.loads(text, parse_constant=pytest.fail)["rows"]


@pytest.fixture
def shell(tmp_path):
    """Run `refold` in a shell, in a folder of its own."""

    def run(line: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "REFOLD_HOME": str(tmp_path / "home"), "R": f"{sys.executable} -m pipelines.cli"}
        command = ["bash", "-o", "pipefail", "-c", line]
        done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
        # The lake is empty, and that is said.
        done.stderr = "".join(
            told for told in done.stderr.splitlines(keepends=True) if "holds no events yet" not in told
        )
        return done

    return run


def test_standard_output_is_never_opened_anew(shell, tmp_path):
    """What a file held before `>>` stays, whatever name standard output is given; two verbs in one redirection append."""
    (tmp_path / "f").write_text("before\n")
    done = shell(
        'exec >>f; $R sql --format csv "SELECT 1 AS a"; $R sql --format csv -o /dev/stdout "SELECT 2 AS a";'
        '$R sql --format csv -o - "SELECT 3 AS a"; $R sql --format csv -o /dev/fd/1 "SELECT 4 AS a"'
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "f").read_text() == "before\na\n1\na\n2\na\n3\na\n4\n"


def test_pipes_devices_and_parquet(shell, tmp_path):
    """A pipe whose reader leaves ends the verb in silence; a device and another descriptor are written to, not replaced."""
    done = shell('$R sql --format csv "SELECT range AS a FROM range(3000000)" | head -2')
    assert (done.stdout, done.stderr, done.returncode) == ("a\n0\n", "", 141)
    done = shell(
        '$R sql --format csv -o /dev/null "SELECT 1"; $R sql --format csv -o /dev/fd/3 "SELECT 1 AS a" 3>three;'
        'mkfifo p; (cat p > from_pipe &) ; $R sql --format csv -o p "SELECT 1 AS a"; $R sql --format parquet -o - "SELECT 1 AS x, 2 AS x" > q'
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "three").read_text() == (tmp_path / "from_pipe").read_text() == "a\n1\n"
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert stat.S_ISFIFO((tmp_path / "p").stat().st_mode)
    assert pq.read_table(tmp_path / "q").to_pylist() == [{"x": 1, "x_1": 2}]


@pytest.mark.parametrize("output_format", ["table", "json", "csv", "parquet"])
def test_a_file_is_replaced_whole_or_stays(lake, tmp_path, output_format):
    """A query that fails in the middle leaves the old file and nothing beside it; one that does not replaces it, mode kept."""
    target = tmp_path / "out"
    target.write_text("old")
    target.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(target)
    late = "SELECT CASE WHEN range > 400000 THEN error('no more') ELSE range END AS a FROM range(500000)"
    late += " ORDER BY a" if output_format == "table" else ""
    with pytest.raises(BadInputError, match=r"query failed: .*no more"):
        run_query(lake, late, output_format, link)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "out"]
    run_query(lake, "SELECT 1 AS a", output_format, link)
    assert link.is_symlink()
    assert target.read_bytes() != b"old"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    for place in (tmp_path, tmp_path / "none" / "out"):
        with pytest.raises(BadInputError, match="cannot be written"):
            run_query(lake, "SELECT 1 AS a", output_format, place)


def test_columns_of_one_name_are_kept_apart(ask, tmp_path):
    """In every format by the same names, also where letters differ in case alone."""
    query = 'SELECT 1 AS x, 2 AS x, 3 AS "X", 4 AS y'
    expected = {"x": 1, "x_1": 2, "X_2": 3, "y": 4}
    assert rows(ask(query)) == [expected]
    assert json.loads(ask(query))["columns"] == list(expected)
    assert ask(query, "csv").splitlines()[0].split(",") == ask(query, "table").split()[:4] == list(expected)
    ask(query, "parquet", output=tmp_path / "q")
    assert pq.read_table(tmp_path / "q").to_pylist() == [expected]


VALUES = [
    ("'nan'::DOUBLE", None),
    ("'-inf'::FLOAT", None),
    ("[1.5, 'nan'::DOUBLE]", [1.5, None]),
    ("{'a': 'inf'::DOUBLE, 'b': [{'c': 'nan'::FLOAT}]}", {"a": None, "b": [{"c": None}]}),
    ("INTERVAL 1 MONTH", "1 month"),
    ("INTERVAL 30 DAY", "30 days"),
    ("[INTERVAL 1 YEAR, NULL]", ["1 year", None]),
    ("'infinity'::TIMESTAMP", "infinity"),
    ("'-infinity'::TIMESTAMPTZ", "-infinity"),
    ("'infinity'::DATE", "infinity"),
    ("{'a': 'infinity'::TIMESTAMP}", {"a": "infinity"}),
    ("MAP {'k': INTERVAL 1 MONTH}", {"k": "1 month"}),
    ("MAP {DATE '2026-05-01': 'nan'::DOUBLE}", {"2026-05-01": None}),
    ("TIMESTAMP '2026-05-01'", "2026-05-01T00:00:00"),
    ("TIMESTAMPTZ '2026-05-01 12:00:00.25+02'", "2026-05-01T10:00:00.25+00:00"),
    ("'2026-05-01 00:00:00.123456789'::TIMESTAMP_NS", "2026-05-01T00:00:00.123456789"),
    ("TIMESTAMP '12026-05-01'", "12026-05-01T00:00:00"),
    ("[TIMESTAMP '2026-05-01']", ["2026-05-01T00:00:00"]),
    ("TIME '24:00:00'", "24:00:00"),
    ("DATE '2026-05-01'", "2026-05-01"),
    ("12345678901234567890.10::DECIMAL(38, 2)", "12345678901234567890.10"),
    ("170141183460469231731687303715884105727::HUGEINT", 170141183460469231731687303715884105727),
    ("18446744073709551615::UBIGINT", 18446744073709551615),
    ("'\\xAB\\x00'::BLOB", "ab00"),
    ("'{\"a\": 1.10}'::JSON", '{"a": 1.10}'),
    ("NULL", None),
    ("true", True),
    ("''", ""),
    ("chr(27) || chr(155) || chr(8238) || chr(8203)", "\x1b\x9b\u202e\u200b"),
]


@pytest.mark.parametrize(("expression", "value"), VALUES, ids=[expression for expression, _ in VALUES])
def test_json_says_what_the_value_says(ask, expression, value):
    """JSON without NaN; months are months, infinity is infinity, digits are all there, characters come back."""
    text = ask(f"SELECT {expression} AS v")
    assert rows(text) == [{"v": value}]
    assert not set(text) & {"\x1b", "\x9b", "\u202e", "\u200b"}


def test_a_table_shows_values_as_sql_spells_them(ask):
    """Ids, positions and years without separators, floats whole, intervals and infinity by name, one line a row."""
    query = "SELECT 2026 AS year, 1234567.0::DOUBLE AS d, 0.1234567890123::DOUBLE AS e, INTERVAL 1 MONTH AS m, 'infinity'::TIMESTAMP AS t, {'a': [1]} AS s, 'a\nb' AS x, NULL AS n"
    head, line = ask(query, "table").splitlines()
    assert head.split() == ["year", "d", "e", "m", "t", "s", "x", "n"]
    assert line.split("  ")[0:1] == ["2026"]
    for word in ("1234567.0", "0.1234567890123", "1 month", "infinity", '{"a":[1]}', r"a\nb"):
        assert word in line


@given(
    st.lists(
        st.tuples(st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.integers(-9, 9)),
        max_size=60,
    )
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_gives_every_text_back(lake, tmp_path, given_rows):
    """What is written is what was there: quotes, line ends, control characters, formulas, nothing and empty."""
    values = ", ".join(
        "(" + ("NULL" if text is None else "'" + text.replace("'", "''") + "'") + f", {number})"
        for text, number in given_rows
    )
    source = f"(VALUES {values})" if given_rows else "(SELECT NULL::VARCHAR, 1 WHERE false)"
    target = tmp_path / "out.csv"
    run_query(lake, f"SELECT t, n FROM {source} AS given(t, n)", "csv", target)
    with target.open(encoding="utf-8", newline="") as stream:
        read = list(csv.reader(stream))[1:]
    assert read == [[text or "", str(number)] for text, number in given_rows]


def test_formulas_are_told_or_made_safe(ask, lake, capsys):
    """Data is never changed in silence: what a spreadsheet would run is counted on stderr, and quoted when asked for."""
    formulas = ["=1+1", "+49 170 1", "-x", "@SUM(A1)", "\t=1", "\r=1", "＝1"]
    harmless = ["-5", "+3.5", "-1e-7", "a=1", " ", "", "'=1"]
    query = (
        "SELECT t, -n AS n FROM (VALUES "
        + ", ".join(f"('{t.replace(chr(39), chr(39) * 2)}', {i})" for i, t in enumerate(formulas + harmless))
        + ") AS v(t, n)"
    )
    run_query(lake, query, "csv", None)
    printed = capsys.readouterr()
    assert [row[0] for row in csv.reader(io.StringIO(printed.out, newline=""))][1:] == formulas + harmless
    assert f"line end: {len(formulas)};" in printed.err
    assert "--csv-safe" in printed.err
    run_query(lake, query, "csv", None, is_csv_safe=True)
    printed = capsys.readouterr()
    safe = list(csv.reader(io.StringIO(printed.out, newline="")))[1:]
    assert [row[0] for row in safe] == ["'" + text for text in formulas] + harmless
    assert safe[1][1] == "-1"
    assert printed.err == ""
    run_query(lake, "SELECT 1 AS n, 'x' AS t, NULL AS u", "csv", None)
    assert capsys.readouterr().err == ""


def test_explain_is_drawn(ask):
    """A plan is lines, not a cell."""
    assert len(ask("EXPLAIN SELECT 1", "table").splitlines()) > 2
    assert rows(ask("EXPLAIN SELECT 1"))[0]["explain_key"] == "physical_plan"
    assert "memory" in ask("PRAGMA database_size", "csv")
