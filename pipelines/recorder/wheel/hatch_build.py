"""What is in the wheel of `refold-recorder`: the recorder's modules, and those that they import, under a name of their own.

An agent's environment may have a package `pipelines` of its own, so here the modules are `refold_recorder.*`: the same
files with that one word changed. `refold` is a module, `refold.py`, made of the public package's names; where the
distribution `refold` is installed too, Python takes its package `refold/` instead, whose file is another.
"""

from __future__ import annotations

import ast
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGE = "refold_recorder"
ROOTS = ("pipelines.recorder", "pipelines.experiment.decision")
"""The recorder, and the types of an agent that is asked as a candidate: one module may hold both."""
DATA = {"sql/events": f"{PACKAGE}/_sql/events", "LICENSE": f"{PACKAGE}/LICENSE", "refold/py.typed": "refold/py.typed"}


class Dependencies(MetadataHookInterface):
    """The dependencies of `refold`, with its bounds, that these modules import."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set `dependencies`."""
        project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        used = {name.replace("_", "-") for name in _imports()[1]}
        found = {re.split(r"[^\w-]", each, maxsplit=1)[0]: each for each in project["dependencies"]}
        metadata["dependencies"] = sorted(found[name] for name in used)


class Files(BuildHookInterface[Any]):
    """The modules, with the name of their package changed, and what they read."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 -- hatch's signature
        """Add them to the wheel."""
        self._made = Path(tempfile.mkdtemp(prefix=PACKAGE))
        modules, _ = _imports()
        targets = {path: re.sub("^pipelines", PACKAGE, str(path.relative_to(CHECKOUT))) for path in modules.values()}
        for path, target in {**targets, CHECKOUT / "refold" / "__init__.py": "refold.py"}.items():
            copy = self._made / target
            copy.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8")
            copy.write_text(re.sub(r"\bpipelines\.", f"{PACKAGE}.", text), encoding="utf-8")
            build_data["force_include"][str(copy)] = target
        build_data["force_include"] |= {str(CHECKOUT / source): target for source, target in DATA.items()}

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the copies."""
        shutil.rmtree(self._made)


def _imports() -> tuple[dict[str, Path], set[str]]:
    """Modules of ours that are imported when `ROOTS` are, by name; and the packages of others that they import."""
    found: dict[str, Path] = {}
    others: set[str] = set()
    waiting = [*ROOTS]
    while waiting:
        name = waiting.pop()
        base = CHECKOUT.joinpath(*name.split("."))
        path = next((each for each in (base / "__init__.py", base.with_suffix(".py")) if each.is_file()), None)
        if path is None or name in found:  # None: a name within a module
            continue
        found[name] = path
        names = [".".join(name.split(".")[:-1])]
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        waiting += [each for each in names if each.split(".")[0] == "pipelines"]
        others |= {each.split(".")[0] for each in names if each} - {"pipelines"} - sys.stdlib_module_names
    return found, others
