"""What is said of a file that is no projection."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.projections.projection import ProjectionError, read_projection


def fault(path: Path) -> str:
    """The fault of a file, without the folder."""
    with pytest.raises(ProjectionError) as raised:
        read_projection(path)
    return str(raised.value).replace(f"{path.parent}/", "")
