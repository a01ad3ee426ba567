"""Templates are compiled once, like modules: what is kept is used where it is right, and never relied upon."""

from __future__ import annotations

import sys
from pathlib import Path

import jinja2
import pytest

from pipelines.review import markup


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where compiled templates go, as where modules do; each call of what this gives is a process of its own."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "compiled"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(markup, "_environment", markup._environment.__wrapped__)
    return tmp_path / "compiled"


def compiled(monkeypatch) -> list[str]:
    """The templates that are compiled from now on."""
    names: list[str] = []
    compile_template = jinja2.Environment.compile

    def compiling(self, source, name=None, *args, **named):
        names.append(name)
        return compile_template(self, source, name, *args, **named)

    monkeypatch.setattr(jinja2.Environment, "compile", compiling)
    return names


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.jinja"))


def test_a_template_is_compiled_once(kept, monkeypatch):
    """The next process fills it as it was kept; of another template, or by another module, there is another file."""
    names = compiled(monkeypatch)
    page = markup.style_sheet()
    assert "style.html" in names
    assert len(files(kept)) == len(set(names))
    names.clear()
    assert (markup.style_sheet(), names) == (page, [])
    monkeypatch.setattr(jinja2, "__version__", "another")
    assert (markup.style_sheet(), bool(names)) == (page, True)


@pytest.mark.parametrize("damage", [b"", b"nothing like it", None])
def test_what_is_kept_and_damaged_is_compiled_anew(kept, damage, monkeypatch):
    """A file that is empty, another's, or cut short is no reason to fail, and is put right."""
    page = markup.style_sheet()
    (file, *_) = files(kept)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    assert markup.style_sheet() == page
    assert file.read_bytes() == whole
    names = compiled(monkeypatch)
    assert (markup.style_sheet(), names) == (page, [])


def test_where_nothing_may_be_written_nothing_is(kept, monkeypatch):
    """As of modules: where Python is told to keep none, or the folder cannot be made."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    page = markup.style_sheet()
    assert not kept.exists()
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    kept.write_text("a file")
    assert markup.style_sheet() == page
