"""A program: a Python agent `module:run` as a command, so that it can be put into a sandbox as it is.

`python -m pipelines.replay.agents.runner module:run FOLDER …`, in the experiment's folder; the function may also be in the others. It reads units as lines, gives the function a `Session`
whose models and tools are the gateway's, and writes its text. What the agent prints goes to standard error: standard output is the answers'.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pipelines.errors import RefoldError
from pipelines.experiment.code import PythonCandidate, load_python
from pipelines.experiment.sides import Api
from pipelines.replay.agents.functions import act, read_answer
from pipelines.replay.agents.session import Session, Tool
from pipelines.replay.agents.stage import AgentFailedError

_PATHS: Mapping[Api, str] = {"chat": "/chat/completions", "responses": "/responses", "messages": "/messages"}


class _Gateway:
    """The gateway's addresses for one unit, asked from whatever thread."""

    def __init__(self, unit: Mapping[str, Any]) -> None:
        self._model_url, self._tools_url = unit["model_url"], unit["tools_url"]

    def ask(self, api: Api, body: Mapping[str, Any]) -> Any:
        """Ask a model, and wait; raises `AgentStopped`."""
        asked = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
        return _post(self._model_url + _PATHS[api], asked)

    async def ask_async(self, api: Api, body: Mapping[str, Any]) -> Any:
        """Ask a model from a loop; raises `AgentStopped`."""
        return await asyncio.to_thread(self.ask, api, body)

    def fetch(self, name: str, arguments: Any) -> Any:
        """What was recorded for a tool call; raises `AgentStopped`."""
        return _post(f"{self._tools_url}/{quote(name, safe='')}", arguments)["content"]


def _post(url: str, body: Any) -> Any:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port)
    try:
        connection.request("POST", place.path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return read_answer(response.status, response.read())
    finally:
        connection.close()


def _session(unit: Mapping[str, Any], *, is_async: bool) -> Session:
    gateway = _Gateway(unit)
    functions = [tool["function"] for tool in unit["tools"]]
    tools = [Tool(each["name"], each["description"], each["parameters"], gateway.fetch) for each in functions]
    return Session(
        messages=unit["messages"],
        user=unit["user"],
        tools=tools,
        model=unit["model"],
        model_url=unit["model_url"],
        mcp_url=unit["mcp_url"],
        metadata=unit["metadata"],
        _ask=gateway.ask_async if is_async else gateway.ask,
        _fetch=gateway.fetch,
    )


def _answer(candidate: PythonCandidate, line: bytes, runner: asyncio.Runner) -> dict[str, Any]:
    unit = json.loads(line)
    try:
        return {"id": unit["id"], "text": act(candidate, _session(unit, is_async=candidate.is_async), runner)}
    except AgentFailedError as failed:
        return {"id": unit["id"], "error": str(failed)}


def main() -> None:
    """Answer units until there are no more lines."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        candidate = load_python(sys.argv[1], Path.cwd(), [Path(each) for each in sys.argv[2:]])
        with asyncio.Runner() as runner:
            for line in sys.stdin.buffer:
                answers.write(json.dumps(_answer(candidate, line, runner)) + "\n")
                answers.flush()
    except RefoldError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
