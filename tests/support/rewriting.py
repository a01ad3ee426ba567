"""The assertions of the test modules, rewritten once for all workers instead of by each of them.

pytest keeps what it rewrites, but in a fresh clone all workers come to the same module at the same moment. Here each begins with a share
of its own, so that what it then collects is there. The functions are pytest's own, of 9.2; no issue asks it to share the work.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from _pytest.assertion import rewrite


def rewrite_share(config: pytest.Config, folders: Sequence[str], place: int, workers: int) -> None:
    """Rewrite every `workers`-th test module below the folders, from the one at `place` on, unless it is kept already."""
    state = config.stash[rewrite.assertstate_key]
    modules = sorted(module for folder in folders for module in Path(folder).rglob("test_*.py"))
    for module in modules[place::workers]:
        kept = rewrite.get_cache_dir(module) / (module.stem + rewrite.PYC_TAIL)
        if rewrite._read_pyc(module, kept) is None and rewrite.try_makedirs(kept.parent):
            source_hash, code = rewrite._rewrite_test(module, config)
            rewrite._write_pyc(state, code, source_hash, kept)
