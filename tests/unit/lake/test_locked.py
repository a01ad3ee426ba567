"""A user's SQL and functions: they see what they were given, are stopped in time, and their errors hold no value."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import duckdb
import polars as pl
import pyarrow as pa
import pytest

from pipelines.errors import BadInputError
from pipelines.lake import locked
from pipelines.lake.locked import Locked, StoppedError, locked_session, python_session
from pipelines.lake.locked_child import execute
from tests.support.waiting import wait_until

MEMORY = 300_000_000
PLANTED = "Ann-Planted-Smith"
ROWS = pa.table({"id": [str(n) for n in range(100)], "n": list(range(100)), "text": [PLANTED] * 100})
BOMBS = [
    "printf('%2000000000d', n) = ''",
    "(SELECT sum(range) FROM range(1000000000000)) > 0",
    "(WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT max(i) FROM r) > 0",
    "(WITH RECURSIVE r(i) AS (SELECT 'x' UNION ALL SELECT i || i FROM r) SELECT max(length(i)) FROM r) > 0",
    "len(list_transform(range(9999), LAMBDA a: list_transform(range(9999), LAMBDA b: list_sum(range(a * b))))) > 0",
    "(SELECT string_agg(range::VARCHAR, repeat('x', 1000)) FROM range(100000000)) = ''",
    "(SELECT count(*) FROM given a, given b, given c, given d, given e, given f) > 0",
    "levenshtein(repeat('a', 1000000), repeat('b', 1000000)) > 0",
    "json_valid(repeat('[', 100000000))",
    "length(format('{:>2000000000}', text)) > 0",
]


def select(where: str, seconds: float = 20) -> pa.Table:
    with locked_session({"given": ROWS}, memory_bytes=MEMORY, seconds=seconds) as session:
        return select_in(session, where)


def select_in(session: Locked, where: str) -> pa.Table:
    return session.select(f"SELECT id FROM given WHERE ({where})", "where", where, 100)


@pytest.mark.parametrize("number", range(len(BOMBS)))
def test_a_bomb_ends(number: int):
    """Whatever it wants, time or memory, in one piece or in many: it ends, the error names it, and the next one runs."""
    with pytest.raises(StoppedError, match=r"^where: .*(stopped after 1 s|more memory|ended by)") as told:
        select(BOMBS[number], seconds=1)
    assert BOMBS[number][:20] in str(told.value)
    assert select("n < 3").num_rows == 3


def test_rows_are_bounded():
    """A query that makes a thousand million rows of a hundred is stopped at the first too many."""
    with (
        locked_session({"given": ROWS}, memory_bytes=MEMORY, seconds=30) as session,
        pytest.raises(BadInputError, match="it gives more than 100 rows"),
    ):
        session.select("SELECT id FROM given, range(1000000000)", "metric m", "…", 100)


def test_ctrl_c_ends_it_at_once():
    """An interrupt while a statement runs ends the child; nothing is waited for."""
    with locked_session({"given": ROWS}, memory_bytes=MEMORY, seconds=600) as session:
        child = session._child.process
        before = spent(child.pid)

        def interrupt() -> None:
            wait_until(lambda: spent(child.pid) > before + 20)
            os.kill(os.getpid(), signal.SIGINT)

        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            select_in(session, BOMBS[1])
        interrupter.join()
        assert child.poll() is not None


def spent(pid: int) -> int:
    """Processor time of a process, in hundredths of a second."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]))


def test_a_child_ends_with_its_parent(tmp_path: Path):
    """A parent that is killed leaves no statement running."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import pyarrow as pa\n"
        "from pipelines.lake.locked import locked_session\n"
        "with locked_session({'given': pa.table({'n': [1]})}, memory_bytes=300_000_000, seconds=600) as locked:\n"
        "    print(locked._child.process.pid, flush=True)\n"
        "    locked.select('SELECT sum(range) FROM range(1000000000000000)', 'x', 'x', 1)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2])


FAILING = [
    "text::INTEGER > 1",
    "error(text) IS NULL",
    "text::DATE IS NULL",
    "strptime(text, '%Y') IS NULL",
    "json_extract(text, '$.a') IS NULL",
    "json_extract('{}', text) IS NULL",
    "regexp_matches('a', text || '(')",
    "text::INTEGER[] IS NULL",
    "text::STRUCT(a INTEGER) IS NULL",
    "enum_range(text::ENUM('a')) IS NULL",
    "(text || 'x')::UUID IS NULL",
    "CASE WHEN n > 50 THEN error('its ' || text) ELSE 1 END > 0",
    "format(text || '{', 1) = ''",
    "printf('%' || text, 1) = ''",
    "strftime(DATE '2026-01-01', '%' || text) = 'x'",
    "list_aggregate([1], text) > 1",
    "date_trunc(text, DATE '2026-01-01') IS NULL",
    "date_part(text, DATE '2026-01-01') > 1",
    "getvariable(text) IS NULL AND error(text) = 1",
    "map([text, text], [1, 2]) IS NULL",
    "from_json(text, '[\"INTEGER\"]') IS NULL",
    "decode(encode(text) || '\\xFF'::BLOB) = 'x'",
    "unhex(text) IS NULL",
    "from_base64(text || '=') IS NULL",
    "text::BIT IS NULL",
    "text::INTERVAL IS NULL",
    "timezone(text, now()) IS NULL",
    "n::UTINYINT * 9000000000000000000 > n * 9000000000000000000",
]


@pytest.mark.parametrize("number", range(len(FAILING)))
def test_no_value_in_an_error(number: int):
    """However a value makes an expression fail, the error says of what kind it is and never the value."""
    with locked_session(
        {"given": ROWS}, memory_bytes=MEMORY, seconds=20
    ) as session:  # its process is the next one's, too
        try:
            select_in(session, FAILING[number])
        except BadInputError as error:
            told, cause = str(error), error.__cause__
        else:
            return
    assert cause is None
    assert "Planted" not in told
    assert told.startswith("where: ")


def test_most_of_them_fail():
    """The cases above are cases: with the plain connection most of them fail with the value in the message."""
    quoting = 0
    with duckdb.connect() as connection:
        connection.register("given", ROWS)
        for where in FAILING:
            try:
                connection.sql(f"SELECT id FROM given WHERE ({where})").fetchall()
            except duckdb.Error as error:
                quoting += PLANTED in str(error)
    assert quoting >= len(FAILING) // 2


def test_what_cannot_be_bound_is_told_whole():
    """A name that is not there comes with DuckDB's candidates: nothing of the data is in that."""
    with pytest.raises(BadInputError, match=r"Referenced column \"txt\" not found .* Candidate bindings: \"text\""):
        select("txt = 'a'")
    with pytest.raises(BadInputError, match=r"lenght.*[Dd]id you mean \"length\""):
        select("lenght(text) > 1")


def test_sql_has_no_keys(monkeypatch: pytest.MonkeyPatch):
    """The environment of the process that runs SQL holds no key; a function of one's own has what its caller has."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    select("n < 3")
    locked._end_all()
    with locked_session({"given": ROWS}, memory_bytes=MEMORY) as session:
        assert session.call("a look", _key) is None
    with python_session("environment", memory_bytes=MEMORY) as session:
        assert session.call("a look", _key) == "sk-secret"


def _key(_connection: object) -> str | None:
    return os.environ.get("OPENAI_API_KEY")


def test_an_exit_is_told():
    """A function that ends its process ends with a sentence, and the next session has another process."""
    with python_session("exit", memory_bytes=MEMORY) as session, pytest.raises(StoppedError, match="ended with code 7"):
        session.call("metric m", _exit)
    with python_session("exit", memory_bytes=MEMORY) as session:
        assert session.call("metric m", _pid) > 0


def _pid(_connection: None) -> int:
    return os.getpid()


@pytest.mark.parametrize("memory", [300_000_000, 500_000_000, 700_000_000, 750_000_000, 1_000_000_000])
def test_most_of_the_bound_is_the_users(memory: int):
    """Whatever libraries reserve for themselves: two thirds of the bound can be filled, after Arrow's first byte and Polars' start."""
    with python_session(f"most of {memory}", memory_bytes=memory) as session:
        assert session.call("metric m", _fill, memory * 2 // 3) == memory * 2 // 3
    with locked_session({"given": ROWS}, memory_bytes=memory) as session:
        session.execute(f"CREATE TABLE filled AS SELECT hash(range) AS x FROM range({memory * 2 // 3 // 8})")
        assert session.fetch("SELECT count(*) FROM filled") == [(memory * 2 // 3 // 8,)]


def _fill(_connection: None, count: int) -> int:
    frame = pl.from_arrow(pa.table({"n": list(range(1000))}))
    assert frame.lazy().group_by("n").len().collect().height == 1000
    return len(bytearray(b"x") * count)


def _exit(_connection: None) -> None:
    os._exit(7)


def test_what_was_given_is_all_there_is():
    """No file, no setting, no second statement."""
    for where in (
        "n IN (FROM read_csv('/etc/passwd'))",
        "n IN (FROM '/etc/passwd')",
        "1) ; COPY given TO '/tmp/x' ; (SELECT 1",
    ):
        with pytest.raises(BadInputError, match=r"^where: "):
            select(where)
    with locked_session({"given": ROWS}, memory_bytes=MEMORY) as session:
        for statement in (
            "SET enable_external_access = true",
            "INSTALL httpfs",
            "SET memory_limit = '9GB'",
            "ATTACH '/tmp/x.db'",
        ):
            with pytest.raises(BadInputError):
                session.call("x", execute, statement)
