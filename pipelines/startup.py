"""How a process of the command line begins: without what takes time in every process and is of use in none of its verbs.

Python looks for garbage whenever there are 700 objects more, and a verb that runs assets makes half a million by importing: none of
them is any. NumPy's OpenBLAS starts a thread a core as it is loaded, each of which spins before it sleeps; what is computed here are
sums. Both together are a quarter of what a small verb costs.
"""

from __future__ import annotations

import gc
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_OBJECTS = 5_000
"""Objects more after which garbage is looked for."""
_NUMPY, _THREADS = "numpy", "OPENBLAS_NUM_THREADS"


class _OneThread(MetaPathFinder):
    """Finds NumPy, once, to load it with one thread; the variable is there only meanwhile, so that no process of a user's has it."""

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if fullname != _NUMPY:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None and _THREADS not in os.environ:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                os.environ[_THREADS] = "1"
                try:
                    load(module)
                finally:
                    del os.environ[_THREADS]

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_one_thread = _OneThread()


def begin() -> None:
    """Begin a process of the command line, before anything else is imported."""
    gc.set_threshold(_OBJECTS)
    if _NUMPY not in sys.modules and _one_thread not in sys.meta_path:
        sys.meta_path.insert(0, _one_thread)
