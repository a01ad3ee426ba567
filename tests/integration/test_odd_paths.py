"""A home whose path has every sign that is taken: all goes through, and nothing in it can be read by others.

`python -m pytest -n 0 tests/acceptance/odd_paths.py` does the same for each sign by itself.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.store import EmbeddedServer
from tests.support.odd_paths import ALL_SIGNS, Refold, go_through, readable_by_others


def test_a_home_with_every_sign(open_folder, monkeypatch, capsys):
    """All signs in one path, named relative to where one stands and with a slash at its end."""
    before = os.umask(0o022)
    monkeypatch.chdir(open_folder)
    try:
        with EmbeddedServer(open_folder / ALL_SIGNS):  # as any other program makes a home; held, so that it starts once
            go_through(Refold(f"{ALL_SIGNS}/", monkeypatch, capsys), open_folder)
    finally:
        os.umask(before)
    assert readable_by_others(open_folder / ALL_SIGNS) == {}
    assert {path.name for path in open_folder.iterdir()} == {Path(ALL_SIGNS).parts[0], "chat.jsonl", "same.yaml"}
