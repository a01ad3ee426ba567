"""The code that documents show, as files: what a reader would have after copying it."""

from __future__ import annotations

import re
from pathlib import Path

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_FILE = re.compile(r"^```python\n# (\w+\.py).*?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_QUERY = re.compile(r"^```sql\n-- (\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def write_documented(document: str, folder: Path) -> list[str]:
    """Write the Python files of a document, whose first line is their name; gives the names, without `.py`, in its order."""
    files = _FILE.findall((_DOCS / document).read_text(encoding="utf-8"))
    for name, text in files:
        (folder / name).write_text(text, encoding="utf-8")
    return [Path(name).stem for name, _ in files]


def documented_queries(document: str) -> dict[str, str]:
    """The queries of a document, by the name in their first line, in its order."""
    return dict(_QUERY.findall((_DOCS / document).read_text(encoding="utf-8")))
