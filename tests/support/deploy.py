"""What stands in `deploy/`, read: services of the composition, containers of Kubernetes, and their commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
MANIFESTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((FOLDER / "kubernetes" / "refold.yaml").read_text(encoding="utf-8"))
)
SERVICES: dict[str, dict[str, Any]] = {name: each for name, each in COMPOSE["services"].items() if name != "postgres"}
"""Those that run Refold."""


def pods() -> list[dict[str, Any]]:
    """The specification of each pod."""
    return [each["spec"]["template"]["spec"] for each in MANIFESTS if "template" in each.get("spec", {})]


def containers() -> dict[str, dict[str, Any]]:
    """Every container by its name, those that come before the others too."""
    return {each["name"]: each for pod in pods() for each in [*pod.get("initContainers", []), *pod["containers"]]}
