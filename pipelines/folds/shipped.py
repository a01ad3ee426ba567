"""The folds that are shipped: their names, their SQL, and what its headers say. Nothing here folds."""

from __future__ import annotations

import re
from functools import cache

from pipelines.errors import BadInputError
from pipelines.sqlfiles import read_sql

PROJECTIONS = ("utterances", "tool_calls", "decisions", "conversation_months", "call_months", "customer_months")
"""The shipped projections, each named after its dataset and its file in `sql/folds/`."""

FOLDS = (*PROJECTIONS, "snapshots", "customer_snapshots")
"""What is folded of every month: the projections, and what later months go on from."""


def projection_query(name: str) -> str:
    """The SELECT of a projection: the data columns of its dataset, in its order; it reads what `prepare_month` made.

    Raises:
        BadInputError: There is no such projection.
    """
    return _projection(name).strip().rstrip(";")


def is_by_stream(name: str) -> bool:
    """Whether the projection can run on each batch of streams by itself."""
    return re.search(r"^-- batch: streams$", _projection(name), re.MULTILINE) is not None


@cache
def steps_of(name: str) -> tuple[str, ...]:
    """The steps that a projection's header names; which there are, `steps` knows.

    Raises:
        BadInputError: There is no such projection, or its header names none.
    """
    match = re.search(r"^-- steps: (.+)$", _projection(name), re.MULTILINE)
    if match is None:
        raise BadInputError(f"sql/folds/{name}.sql: the header needs `-- steps:`, which says what it reads")
    return tuple(step.strip() for step in match[1].split(","))


def _projection(name: str) -> str:
    if name not in FOLDS:
        raise BadInputError(f"no fold named {name!r}; there are: {', '.join(FOLDS)}")
    return read_sql(f"folds/{name}.sql")
