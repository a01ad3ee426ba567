"""PyArrow without pandas, which it would import, where it is installed, to see whether a list is a Series.

That costs half a second of processor time, in every process that makes one array. PyArrow asks once, and again only where
pandas is wanted by name (`to_pandas`, `from_pandas`). pyarrow 26: `pandas-shim.pxi`; there is no setting for it. This module can go
with the release that closes apache/arrow#34994.

PyArrow itself, with NumPy, costs a tenth of a second, and not every verb makes an array: nothing here imports it before.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

_ARROW, _PANDAS = "pyarrow", "pandas"


class _Absent(MetaPathFinder):
    """Finds no pandas."""

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> None:
        if fullname == _PANDAS:
            raise ModuleNotFoundError(f"{_PANDAS} is not asked for", name=_PANDAS)


class _Arriving(MetaPathFinder):
    """Finds PyArrow, once, so that it asks for pandas as soon as it is loaded."""

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if fullname != _ARROW:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                _ask_in_vain(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


_arriving = _Arriving()


def leave_pandas_out() -> None:
    """Have PyArrow ask for pandas in vain, now or as soon as it is loaded; where pandas is loaded by then nothing changes."""
    if _ARROW in sys.modules:
        _ask_in_vain(sys.modules[_ARROW])
    elif _arriving not in sys.meta_path:
        sys.meta_path.insert(0, _arriving)


def _ask_in_vain(arrow: Any) -> None:
    if _PANDAS in sys.modules:
        return
    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        arrow.array([])  # without a type both halves of PyArrow ask, that in C++ too
    finally:
        sys.meta_path.remove(absent)


def let_pandas_in() -> None:
    """Have PyArrow know a Series again once pandas is loaded: a user's function may hand it one."""
    if _PANDAS in sys.modules:
        import pyarrow as pa  # noqa: PLC0415 - see above

        pa.table({"known": pa.nulls(0)}).to_pandas()
