"""One trace of OpenTelemetry with many spans, read by a process that may take so much memory and no more."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

LONG_TRACE_BYTES = 500_000_000
"""Data of the process that reads it: the interpreter and its libraries have about half of it."""
_TASK = 20
"""Calls that go on with one another; each is sent all messages before."""
_OTHERS = 3
"""Of so many spans one is a call; the others are tools and spans that say nothing."""
_START = 1_700_000_000_000_000_000
_WORDS = " ".join(["word"] * 60)
_PROGRAM = """
import sys, tempfile
from pathlib import Path
from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.form_lines import form_lines
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otlp import FORM
tally = Tally()
with tempfile.TemporaryDirectory(dir=sys.argv[2]) as folder:
    options = Options(folder=Path(folder), memory_bytes=100_000_000)
    for line in form_lines(FORM, [Path(sys.argv[1])], options, tally):
        pass
print(tally.model_calls)
"""


def read_long_trace(folder: Path, *, spans: int, memory_bytes: int) -> int:
    """Write a trace of so many spans, newest first, and read it in a process of its own; gives the calls that it read."""
    path = folder / "trace.jsonl"
    with path.open("w") as file:
        for number in reversed(range(spans)):
            file.write(json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [_span(number)]}]}]}) + "\n")
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes)),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout)


def _span(number: int) -> dict[str, Any]:
    if number % _OTHERS:
        tool = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "look",
            "gen_ai.tool.call.result": f"result {number}",
        }
        return _placed(number, tool if number % _OTHERS == 1 else {"http.request.method": "GET"})
    place = number // _OTHERS
    first = place - place % _TASK
    said = [each for n in range(first, place) for each in (_message("user", n), _message("assistant", n))]
    given = {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": json.dumps([*said, _message("user", place)]),
        "gen_ai.output.messages": json.dumps([_message("assistant", place)]),
    }
    return _placed(number, given)


def _placed(number: int, attributes: dict[str, str]) -> dict[str, Any]:
    return {
        "traceId": "0af7651916cd43dd8448eb211c80319c",
        "spanId": f"{number + 1:016x}",
        "startTimeUnixNano": str(_START + number * 2000),
        "endTimeUnixNano": str(_START + number * 2000 + 1000),
        "attributes": [{"key": name, "value": {"stringValue": value}} for name, value in attributes.items()],
    }


def _message(role: str, number: int) -> dict[str, Any]:
    return {"role": role, "parts": [{"type": "text", "content": f"{number} {_WORDS}"}]}
