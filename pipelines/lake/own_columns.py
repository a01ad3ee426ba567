"""Columns of one's own: values of tool calls that `REFOLD_HOME/columns.yaml` names, as typed columns of the views that people read.

What is computed from recorded events reads the views as they are specified; these columns are for SQL, the catalog and the Python
API. They read what the view shows: what is hidden there is hidden here, and what is erased is null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.duck import quote_identifier, quote_literal, scratch
from pipelines.lake.dataset import Column
from pipelines.lake.views import View, list_views

if TYPE_CHECKING:
    from pipelines.documents import Document, Place

FILE = "columns.yaml"
TYPES = ("VARCHAR", "BOOLEAN", "BIGINT", "DOUBLE", "DATE", "TIMESTAMP WITH TIME ZONE")
"""What a column may be."""
_CALLS = "tool_calls"
RELATIONS = (_CALLS, "decisions", "conversations", "calls")
"""Views that may have such columns: one row is a call, or holds a list of them."""
_FROM = {"argument": ("arguments", "arg"), "result": ("output", "answer")}
"""Where a value stands: in which column of a call, and by which macro in a list of calls."""
_NO_RESULTS = "decisions"
_KEYS = ("name", "tool", "path", "type", "from", "relations", "description")
_NEEDED = _KEYS[:4]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MOST = 200
_MOST_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class OwnColumn:
    """One column.

    Attributes:
        name: Its name.
        tools: The tools of whose calls it is.
        path: Where in the value: a key, or a path as DuckDB's JSON functions take it.
        type: One of `TYPES`.
        source: argument or result.
        relations: Views that have it, of `RELATIONS`.
        description: What it means.
    """

    name: str
    tools: tuple[str, ...]
    path: str
    type: str
    source: str
    relations: tuple[str, ...]
    description: str

    def column(self, relation: str) -> Column:
        """The column as a view's specification has it; nobody has said that it holds nothing of a person."""
        which = "" if relation == _CALLS else " of the first call"
        of = f"{self.source} {self.path}{which} of {' or '.join(self.tools)}; null for anything else ({FILE})."
        return Column(self.name, self.type, f"{self.description} {of}".strip(), is_personal=True)

    def expression(self, relation: str) -> str:
        """What computes it, as SQL; what is not of the type is null."""
        column, macro = _FROM[self.source]
        path = quote_literal(self.path)
        if relation == _CALLS:
            tools = ", ".join(map(quote_literal, self.tools))
            found = f"CASE WHEN name IN ({tools}) THEN at_path({column}, {path}) END"
        else:
            each = ", ".join(f"{macro}(tool_calls, {quote_literal(tool)}, {path})" for tool in self.tools)
            found = f"coalesce({each})"
        return f"TRY_CAST({found} AS {self.type}) AS {quote_identifier(self.name)}"


def own_views(home: Path | None) -> dict[str, View]:
    """The views that have columns of one's own, with them, by name; they use the macros.

    Raises:
        DocumentError: The file cannot be read or says what it may not; lines, values and what to write are named.
    """
    own = load_own_columns(home)
    return {view.name: added for view in list_views() if (added := _with(view, own)) is not view}


def load_own_columns(home: Path | None) -> tuple[OwnColumn, ...]:
    """What `home/columns.yaml` names; nothing without a home or a file.

    Raises:
        DocumentError: As `own_views`.
    """
    path = None if home is None else home / FILE
    if path is None or not path.exists():
        return ()
    from pipelines.documents import read_document  # noqa: PLC0415 - where there is such a file

    document = read_document(path, "")
    listed = [] if document.value is None else document.value
    if not isinstance(listed, list) or len(listed) > _MOST:
        document.refuse([((), f"write a list of at most {_MOST} columns, each with {', '.join(_NEEDED)}")])
    findings = [*_findings(document, listed)]
    if findings:
        document.refuse(findings)
    return tuple(map(_parse, listed))


def _with(view: View, own: tuple[OwnColumn, ...]) -> View:
    added = [each for each in own if view.name in each.relations]
    if not added:
        return view
    expressions = ",\n    ".join(each.expression(view.name) for each in added)
    query = f"SELECT\n    *,\n    {expressions}\nFROM (\n{view.query}\n)"
    return replace(view, columns=(*view.columns, *(each.column(view.name) for each in added)), query=query)


def _parse(entry: Mapping[str, Any]) -> OwnColumn:
    tools = entry["tool"] if isinstance(entry["tool"], list) else [entry["tool"]]
    return OwnColumn(
        name=entry["name"],
        tools=tuple(tools),
        path=entry["path"],
        type=_type(entry["type"]),
        source=entry.get("from", "argument"),
        relations=tuple(dict.fromkeys(entry.get("relations", [_CALLS]))),
        description=entry.get("description", ""),
    )


def _type(text: str) -> str:
    spelt = " ".join(text.upper().split())
    return "TIMESTAMP WITH TIME ZONE" if spelt == "TIMESTAMPTZ" else spelt


def _findings(document: Document, listed: list[Any]) -> Iterator[tuple[Place, str]]:
    """All that is wrong, by place."""
    named: dict[str, int] = {}
    for number, entry in enumerate(listed):
        if not isinstance(entry, dict):
            yield (number,), f"{_shown(entry)} is no column; write {', '.join(_NEEDED)}"
            continue
        for key in entry.keys() - set(_KEYS):
            yield (number, key), f"{_shown(key)} is no key of a column; there are {', '.join(_KEYS)}"
        for key in _NEEDED:
            if key not in entry:
                yield (number,), f"{_shown(entry.get('name', number + 1))} has no {key}; add it"
        found = [*_wrong(number, entry)]
        yield from found
        if not found and "name" in entry:
            first = named.setdefault(entry["name"], number)
            if first != number:
                line = document.line_of((first, "name"))
                yield (
                    (number, "name"),
                    f"{_shown(entry['name'])} is named in line {line} too; choose another, or list both tools in one",
                )


def _wrong(number: int, entry: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """What is wrong with the values that are there."""
    checks = {
        "name": _wrong_name,
        "tool": _wrong_tool,
        "path": _wrong_path,
        "type": _wrong_type,
        "from": _wrong_source,
        "relations": _wrong_relations,
        "description": _wrong_text,
    }
    is_sound = True
    for key, check in checks.items():
        told = check(entry[key]) if key in entry else None
        if told is not None:
            is_sound = False
            yield (number, key), f"{_shown(entry[key])} {told}"
    relations = entry.get("relations", [_CALLS]) if is_sound else []
    views = {view.name: view for view in list_views()}
    for relation in relations:
        if entry.get("name") in {column.name for column in views[relation].columns}:
            yield (number, "name"), f"{_shown(entry['name'])} is a column of {relation} already; choose another name"
    if _NO_RESULTS in relations and entry.get("from") == "result":
        yield (number, "relations"), f"{_NO_RESULTS} hold no results; leave it out, or take the value from: argument"


def _wrong_name(value: Any) -> str | None:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return None
    return "is no name of a column; write small letters, digits and _, a letter first, 63 at most"


def _wrong_text(value: Any) -> str | None:
    if isinstance(value, str) and 0 < len(value) <= _MOST_CHARACTERS:
        return None
    return f"is no text of 1 to {_MOST_CHARACTERS} characters; write one, in quotes where it looks like something else"


def _wrong_tool(value: Any) -> str | None:
    tools = value if isinstance(value, list) else [value]
    told = [_wrong_text(tool) for tool in tools] or ["names no tool; write the name of one, or a list"]
    return next((each for each in told if each is not None), None)


def _wrong_path(value: Any) -> str | None:
    told = _wrong_text(value)
    if told is None:
        with scratch() as connection:
            try:
                query = f"SELECT typeof(json_extract_string('{{}}', {quote_literal(value)}))"
                ((kind,),) = connection.execute(query).fetchall()
            except duckdb.Error:
                kind = None
        if kind != "VARCHAR":
            told = "is no path to one value; write a key, or a path such as $.order.id, $.items[0].sku or /order/id"
    return told


def _wrong_type(value: Any) -> str | None:
    if isinstance(value, str) and _type(value) in TYPES:
        return None
    return f"is no type that a column may have; there are {', '.join(TYPES)}"


def _wrong_source(value: Any) -> str | None:
    return (
        None
        if isinstance(value, str) and value in _FROM
        else f"is not where a value stands; write {' or '.join(_FROM)}"
    )


def _wrong_relations(value: Any) -> str | None:
    if isinstance(value, list) and value and all(each in RELATIONS for each in value):
        return None
    return f"is no list of views that have tool calls; there are {', '.join(RELATIONS)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
