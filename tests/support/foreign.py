"""Foreign files read by their forms, for tests: run lines and counts, without a store."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_lines import form_lines
from pipelines.ingest.forms.form import Options, form_named

NO_HOME = Path("/nowhere")
"""A home without importers of one's own."""


def lines_of(form: str, files: Sequence[Path], **options: Any) -> tuple[list[dict[str, Any]], Tally]:
    """The run lines that files come to, and what was counted."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        made = list(form_lines(form_named(form, NO_HOME), files, Options(folder=Path(folder), **options), tally))
    return made, tally


def written(path: Path, values: Iterable[Any]) -> Path:
    """A file of JSON lines, compressed where its name ends in `.gz`."""
    text = "".join(json.dumps(each) + "\n" for each in values).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path
