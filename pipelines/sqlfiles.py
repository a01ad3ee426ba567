"""Find and read the files of `sql/`: the project's SQL, JSON Schemas and other data that is not Python.

In a wheel they are inside the package (`pipelines/_sql`), in a checkout beside it. Nothing here interprets them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pipelines.errors import RefoldError


@cache
def sql_root() -> Path:
    """The folder that holds `postgres/`, `folds/`, `events/` and the others."""
    here = Path(__file__).resolve().parent
    for candidate in (here / "_sql", here.parent / "sql"):
        if candidate.is_dir():
            return candidate
    raise RefoldError(f"the sql/ folder is neither in {here} nor beside it; the installation is incomplete")


def read_sql(relative: str) -> str:
    """The text of `sql/<relative>`, for example `read_sql("folds/utterances.sql")`."""
    return (sql_root() / relative).read_text(encoding="utf-8")


def read_expression(name: str) -> str:
    """The expression of a file that selects one, for other queries to hold."""
    return "(" + read_sql(name).partition("SELECT")[2].strip() + ")"


def list_sql(folder: str, suffix: str = ".sql") -> list[Path]:
    """The files of `sql/<folder>` that end in `suffix`, in name order."""
    return sorted(path for path in (sql_root() / folder).iterdir() if path.name.endswith(suffix))
