"""The table of faults of other people's reports, by command: a few quick rows of `tests/acceptance/faults.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance import faults


def test_quick_rows_are_right(shared_data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """What can be read once is imported, and a time that is none is refused with its place."""
    assert (shared_data / "cases").is_dir()
    assert faults.main(["08", "09c", "--shared", str(shared_data.parent)]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [line.split("  ")[:2] for line in lines[:-1]] == [["ok", "08 pipe"], ["ok", "09c day number"]]
    assert lines[-1] == "2 rows: 2 ok, 0 wrong"


def test_what_is_seen_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row with anything else than what is right is wrong, with both told, and so is one that cannot read what was printed."""
    (tmp_path / "data" / "cases").mkdir(parents=True)
    (tmp_path / "data" / "cases" / "README.md").touch()
    seen = {
        "good": lambda _: [("units", (1, "a b"), (1, faults.re.compile("^a")))],
        "bad": lambda _: [("units", 8, 9)],
        "odd": lambda _: {}["x"],
    }
    monkeypatch.setattr(faults, "ROWS", seen)
    assert faults.main(["--shared", str(tmp_path)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in told] == ["ok", "WRONG", "WRONG", "3 rows: 1 ok, 2 wrong"]
    assert "units: 8, right is 9" in told[1]
    assert faults.main(["good", "--shared", str(tmp_path)]) == 0


def test_without_the_cases_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence with the folder, and exit code 2."""
    assert faults.main(["--shared", str(tmp_path)]) == 2
    assert (
        capsys.readouterr().err
        == f"there are no cases in {tmp_path}/data/cases: name the folder that holds data/cases with --shared\n"
    )
