"""One query over the lake's views, printed or written in a format of the reader's choice."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import duckdb

from pipelines.console import render_table, tell, to_json, to_plain
from pipelines.duck import is_out_of_memory, quote_identifier, quote_literal
from pipelines.errors import BadInputError
from pipelines.lake.lake import Lake
from pipelines.lake.own_columns import own_views
from pipelines.lake.sql_errors import read_error
from pipelines.lake.views import list_macros, view_statement
from pipelines.output import named_pipe_to, open_output

if TYPE_CHECKING:
    import pyarrow as pa

Connect = Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]]
WITH_ROWS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.PRAGMA)
"""Statements that give rows and change nothing."""
ROWS_SHOWN = 1_000
"""Rows that a table on the terminal shows; the other formats hold all."""
_RESULT = "refold_query_result"
_BATCH_ROWS = 100_000

_WHOLE = frozenset(
    f"{sign}{size}" for sign in ("", "u") for size in ("tinyint", "smallint", "integer", "bigint", "hugeint")
)
_NUMBERS = _WHOLE | {"float", "double", "decimal", "bignum"}
_TEXTS = frozenset({"varchar", "enum", "union"})
_NESTED = frozenset({"struct", "list", "array", "map"})
_AS_TEXT = re.compile("interval|date|time.*")
"""Types with values that Python cannot hold: months beside days, infinity, 24:00, nanoseconds, years before 1 and after 9999."""
_TIMESTAMP = re.compile(r"(\d{4,6}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)([+-]\d\d)?(:\d\d)?")

_FORMULA = r"^[=+\-@\t\r\n＝＋－＠]"
"""How texts begin that a spreadsheet takes for formulas; the wide forms count in some."""
_PLAIN_NUMBER = "^[+-]?[0-9.,]+([eE][+-]?[0-9]+)?%?$"


def run_query(
    lake: Lake,
    query: str,
    output_format: str,
    output: Path | None,
    *,
    is_csv_safe: bool = False,
    connect: Connect | None = None,
) -> None:
    """Run a query and print its rows. Columns of the same name are told apart as `x`, `x_1`.

    Args:
        lake: The lake.
        query: One SQL statement.
        output_format: `table`; `lines`, a line for each value; `json`, one object `{columns, rows}`; `csv`; or `parquet`, which needs `output`.
        output: File to write (see `open_output`), or None for standard output.
        is_csv_safe: Write an apostrophe before texts of a CSV that a spreadsheet takes for formulas; else they are told.
        connect: Makes the connection; default: the lake's own, as it is now.

    Raises:
        BadInputError: The query fails, the output cannot be written, or Parquet has nowhere to go.
    """
    _require_file(output_format, output)
    with _connected(lake, query, connect) as connection, asked(lake, connection, query):
        write_result(connection, output_format, output, is_csv_safe=is_csv_safe)


def query_result(lake: Lake, query: str, params: Mapping[str, Any] | Sequence[Any] | None = None) -> pa.Table:
    """The rows of one SELECT, for programs; columns of the same name are told apart as in `run_query`.

    Args:
        lake: The lake.
        query: One SQL statement.
        params: Values for `$name`, or for `?` in order.

    Raises:
        BadInputError: The query fails.
    """
    with _connected(lake, query) as connection, asked(lake, connection, query, params):
        rows: pa.Table = connection.table(_RESULT).to_arrow_table()
        return rows


@contextmanager
def _connected(lake: Lake, query: str, connect: Connect | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the lake, with what people have beside its relations; an error of the query is told as one."""
    with told_as_one(lake), connect() if connect else lake.connect(query) as connection:
        add_own(lake, connection, query)
        yield connection


def add_own(lake: Lake, connection: duckdb.DuckDBPyConnection, query: str | None = None) -> None:
    """Add what people have beside the lake's relations: the macros, and the columns of their own in its views.

    Args:
        lake: The lake.
        connection: One of its connections.
        query: Add only what it needs; None for all.

    Raises:
        DocumentError: The file of the columns says what it may not.
    """
    own = own_views(lake.home)
    macros = list_macros()
    words = None if query is None else {word.lower() for word in re.findall(r"\w+", query)}
    if own or words is None or any(macro.name in words for macro in macros):
        for macro in macros:
            connection.execute(macro.statement)
    for name, view in own.items():
        if words is None or name in words:
            connection.execute(view_statement(name, view.query, is_bound=False))


@contextmanager
def asked(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    query: str,
    params: Mapping[str, Any] | Sequence[Any] | None = None,
) -> Iterator[None]:
    """Inside the block `refold_query_result` is what a query gives; an error of the query is told as one.

    Raises:
        BadInputError: It is not one statement that gives rows, or it fails.
    """
    with told_as_one(lake):
        statements = connection.extract_statements(query)
        if len(statements) != 1 or statements[0].type not in WITH_ROWS:
            raise BadInputError(f"{query!r} gives no rows; write one SELECT")
        relation = connection.sql(query, params=params)
        # A view, or a table for what is no query, names every column once.
        is_view = statements[0].type == duckdb.StatementType.SELECT
        if is_view:
            relation.create_view(_RESULT)
        else:
            relation.create(_RESULT)
        try:
            yield
        finally:
            with suppress(duckdb.Error):  # the connection may be past use, and what is made on it goes with it
                connection.execute(f"DROP {'VIEW' if is_view else 'TABLE'} {_RESULT}")


@contextmanager
def told_as_one(lake: Lake) -> Iterator[None]:
    """Inside the block an error of DuckDB's is one of the query, unless it is of the memory or of the lake's files."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise  # not the query's fault: the caller says what to set
    except duckdb.Error as error:
        if f"{lake.root}/" in str(error):
            raise  # nor is a file of the lake that is not there, or damaged
        raise BadInputError(f"query failed: {read_error(error)[0]}") from error


def write_result(
    connection: duckdb.DuckDBPyConnection, output_format: str, output: Path | None, *, is_csv_safe: bool = False
) -> None:
    """Write what is `asked`, in a format, to a file or to standard output; as `run_query`."""
    if output_format in _TEXT_OF:
        text = _TEXT_OF[output_format](connection) + "\n"
        if output is None:
            sys.stdout.write(text)
            return
        with open_output(output) as stream:
            stream.write(text.encode())
    elif output_format == "csv" and output is None and sys.stdout.isatty():
        sys.stdout.write(result_text(connection, output_format, is_csv_safe=is_csv_safe) + "\n")
    else:
        _require_file(output_format, output)
        with open_output(output) as stream:
            if output_format == "csv":
                _write_csv(connection, stream, is_csv_safe=is_csv_safe)
            else:
                _copy(connection, stream, "FORMAT parquet, COMPRESSION zstd")


def result_text(connection: duckdb.DuckDBPyConnection, output_format: str, *, is_csv_safe: bool = False) -> str:
    """What is `asked`, in a format that is text, for a terminal: it is shown what is printable, by whoever prints it.

    Raises:
        BadInputError: The format is Parquet.
    """
    if output_format in _TEXT_OF:
        return _TEXT_OF[output_format](connection)
    _require_file(output_format, None)
    shown = io.BytesIO()
    _write_csv(connection, shown, is_csv_safe=is_csv_safe)
    return shown.getvalue().decode().removesuffix("\n")


def _require_file(output_format: str, output: Path | None) -> None:
    if output_format == "parquet" and output is None:
        raise BadInputError("--format parquet needs a file: -o FILE (-o - is standard output)")


def _table(connection: duckdb.DuckDBPyConnection) -> str:
    """The first rows as text, every value as SQL spells it."""
    result = connection.table(_RESULT)
    if result.columns == ["explain_key", "explain_value"]:  # a drawing in lines
        return "\n".join(drawing.rstrip("\n") for _, drawing in result.fetchall())
    rows = _cells(connection, result)
    numbers = [index for index, kind in enumerate(result.types) if str(kind.id) in _NUMBERS]
    text = render_table(result.columns, rows[:ROWS_SHOWN], to_the_right=numbers)
    return text + _more(rows)


def _cells(connection: duckdb.DuckDBPyConnection, result: duckdb.DuckDBPyRelation) -> list[tuple[str | None, ...]]:
    """The first rows, every value as SQL spells it; one more than are shown, if there are more."""
    cells = [
        f"CAST({f'to_json({name})' if str(kind.id) in _NESTED else name} AS VARCHAR)"
        for name, kind in zip(map(quote_identifier, result.columns), result.types, strict=True)
    ]
    return connection.sql(f"SELECT {', '.join(cells)} FROM {_RESULT} LIMIT {ROWS_SHOWN + 1}").fetchall()


def _more(rows: Sequence[object]) -> str:
    if len(rows) <= ROWS_SHOWN:
        return ""
    return f"\n… only the first {ROWS_SHOWN:,} rows are shown; use LIMIT, or --format csv"


def _lines(connection: duckdb.DuckDBPyConnection) -> str:
    """The first rows, a line for each value."""
    result = connection.table(_RESULT)
    columns, rows = result.columns, _cells(connection, result)
    parts = []
    for number, row in enumerate(rows[:ROWS_SHOWN], 1):
        parts += [f"row {number:,}", render_table(["", ""], list(zip(columns, row, strict=True))).lstrip("\n")]
    return "\n".join(parts) + _more(rows) if rows else "no rows"


def _json(connection: duckdb.DuckDBPyConnection) -> str:
    """All rows as `{columns, rows}`: what JSON has no form for is text as SQL spells it, what is no number is null."""
    result = connection.table(_RESULT)
    cells = []
    for name, kind in zip(map(quote_identifier, result.columns), result.types, strict=True):
        held = _held(kind)
        cells.append(f"CAST({name} AS {held}) AS {name}" if held != str(kind) else name)
    rows = connection.sql(f"SELECT {', '.join(cells)} FROM {_RESULT}").fetchall()
    columns, types = result.columns, result.types
    spelt = [{name: _spelt(*cell) for name, *cell in zip(columns, row, types, strict=True)} for row in rows]
    return to_json({"columns": columns, "rows": spelt})


_TEXT_OF: dict[str, Callable[[duckdb.DuckDBPyConnection], str]] = {"table": _table, "lines": _lines, "json": _json}
FORMATS = (*_TEXT_OF, "csv", "parquet")
"""How rows are printed."""


def _held(kind: Any) -> str:
    """A type like `kind` whose values Python can hold."""
    name = str(kind.id)
    if _AS_TEXT.fullmatch(name):
        return "VARCHAR"
    if name == "struct" and all(field for field, _ in kind.children):
        return f"STRUCT({', '.join(f'{quote_identifier(field)} {_held(child)}' for field, child in kind.children)})"
    if name == "map":
        return "MAP({}, {})".format(*(_held(child) for _, child in kind.children))
    if name == "list":
        return f"{_held(kind.children[0][1])}[]"
    if name == "array":
        return f"{_held(kind.children[0][1])}[{kind.children[1][1]}]"
    return str(kind)


def _spelt(value: Any, kind: Any) -> Any:
    """A value that came as `_held(kind)`, as JSON; timestamps as ISO 8601."""
    name = str(kind.id)
    if value is None:
        return None
    if name.startswith("timestamp") and (found := _TIMESTAMP.fullmatch(str(value))):
        day, time, hours, minutes = found.groups()
        return f"{day}T{time}" + (f"{hours}{minutes or ':00'}" if hours else "")
    if name in ("list", "array"):
        return [_spelt(item, kind.children[0][1]) for item in value]
    if name == "struct" and isinstance(value, dict):
        return {field: _spelt(value[field], child) for field, child in kind.children}
    return to_plain(value)


def _write_csv(connection: duckdb.DuckDBPyConnection, stream: BinaryIO, *, is_csv_safe: bool) -> None:
    """All rows as CSV, exactly as they are unless it is to be safe; what a spreadsheet would run is told."""
    import pyarrow as pa  # noqa: PLC0415 - a tenth of a second, for a CSV alone

    result = connection.table(_RESULT)
    texts = [name for name, kind in zip(result.columns, result.types, strict=True) if str(kind.id) in _TEXTS]
    cells = []
    for name in result.columns:
        cell = f"CAST({quote_identifier(name)} AS VARCHAR)"
        if is_csv_safe and name in texts:
            is_formula = " AND ".join(
                f"{negation} regexp_matches({cell}, {quote_literal(pattern)})"
                for negation, pattern in (("", _FORMULA), ("NOT", _PLAIN_NUMBER))
            )
            cell = f"CASE WHEN {is_formula} THEN concat(chr(39), {cell}) ELSE {cell} END"
        cells.append(f"{cell} AS {quote_identifier(name)}")
    rows = connection.sql(f"SELECT {', '.join(cells)} FROM {_RESULT}").to_arrow_reader(_BATCH_ROWS)
    found = [sum(bool(re.search(_FORMULA, name)) for name in result.columns)]
    faults: list[Exception] = []

    def counted() -> Iterator[pa.RecordBatch]:
        try:
            for batch in rows:
                found.extend(_count_formulas(batch.column(name)) for name in texts)
                yield batch
        except Exception as error:
            faults.append(error)
            raise

    try:
        # A connection of its own: the first is busy reading.
        with duckdb.connect() as writer:
            writer.register(_RESULT, pa.RecordBatchReader.from_batches(rows.schema, counted()))
            _copy(writer, stream, "FORMAT csv, HEADER")
    except duckdb.Error as error:
        if not faults:
            raise
        kind = duckdb.OutOfMemoryException if is_out_of_memory(faults[0]) else duckdb.Error
        raise kind(str(faults[0])) from error  # pyarrow 26 keeps an error's words, not its kind
    if formulas := sum(found):
        tell(
            f"refold: texts that begin with =, +, -, @, a tab or a line end: {formulas:,}; a spreadsheet would take them for "
            "formulas, and --csv-safe writes an apostrophe before them"
        )


def _count_formulas(texts: Any) -> int:
    import pyarrow.compute as pc  # noqa: PLC0415 - a tenth of a second, for a CSV alone

    found = texts.filter(pc.match_substring_regex(texts, _FORMULA))
    is_number = pc.match_substring_regex(found, _PLAIN_NUMBER)
    return len(found) - int(pc.sum(is_number).as_py() or 0)


def _copy(connection: duckdb.DuckDBPyConnection, stream: BinaryIO, options: str) -> None:
    with named_pipe_to(stream) as target:
        connection.execute(f"COPY (FROM {_RESULT}) TO {quote_literal(target)} ({options})")
