"""A home whose path has every sign that is taken: all goes through, and nothing in it can be read by others.

`python -m pytest -n 0 tests/acceptance/odd_paths.py` does the same for each sign by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from pipelines import cli
from pipelines.store import EmbeddedServer

LINES = [
    {
        "source": "shop",
        "conversation_id": f"c{number}",
        "started_at": "2026-01-05 12:00:00",
        "messages": [
            {"role": "system", "content": "You are the shop's agent."},
            {"role": "user", "content": f"Refund {number}"},
            {
                "role": "assistant",
                "tool_calls": [{"id": "c", "function": {"name": "refund", "arguments": {"id": number}}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "ok"},
            {"role": "assistant", "content": "Done."},
        ],
    }
    for number in range(2)
]
ECHO = "experiment: same\nbaseline: {recorded: {}}\ncandidate: {echo: true}\nmode: decision\n"
ALL_SIGNS = 'it\'s "ä" e\u0301 😀 100% a%2 &;$~ {x,y} +@!()<>`:/-h. .'


class Refold:
    """Runs verbs in this process on one home."""

    def __init__(self, home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setenv("REFOLD_HOME", home)
        for name in ("REFOLD_DSN", "REFOLD_LAKE", "REFOLD_SHARED", "REFOLD_DEBUG"):
            monkeypatch.delenv(name, raising=False)

    def __call__(self, *arguments: str) -> dict:
        """The verb's JSON; it must end well."""
        self._monkeypatch.setattr(sys, "argv", ["refold", *arguments, "--json"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = self._capsys.readouterr()
        assert not ended.value.code, printed.err
        return json.loads(printed.out)


def go_through(refold: Refold, folder: Path) -> None:
    """Import, export, fold, query, compare, verify, sweep."""
    (folder / "chat.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES), encoding="utf-8")
    (folder / "same.yaml").write_text(ECHO, encoding="utf-8")
    assert refold("import", "chat", str(folder / "chat.jsonl"))["conversations"] == 2
    for verb in ("export", "fold"):
        assert [month["month"] for month in refold(verb)["months"]] == ["2026-01"]
    assert refold("sql", "SELECT name, count(*) AS n FROM tool_calls GROUP BY 1")["rows"] == [
        {"name": "refund", "n": 2}
    ]
    assert refold("ab", str(folder / "same.yaml"))["is_written"]
    audit = refold("verify")
    assert (audit["integrity"], audit["completeness"]) == ("holds", "holds")
    assert not refold("vacuum")["is_dry_run"]
    assert refold("sql", "SELECT count(*) AS n FROM events")["rows"] == [{"n": 10}]


def readable_by_others(home: Path) -> dict[str, str]:
    """Modes of what another account may do something with. As root the server's account passes the home itself."""
    found = {}
    for path in [home, *home.rglob("*")]:
        mode = stat.S_IMODE(path.lstat().st_mode)
        allowed = stat.S_IXOTH if path == home and os.geteuid() == 0 else 0
        if mode & 0o077 & ~allowed and not path.is_symlink() and not stat.S_ISSOCK(path.lstat().st_mode):
            found[str(path)] = oct(mode)
    return found


@pytest.fixture
def folder():
    """A folder outside of pytest's, which takes others' access to its own away whenever a session starts: as root, the server's."""
    made = Path(tempfile.mkdtemp(prefix="refold-paths-"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


def test_a_home_with_every_sign(folder, monkeypatch, capsys):
    """All signs in one path, named relative to where one stands and with a slash at its end."""
    before = os.umask(0o022)
    monkeypatch.chdir(folder)
    try:
        with EmbeddedServer(folder / ALL_SIGNS):  # as any other program makes a home; held, so that it starts once
            go_through(Refold(f"{ALL_SIGNS}/", monkeypatch, capsys), folder)
    finally:
        os.umask(before)
    assert readable_by_others(folder / ALL_SIGNS) == {}
    assert {path.name for path in folder.iterdir()} == {Path(ALL_SIGNS).parts[0], "chat.jsonl", "same.yaml"}
