"""What every form must do, held to one small log of each: counts, unknown fields, spellings of a file, growth."""

from __future__ import annotations

import codecs
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.forms.recognition import recognised
from tests.support.foreign_lines import foreign_lines
from tests.support.langfuse_rows import a_session
from tests.support.langsmith_runs import a_thread
from tests.support.small_logs import LOGS, Log

NAMES = pytest.mark.parametrize("name", LOGS)


def written(path: Path, log: Log, values: list[Any] | None = None, indent: int | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value, indent=indent) + "\n" for value in values or log.values))
    return path


@NAMES
def test_what_was_said_is_counted(name: str, tmp_path: Path) -> None:
    """The file tells its form, and holds what somebody counts who reads it; every scalar is somewhere."""
    log = LOGS[name]
    path = written(tmp_path / "log.json", log)
    ((form, files),) = recognised([path], tmp_path)
    assert (form.name, files) == (log.form, (path,))
    tally = Tally()
    lines = foreign_lines(log.form, [path], tmp_path, tally)
    assert (tally.user, tally.agent_text, tally.tool_calls, tally.tool_results) == log.said
    assert (tally.conversations, tally.open_tool_calls) == (1, 0)
    assert min(tally.mapped, tally.kept, tally.repeated) >= 0
    calls = [call["id"] for line in lines for each in line["messages"] for call in each.get("tool_calls") or ()]
    results = [each["tool_call_id"] for line in lines for each in line["messages"] if each["role"] == "tool"]
    assert len(set(calls)) == len(calls)
    assert sorted(results) == sorted(calls)


def marked(value: Any, marks: dict[str, str], path: str = "$") -> Any:
    """A value with a field of a name and a value of its own in each of its objects; those and their places are added to `marks`."""
    if isinstance(value, dict):
        inner = {key: marked(each, marks, f"{path}.{key}") for key, each in value.items()}
        number = len(marks)
        marks[f"mark {number} of many"] = path
        return {**inner, f"unknown_{number}": f"mark {number} of many"}
    if isinstance(value, list):
        return [marked(each, marks, f"{path}[{n}]") for n, each in enumerate(value)]
    return value


@NAMES
def test_a_field_that_no_form_knows_is_kept(name: str, tmp_path: Path) -> None:
    """Of every object of a log, and every one inside of it: what is not mapped is in the run lines nevertheless."""
    marks: dict[str, str] = {}
    log = LOGS[name]
    path = written(tmp_path / "log.json", log, [marked(value, marks, f"{n}") for n, value in enumerate(log.values)])
    text = json.dumps(foreign_lines(log.form, [path], tmp_path))
    assert [path for mark, path in marks.items() if f'"{mark}"' not in text and f'\\"{mark}\\"' not in text] == []


def said(lines: list[dict[str, Any]]) -> list[Any]:
    return [{key: value for key, value in line.items() if key != "records"} for line in lines]


@NAMES
def test_spellings_of_one_file(name: str, tmp_path: Path) -> None:
    """A byte order mark, ends of lines as Windows writes them, blank lines, gzip and indentation change nothing."""
    log = LOGS[name]
    plain = written(tmp_path / "log.json", log)
    expected = said(foreign_lines(log.form, [plain], tmp_path))
    others = {
        "bom": codecs.BOM_UTF8 + plain.read_bytes(),
        "crlf": plain.read_bytes().replace(b"\n", b"\r\n\r\n"),
        "packed": gzip.compress(plain.read_bytes()),
    }
    if log.is_document:
        others["indented"] = written(tmp_path / "indented" / "log.json", log, indent=2).read_bytes()
    for each, data in others.items():
        path = tmp_path / each / ("log.json.gz" if each == "packed" else "log.json")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        assert recognised([path], tmp_path)[0][0].name == log.form, each
        assert said(foreign_lines(log.form, [path], tmp_path)) == expected, each


@NAMES
def test_other_encodings_are_named(name: str, tmp_path: Path) -> None:
    """A file that is no UTF-8 is refused, and what is said of it says so."""
    log = LOGS[name]
    plain = written(tmp_path / "log.json", log)
    plain.write_bytes(plain.read_text().encode("utf-16"))
    with pytest.raises(BadInputError, match="UTF-8"):
        recognised([plain], tmp_path)
    with pytest.raises(BadInputError, match="UTF-8"):
        foreign_lines(log.form, [plain], tmp_path)


@pytest.mark.parametrize(
    ("form", "rows", "order"), [("langfuse", a_session(), "endTime"), ("langsmith", a_thread(), "end_time")]
)
def test_a_window_may_end_anywhere(form: str, rows: list[dict[str, Any]], order: str, tmp_path: Path) -> None:
    """An export that ends between a tool and the call that was sent its answer goes on in the next one: nothing is told otherwise."""
    rows = sorted(rows, key=lambda row: str(row.get(order)))
    before: list[Any] = []
    for count in range(1, len(rows) + 1):
        path = tmp_path / f"{count}.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows[:count]))
        lines = foreign_lines(form, [path], tmp_path)
        messages = lines[0]["messages"]
        assert messages[: len(before)] == before, count
        before = messages
    assert [each["role"] for each in before] == ["user", "assistant", "tool", "assistant"]
