"""Publish the views as `lake.duckdb`, a file that any DuckDB client can open read-only.

The file holds views only, no data: they name the Parquet files that were current when it was written, so it is written
anew after every commit. It is written to a temporary file and renamed, so a reader that has it open keeps the version
it opened; the files of that version stay for the grace. DuckDB 1.x can open it (`STORAGE_VERSION 'v1.0.0'`).

To comment a thousand columns takes a fifth of a second, each a statement. So what changes with every commit stands apart: a relation
is a commented view of a macro that lists its files, and only macros are written anew. The catalog of a lake without rows is the
same everywhere: it is made once, like a compiled module, and a first one begins as its copy.

Whether it is to be written anew is asked by every verb that finds nothing to do. So it is noted beside the file of which state of the
tables' logs it was written: to compare takes 2 ms, to open thirty tables and the file 100.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from pipelines.compiled import compiled_path, keep_compiled
from pipelines.duck import quote_identifier, quote_literal
from pipelines.lake import readable
from pipelines.lake.dataset import Column
from pipelines.lake.datasets import DATASETS
from pipelines.lake.delta import newest_entry
from pipelines.lake.errors import ForeignCatalogError, told_when_full
from pipelines.lake.lake import Lake
from pipelines.lake.own_columns import own_views
from pipelines.lake.own_upcasters import load_own_upcasters
from pipelines.lake.views import TIME_TRAVEL, list_macros, list_views, view_statement
from pipelines.lake.writers import publishing, writing
from pipelines.log.readable import readable_query

_MARK = "refold_catalog_hash"
"""A macro of the catalog: hashes of what makes its relations. A macro is in no list of tables."""
_MACROS = "()"
"""Stands for the macros among the names of relations."""
_SCRIPT = "\n;\n"
"""Between statements that are executed together, also after a comment: one by one, nine hundred take a fifth longer."""
_Part = tuple[list[str], list[str]]
"""Statements that make a relation with its comments, and those that say which files it has."""
_Hashes = Mapping[str, Sequence[str]]
"""Hashes of both by relation."""


def describe(lake: Lake | None = None) -> dict[str, tuple[str, tuple[Column, ...]]]:
    """Every relation of the catalog: name → (what one row is, columns); without a lake those that every lake has."""
    datasets = DATASETS if lake is None else lake.datasets()
    described = {d.relation: (d.grain, d.columns) for d in datasets.values()}
    described[readable.NAME] = (readable.GRAIN, readable.readable_columns())
    views = {view.name: view for view in list_views()} | own_views(None if lake is None else lake.home)
    described |= {view.name: (view.grain, view.columns) for view in views.values()}
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
        noted = _noted(path)
        if noted.get("state") == state:
            return False
        there = noted.get("relations") or _hashes_of(path)
        wanted = _parts(lake)
        with writing(lake.root):
            is_written = _renew(path, there, wanted)
        _note(path, state, _hashes(wanted))
        return is_written


def state_of(lake: Lake) -> str:
    """Hash of all that the lake's relations are a function of: their code, one's own upcasters, the newest entries of all tables' logs."""
    code: list[Any] = [
        str(lake.root),
        metadata.version("refold"),
        *(view.query for view in list_views()),
        _comments(None),
    ]
    code += [macro.statement for macro in list_macros()]
    own: list[Any] = [readable_query(load_own_upcasters(lake.home))]
    own += [[view.query, *(column.description for column in view.columns)] for view in own_views(lake.home).values()]
    folders = sorted(lake.root.iterdir()) if lake.root.exists() else []
    logs = [[folder.name, newest_entry(folder)] for folder in folders]
    return hashlib.sha256(json.dumps([code, own, [each for each in logs if each[1]]]).encode()).hexdigest()


def _noted(path: Path) -> dict[str, Any]:
    """What is noted of the file that is there now: the state that it shows, and the hashes of its relations; empty when nothing is."""
    with suppress(OSError, ValueError):
        noted: Any = json.loads(_note_path(path).read_text(encoding="utf-8"))
        if isinstance(noted, dict) and noted.get("file") == _identity(path):
            return noted
    return {}


def _note(path: Path, state: str, relations: _Hashes) -> None:
    """Note of which state the file is, and what it holds; without the note, the next who asks looks at the file itself."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with suppress(OSError):
        noted = {"state": state, "file": _identity(path), "relations": dict(relations)}
        temporary.write_text(json.dumps(noted), encoding="utf-8")
        temporary.replace(_note_path(path))


def _note_path(path: Path) -> Path:
    return path.with_name(f".{path.stem}.json")


def _identity(path: Path) -> list[Any]:
    """What tells a file from every other, and from itself once it was changed."""
    found = path.stat()
    return [str(path.resolve()), found.st_ino, found.st_size, found.st_mtime_ns]


def _renew(path: Path, there: _Hashes | None, wanted: Mapping[str, _Part]) -> bool:
    """Write the catalog of `wanted` to `path`, which holds what has the hashes `there`, unless it is that: only what is another now."""
    hashes = _hashes(wanted)
    if there == hashes:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        if there is not None and there.keys() <= hashes.keys():
            shutil.copyfile(path, temporary)
        else:
            content, there = _without_rows()
            temporary.write_bytes(content)
        _write(temporary, [*_changed(wanted, hashes, there), _mark(hashes)])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        temporary.with_name(temporary.name + ".wal").unlink(missing_ok=True)
    return True


@cache
def _without_rows() -> tuple[bytes, _Hashes]:
    """The catalog of a lake without rows, and its hashes."""
    with TemporaryDirectory() as folder:
        lake = Lake(Path(folder) / "lake")
        wanted = _parts(lake)
        hashes = _hashes(wanted)
        scripts = _changed(wanted, hashes, {})
        made_of = [duckdb.__version__, Path(__file__).read_text(encoding="utf-8"), *scripts]
        key, kept = hashlib.sha256("\n".join(made_of).encode()).digest(), compiled_path(Path(__file__), ".duckdb")
        content = _compiled(kept, key)
        if content is None:
            path = Path(folder) / "lake.duckdb"
            _write(path, scripts)
            content = path.read_bytes()
            keep_compiled(kept, key + hashlib.sha256(content).digest() + content)
        return content, hashes


def _compiled(path: Path, key: bytes) -> bytes | None:
    """The catalog that is kept at `path`, if it is whole and made of what has the hash `key`."""
    with suppress(OSError):
        kept = memoryview(path.read_bytes())
        content = bytes(kept[2 * len(key) :])
        if kept[: 2 * len(key)] == key + hashlib.sha256(content).digest():
            return content
    return None


def _parts(lake: Lake) -> dict[str, _Part]:
    """What makes each relation with its comments and, apart, what lists the files of those that are datasets; in order."""
    comments = _comments(lake)
    queries = lake.relations() | {view.name: view.query for view in own_views(lake.home).values()}
    datasets = {dataset.relation: dataset for dataset in lake.datasets().values()}
    parts: dict[str, _Part] = {_MACROS: ([macro.statement for macro in list_macros()], [])}  # before what uses them
    for name, query in queries.items():
        if name not in datasets:
            parts[name] = ([view_statement(name, query), *comments[name]], [])
            continue
        files = quote_identifier(f"{name}_files")
        macro = f"CREATE OR REPLACE MACRO {files}() AS TABLE "
        view = view_statement(name, f"FROM {files}()")
        parts[name] = ([macro + datasets[name].typed_empty(), view, *comments[name]], [macro + query])
    return parts | {"": (list(TIME_TRAVEL), [])}


def _changed(wanted: Mapping[str, _Part], hashes: _Hashes, there: _Hashes) -> list[str]:
    """Scripts that make of what has the hashes `there` what is wanted."""
    scripts = []
    for name, (relation, files) in wanted.items():
        of_relation, of_files = there.get(name, ("", ""))
        if of_relation != hashes[name][0]:
            scripts.append(_SCRIPT.join([*relation, *files]))
        elif of_files != hashes[name][1]:
            scripts.append(_SCRIPT.join(files))
    return scripts


def _hashes(parts: Mapping[str, _Part]) -> _Hashes:
    return {
        name: [hashlib.sha256(_SCRIPT.join(each).encode()).hexdigest() for each in part] for name, part in parts.items()
    }


def _mark(hashes: _Hashes) -> str:
    return f"CREATE OR REPLACE MACRO {_MARK}() AS {quote_literal(json.dumps(hashes))}"


def leftover_catalogs(path: Path) -> list[Path]:
    """Temporary files beside `path`, of publishers that are at work or were killed."""
    return sorted(path.parent.glob(f".{path.name}.*"))


def _write(path: Path, scripts: list[str]) -> None:
    with duckdb.connect(config={"threads": 1}) as connection:  # of its own: a full disk ends a database for all
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "PRAGMA disable_optimizer"
        )  # nothing is asked here, and a third of each comment's time is its
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


def _hashes_of(path: Path) -> _Hashes | None:
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
