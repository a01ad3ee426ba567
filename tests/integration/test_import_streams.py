"""Streams and call logs from the file to the store by the command line: imported once, grown, and told by what is in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.foreign_lines import raw_values, written
from tests.support.formats import samples
from tests.support.verbs import Verbs

FORMS = {
    "05-openai": {"responses"},
    "06-anthropic": {"anthropic"},
    "07-coding": {"claude-code", "codex", "atif", "swe-agent", "openhands", "litellm"},
    "08-voice": {"voice"},
    "09-datasets": {"dataset"},
}


def told(refold: Verbs, *arguments: str) -> dict[str, Any]:
    code, out, err = refold("import", *arguments, "--json")
    assert code == 0, err
    return dict(json.loads(out))


def test_datasets_by_their_shape(refold: Verbs, tmp_path: Path) -> None:
    """`import chat --shape` imports a dataset once, and refuses one of another shape."""
    turns = [
        {"from": "human", "value": "Look."},
        {"from": "gpt", "value": '<tool_call>{"name": "look", "arguments": {}}</tool_call>'},
    ]
    path = str(written(tmp_path / "set.jsonl", {"conversations": turns}, {"conversations": turns[:1]}))
    first = told(refold, "chat", "--shape", "hermes", path)
    assert (first["conversations"], first["tool_calls"], first["imported"]["conversations"]) == (2, 1, 2)
    again = told(refold, "chat", "--shape", "hermes", path)
    assert (again["imported"]["events"], again["imported"]["already_present"]) == (0, 2)
    code, _, err = refold("import", "chat", "--shape", "parts", path)
    assert code != 0
    assert "set.jsonl:1: is not of the shape parts" in err


@pytest.mark.parametrize("folder", FORMS)
def test_every_sample_is_imported_once(folder: str, refold: Verbs, shared_data: Path) -> None:
    """`import auto` tells the form of every sample, imports it, and appends nothing when it comes again."""
    for sample in samples(shared_data, folder):
        first = told(refold, "auto", str(sample.path))
        assert first["form"] in FORMS[folder], sample.name
        assert first["imported"]["events"] > 0, sample.name
        assert told(refold, "auto", str(sample.path))["imported"]["events"] == 0, sample.name


def test_a_session_that_grows(refold: Verbs, shared_data: Path, tmp_path: Path) -> None:
    """A session goes on after it was imported: only the rest is appended."""
    sample = next(each for each in samples(shared_data, "07-coding") if each.name == "claude-code-5c0375b4.jsonl.gz")
    rows = list(raw_values(sample.path))
    path = tmp_path / "session.jsonl"
    counts = [
        told(refold, "claude-code", str(written(path, *rows[:count])))["imported"]["events"]
        for count in (24, 41, len(rows))
    ]
    assert all(count > 0 for count in counts)
    whole = told(refold, "claude-code", "--source", "again", str(path))["imported"]["events"]
    assert sum(counts) == whole
    assert told(refold, "claude-code", str(path))["imported"]["events"] == 0


def test_a_call_that_is_analysed_later(refold: Verbs, tmp_path: Path) -> None:
    """A webhook that comes after the call says how it went: that is appended, and the earlier one appends nothing afterwards."""
    said = {"role": "user", "content": "Hi", "words": [{"word": "Hi", "start": 0.0, "end": 1.0}]}
    call = {"call_id": "c", "start_timestamp": 1_764_331_200_000, "transcript_with_tool_calls": [said]}
    ended = {"event": "call_ended", "call": call}
    analysed = {"event": "call_analyzed", "call": {**call, "call_analysis": {"call_successful": True}}}
    files = [str(written(tmp_path / f"{n}.json", report)) for n, report in enumerate((ended, analysed))]
    counts = [told(refold, "voice", path)["imported"]["events"] for path in (*files, files[0])]
    assert counts == [2, 1, 0]
