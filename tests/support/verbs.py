"""A verb as a person types it, run in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from pipelines import cli
from pipelines.lake.memory import resident_bytes

Verbs = Callable[..., tuple[int, str, str]]
"""Runs a verb: exit code, stdout, stderr."""
_MEMORY_BYTES = 10**9


def run_verb(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run `refold` with these arguments in this process; its exit code.

    `REFOLD_MEMORY` bounds a process, and this one holds what earlier tests imported and left: unless the test sets it, the
    verb has the default beyond that, as in a process of its own.
    """
    with monkeypatch.context() as patch:
        if "REFOLD_MEMORY" not in os.environ:
            patch.setenv("REFOLD_MEMORY", str(resident_bytes() + _MEMORY_BYTES))
        patch.setattr(sys, "argv", ["refold", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return int(ended.value.code or 0)
