"""The recorded tools over HTTP, read by clients that are not ours: those of the `mcp` package, old and new."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.environments import python_with
from tests.support.recorded_tools import BLOCKS, LISTED, PARTS, TOOLS, RecordedTools, serving

CLIENT = Path(__file__).resolve().parents[1] / "support" / "mcp_client.py"
CALLS = [
    ("find", {"query": "same"}),
    ("find", {"query": "same"}),
    ("bare", {}),
    ("find", {"query": "json"}),
    ("find", {"query": "never"}),
]
RESULTS = [
    ("find", {"query": "same"}, "one"),
    ("find", {"query": "same"}, "two"),
    ("bare", {}, PARTS),
    ("find", {"query": "json"}, '{"result": [1.0]}'),
]
AGREED = {
    "mcp==1.30.0": {"handshake": "2025-11-25"},
    "mcp==2.3.0": {"discover": "2026-07-28", "handshake": "2025-11-25", "pinned": "2026-07-28"},
}
"""What each client agrees on, in each of its ways to connect."""


@pytest.mark.parametrize("package", AGREED)
def test_the_clients_of_the_package_read_what_was_recorded(package):
    """The old client and the new one, in every way they connect, over HTTP: tools, texts, pictures, two equal calls at once, a refusal."""
    python, stage = python_with(package), RecordedTools(TOOLS, RESULTS * len(AGREED[package]))
    with serving(stage) as urls:
        command = [str(python), str(CLIENT), urls.mcp_url, json.dumps(CALLS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert {way: each["version"] for way, each in said.items()} == AGREED[package]
    for each in said.values():
        assert each["tools"] == LISTED
        texts = [result["content"][0]["text"] for result in each["results"]]
        assert sorted(texts[:2]) == ["one", "two"]
        assert texts[3] == RESULTS[3][2]
        assert texts[4].startswith("unrequested_call: ")
        assert each["results"][2]["content"] == BLOCKS
        assert [result["isError"] for result in each["results"]] == [False] * 4 + [True]
