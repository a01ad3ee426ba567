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
    code, out, err = run_in_folder(home, {"REFOLD_HOME": str(home)}, *arguments)
    assert code == 0 or not check, (arguments, out, err)
    return out


def run_in_folder(folder: Path, environment: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """A verb typed in a folder, in this process, with these variables and none other of Refold's: exit code, stdout, stderr."""
    out, err = StringIO(), StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in [name for name in os.environ if name.startswith("REFOLD_")]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        code = run_verb(patch, *arguments)
    return code, out.getvalue(), err.getvalue()
