"""Folders of home and lake: what not all readers understand alike is refused at once, and nothing is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.errors import BadInputError
from pipelines.settings import Settings
from tests.support.odd_paths import TAKEN

REFUSED = [
    *("a*b", "a?b", "a[b", "a]b", "a[b]c", "a|b", "a^b", "a\\b", "month=2026-01", "a=b", "a#b"),
    *("a%20b", "a%2fb", "%C3%A9", "new\nline", "tab\tx", "a\rb", "a\x01b", "a\x7fb", "a\x85b", "a\u2028b", "a\udcffb"),
    *("x" * 256, "é" * 128, "/".join(["deep"] * 700)),
]


@pytest.mark.parametrize("variable", ["REFOLD_HOME", "REFOLD_LAKE"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_anything_is_made(variable, name, tmp_path):
    """One sentence that names the variable; the folder is not there afterwards."""
    with pytest.raises(BadInputError) as told:
        Settings.from_env({variable: f"{tmp_path}/{name}/deeper"})
    assert str(told.value).startswith(f"{variable} is ")
    assert "\n" not in str(told.value)
    assert str(told.value).isprintable()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TAKEN)
def test_taken(name, tmp_path):
    """What all of them understand is the folder that was named."""
    settings = Settings.from_env({"REFOLD_HOME": f"{tmp_path}/{name}/"})
    assert settings.home == tmp_path / name
    assert settings.lake == tmp_path / name / "lake"


def test_links_are_followed_to_what_they_name(tmp_path):
    """A link may have any plain name; what it leads to must be plain as well. A loop, a file, and a name without an account are refused."""
    (tmp_path / "a[b").mkdir()
    (tmp_path / "good").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, target in (("to_good", "good"), ("to_odd", "a[b")):
        (tmp_path / name).symlink_to(tmp_path / target)
    assert Settings.from_env({"REFOLD_HOME": str(tmp_path / "to_good")}).home == tmp_path / "to_good"
    for value in (tmp_path / "to_odd", tmp_path / "file", tmp_path / "loop", "~nobody-of-this-name/x", "a\0b"):
        with pytest.raises(BadInputError, match="REFOLD_HOME is "):
            Settings.from_env({"REFOLD_HOME": str(value)})


@pytest.mark.parametrize("sign", ["x", "é"])
def test_a_home_is_shorter_than_a_lake(sign, tmp_path):
    """SQLite opens nothing in a home whose path, or what a link in it leads to, is longer: it is refused by its bytes, with what to do."""

    def folder(size: int) -> str:
        left = size - len(f"{tmp_path}/".encode())
        names = [*["d" * 100] * (left // 101 - 1), "a" * (left % 101 + 20), sign * (80 // len(sign.encode()))]
        return f"{tmp_path}/{'/'.join(names)}"

    assert Settings.from_env({"REFOLD_HOME": folder(440)}).home == Path(folder(440))
    assert Settings.from_env({"REFOLD_HOME": "x", "REFOLD_LAKE": folder(1_200)}).lake == Path(folder(1_200))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "link").symlink_to(folder(441))
    for home in (folder(441), f"{tmp_path}/link"):
        with pytest.raises(
            BadInputError, match=r"^REFOLD_HOME is .* its path has 441 bytes, and 440 are the most; choose a shorter"
        ):
            Settings.from_env({"REFOLD_HOME": home, "REFOLD_DSN": "host=elsewhere"})


def test_relative_and_own(tmp_path, monkeypatch):
    """A relative folder is below where one stands, `~` is one's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert Settings.from_env({"REFOLD_HOME": "-x"}).home == tmp_path / "-x"
    assert Settings.from_env({"REFOLD_HOME": "~/r"}).home == tmp_path / "me" / "r"
    assert Settings.from_env({}).home == Path(tmp_path, ".refold")
