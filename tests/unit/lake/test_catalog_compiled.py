"""The catalog of a lake without rows is made once, like a compiled module: what is kept is used where it is right, and never relied upon."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import pytest

from pipelines.lake import catalog
from pipelines.lake.catalog import publish_catalog
from pipelines.lake.lake import Lake


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where it goes, as where modules do; each `_published` is a process of its own."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "compiled"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(catalog, "_without_rows", catalog._without_rows.__wrapped__)
    return tmp_path / "compiled"


@pytest.fixture
def written(monkeypatch) -> list[int]:
    """How many scripts were executed, by catalog that was written."""
    counts: list[int] = []
    write = catalog._write

    def counted(path, scripts):
        counts.append(len(scripts))
        write(path, scripts)

    monkeypatch.setattr(catalog, "_write", counted)
    return counts


def _published(folder: Path) -> list[tuple[str, str, str]]:
    """The first catalog of an empty home, as a client sees it: relations, columns, what they mean."""
    path = folder / "lake.duckdb"
    path.unlink(missing_ok=True)
    publish_catalog(Lake(folder / "lake"), path)
    with duckdb.connect(path, read_only=True) as client:
        return client.sql("SELECT table_name, column_name, comment FROM duckdb_columns() ORDER BY ALL").fetchall()


def test_it_is_made_once(kept, written, tmp_path):
    """The next process begins with what is kept, and what it publishes is the same; a damaged one is made anew and put right."""
    made = _published(tmp_path)
    assert sum(comment is not None for _, _, comment in made) > 900
    assert len(written) == 2, "one without rows, and the home's"
    (file,) = kept.rglob("*.duckdb")
    whole = file.read_bytes()
    assert (_published(tmp_path), len(written)) == (made, 3)
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert (_published(tmp_path), len(written)) == (made, 5)
    assert _published(tmp_path) == made
    assert len(written) == 6


def test_where_nothing_may_be_written_nothing_is(kept, tmp_path, monkeypatch):
    """As of modules: where Python is told to keep none, or the folder cannot be made; what is of another release is not taken."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = _published(tmp_path)
    assert not kept.exists()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    kept.write_text("a file")
    assert _published(tmp_path) == made
    kept.unlink()
    catalog._without_rows()
    (file,) = kept.rglob("*.duckdb")
    monkeypatch.setattr(duckdb, "__version__", "another")
    before = file.read_bytes()
    catalog._without_rows()
    assert file.read_bytes() != before
