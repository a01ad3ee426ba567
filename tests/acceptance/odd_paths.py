"""Every sign that a home's or a lake's path may have, by itself: import, export, fold, sql, ab, verify, vacuum.

`python -m pytest -n 0 tests/acceptance/odd_paths.py`: about 10 s a path on an idle machine.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_odd_paths import ALL_SIGNS, Refold, folder, go_through, readable_by_others
from tests.unit.test_paths import TAKEN

__all__ = ["folder"]


@pytest.mark.parametrize("name", [*TAKEN, "x" * 255, "/".join(["deep" * 20] * 12), ALL_SIGNS])
def test_a_home(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A home of that name."""
    go_through(Refold(str(folder / name), monkeypatch, capsys), folder)
    assert readable_by_others(folder / name) == {}


@pytest.mark.parametrize("name", ["a b", "it's", 'a"b', "é", "100%", "{x,y}", "x" * 255])
def test_a_lake_elsewhere(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plain home whose lake is elsewhere, behind a link."""
    (folder / name).mkdir()
    (folder / "link").symlink_to(folder / name)
    refold = Refold(str(folder / "home"), monkeypatch, capsys)
    monkeypatch.setenv("REFOLD_LAKE", str(folder / "link" / "lake"))
    go_through(refold, folder)
    assert readable_by_others(folder / name / "lake") == {}
