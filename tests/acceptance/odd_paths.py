"""Every sign that a home's or a lake's path may have, by itself: import, export, fold, sql, ab, verify, vacuum.

`python -m pytest -n 0 tests/acceptance/odd_paths.py`: about 10 s a path on an idle machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.odd_paths import ALL_SIGNS, TAKEN, Refold, go_through, readable_by_others


@pytest.mark.parametrize("name", [*TAKEN, "x" * 255, "/".join(["deep" * 20] * 5), ALL_SIGNS])
def test_a_home(
    name: str, open_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A home of that name."""
    go_through(Refold(str(open_folder / name), monkeypatch, capsys), open_folder)
    assert readable_by_others(open_folder / name) == {}


@pytest.mark.parametrize("name", ["a b", "it's", 'a"b', "é", "100%", "{x,y}", "x" * 255, "/".join(["deep" * 20] * 12)])
def test_a_lake_elsewhere(
    name: str, open_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain home whose lake is elsewhere, behind a link."""
    (open_folder / name).mkdir(parents=True)
    (open_folder / "link").symlink_to(open_folder / name)
    refold = Refold(str(open_folder / "home"), monkeypatch, capsys)
    monkeypatch.setenv("REFOLD_LAKE", str(open_folder / "link" / "lake"))
    go_through(refold, open_folder)
    assert readable_by_others(open_folder / name / "lake") == {}
