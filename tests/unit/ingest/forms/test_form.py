"""Forms by their names, one's own importers, and files told by how they begin."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.forms.form import form_named, forms, head_of, own_importers
from pipelines.ingest.forms.recognition import recognised
from tests.support.formats import samples
from tests.unit.ingest.forms.own_importer import OWN

ENDINGS = (".csv", ".parquet", ".eval", ".db", ".json", ".jsonl", ".gz")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with an importer of its own."""
    (tmp_path / "importers").mkdir()
    (tmp_path / "importers" / "tickets.py").write_text(OWN)
    return tmp_path


def test_every_sample_is_told(shared_data: Path, tmp_path: Path) -> None:
    """Each file is told by its content: its name is another one here, but for what kind of file it is."""
    told, known = {}, {}
    for number, sample in enumerate(samples(shared_data)):
        last = [each for each in Path(sample.name).suffixes if each in ENDINGS]
        path = tmp_path / f"f{number}{''.join(last)}"
        path.symlink_to(sample.path)
        known[sample.name] = sample.importer
        ((form, _),) = recognised([path], tmp_path)
        told[sample.name] = form.name
    assert told == known


def test_own_importers_come_first(home: Path) -> None:
    """A file in REFOLD_HOME/importers is a form by its name, and is asked before those that are shipped."""
    assert list(own_importers(home)) == ["tickets"]
    assert next(iter(forms(home))).name == form_named("tickets", home).name == "tickets"
    path = home / "t.jsonl"
    path.write_text(json.dumps({"ticket": 7, "said": ["hi", "ho"]}))
    assert [(form.name, paths) for form, paths in recognised([path], home)] == [("tickets", (path,))]


def test_an_importer_that_fails(home: Path) -> None:
    """One that cannot be loaded, or has no FORM, is named with what is wrong."""
    (home / "importers" / "broken.py").write_text("1 / 0")
    (home / "importers" / "empty.py").write_text("")
    with pytest.raises(BadInputError, match=r"broken\.py cannot be loaded: ZeroDivisionError"):
        form_named("broken", home)
    with pytest.raises(BadInputError, match=r"empty\.py must have a FORM with name, recognises, groups, adapt"):
        form_named("empty", home)
    with pytest.raises(BadInputError, match=r"there is no form 'x'; there are otlp, .*, broken, empty, tickets"):
        form_named("x", home)


def test_a_file_of_no_form(tmp_path: Path) -> None:
    """What no form knows is refused by name; so is what is no file."""
    path = tmp_path / "x.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(BadInputError, match=r"x\.csv is of no form that is known by its beginning"):
        recognised([path], tmp_path)
    with pytest.raises(BadInputError, match="is no file"):
        recognised([tmp_path], tmp_path)


@pytest.mark.parametrize("is_packed", [False, True])
def test_heads(tmp_path: Path, is_packed: bool) -> None:
    """The values that begin and end in the first mebibyte, of a file that may be cut there."""
    path = tmp_path / "f"
    data = b'\xef\xbb\xbf {"a": 1}\n\n[2]\n{"b": "' + b"x" * 2_000_000 + b'"}'
    path.write_bytes(gzip.compress(data) if is_packed else data)
    head = head_of(path)
    assert head.values == [{"a": 1}, [2]]
    assert head.first == {"a": 1}
    assert head.names("a", "b")
    assert not head.names("a", "c")


@pytest.mark.parametrize("data", [b"", b"\n \n", gzip.compress(b"")], ids=["nothing", "blank", "gz"])
def test_an_empty_file_is_said_to_be_empty(data: bytes, tmp_path: Path) -> None:
    """Nothing is no form that is not known."""
    (tmp_path / "empty.jsonl").write_bytes(data)
    with pytest.raises(BadInputError, match=r"empty\.jsonl is empty"):
        recognised([tmp_path / "empty.jsonl"], tmp_path)
