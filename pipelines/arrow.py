"""PyArrow without pandas, which it would import, where it is installed, to see whether a list is a Series.

That costs half a second of processor time, in every process that makes one array. PyArrow asks once, and again only where
pandas is wanted by name (`to_pandas`, `from_pandas`). pyarrow 26: `pandas-shim.pxi`; there is no setting for it. This module can go
with the release that closes apache/arrow#34994.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from typing import Any

import pyarrow as pa

_PANDAS = "pandas"


class _Absent(MetaPathFinder):
    """Finds no pandas."""

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> None:
        if fullname == _PANDAS:
            raise ModuleNotFoundError(f"{_PANDAS} is not asked for", name=_PANDAS)


def leave_pandas_out() -> None:
    """Have PyArrow ask for pandas now, in vain; where pandas is loaded already nothing changes."""
    if _PANDAS in sys.modules:
        return
    absent = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        pa.array([])  # without a type both halves of PyArrow ask, that in C++ too
    finally:
        sys.meta_path.remove(absent)


def let_pandas_in() -> None:
    """Have PyArrow know a Series again once pandas is loaded: a user's function may hand it one."""
    if _PANDAS in sys.modules:
        pa.table({"known": pa.nulls(0)}).to_pandas()
