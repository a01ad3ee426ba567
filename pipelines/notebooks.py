"""Find the notebooks: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path

from pipelines.errors import RefoldError


def find_notebook(name: str) -> Path:
    """The file of a notebook, for example `ab_review.py`."""
    here = Path(__file__).resolve().parent
    for folder in (here / "_notebooks", here.parent / "notebooks"):
        if (folder / name).is_file():
            return folder / name
    raise RefoldError(f"notebook {name} is neither in {here} nor beside it; the installation is incomplete")
