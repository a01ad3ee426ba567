"""The special functions that estimates need, without the rest of the package that has them.

To load all of `scipy.special` takes as long as to load DuckDB twice; these are its own compiled functions, which one module of it
holds. Whoever imports the package later gets all of it, and these very functions in it.
"""

from __future__ import annotations

import sys
import threading
from importlib import import_module
from importlib.machinery import PathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scipy.special import bdtr, chdtrc, ndtri, stdtr, stdtrit

__all__ = ["bdtr", "chdtrc", "ndtri", "stdtr", "stdtrit"]

_PACKAGE, _MODULE = "scipy.special", "scipy.special._ufuncs"


def _load() -> Any:
    """The compiled module; by way of the whole package where that is there, or where another thread could see it in parts."""
    if _PACKAGE not in sys.modules and threading.active_count() == 1:
        spec = PathFinder.find_spec(_PACKAGE, import_module("scipy").__path__)
        if spec is not None:
            package = ModuleType(_PACKAGE)
            package.__path__, package.__spec__ = list(spec.submodule_search_locations or ()), spec
            sys.modules[_PACKAGE] = package
            try:
                return import_module(_MODULE)
            except ImportError:  # another release, laid out in another way
                pass
            finally:
                del sys.modules[_PACKAGE]
    return import_module(_PACKAGE)


if not TYPE_CHECKING:
    _functions = _load()
    bdtr, chdtrc, ndtri = _functions.bdtr, _functions.chdtrc, _functions.ndtri
    stdtr, stdtrit = _functions.stdtr, _functions.stdtrit
