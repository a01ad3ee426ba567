"""The library does not know Dagster: `pipelines` works where Dagster is not installed, `assets` is the only bridge."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from pathlib import Path

import pipelines

ROOT = Path(__file__).resolve().parents[2]

# An import of Dagster, of whatever part, is refused as if it were not installed.
REFUSE = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"dagster", "dagster_shared", "dagster_webserver", "dagster_graphql", "assets"}:
            raise ModuleNotFoundError(f"{name} is refused here")

sys.meta_path.insert(0, Refuse())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def modules() -> list[str]:
    found = pkgutil.walk_packages(pipelines.__path__, "pipelines.")
    return ["pipelines", *(module.name for module in found)]


def test_every_module_of_the_library_imports_without_dagster():
    """No module under `pipelines` needs Dagster, or `assets`, at import: not the command line either."""
    names = modules()
    assert "pipelines.store.connect" in names
    command = [sys.executable, "-c", REFUSE, *names]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_the_code_location_reads_no_environment(tmp_path):
    """Nothing happens at import of `assets.definitions`: a nonsense environment is not even looked at."""
    environment = {"REFOLD_MEMORY": "nonsense", "REFOLD_HOME": str(tmp_path / "home"), "PATH": ""}
    command = [sys.executable, "-c", "import assets.definitions"]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "home").exists()
