"""The SQL views over the datasets, `sql/views/*.sql`, and the macros beside them, `sql/macros/*.sql`: one file each, named after it.

A file begins with a comment header: `-- of:` the dataset whose columns (and their descriptions) the view shows, `-- adds:` a
column of the view's own after them (name, type, description), `-- grain:` what one row is. Views are created in the order of `-- after:` (a view that must exist already), then by name.
A macro's header has `-- of:`, how it is called, `-- gives:`, and `-- after:` likewise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter

from pipelines.duck import quote_identifier
from pipelines.errors import RefoldError
from pipelines.lake.dataset import Column, Dataset
from pipelines.lake.datasets import DATASETS, VIEWED
from pipelines.sqlfiles import list_sql

_HEADER = re.compile(r"^-- (\w+): (.+)$", re.MULTILINE)

_WORD = re.compile(r"\w+")
_AT = "states of any time are made by the fold: refold sql --at TIME ''SELECT … FROM {0}'', or --position P"
TIME_TRAVEL = tuple(
    f'CREATE OR REPLACE MACRO {name}_as_of("time") AS TABLE '
    f"SELECT {name}.* FROM (SELECT error('{_AT.format(name)}') AS told) LEFT JOIN {name} ON told IS NULL"
    for name in ("conversations", "calls", "customers")
)
"""What creates, for those who look for it, table macros that say how to travel in time; no view can."""


@dataclass(frozen=True, slots=True)
class View:
    """One view: its name, what one row is, the dataset it shows, its columns, and its query."""

    name: str
    grain: str
    dataset: Dataset
    columns: tuple[Column, ...]
    query: str

    @property
    def words(self) -> frozenset[str]:
        """The words of its query: whatever it reads is among them."""
        return frozenset(_WORD.findall(self.query))


def view_statement(name: str, query: str, *, is_bound: bool = True) -> str:
    """What creates or replaces a view; one that is not bound looks up what it reads when it is read."""
    deferred = "" if is_bound else " WITH (defer_binding)"
    return f"CREATE OR REPLACE VIEW {quote_identifier(name)}{deferred} AS {query}"


@cache
def list_views() -> tuple[View, ...]:
    """All views, each after the one it builds on."""
    views: dict[str, View] = {}
    after: dict[str, str] = {}
    for path in list_sql("views"):
        text = path.read_text(encoding="utf-8")
        header = dict(_HEADER.findall(text))
        if "of" not in header or "grain" not in header:
            raise RefoldError(f"{path}: the header needs `-- of: <dataset>` and `-- grain: <what one row is>`")
        added = [Column(*header["adds"].split(" ", 2))] if "adds" in header else []
        dataset = (DATASETS | VIEWED)[header["of"]]
        columns = (*dataset.columns, *added)
        views[path.stem] = View(path.stem, header["grain"], dataset, columns, text.strip().rstrip(";"))
        after[path.stem] = header.get("after", "")
    return tuple(sorted(views.values(), key=lambda view: (after[view.name] != "", view.name)))


@dataclass(frozen=True, slots=True)
class Macro:
    """One macro: its name, how it is called, what it gives, and the statement that makes it."""

    name: str
    signature: str
    gives: str
    statement: str


@cache
def list_macros() -> tuple[Macro, ...]:
    """All macros, each after the one that it uses."""
    macros: dict[str, Macro] = {}
    after: dict[str, set[str]] = {}
    for path in list_sql("macros"):
        text = path.read_text(encoding="utf-8")
        header = dict(_HEADER.findall(text))
        if "of" not in header or "gives" not in header:
            raise RefoldError(f"{path}: the header needs `-- of: <name>(<parameters>)` and `-- gives: <what>`")
        macros[path.stem] = Macro(path.stem, header["of"], header["gives"], text.strip().rstrip(";"))
        after[path.stem] = {header["after"]} if "after" in header else set()
    return tuple(macros[name] for name in TopologicalSorter(after).static_order())
