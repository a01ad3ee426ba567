"""What recorded texts do to a terminal: nothing. Every verb that shows some, on a real pseudo-terminal, with hostile ones."""

from __future__ import annotations

import json
import os
import sys
import threading
import unicodedata
from pathlib import Path

import pytest

from tests.support.waiting import PATIENCE

# Clears the screen, sets a title, links elsewhere, rings, overwrites, reverses, hides, and in 8 bits; markup of Rich.
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://x\x1b\\l\x08\r\x7f\x9b31m\x85\u061c\u200b\u202e\u2028\u2066\ufeff\U000e0041[bold]x[/bold]"
SHOWN = r"\x1b[2J"
"""How the beginning of it is seen."""


class Terminal:
    """The two ends of a pseudo-terminal; what is written to it is kept."""

    def __init__(self) -> None:
        self._outer, inner = os.openpty()
        self.stream = os.fdopen(inner, "w", encoding="utf-8", buffering=1, errors="strict")
        self._parts: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._outer, 1 << 16)
            except OSError:  # the inner end is closed
                return
            if not part:
                return
            self._parts.append(part)

    def close(self) -> str:
        """Everything that was written."""
        self.stream.close()
        self._reader.join(PATIENCE)
        os.close(self._outer)
        return b"".join(self._parts).decode("utf-8")


@pytest.fixture
def refold(refold, monkeypatch):
    """Run a verb on a terminal; (exit code, what the terminal got)."""

    def run(*arguments: str) -> tuple[int, str]:
        terminal = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal.stream)
            patch.setattr(sys, "stderr", terminal.stream)
            code, _, _ = refold(*arguments)
        return code, terminal.close()

    return run


def conversation(number: int, variant: str) -> dict:
    """One conversation whose every text is hostile; the variants differ."""
    arguments = {HOSTILE: HOSTILE, "n": variant}
    call = {"id": "c", "function": {"name": "look_up", "arguments": json.dumps(arguments)}}
    return {
        "source": "shop",
        "conversation_id": f"{HOSTILE}{variant}{number}",
        "agent": HOSTILE,
        "task_id": f"{number}{HOSTILE}",
        "variant": variant,
        "started_at": "2026-01-05T10:00:00",
        "messages": [
            {"role": "system", "content": HOSTILE},
            {"role": "user", "content": HOSTILE},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": HOSTILE},
            {"role": "assistant", "content": f"{HOSTILE}{variant}"},
        ],
    }


EXPERIMENT = """
experiment: shop
baseline: {recorded: {source: shop, variant: a}}
candidate: {recorded: {source: shop, variant: b}}
mode: conversation
"""
FUNCTION = "experiment: fails\nbaseline: {recorded: {source: shop, variant: a}}\ncandidate: {python: 'agent:answer'}\nmode: decision\n"
AGENT = "def answer(decision):\n    raise ValueError({text!r})\n"


def unseen(text: str) -> set[str]:
    """Characters that a terminal acts on or hides, but the ends of lines and tabs; by Unicode's categories, not our pattern."""
    return {
        character
        for character in text.replace("\r\n", "\n")
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\n\t"
    }


def test_no_verb_sends_recorded_text_raw_to_a_terminal(refold, tmp_path: Path):
    """Tables, JSON, CSV, errors, progress, file names: nothing is acted on, and what was there is seen as its code."""
    (tmp_path / "talks.jsonl").write_text(
        "".join(json.dumps(conversation(n, v)) + "\n" for n in range(2) for v in "ab"), encoding="utf-8"
    )
    (tmp_path / "x.yaml").write_text(EXPERIMENT, encoding="utf-8")
    (tmp_path / "fails.yaml").write_text(FUNCTION, encoding="utf-8")
    (tmp_path / "agent.py").write_text(AGENT.format(text=HOSTILE), encoding="utf-8")
    (tmp_path / "echo.yaml").write_text(
        "experiment: e\nbaseline: {recorded: {}}\ncandidate: {echo: true}\nmode: decision\n", encoding="utf-8"
    )
    bad = tmp_path / f"bad{HOSTILE.replace('/', '')}.jsonl"
    bad.write_text(
        json.dumps({**conversation(9, "a"), "messages": [{"role": HOSTILE, "content": 1}]}), encoding="utf-8"
    )
    (tmp_path / "fold.sql").write_text(f"-- purpose: {HOSTILE}\n-- {HOSTILE}: x\nSELECT {HOSTILE}", encoding="utf-8")
    stream = f"shop/{HOSTILE}a0"
    everything = "SELECT * FROM utterances ORDER BY ALL"
    verbs: list[tuple[str, ...]] = [
        ("import", "chat", str(tmp_path / "talks.jsonl")),
        ("import", "chat", str(bad)),
        ("import", "chat", str(tmp_path / f"none{HOSTILE.replace('/', '')}")),
        ("export",),
        ("fold",),
        ("fold", "--check", "fold.sql"),
        ("ab", "x.yaml", "--dry-run"),
        ("ab", "x.yaml"),
        ("ab", "fails.yaml"),
        ("sql", everything),
        ("sql", everything, "--json"),
        ("sql", everything, "--format", "csv"),
        ("sql", f"SELECT '{HOSTILE}' AS \"{HOSTILE}\""),
        ("sql", f"SELECT error('{HOSTILE}')"),
        ("sql", f'SELECT "{HOSTILE}"'),
        ("sql", "SELECT 1", "-o", f"none{HOSTILE.replace('/', '')}/x"),
        ("state", stream),
        ("state", stream, "--json"),
        ("state", HOSTILE),
        ("show", stream),
        ("show", stream, "--json"),
        ("show", stream, "--decision", "1"),
        ("show", HOSTILE),
        ("diffs", HOSTILE),
        ("diffs", "shop"),
        ("report", "shop"),
        ("report", HOSTILE),
        ("replan", stream, "--decision", "1", "--candidate", "echo.yaml"),
        ("replan", stream, "--decision", "1", "--candidate", "echo.yaml", "--json"),
        ("replan", stream, "--decision", "1", "--candidate", "fails.yaml"),
        ("tools", "suggest"),
        ("events", "show", HOSTILE),
        ("verify", "--deep"),
        ("seal", HOSTILE),
        ("export", "--month", HOSTILE),
        ("db", "status"),
        (HOSTILE,),
        ("sql", f"--{HOSTILE}"),
    ]
    seen = 0
    for verb in verbs:
        _, printed = refold(*verb)
        assert not unseen(printed), (verb, unseen(printed))
        assert printed
        seen += SHOWN in printed or r"\u001b[2J" in printed
    assert seen >= 12  # the texts were there to be seen
    rows = json.loads(refold("sql", everything, "--json")[1])["rows"]
    assert any(row["text"] == HOSTILE for row in rows)
