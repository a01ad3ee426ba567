"""`lake.duckdb` in clients of DuckDB 1: every view, the macros, columns of one's own, by itself and, from 1.2 on, attached.

`python -m pytest -n 0 tests/acceptance/older_clients.py`: each client in an environment of its own, installed once; about 10 s of
processor time.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from pipelines.lake.catalog import describe, publish_catalog
from pipelines.lake.lake import Lake
from tests.support.environments import python_with
from tests.support.history import copy_lake

COLUMNS = (
    "- {name: refund_usd, tool: refund, path: usd, type: DOUBLE, relations: [tool_calls, conversations, decisions]}\n"
)
READ = """
import duckdb, json, sys
path = sys.argv[1]
alone = duckdb.connect(path, read_only=True)
names = [name for (name,) in alone.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()]
counts = {name: alone.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}
rows = [list(alone.execute(f'SELECT * FROM "{name}" LIMIT 1').fetchall()) for name in names]
macros = alone.execute(
    "SELECT sum(refund_usd), any_value(arg(tool_calls, 'refund', 'usd')), any_value(answers(tool_calls, 'refund', '$')), "
    "sum(called(tool_calls, 'refund')) FROM conversations").fetchone()
alone.close()
other = duckdb.connect()
other.execute(f"ATTACH '{path}' AS lake (READ_ONLY)")
is_old = duckdb.__version__ < "1.2"  # such a client does not find what the views of an attached file read
attached = None if is_old else other.execute("SELECT sum(refund_usd) FROM lake.tool_calls").fetchone()[0]
print(json.dumps([duckdb.__version__, counts, list(macros), attached]))
"""


@pytest.mark.parametrize("version", ["1.0.*", "1.2.*", "1.5.*"])
def test_a_client(folded_history: Path, tmp_path: Path, version: str) -> None:
    """Views have the rows that this release's client sees; macros and columns give the same values."""
    python = python_with(f"duckdb=={version}", "pytz")
    lake = Lake(copy_lake(folded_history, tmp_path / "lake").root, home=tmp_path)
    (tmp_path / "columns.yaml").write_text(COLUMNS)
    publish_catalog(lake, tmp_path / "lake.duckdb")
    done = subprocess.run(
        [python, "-c", READ, tmp_path / "lake.duckdb"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told, counts, macros, attached = json.loads(done.stdout)
    assert told.startswith(version.removesuffix("*"))
    with lake.connect() as connection:
        assert counts == {
            name: connection.sql(f'SELECT count(*) FROM "{name}"').fetchall()[0][0] for name in describe(lake)
        }
    assert (macros, attached) == ([5.0, "5", [None], 1], None if told < "1.2" else 5.0)
