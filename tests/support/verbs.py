"""A verb as a person types it, run in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

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


def run_in_home(home: Path, *arguments: str, check: bool = True) -> str:
    """A verb in its home, in this process; what it printed.

    It is what the scripts under `tests/acceptance` do in a process of its own, without a start and its imports for each verb.

    Raises:
        AssertionError: It ended with another code than 0, and `check` says that it must not.
    """
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in [name for name in os.environ if name.startswith("REFOLD_")]:
            patch.delenv(name)
        patch.setenv("REFOLD_HOME", str(home))
        patch.chdir(home)
        code = run_verb(patch, *arguments)
    assert code == 0 or not check, (arguments, out.getvalue(), err.getvalue())
    return out.getvalue()
