"""Homes whose paths have signs that some program or other reads as its own, and the way through all verbs in one."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.verbs import run_verb

TAKEN = [
    "a b",
    "it's",
    'a"b',
    "é",
    "e\u0301",
    "😀",
    "100%",
    "%",
    "a%2",
    "%zz",
    "a&b",
    "a;b",
    "a$b",
    "-lead",
    "dot.",
    "~",
    "{x,y}",
    "a:b",
    "@+!()<>`",
]


class Refold:
    """Runs verbs in this process on one home, whose store is its own server."""

    def __init__(self, home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        monkeypatch.setenv("REFOLD_HOME", home)
        for name in ("REFOLD_DSN", "REFOLD_LAKE", "REFOLD_SHARED", "REFOLD_DEBUG"):
            monkeypatch.delenv(name, raising=False)

    def __call__(self, *arguments: str) -> dict[str, Any]:
        """The verb's JSON; it must end well."""
        code = run_verb(self._monkeypatch, *arguments, "--json")
        printed = self._capsys.readouterr()
        assert code == 0, printed.err
        answer: dict[str, Any] = json.loads(printed.out)
        return answer


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
