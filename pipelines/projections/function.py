"""A person's Polars function: what it takes and yields, running it, and where in its file it fails.

All but `Function` is asked of a child process, the only one that imports Polars and the person's file. While there are no rows
an error is told whole; with rows only its kind and line are: what it says may quote them.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

from pipelines.projections.faults import FileFaultError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

NAME, OUTPUT = "fold", "made.parquet"
_MONTH = "month"
_GROUP_ROWS = 5_000
"""Rows that are gathered before they are written."""
_SHOWN = 300
"""Characters of an error that are told."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function `fold` that Polars accepts.

    Attributes:
        line: Where it begins.
        columns: (name, type, type under which it is kept or None) in order.
        takes_month: Whether it has a parameter `month`.
    """

    line: int
    columns: tuple[tuple[str, str, str | None], ...]
    takes_month: bool
    kind: ClassVar[str] = "function"


def examine_function(
    _connection: None, text: str, path: str, relations: Mapping[str, pa.Table]
) -> tuple[int, tuple[str, ...], bool, pa.Schema]:
    """Import a file and call its function without rows; asked of the child.

    Args:
        text: The file's text.
        path: Where it is, for traces.
        relations: What may be read, by name, without rows.

    Returns:
        Its line, the relations that it reads (sorted), whether it takes the month, and the columns that it yields.

    Raises:
        FileFaultError: It is no function of frames of these names that yields a frame.
    """
    with _told(path, 1, is_whole=True):
        function, line = _load(text, path)
    parameters = inspect.signature(function).parameters.values()
    for each in parameters:
        if each.name not in {*relations, _MONTH} or each.kind is not each.POSITIONAL_OR_KEYWORD:
            raise FileFaultError(
                line, f"parameter {str(each)!r} of {NAME} is not to be had; there are {', '.join([*relations, _MONTH])}"
            )
    names = [each.name for each in parameters]
    reads = tuple(sorted({*names} - {_MONTH}))
    with _told(path, line, is_whole=True):
        frames = {name: _schema(relations[name]).to_frame().lazy() for name in reads}
        given: pa.Schema = _frame(function, line, frames, "2026-01").collect_schema().to_frame().to_arrow().schema
    return line, reads, _MONTH in names, given


def run_function(
    _connection: None, text: str, path: str, relations: Mapping[str, pa.Table], folder: str, month: str
) -> None:
    """Call the function with a month's rows and write what it yields to the folder's `OUTPUT`; asked of the child.

    Args:
        text: The file's text.
        path: Where it is, for traces.
        relations: What it reads, by name, without rows.
        folder: Has the rows of each in a Parquet file.
        month: YYYY-MM.

    Raises:
        FileFaultError: It fails.
    """
    import polars as pl  # noqa: PLC0415 -- in the child alone

    with _told(path, 1, is_whole=False):
        function, line = _load(text, path)
    with _told(path, line, is_whole=False):
        frames = {
            name: pl.scan_parquet(f"{folder}/{name}.parquet", schema=_schema(empty), glob=False)
            for name, empty in relations.items()
        }
        _frame(function, line, frames, month).sink_parquet(
            f"{folder}/{OUTPUT}", compression="lz4", row_group_size=_GROUP_ROWS
        )


def _schema(empty: pa.Table) -> pl.Schema:
    import polars as pl  # noqa: PLC0415 -- in the child alone

    frame = pl.from_arrow(empty)
    assert isinstance(frame, pl.DataFrame)
    return frame.schema


def _frame(function: Callable[..., Any], line: int, frames: Mapping[str, pl.LazyFrame], month: str) -> pl.LazyFrame:
    """What the function yields."""
    import polars as pl  # noqa: PLC0415 -- in the child alone

    takes_month = _MONTH in inspect.signature(function).parameters
    found = function(**frames, **({_MONTH: month} if takes_month else {}))
    if not isinstance(found, pl.LazyFrame):
        raise FileFaultError(line, f"{NAME} gives a {type(found).__name__}; let it give a LazyFrame")
    return found


def _load(text: str, path: str) -> tuple[Callable[..., Any], int]:
    """The file's function and its line."""
    module = ModuleType("projection")
    module.__file__ = path
    sys.modules[module.__name__] = module  # where classes of the file are looked for
    exec(compile(text, path, "exec"), module.__dict__)  # noqa: S102 -- the person's own file, in a process for it
    function = getattr(module, NAME, None)
    if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
        raise FileFaultError(1, f"there is no `def {NAME}(events)` in it")
    return function, function.__code__.co_firstlineno


@contextmanager
def _told(path: str, line: int, *, is_whole: bool) -> Iterator[None]:
    """Tell an error of the file by its line there, else by `line`; without what it says unless `is_whole`."""
    try:
        yield
    except (FileFaultError, MemoryError):
        raise
    except SyntaxError as error:
        raise FileFaultError(error.lineno or 1, f"SyntaxError: {error.msg}") from None
    except BaseException as error:  # noqa: BLE001 -- a panic of Polars (PyO3/pyo3#2783) and an exit are no `Exception`
        own = [each.lineno for each in traceback.extract_tb(error.__traceback__) if each.filename == path]
        says = str(error).strip().split("\n\n", maxsplit=1)[0].replace("\n", " ")
        reason = f"{type(error).__name__}{f': {says[:_SHOWN]}' if is_whole and says else ' …'}"
        raise FileFaultError((own[-1] if own else None) or line, reason) from None
