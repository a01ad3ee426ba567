"""The file of skipped lines appears whole, and only for what was committed."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from pipelines.errors import BadInputError
from pipelines.ingest.faults import BadLineError
from pipelines.ingest.reading.bad_lines import BadLines

FAULT = BadLineError("$.a", "wrong")


def test_committed_lines_are_written_and_later_ones_dropped(tmp_path: Path) -> None:
    """After an error the file holds exactly the lines noted before the last commit, and nothing else is left over."""
    target = tmp_path / "bad.jsonl"
    with contextlib.suppress(RuntimeError), BadLines(target) as bad:
        bad.add(Path("f"), 3, FAULT, b"caf\xe9 \xf0\x9f\x98\x80")
        bad.commit()
        bad.add(Path("g"), 1, FAULT, b"lost")
        assert not target.exists()
        raise RuntimeError
    (row,) = map(json.loads, target.read_text(encoding="utf-8").splitlines())
    assert row == {"file": "f", "line": 3, "path": "$.a", "reason": "wrong", "text": "caf\\xe9 \U0001f600"}
    assert list(tmp_path.iterdir()) == [target]


def test_without_a_commit_the_old_file_stays(tmp_path: Path) -> None:
    """An import that failed leaves an earlier file as it was."""
    target = tmp_path / "bad.jsonl"
    target.write_text("old")
    with contextlib.suppress(RuntimeError), BadLines(target) as bad:
        bad.add(Path("f"), 3, FAULT, b"x")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_an_unwritable_place_is_bad_input(tmp_path: Path) -> None:
    """A folder that does not exist is named before the import begins."""
    with pytest.raises(BadInputError, match="cannot write"):
        BadLines(tmp_path / "nowhere" / "bad.jsonl")
