"""Files of a form as run lines: the accounting, the files that are written, and what is said of bad ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_files import import_form
from pipelines.ingest.form_lines import form_lines, line_bytes
from pipelines.ingest.forms.form import Options, form_named
from pipelines.ingest.reading.strict_json import parse
from tests.support.formats import Sample, read_lines, samples
from tests.unit.ingest.forms.own_importer import OWN

AT = datetime(2026, 3, 1, tzinfo=UTC)


def lines_of(sample: Sample, folder: Path, tally: Tally) -> list[dict[str, Any]]:
    form = form_named(sample.importer, folder)
    folder.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=folder) as own:
        return list(form_lines(form, [sample.path], Options(folder=Path(own)), tally))


def test_every_leaf_is_accounted_for(shared_data: Path, tmp_path: Path) -> None:
    """Of every sample: no leaf is mapped that is not there, and none is lost."""
    for sample in samples(shared_data):
        tally = Tally()
        lines = lines_of(sample, tmp_path / "w", tally)
        counted = tally.as_json()["leaves"]
        assert min(counted.values()) >= 0, sample.name
        assert sum(counted.values()) == tally.leaves > 0, sample.name
        assert len(lines) == tally.streams, sample.name


@pytest.fixture
def tickets(tmp_path: Path) -> Path:
    """A home with an importer of its own, and a file for it."""
    (tmp_path / "importers").mkdir()
    (tmp_path / "importers" / "tickets.py").write_text(OWN)
    rows = [{"ticket": n, "said": ["hi", f"ho {n}\u2028"], "shop": {"till": n}} for n in range(3)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def test_a_dry_run_writes_lines(tickets: Path) -> None:
    """`--to-lines` shows the lines without a store, and nothing else stays in the home."""
    form, output = form_named("tickets", tickets), tickets / "out.jsonl"
    done = import_form(None, form, [tickets / "t.jsonl"], Options(source="shop"), home=tickets, to_lines=output)
    assert done.result is None
    assert done.read.tally.as_json() | {"form": done.read.form} == {
        "form": "tickets",
        "conversations": 3,
        "streams": 3,
        "model_calls": 0,
        "wrapper_calls": 0,
        "system": 0,
        "user": 3,
        "agent_text": 3,
        "tool_calls": 0,
        "tool_results": 0,
        "tool_results_of_spans": 0,
        "tool_calls_without_result": 0,
        "tokens": [0, 0],
        "models": [],
        "history": {},
        "conversations_without_id": 0,
        "calls_without_content": 0,
        "content_switches": [],
        "duplicates": 0,
        "leaves": {"mapped": 9, "kept": 3, "repeated": 0},
    }
    lines = list(read_lines(output))
    assert [line["conversation_id"] for line in lines] == ["0", "1", "2"]
    assert [line["messages"][1]["content"] for line in lines] == [f"ho {n}\u2028" for n in range(3)]
    assert all(line["source"] == "shop" for line in lines)
    assert [list(line["records"].values()) for line in lines] == [[{"shop": {"till": n}}] for n in range(3)]
    assert "\u2028" not in output.read_text()
    assert sorted(path.name for path in tickets.iterdir()) == ["importers", "out.jsonl", "t.jsonl"]


def test_a_file_that_is_not_there(tickets: Path) -> None:
    """All files must be readable before any is read."""
    form = form_named("tickets", tickets)
    with pytest.raises(BadInputError, match=r"cannot read .*nowhere"):
        import_form(None, form, [tickets / "t.jsonl", tickets / "nowhere"], Options(), home=tickets)


@pytest.mark.parametrize(
    "value", [{"a": "\ud800"}, {"a": 2**70}, {"a": "\u2028\x85\u2029 é"}, {"a": [1.5, None, True]}]
)
def test_lines_are_json(value: Any) -> None:
    """What is written is read as the same, on one line for every reader; half a surrogate pair is escaped."""
    text = line_bytes(value)
    assert json.loads(text) == value
    assert len(text.decode().splitlines()) == 1


def test_what_is_written_is_what_an_import_reads() -> None:
    """Numbers come back as they were."""
    value = {"a": [0.1, 1e16, 1e-7, 123456789012345678]}
    assert parse(line_bytes(value).decode()).value == value
