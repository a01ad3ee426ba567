"""Environments of their own for programs whose packages cannot stand beside this project's, or beside each other."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_UV = ROOT / ".ci" / "uv"
_UNCOMPILED = {**os.environ, "UV_COMPILE_BYTECODE": "0"}
"""Of a large framework only what is imported is compiled, when it is: all of it takes ten seconds of processor time."""


class EnvironmentFailed(RuntimeError):  # noqa: N818 -- reads as what happened
    """What is asked for cannot be installed here; the message says why."""


def make_environment(place: Path, requirements: Sequence[str]) -> Path:
    """Make an environment that holds these packages; gives its interpreter.

    Args:
        place: Its folder; it may be moved.
        requirements: As pip takes them.

    Raises:
        EnvironmentFailed: It cannot be made.
    """
    for command in (
        ("venv", "--quiet", "--relocatable", "--clear", "--python", sys.executable, str(place)),
        ("pip", "install", "--quiet", "--python", str(place), *requirements),
    ):
        done = subprocess.run([str(_UV), *command], env=_UNCOMPILED, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EnvironmentFailed(done.stderr[-500:])
    return place / "bin" / "python"


def python_with(*requirements: str) -> Path:
    """The interpreter of an environment that holds these packages; made once on a machine, in seconds, and kept among its temporary files.

    The test is skipped where no package index can be reached.
    """
    made = _kept("\n".join(requirements), lambda place: make_environment(place, requirements), "Failed to fetch")
    return made / "bin" / "python"


def python_beside(pinned: Path) -> Path:
    """Likewise, of one in which this checkout and its packages come after these, as if it had been installed there.

    Args:
        pinned: A file of requirements that were resolved together with those of this project.
    """
    behind = (str(ROOT), sysconfig.get_path("purelib"))

    def install(place: Path) -> None:
        make_environment(place, ("-r", str(pinned)))
        (packages,) = place.glob("lib/python3*/site-packages")
        (packages / "behind.pth").write_text("\n".join(behind), encoding="utf-8")

    what = "\n".join((pinned.read_text(encoding="utf-8"), sys.version, *behind))
    return _kept(what, install, "Failed to fetch") / "bin" / "python"


def node_modules_with(manifest: Path) -> Path:
    """The folder `node_modules` of what a `package.json` depends on; made and kept likewise.

    The test is skipped where there is no Node or npm, or its registry cannot be reached.
    """
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no node or no npm here")

    def install(place: Path) -> None:
        shutil.copy(manifest, place)
        command = ("npm", "install", "--no-audit", "--no-fund", "--fetch-retries=0", "--prefix", str(place))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise EnvironmentFailed(done.stderr[-500:])

    unreached = "ENOTFOUND|ECONNREFUSED|ECONNRESET|EAI_AGAIN|ETIMEDOUT"
    return _kept(manifest.read_text(encoding="utf-8"), install, unreached) / "node_modules"


def _kept(what: str, make: Callable[[Path], object], unreached: str) -> Path:
    """A folder that is made once; `unreached` is a pattern of what is said where packages cannot be had."""
    name = hashlib.sha256(what.encode()).hexdigest()[:16]
    home = Path(tempfile.gettempdir()) / f"refold-environments-{os.getuid()}"
    made = home / name
    if not made.exists():
        home.mkdir(mode=0o700, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=home))  # who comes at the same time makes another, and one of them stays
        try:
            make(aside)
            if not made.exists():
                aside.rename(made)
        except EnvironmentFailed as error:
            if not re.search(unreached, str(error)):
                raise
            pytest.skip(f"the package index cannot be reached: {error}")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return made
