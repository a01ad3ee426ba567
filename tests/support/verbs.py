"""A verb as a person types it, run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from pipelines import cli

Verbs = Callable[..., tuple[int, str, str]]
"""Runs a verb: exit code, stdout, stderr."""


def run_verb(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run `refold` with these arguments in this process; its exit code."""
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["refold", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return int(ended.value.code or 0)
