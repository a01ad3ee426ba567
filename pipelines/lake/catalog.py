"""Publish the views as `lake.duckdb`, a file that any DuckDB client can open read-only.

The file holds views only, no data: they name the Parquet files that were current when it was written, so it is written
anew after every commit. It is written to a temporary file and renamed, so a reader that has it open keeps the version
it opened; the files of that version stay for the grace. DuckDB 1.x can open it (`STORAGE_VERSION 'v1.0.0'`).

Whether it is to be written anew is asked by every verb that finds nothing to do. So it is noted beside the file of which state of the
tables' logs it was written: to compare takes 2 ms, to open thirty tables and the file 100.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import duckdb

from pipelines.duck import quote_identifier, quote_literal
from pipelines.lake import readable
from pipelines.lake.dataset import Column
from pipelines.lake.datasets import DATASETS
from pipelines.lake.delta import newest_entry
from pipelines.lake.errors import ForeignCatalogError, told_when_full
from pipelines.lake.lake import Lake
from pipelines.lake.own_upcasters import load_own_upcasters
from pipelines.lake.views import list_views
from pipelines.lake.writers import publishing, writing
from pipelines.log.readable import readable_query

_MARK = "refold_catalog_hash"
"""A macro of the catalog: hashes of what makes its relations. A macro is in no list of tables."""
_SCRIPT = "\n;\n"
"""Between statements that are executed together, also after a comment: one by one, nine hundred take a fifth longer."""


def describe(lake: Lake | None = None) -> dict[str, tuple[str, tuple[Column, ...]]]:
    """Every relation of the catalog: name → (what one row is, columns); without a lake those that every lake has."""
    datasets = DATASETS if lake is None else lake.datasets()
    described = {d.relation: (d.grain, d.columns) for d in datasets.values()}
    described[readable.NAME] = (readable.GRAIN, readable.readable_columns())
    described |= {view.name: (view.grain, view.columns) for view in list_views()}
    return dict(sorted(described.items()))


def publish_catalog(lake: Lake, path: Path) -> bool:
    """Let `path` show the lake as it is now; atomically, and only if it does not yet.

    Returns:
        Whether it was written.

    Raises:
        DiskFullError: There is no space for it; the old one is as it was.
        ForeignCatalogError: Something of somebody else's has its name; it stays.
    """
    with told_when_full(path), publishing(lake.root):
        state = state_of(lake)  # before the tables are read: what is committed meanwhile is published by the next
        if _is_noted(path, state):
            return False
        written: list[bool] = []
        lake.with_current_views(lambda views: written.append(_renew(lake, path, views)))
        _note_state(path, state)
        return written[-1]


def state_of(lake: Lake) -> str:
    """Hash of all that the lake's relations are a function of: their code, one's own upcasters, the newest entries of all tables' logs."""
    code = [str(lake.root), metadata.version("refold"), *(view.query for view in list_views()), _comments(None)]
    own = readable_query(load_own_upcasters(lake.home))
    folders = sorted(lake.root.iterdir()) if lake.root.exists() else []
    logs = [[folder.name, newest_entry(folder)] for folder in folders]
    return hashlib.sha256(json.dumps([code, own, [each for each in logs if each[1]]]).encode()).hexdigest()


def _is_noted(path: Path, state: str) -> bool:
    with suppress(OSError, ValueError):
        noted: Any = json.loads(_note(path).read_text(encoding="utf-8"))
        return bool(noted == {"state": state, "file": _identity(path)})
    return False


def _note_state(path: Path, state: str) -> None:
    """Note of which state the file is; without the note, the next who asks compares the file itself."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with suppress(OSError):
        temporary.write_text(json.dumps({"state": state, "file": _identity(path)}), encoding="utf-8")
        temporary.replace(_note(path))


def _note(path: Path) -> Path:
    """Beside the file: of which state it was written."""
    return path.with_name(f".{path.stem}.json")


def _identity(path: Path) -> list[Any]:
    """What tells a file from every other, and from itself once it was changed."""
    found = path.stat()
    return [str(path.resolve()), found.st_ino, found.st_size, found.st_mtime_ns]


def _renew(lake: Lake, path: Path, statements: list[str]) -> bool:
    """Write the catalog that `statements` make to `path`, unless it is there; of one that is there, what is another now."""
    wanted = _relations(lake, statements)
    hashes = {name: hashlib.sha256("\n".join(each).encode()).hexdigest() for name, each in wanted.items()}
    there = _hashes_of(path)
    if there == hashes:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with writing(lake.root):
        try:
            if there is not None and there.keys() <= hashes.keys():  # to comment 800 columns takes a fifth of a second
                shutil.copyfile(path, temporary)
            else:
                there = {}
            changed = [each for name, each in wanted.items() if there.get(name) != hashes[name]]
            mark = f"CREATE OR REPLACE MACRO {_MARK}() AS {quote_literal(json.dumps(hashes))}"
            _write(temporary, [*map(_SCRIPT.join, changed), mark])
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
            temporary.with_name(temporary.name + ".wal").unlink(missing_ok=True)
    return True


def _relations(lake: Lake, statements: list[str]) -> dict[str, list[str]]:
    """What makes each relation, with its comments, by the beginning of the statement that makes it; in order."""
    comments = {f"CREATE OR REPLACE VIEW {quote_identifier(name)}": told for name, told in _comments(lake).items()}
    made = {statement.partition(" AS ")[0]: statement for statement in statements}
    return {name: [statement, *comments.get(name, ())] for name, statement in made.items()}


def leftover_catalogs(path: Path) -> list[Path]:
    """Temporary files beside `path`, of publishers that are at work or were killed."""
    return sorted(path.parent.glob(f".{path.name}.*"))


def _write(path: Path, scripts: list[str]) -> None:
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH {quote_literal(str(path))} AS out (STORAGE_VERSION 'v1.0.0')")
        connection.execute("USE out.main")
        connection.execute("BEGIN")  # one write instead of one per statement
        for script in scripts:
            connection.execute(script)
        connection.execute("COMMIT")
        connection.execute("USE memory.main")
        connection.execute("DETACH out")


def _comments(lake: Lake | None) -> dict[str, list[str]]:
    """What comments each relation and its columns, by its name."""
    statements = {}
    for name, (grain, columns) in describe(lake).items():
        view = quote_identifier(name)
        statements[name] = [
            f"COMMENT ON VIEW {view} IS {quote_literal(grain)}",
            *(
                f"COMMENT ON COLUMN {view}.{quote_identifier(column.name)} IS {quote_literal(column.description)}"
                for column in columns
            ),
        ]
    return statements


def _hashes_of(path: Path) -> dict[str, str] | None:
    """The hashes of the relations of the catalog at `path`; None when there is none, or nothing that can be read as one.

    Raises:
        ForeignCatalogError: It is somebody's database, or a folder.
    """
    if not path.exists():
        return None
    if path.is_dir():
        raise ForeignCatalogError(path, "a folder")
    try:
        with duckdb.connect() as connection:
            connection.execute(f"ATTACH {quote_literal(str(path))} AS published (READ_ONLY)")
            tables = connection.execute(
                "SELECT count(*) FROM duckdb_tables() WHERE database_name = 'published'"
            ).fetchall()
            if tables[0][0]:
                raise ForeignCatalogError(path, f"a database with {tables[0][0]:,} tables of its own")
            found = json.loads(connection.execute(f"SELECT published.main.{_MARK}()").fetchall()[0][0])
    except (duckdb.Error, ValueError):
        return None
    return found if isinstance(found, dict) else None
