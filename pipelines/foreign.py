"""What an exception of a library means to a person: one sentence, its cause, and what to do.

The verbs' own errors say all that in their message; those of DuckDB, Delta, Arrow, PostgreSQL, SQLite, Dagster, marimo
and the system do not, and their traces hide it. This is the one place that puts them into words; `REFOLD_DEBUG=1` or
`--debug` shows the trace beside it. Classes are known by their names, so that nothing is imported to be looked for.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.errors import RefoldError

MORE_MEMORY = "more memory is needed than REFOLD_MEMORY (default 1GB) allows; set a larger one, for example 2GB"
_MOST = 400
"""Characters of a library's own words that are shown."""
_BLANKS = re.compile(r"\s+")
_WHAT = {
    "duckdb": "DuckDB",
    "_duckdb": "DuckDB",
    "deltalake": "the Delta table",
    "_internal": "the Delta table",
    "pyarrow": "Arrow",
    "psycopg": "PostgreSQL",
    "adbc_driver_manager": "PostgreSQL",
    "sqlite3": "SQLite",
    "sqlalchemy": "the database of Dagster",
    "alembic": "the database of Dagster",
    "dagster": "Dagster",
    "marimo": "marimo",
    "polars": "Polars",
    "aiohttp": "the network",
    "yaml": "YAML",
    "jinja2": "a page's template",
    "pyo3_runtime": "a library in Rust",
}


_LAKE = ("duckdb", "_duckdb", "deltalake", "_internal", "pyarrow")
_SQL = ("sqlalchemy", "sqlite3", "alembic")
_WRAPPERS = ("dagster", "sqlalchemy", "alembic")
"""Packages whose exceptions say less than what they came from."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A kind of failure: by the system's number or by the library's words, of some packages or of all."""

    says: str
    numbers: tuple[int, ...] = ()
    words: str | None = None
    packages: tuple[str, ...] = ()

    def fits(self, error: BaseException, words: str) -> bool:
        if self.packages and _package(error) not in self.packages:
            return False
        if self.numbers and getattr(error, "errno", None) in self.numbers:
            return True
        return re.search(self.words, words, re.IGNORECASE) is not None if self.words is not None else not self.numbers


_RULES = (
    _Rule(MORE_MEMORY, words=r"^(MemoryError|ArrowMemoryError|OutOfMemoryException)\b|Out of Memory Error"),
    _Rule(
        "no space is left ({words}); nothing half-written is visible. Make room and run the command again",
        (errno.ENOSPC, errno.EDQUOT),
        r"No space left on device|Disk quota exceeded|database or disk is full",
    ),
    _Rule(
        "a file or folder may not be written or read ({words}); use the account that made the home, or set REFOLD_HOME and "
        "REFOLD_LAKE to folders that this account may use, and run the command again",
        (errno.EACCES, errno.EPERM, errno.EROFS),
        r"Read-only file system|Permission denied|readonly database|Operation not permitted|unable to open database file",
    ),
    _Rule(
        "a file of the lake is not there or is damaged ({words}); `refold verify` says which files are wrong: put them back from "
        "a copy, or make the table again with `refold export` and `refold fold`",
        words=r"No such file|No files found|not found|TProtocol|magic bytes|too small|Parquet|Thrift|footer|log segment",
        packages=_LAKE,
    ),
    _Rule(
        "a database in the home is damaged ({words}); Dagster's, in `dagster/`, holds only the history of runs and may be moved "
        "away; run the command again",
        words=r"malformed|not a database|corrupt|disk image|no such table|no such column|has no column",
        packages=_SQL,
    ),
    _Rule(
        "PostgreSQL failed ({words}); see that the server is up (`refold db status`), and run the command again",
        packages=("psycopg", "adbc_driver_manager"),
    ),
)


def find_cause(error: BaseException) -> BaseException:
    """The exception that is to be put into words: a verb's own if one is in the chain, else what the wrappers came from."""
    chain = list(_chain(error))
    told = next((each for each in chain if isinstance(each, RefoldError | KeyboardInterrupt | MemoryError)), None)
    if told is not None:
        return told
    return next((each for each in chain if _package(each) not in _WRAPPERS), chain[-1])


def describe(error: BaseException) -> str:
    """One sentence on an exception that is no `RefoldError`: what failed, in its own words, and what to do."""
    words = _words(error)
    for rule in _RULES:
        if rule.fits(error, words):
            return rule.says.replace("{words}", words)
    if isinstance(error, OSError):
        return f"the system failed at it ({words}); see to that and run the command again"
    library = _WHAT.get(_package(error))
    if library is not None:
        return f"{library} failed ({words}); run the command again, with --debug for the trace"
    return f"something that was not foreseen ({words}); run it again with --debug for the trace, and report it"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and what it came from, outermost first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        original = getattr(each, "user_exception", None) or getattr(each, "orig", None)  # Dagster's, SQLAlchemy's
        each = original or each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def _package(error: BaseException) -> str:
    """The package that an exception's class comes from."""
    for kind in type(error).__mro__:
        package = kind.__module__.split(".", 1)[0]
        if package in _WHAT:
            return package
    return type(error).__module__.split(".", 1)[0]


def _words(error: BaseException) -> str:
    """The kind of an exception and its first words, on one line."""
    # Delta's and DuckDB's carry a trace or the whole statement after their first paragraph
    text = re.split(r"\n\s*(?:0:|Stack|LINE \d|\n|\[SQL|\(Background)", str(error).strip(), maxsplit=1)[0]
    text = _BLANKS.sub(" ", text).strip()
    shown = text if len(text) <= _MOST else f"{text[:_MOST]}…"
    return f"{type(error).__name__}: {shown}" if shown else type(error).__name__
