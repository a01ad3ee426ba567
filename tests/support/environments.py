"""Environments of their own for programs whose packages cannot stand beside this project's, or beside each other."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_UV = Path(__file__).resolve().parents[2] / ".ci" / "uv"


def python_with(*requirements: str) -> Path:
    """The interpreter of an environment that holds these packages; made once on a machine, in seconds, and kept among its temporary files.

    The test is skipped where no package index can be reached.
    """
    name = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:16]
    home = Path(tempfile.gettempdir()) / f"refold-environments-{os.getuid()}"
    made = home / name
    if not made.exists():
        home.mkdir(mode=0o700, exist_ok=True)
        _make(made, requirements)
    return made / "bin" / "python"


def _make(made: Path, requirements: tuple[str, ...]) -> None:
    """Make it aside and move it: who comes at the same time makes another, and one of them stays."""
    aside = Path(tempfile.mkdtemp(dir=made.parent))
    try:
        for command in (
            ("venv", "--quiet", "--relocatable", "--clear", str(aside)),
            ("pip", "install", "--quiet", "--python", str(aside), *requirements),
        ):
            done = subprocess.run([str(_UV), *command], capture_output=True, text=True, check=False)
            if "Failed to fetch" in done.stderr:
                pytest.skip(f"the package index cannot be reached: {done.stderr.strip()[-200:]}")
            assert done.returncode == 0, done.stderr
        if not made.exists():
            aside.rename(made)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
