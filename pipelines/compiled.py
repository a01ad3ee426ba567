"""What is made of this program alone, kept where Python keeps compiled modules and by the same rules.

Only where it may write, whole or not at all, and never relied upon: whoever reads it sees for himself that it is what he would make.
"""

from __future__ import annotations

import sys
import uuid
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path


def compiled_path(source: Path, suffix: str) -> Path:
    """Where something is kept that is made of a file of this program, or beside it.

    Args:
        source: The file, whose suffix does not matter.
        suffix: What is made of it.
    """
    return Path(cache_from_source(str(source.with_suffix(".py")))).with_suffix(suffix)


def keep_compiled(path: Path, content: bytes) -> None:
    """Keep what was made; nothing happens where Python is told to keep nothing, or may not write."""
    if sys.dont_write_bytecode:
        return
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
