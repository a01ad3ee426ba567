"""Where the processor's time goes: seconds of each test module, printed when a run is over.

They are those of the process that ran the tests and of the programs that it waited for; a server in a session of its own is not among them.
What a session's fixture takes is the module's that asked for it first.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

import pytest

_SHOWN = 15
_SHORT = 60
"""Seconds; a run that takes less in all is of a few modules, and prints nothing."""
COLLECTED = "(imported and collected)"


def seconds() -> float:
    """User and system seconds of this process and of its children that have ended."""
    taken = os.times()
    return taken.user + taken.system + taken.children_user + taken.children_system


class Spent:
    """A plugin of pytest: counts in each process, adds up in the one that prints."""

    def __init__(self, tests: str) -> None:
        self._tests = tests
        self._by_module: Counter[str] = Counter()
        self._ends: list[float] = []
        self._began = time.monotonic()

    @pytest.hookimpl
    def pytest_collection_finish(self) -> None:
        """All until here: imports and the collection."""
        self._by_module[COLLECTED] += seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> object:
        """One test with the set-up and the end of its fixtures."""
        before = seconds()
        try:
            return (yield)
        finally:
            self._by_module[item.path.as_posix().removeprefix(f"{self._tests}/")] += seconds() - before

    @pytest.hookimpl
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """A worker hands over what it counted."""
        output = getattr(session.config, "workeroutput", None)
        if output is not None:
            output["spent"] = dict(self._by_module)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended: what it counted, and when it had no more to do."""
        self._by_module.update(getattr(node, "workeroutput", {}).get("spent", {}))
        self._ends.append(time.monotonic() - self._began)

    @pytest.hookimpl
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The modules that took most."""
        total = sum(self._by_module.values())
        if total < _SHORT:
            return
        terminalreporter.section(f"{total:.0f} seconds of processor time", sep="-")
        for name, taken in self._by_module.most_common(_SHOWN):
            terminalreporter.write_line(f"{taken:7.1f} s {taken / total:5.1%}  {name}")
        if self._ends:
            ends = ", ".join(f"{end:.0f}" for end in sorted(self._ends))
            terminalreporter.write_line(f"the workers ended after {ends} s")
