"""A trial that writes into a lake does so in a copy of its own, so that every trial starts from the same one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from pipelines.lake.lake import Lake


@contextmanager
def copied_lake(root: str) -> Iterator[Lake]:
    """A lake with the content of the one at `root`, removed at the end. Data files are shared: nobody changes them."""
    folder = Path(mkdtemp(dir=Path(root).parent))
    try:
        shutil.copytree(root, folder / "lake", copy_function=link_data)
        yield Lake(folder / "lake")
    finally:
        shutil.rmtree(folder)


def link_data(source: str, target: str) -> str:
    """Copy a file of a lake, or link it where its content never changes."""
    if source.endswith(".parquet") and "_delta_log" not in source:
        os.link(source, target)
        return target
    return shutil.copy2(source, target)
