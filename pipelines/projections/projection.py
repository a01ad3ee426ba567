"""Projections of your own: one file each, and nothing else.

A file `sql/folds/<name>.sql` without steps, or `REFOLD_HOME/folds/<name>.sql` or `<name>.py`, becomes a dataset `<name>` with
month partitions. Its header says purpose, parameters, grain and key; its columns and their types are what the SELECT, or the
Polars function `fold`, yields. Here a file is read and examined on empty relations; running it on a month is `fold`'s matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb
from deltalake import Schema

from pipelines.errors import BadInputError
from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets import DATASETS
from pipelines.lake.lake import Lake
from pipelines.lake.locked import frame_session, locked_session
from pipelines.lake.own import empty_table, find_own, own_column, own_dataset
from pipelines.lake.views import list_views
from pipelines.projections.faults import FileFaultError
from pipelines.projections.function import Function, examine_function
from pipelines.projections.relations import RELATIONS, empty_relations
from pipelines.projections.select import Select, examine, read_relations, stored_types
from pipelines.sqlfiles import list_sql

_HEADERS = ("purpose", "parameters", "grain", "key")
_HEADER = r"{mark}\s*(?P<name>purpose|parameters|grain|key|column \w+|steps)\s*:\s*(?P<text>.*)"
_MARKS = {".sql": "--", ".py": "#"}
"""How a comment begins, by kind of file."""
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EXAMINED_BYTES = 256 * 10**6  # empty relations need next to nothing; DuckDB wants some room


class ProjectionError(BadInputError):
    """A projection's file cannot be used; the message begins with file and line."""

    def __init__(self, path: Path, line: int, reason: str) -> None:
        super().__init__(f"{path}:{line}: {reason}")


@dataclass(frozen=True, slots=True)
class Projection:
    """One file that can be folded.

    Attributes:
        path: The file.
        dataset: What it makes.
        text: The text of the file.
        body: The SELECT or the function in it.
        reads: The relations of `RELATIONS` that it reads, sorted.
        key_line: Where the header names the key.
    """

    path: Path
    dataset: Dataset
    text: str
    body: Select | Function
    reads: tuple[str, ...]
    key_line: int

    @property
    def name(self) -> str:
        """Name of the file and of the dataset."""
        return self.dataset.name


@dataclass(frozen=True, slots=True)
class BrokenProjection:
    """One file that cannot be folded.

    Attributes:
        path: The file.
        name: Its name as far as it can be one of a table; else one that no table has.
        fault: File, line and what is wrong.
    """

    path: Path
    name: str
    fault: str


def find_projections(home: Path) -> list[Projection | BrokenProjection]:
    """All projections of one's own, by name: those in the shipped folder that have no steps, and those of the home."""
    shipped = [path for path in list_sql("folds") if "steps" not in _read_header(path)]
    folder = home / "folds"
    own = sorted(path for mark in _MARKS for path in folder.glob(f"*{mark}")) if folder.is_dir() else []
    found: dict[str, Projection | BrokenProjection] = {}
    for path in [*shipped, *own]:
        try:
            projection: Projection | BrokenProjection = read_projection(path)
            _require_new(path, found.get(projection.name))
        except ProjectionError as fault:
            projection = BrokenProjection(path, _name_of_broken(path.stem, found), str(fault))
        found[projection.name] = projection
    return [found[name] for name in sorted(found)]


def left_over(lake: Lake, home: Path) -> list[str]:
    """Own projections that have a table and no file any more, sorted: nothing folds them again, redactions neither."""
    files = {each.name for each in find_projections(home)}
    return sorted(set(find_own(lake.root)) - files)


def read_projection(path: Path) -> Projection:
    """Read and examine one file.

    Raises:
        ProjectionError: It is not a projection; the message has file, line and reason.
    """
    name = path.stem
    if path.suffix not in _MARKS:
        raise ProjectionError(path, 1, f"it is no projection by its name; let that end in {' or '.join(_MARKS)}")
    if not _NAME.fullmatch(name):
        raise ProjectionError(path, 1, f"{name!r} cannot be the name of a table; use small letters, digits and _")
    if name in taken_names():
        raise ProjectionError(path, 1, f"{name!r} is the name of a built-in table or view; rename the file")
    header = _read_header(path)
    for wanted in _HEADERS:
        if not header.get(wanted, (1, ""))[1]:
            mark = _MARKS[path.suffix]
            raise ProjectionError(path, 1, f"the header needs `{mark} {wanted}: …`; it needs {', '.join(_HEADERS)}")
    text = _read_text(path)
    try:
        body, reads = _examine_function(path, text) if path.suffix == ".py" else _examine_select(text)
    except FileFaultError as failure:
        raise ProjectionError(path, failure.line, failure.reason) from None
    except BadInputError as failure:  # it took too long, or too much
        raise ProjectionError(path, 1, str(failure)) from None
    columns = tuple(_columns(path, body, header))
    line, says = header["parameters"]
    if ("$month" in says) != body.takes_month:
        does = "takes $month" if body.takes_month else "takes none"
        raise ProjectionError(path, line, f"the header says parameters {says!r}, the {body.kind} {does}")
    line, keys = header["key"]
    key = tuple(part.strip() for part in keys.split(","))
    unknown = [part for part in key if part not in {column.name for column in columns}]
    if unknown:
        there = ", ".join(column.name for column in columns)
        raise ProjectionError(path, line, f"key {unknown[0]!r} is not a column; there are {there}")
    return Projection(path, own_dataset(name, header["grain"][1], key, columns), text, body, reads, line)


def _examine_select(text: str) -> tuple[Select, tuple[str, ...]]:
    with locked_session(empty_relations(), memory_bytes=_EXAMINED_BYTES, locates_errors=True) as locked:
        select = locked.call("the query", examine, text)
        return select, locked.call("the query", read_relations, text, select, tuple(RELATIONS))


def _examine_function(path: Path, text: str) -> tuple[Function, tuple[str, ...]]:
    with frame_session("examined", memory_bytes=_EXAMINED_BYTES) as locked:
        line, reads, takes_month, given = locked.call(
            "the function", examine_function, text, str(path), dict(empty_relations())
        )
    return Function(line, stored_types(given), takes_month), reads


def taken_names() -> set[str]:
    """Names that no projection of one's own may have: every table, relation and view of every lake, and what SQL reads."""
    taken = set(RELATIONS) | {view.name for view in list_views()}
    for dataset in DATASETS.values():
        taken |= {dataset.name, dataset.relation}
    return taken


def _columns(path: Path, body: Select | Function, header: dict[str, tuple[int, str]]) -> Iterator[Column]:
    seen = {"month": "the month is added by itself"}
    for name, kind, stored in body.columns:
        if not _COLUMN.fullmatch(name):
            raise ProjectionError(path, body.line, f"column {name!r}: give it a name of letters, digits and _")
        if name.lower() in seen:
            raise ProjectionError(path, body.line, f"column {name!r}: {seen[name.lower()]}; name it otherwise")
        seen[name.lower()] = "there is another of that name"
        if stored is None:
            raise ProjectionError(path, body.line, f"column {name!r} is {kind}, which no table holds; cast it")
        yield own_column(name, _as_stored(stored), header.get(f"column {name}", (0, ""))[1])
    for name, (line, _) in header.items():
        if name.startswith("column ") and name.removeprefix("column ").lower() not in seen:
            raise ProjectionError(path, line, f"{name.removeprefix('column ')!r} is not a column of the {body.kind}")


@cache
def _as_stored(type_name: str) -> str:
    """The type as DuckDB reads it back from a Delta table."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        schema = connection.sql(f"SELECT CAST(NULL AS {type_name}) AS given WHERE false").to_arrow_table().schema
        connection.register("stored", empty_table(Schema.from_arrow(schema)))
        return str(connection.sql("SELECT * FROM stored").types[0])


def _read_header(path: Path) -> dict[str, tuple[int, str]]:
    """The comment block that a file begins with: name → (line, text); indented comment lines go on with the one before."""
    header: dict[str, tuple[int, str]] = {}
    name, mark = None, _MARKS[path.suffix]
    entry, more = re.compile(_HEADER.format(mark=mark)), re.compile(rf"{mark}\s{{2,}}\S")
    for number, line in enumerate(_read_text(path).splitlines(), start=1):
        match = entry.match(line)
        if match:
            name = match["name"]
            header[name] = (number, match["text"].strip())
        elif name and more.match(line):
            header[name] = (header[name][0], f"{header[name][1]} {line.removeprefix(mark).strip()}")
        elif line.strip() and not line.startswith(mark):
            break
    return header


def _require_new(path: Path, other: Projection | BrokenProjection | None) -> None:
    if other is not None:
        raise ProjectionError(path, 1, f"{other.path} has the same name; rename one of them")


def _name_of_broken(stem: str, found: dict[str, Projection | BrokenProjection]) -> str:
    name = re.sub(r"[^a-z0-9_]", "_", stem.lower())
    while not _NAME.fullmatch(name) or name in taken_names() or name in found:
        name = f"broken_{name}"
    return name


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ProjectionError(path, 1, f"cannot be read: {reason}") from None
