"""The command line: what it prints where, and what it ends with. Real PostgreSQL, real Dagster runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from pipelines.settings import Settings


def conversation(number: int, variant: str, amount: int) -> dict:
    """One refund of a task, by a variant."""
    refund = {"id": "c", "function": {"name": "refund", "arguments": {"usd": amount}}}
    return {
        "source": "shop",
        "conversation_id": f"{variant}-{number}",
        "task_id": f"t{number}",
        "variant": variant,
        "started_at": "2026-01-05T10:00:00",
        "outcome": {"reward": 1.0},
        "messages": [
            {"role": "user", "content": "refund, please"},
            {"role": "assistant", "content": None, "tool_calls": [refund]},
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
            {"role": "assistant", "content": f"paid {amount}"},
        ],
    }


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    path = tmp_path / "shop.jsonl"
    rows = [conversation(n, v, 10 if v == "a" or n else 20) for n in range(3) for v in "ab"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


EXPERIMENT = """
experiment: shop
baseline: {recorded: {source: shop, variant: a}}
candidate: {recorded: {source: shop, variant: b}}
mode: conversation
"""


def test_the_way_from_a_file_to_a_version(refold, lines, tmp_path):
    """import, export, fold, ab: one JSON object each on stdout, progress on stderr, and nothing to do the second time."""
    experiment = tmp_path / "shop.yaml"
    experiment.write_text(EXPERIMENT, encoding="utf-8")

    def json_of(*arguments: str) -> dict:
        code, out, _ = refold(*arguments, "--json")
        assert code == 0, out
        assert out.count("\n") == 1
        return json.loads(out)

    assert json_of("import", "chat", str(lines))["conversations"] == 6
    assert json_of("import", "chat", str(lines))["already_present"] == 6
    for verb, table in (("export", "events"), ("fold", "decisions")):
        first, again = json_of(verb), json_of(verb)
        assert [month["month"] for month in first["months"]] == ["2026-01"]
        assert first["months"][0]["tables"][table]["is_written"] is True
        assert again["months"][0]["tables"][table]["is_written"] is False
    planned = json_of("ab", str(experiment), "--dry-run")
    assert planned["conversations"] == 3
    result = json_of("ab", str(experiment))
    counts = {name: result[name] for name in ("pairs", "same_names", "same_calls", "same_final")}
    assert counts == {"pairs": 3, "same_names": 3, "same_calls": 2, "same_final": 2}
    assert result["outcomes"] == {"both": 3, "only_a": 0, "only_b": 0, "neither": 0}
    assert (result["experiment"], result["version_id"]) == ("shop", planned["version_id"])
    assert json_of("ab", str(experiment))["is_written"] is False
    assert [v["result_hash"] for v in json_of("diffs")["versions"]] == [result["result_hash"]]
    report = Path(result["report"])
    assert result["result_hash"] in report.read_text(encoding="utf-8")
    again = json_of("report", "shop", "-o", str(tmp_path / "report.html"))
    assert again["version_id"] == result["version_id"]
    assert (tmp_path / "report.html").read_bytes() == report.read_bytes()
    assert json_of("state", "shop/a-0")["turns"] == 1
    assert json_of("state", "shop/a-0", "--version", "1")["turns"] == 0
    assert json_of("db", "months")["months"][0]["events"] == 36

    code, out, err = refold("ab", str(experiment))
    assert code == 0
    assert "nothing was written" in out
    assert "3 conversation pairs" in out
    assert err == "", "no run was started"

    experiment.write_text(EXPERIMENT + "gate: same_calls >= 0.9\n", encoding="utf-8")
    code, out, _ = refold("ab", str(experiment))
    assert code == 3
    assert "gate FAILED: same_calls >= 0.9" in out
    assert "same_calls &gt;= 0.9" in report.read_text(encoding="utf-8"), "a report shows the gate as it is now"


def test_sql_in_every_format(refold, lines, tmp_path):
    """Rows as a table, JSON, CSV and Parquet; the catalog file shows the same to a plain DuckDB."""
    for verb in (("import", "chat", str(lines)), ("export",), ("fold",)):
        assert refold(*verb)[0] == 0
    query = "SELECT name, count(*) AS calls FROM tool_calls GROUP BY name"
    assert refold("sql", query)[1].split() == ["name", "calls", "refund", "6"]
    assert json.loads(refold("sql", query, "--json")[1]) == {
        "columns": ["name", "calls"],
        "rows": [{"name": "refund", "calls": 6}],
    }
    target = tmp_path / "out.csv"
    assert refold("sql", query, "--format", "csv", "-o", str(target))[0] == 0
    assert target.read_text(encoding="utf-8") == "name,calls\nrefund,6\n"
    target = tmp_path / "out.parquet"
    assert refold("sql", query, "--format", "parquet", "-o", str(target))[0] == 0
    home = Path(Settings.from_env().home)
    with duckdb.connect(str(home / "lake.duckdb"), read_only=True) as reader:
        assert reader.sql(query).fetchall() == reader.sql(f"SELECT * FROM '{target}'").fetchall() == [("refund", 6)]
    code, out, _ = refold("sql", "--tables")
    assert code == 0
    for name in [
        "events",
        "conversations",
        "calls",
        "customers",
        "tool_calls",
        "utterances",
        "decisions",
        "replays",
        "ab_units",
        "ab_tool_calls",
        "ab_summary",
        "experiments",
    ]:
        assert f"\n{name}: " in f"\n{out}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sql", "SELECT nothing"), 'query failed: .*"nothing"'),
        (("sql", "SELECT 1", "--format", "parquet"), "needs a file"),
        (("sql", "CREATE TABLE x (a INT)"), "gives no rows"),
        (("export", "--month", "1999-01"), "1999-01: no events in the store; there are none"),
        (("fold", "--month", "1999-01"), "not in the lake"),
        (("diffs", "nope"), "no complete version of 'nope'"),
        (("state", "shop/none"), "no stream 'shop/none'"),
        (("db", "start"), "REFOLD_DSN names a server of your own"),
        (("nonsense",), "No such command"),
    ],
)
def test_bad_usage_ends_with_2(refold, arguments, message):
    """What the user got wrong is said in one line on stderr, with exit code 2."""
    code, out, err = refold(*arguments)
    assert code == 2
    assert out == ""
    assert __import__("re").search(message, err), err
    assert "Traceback" not in err


def test_an_empty_store_and_an_empty_lake_say_which_is_empty(refold):
    """Nothing to export is said of the store, nothing to fold of the lake, and what to do about it."""
    assert refold("export")[:2] == (0, "no months: the store holds no events yet\n")
    assert refold("fold")[:2] == (0, "no months: the lake holds no events yet; run `refold export`\n")


def test_bad_input_as_json(refold, tmp_path):
    """With --json an error is one JSON object too; a bad experiment names file and key."""
    path = tmp_path / "bad.yaml"
    path.write_text("experiment: x\ncandidate: {echo: true}\nbudget: {usd: 5}\n", encoding="utf-8")
    code, out, _ = refold("ab", str(path), "--json")
    assert code == 2
    error = json.loads(out)
    assert error["error"] == "DocumentError"
    assert "bad.yaml: budget: usd bounds what models are asked, and this experiment asks none" in error["message"]


def test_the_demo_and_its_second_run(refold):
    """A small demo runs the whole way and says that its input is simulated; again, it writes nothing and says so."""
    code, out, err = refold("demo", "--events", "2000")
    assert code == 0
    assert "simulated" in out.splitlines()[0]
    assert "decision pairs in" in out
    assert "refunds that would differ" in out
    assert "2026-04" in err
    code, out, _ = refold("demo", "--events", "2000")
    assert code == 0
    assert "Nothing changed since the last run, and nothing was written." in out
    code, _, err = refold("demo", "--events", "3000")
    assert code == 2
    assert "another size" in err


def test_help_loads_neither_dagster_nor_duckdb():
    """--help answers at once: nothing heavy is imported for it."""
    code = "import sys; sys.argv = ['refold', '--help']\nfrom pipelines.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass\nprint(sorted({'dagster', 'duckdb', 'scipy', 'deltalake'} & set(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "demo" in done.stdout


def test_too_little_memory_says_so(refold, monkeypatch):
    """When DuckDB runs out of the memory it may use, one line names the variable; there is no traceback."""
    monkeypatch.setattr("pipelines.settings.MIN_MEMORY_BYTES", 0)
    monkeypatch.setenv("REFOLD_MEMORY", "20MB")
    wide = "SELECT list(x || repeat('y', 100)) FROM range(3000000) AS r(x)"
    code, _, err = refold("sql", f"SELECT len(l) FROM ({wide}) AS t(l)")
    assert code == 1
    assert "set a larger one" in err
    assert "Traceback" not in err
