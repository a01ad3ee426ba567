"""The SQL views over the datasets: `sql/views/*.sql`, one file per view, named after it.

A file begins with a comment header: `-- of:` the dataset whose columns (and their descriptions) the view shows,
`-- grain:` what one row is. Views are created in the order of `-- after:` (a view that must exist already), then by name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from pipelines.errors import RefoldError
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import find_dataset
from pipelines.sqlfiles import list_sql

_HEADER = re.compile(r"^-- (\w+): (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class View:
    """One view: its name, what one row is, the dataset it shows, and its query."""

    name: str
    grain: str
    dataset: Dataset
    query: str


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
        views[path.stem] = View(path.stem, header["grain"], find_dataset(header["of"]), text.strip().rstrip(";"))
        after[path.stem] = header.get("after", "")
    return tuple(sorted(views.values(), key=lambda view: (after[view.name] != "", view.name)))
