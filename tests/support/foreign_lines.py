"""Run lines of foreign files, and readings of such files that share nothing with the forms."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_lines import form_lines
from pipelines.ingest.forms.form import Options, form_named
from tests.support import foreign


def foreign_lines(
    form: str, files: Sequence[Path], folder: Path, tally: Tally | None = None, **options: Any
) -> list[dict[str, Any]]:
    """The run lines of files, as JSON gives them back."""
    private = folder / f"records-{uuid4().hex}"
    private.mkdir(parents=True)
    made = form_lines(
        form_named(form, folder), files, Options(folder=private, **options), Tally() if tally is None else tally
    )
    lines = [json.loads(json.dumps(line)) for line in made]
    assert not list(private.iterdir()), "something was left in the private folder"
    private.rmdir()
    return lines


def refusal(form: str, text: str, folder: Path) -> str:
    """What is said of a file `log.jsonl` that is refused."""
    path = folder / "log.jsonl"
    path.write_text(text)
    with pytest.raises(BadInputError, match=r"log\.jsonl") as caught:
        foreign_lines(form, [path], folder)
    return str(caught.value)


def written(path: Path, *values: Any) -> Path:
    """A file of JSON lines, in a folder that is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return foreign.written(path, values)


def raw_values(path: Path) -> Iterator[Any]:
    """Every JSON value of a file: a document, lines, or the items of a session."""
    data = path.read_bytes()
    if data.startswith(b"SQLite"):
        store = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        yield from ({"item": json.loads(row[0]), "created_at": row[1]} for row in store.execute(
            "SELECT message_data, created_at FROM agent_messages ORDER BY id"
        ))  # fmt: skip
        store.close()
        return
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    try:
        yield json.loads(text)
    except ValueError:
        yield from (json.loads(line) for line in text.splitlines() if line.strip())
