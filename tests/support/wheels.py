"""Wheels built from the checkout, and environments that hold them and what they ask for, nothing else. No network."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
RECORDER = ROOT / "pipelines" / "recorder" / "wheel"


def build_wheel(project: Path, folder: Path) -> Path:
    """Build the wheel of a project into a folder that has none, by its own backend."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    return wheel


class Environment:
    """A virtual environment. Distributions that wheels require are linked from the one that runs the tests."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, symlinks=True, with_pip=False)
        self.python = folder / "bin" / "python"
        [self.packages] = folder.glob("lib/python*/site-packages")

    def install(self, wheel: Path) -> None:
        """Unpack a wheel, which is what installing one that has no build steps is, and link what it requires."""
        with zipfile.ZipFile(wheel) as files:
            files.extractall(self.packages)
        name, version, *_ = wheel.name.split("-")
        info = metadata.PathDistribution(self.packages / f"{name}-{version}.dist-info")
        self._link(info.requires or [])

    def uninstall(self, wheel: Path) -> None:
        """Remove the files of a wheel, whoever else has them, as installers do."""
        with zipfile.ZipFile(wheel) as files:
            for name in files.namelist():
                (self.packages / name).unlink(missing_ok=True)

    def installed(self) -> set[str]:
        """Names at the top of what was installed, without what is linked."""
        return {path.name for path in self.packages.iterdir() if not path.is_symlink()} - {"__pycache__"}

    def run(self, code: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a program; `cwd` is where its user is, and not on its path."""
        command = [str(self.python), "-P", "-c", code, *arguments]
        return subprocess.run(
            command, cwd=cwd, check=False, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"}
        )

    def _link(self, requirements: list[str], extras: frozenset[str] = frozenset()) -> None:
        for text in requirements:
            required = Requirement(text)
            wanted = [{"extra": extra} for extra in extras | {""}]
            if required.marker is not None and not any(map(required.marker.evaluate, wanted)):
                continue
            found = metadata.distribution(required.name)
            for top in {Path(file).parts[0] for file in found.files or [] if ".." not in Path(file).parts}:
                link = self.packages / top
                if not link.exists():
                    link.symlink_to(Path(str(found.locate_file(top))))
            self._link(found.requires or [], frozenset(required.extras))
