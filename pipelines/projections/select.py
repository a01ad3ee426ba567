"""What a person's SELECT is: its columns, what it reads, whether its result is a function of that, and where it fails.

Everything is asked of DuckDB, on a locked connection; nothing here knows of files, months or the lake. A failure names
the line, and no value of the data: messages of a database quote what they stumbled over, and that may be personal.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import duckdb
from duckdb.sqltypes import DuckDBPyType

from pipelines.duck import quote_identifier, scratch, syntax
from pipelines.lake.sql_errors import read_error, without_values
from pipelines.projections.faults import FileFaultError

if TYPE_CHECKING:
    import pyarrow as pa

_LEADING = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_TABLE_FUNCTIONS = {"unnest", "range", "generate_series", "json_each", "json_tree"}
_CLOCKS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
"""Words that the parser takes for columns and the binder for the clock."""
_UNSTABLE = "SELECT DISTINCT function_name FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"

# DuckDB's types that a Delta table has, and those that it has under another name
_STORED = {
    "boolean": "BOOLEAN",
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "utinyint": "SMALLINT",
    "usmallint": "INTEGER",
    "uinteger": "BIGINT",
    "ubigint": "BIGINT",
    "hugeint": "BIGINT",  # what sum() of integers is
    "float": "FLOAT",
    "double": "DOUBLE",
    "varchar": "VARCHAR",
    "enum": "VARCHAR",
    "uuid": "VARCHAR",
    "blob": "BLOB",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",  # a naive time is UTC
    "timestamp with time zone": "TIMESTAMP WITH TIME ZONE",
}


@dataclass(frozen=True, slots=True)
class Select:
    """One SELECT that DuckDB accepts.

    Attributes:
        line: Where it begins.
        statement: Its text, without what stands before and after it.
        columns: (name, type, type under which it is kept or None) in order.
        takes_month: Whether `$month` is bound.
    """

    line: int
    statement: str
    columns: tuple[tuple[str, str, str | None], ...]
    takes_month: bool
    kind: ClassVar[str] = "query"


def examine(connection: duckdb.DuckDBPyConnection, text: str) -> Select:
    """Parse and bind `text` on a connection that has the relations, empty.

    Raises:
        FileFaultError: It is not one SELECT, or DuckDB does not accept it.
    """
    leading = _LEADING.match(text)
    line = _line_at(text, len(leading[0].encode()) if leading else 0)
    try:
        statements = connection.extract_statements(text)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise FileFaultError(line, "the file must hold one SELECT, and nothing else")
        parameters = statements[0].named_parameters
        if parameters - {"month"}:
            raise FileFaultError(line, f"unknown parameter ${min(parameters - {'month'})}; there is $month, YYYY-MM")
        bound = {"month": "2026-01"} if parameters else None
        connection.execute(text, bound)  # unlike sql(), it says where a name is wrong
        relation = connection.sql(text, params=bound)
        columns = _stored(relation)
    except duckdb.Error as error:
        message, position = read_error(error)
        raise FileFaultError(line if position is None else _line_at(text, position), message) from None
    return Select(line, statements[0].query.rstrip().rstrip(";"), columns, bool(parameters))


def read_relations(
    connection: duckdb.DuckDBPyConnection, text: str, select: Select, allowed: Collection[str]
) -> tuple[str, ...]:
    """Names of the relations that an examined SELECT reads, sorted.

    Raises:
        FileFaultError: It reads something else, or its result is not a function of what it reads (a clock, chance, settings).
    """
    unstable = {row[0] for row in connection.execute(_UNSTABLE).fetchall()} | _CLOCKS
    nodes = syntax(connection, text)
    defined = {entry["key"] for node in nodes for entry in node.get("cte_map", {}).get("map", ())}
    reads = set()
    for node in nodes:
        place = node.get("query_location", -1)  # -1, or beyond the end, where the parser does not know
        line = _line_at(text, place) if 0 <= place < len(text.encode()) else select.line
        kind, name = node.get("type"), str(node.get("function_name", "")).lower()
        if node.get("class") == "COLUMN_REF" and len(node["column_names"]) == 1:
            name = node["column_names"][0].lower() if node["column_names"][0].lower() in _CLOCKS else ""
        if name in unstable:
            raise FileFaultError(
                line, f"{name} gives another result each time; a month must be a function of its events"
            )
        if node.get("sample"):
            raise FileFaultError(
                line, "a sample gives another result each time; a month must be a function of its events"
            )
        if kind == "TABLE_FUNCTION" and node["function"]["function_name"].lower() not in _TABLE_FUNCTIONS:
            raise FileFaultError(
                line, f"{node['function']['function_name']} reads something else than the relations of a month"
            )
        if kind == "BASE_TABLE" and node["table_name"] not in defined:
            if node["table_name"].lower() not in allowed:
                raise FileFaultError(line, f"{node['table_name']!r} is not to be read; there are {', '.join(allowed)}")
            reads.add(node["table_name"].lower())
    return tuple(sorted(reads))


def run_select(
    connection: duckdb.DuckDBPyConnection, text: str, select: Select, types: Mapping[str, str], month: str, into: str
) -> None:
    """Run an examined SELECT on a connection that has the rows of a month; the result is the table `into`.

    Raises:
        FileFaultError: It fails on the data.
    """
    columns = ", ".join(
        f"CAST({quote_identifier(name)} AS {kind}) AS {quote_identifier(name)}" for name, kind in types.items()
    )
    before = f"CREATE TABLE {quote_identifier(into)} AS SELECT {columns} FROM (\n"
    try:
        connection.execute(f"{before}{select.statement}\n)", {"month": month} if select.takes_month else None)
    except duckdb.OutOfMemoryException:
        raise  # not the SELECT's fault: the caller says what to set
    except duckdb.Error as error:
        _, position = read_error(error)
        start = len(text[: text.find(select.statement)].encode())
        inside = None if position is None else position - len(before.encode())
        line = select.line if inside is None or inside < 0 else _line_at(text, start + inside)
        raise FileFaultError(line, without_values(error)) from None


def stored_types(given: pa.Schema) -> tuple[tuple[str, str, str | None], ...]:
    """(name, type, type under which it is kept or None) of the columns of an Arrow schema, in order."""
    with scratch() as connection:
        connection.register("given", given.empty_table())
        return _stored(connection.sql("SELECT * FROM given"))


def _stored(relation: duckdb.DuckDBPyRelation) -> tuple[tuple[str, str, str | None], ...]:
    columns = zip(relation.columns, relation.types, strict=True)
    return tuple((name, str(kind), storable_type(kind)) for name, kind in columns)


def storable_type(kind: DuckDBPyType) -> str | None:
    """The type under which a column of type `kind` is kept; None when no table holds it."""
    name = kind.id
    if name == "decimal":
        return str(kind)
    if name not in {"list", "array", "struct", "map"}:
        return _STORED.get(name)
    # other children are settings of the type, such as an array's size
    parts = {member: storable_type(child) for member, child in kind.children if isinstance(child, DuckDBPyType)}
    if None in parts.values():
        return None
    if name == "map":
        return f"MAP({parts['key']}, {parts['value']})"
    if name == "struct":
        return f"STRUCT({', '.join(f'{quote_identifier(member)} {inner}' for member, inner in parts.items())})"
    return f"{parts['child']}[]"


def _line_at(text: str, position: int) -> int:
    return text.encode()[:position].count(b"\n") + 1
