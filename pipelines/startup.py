"""How a process of the command line begins and ends: without what takes time in every process and is of use in none of its verbs.

Python looks for garbage whenever there are 700 objects more, and a verb that runs assets makes half a million by importing: none of
them is any. As it ends, it goes through all of them once more, to free what the system frees anyhow: half a second where Dagster is
loaded. NumPy's OpenBLAS starts a thread a core as it is loaded, each of which spins before it sleeps; what is computed here are
sums. Arrow loads `numpy.ma`, which takes as long as DuckDB, to see that an array is none of its: where it is not loaded, none is.
Dagster loads what migrates databases, and a log for services, as it is imported; a run does neither. Together they are a quarter of
what a small verb costs.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import LazyLoader, find_spec, module_from_spec
from types import ModuleType
from typing import Any, NoReturn

from pipelines.arrow import leave_pandas_out

_end_process = os._exit
"""Kept: where a user's code is loaded, `os._exit` is refused."""
_is_begun = False
_ending: tuple[int, int] | None = None
"""The process that ends, and its exit code."""
_OBJECTS = 5_000
"""Objects more after which garbage is looked for."""
_UNUSED = ("f2py", "testing")
"""Of NumPy: a compiler and tests, which SciPy loads as it lists NumPy's names; half of what loading SciPy takes."""
_NUMPY, _MASKED, _THREADS = "numpy", "numpy.ma", "OPENBLAS_NUM_THREADS"
_DEFERRED = ("alembic", "coloredlogs", "dagster.components", "structlog", "tqdm", "upath")
"""Packages that others name as they are imported, and that are loaded when something of them is used."""


class _MaskedArray:
    """Stands for `numpy.ma.MaskedArray`: nothing is one before that is loaded, and whatever else is asked loads it."""

    def __instancecheck__(self, instance: object) -> bool:
        return _MASKED in sys.modules and isinstance(instance, sys.modules[_MASKED].MaskedArray)

    def __subclasscheck__(self, other: type) -> bool:
        return _MASKED in sys.modules and issubclass(other, sys.modules[_MASKED].MaskedArray)

    def __mro_entries__(self, _bases: tuple[Any, ...]) -> tuple[type]:
        return (import_module(_MASKED).MaskedArray,)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return import_module(_MASKED).MaskedArray(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(_MASKED).MaskedArray, name)


class _Masked(ModuleType):
    """Stands for `numpy.ma`, which takes its place as soon as it is imported; every name but one imports it."""

    MaskedArray = _MaskedArray()

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(_MASKED), name)


def _load_when_used(package: ModuleType, name: str) -> None:
    """Have a part of a package loaded when something in it is asked for, and not when it is listed."""
    full = f"{package.__name__}.{name}"
    spec = None if full in sys.modules else find_spec(full)
    if spec is not None and spec.loader is not None:
        spec.loader = LazyLoader(spec.loader)
        module = module_from_spec(spec)
        sys.modules[full] = module
        spec.loader.exec_module(module)
        setattr(package, name, module)


class _OneThread(MetaPathFinder):
    """Finds NumPy, once, to load it with one thread, and without what Arrow would load to compare with.

    The variable is there only meanwhile, so that no process of a user's has it.
    """

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if fullname != _NUMPY:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                is_chosen = _THREADS in os.environ
                os.environ.setdefault(_THREADS, "1")
                try:
                    load(module)
                finally:
                    if not is_chosen:
                        del os.environ[_THREADS]
                for name in _UNUSED:
                    _load_when_used(module, name)
                if _MASKED not in sys.modules:
                    module.ma = _Masked(_MASKED)  # type: ignore[attr-defined]

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


class _Later:
    """Stands for something of a package that is not loaded; whoever uses it loads that."""

    def __init__(self, find: Callable[[], Any]) -> None:
        self._find = find

    def __call__(self, *args: Any, **named: Any) -> Any:
        if _deferring.is_on:
            return _Later(lambda: self._find()(*args, **named))
        return self._find()(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._find(), name)


class _DeferredModule(ModuleType):
    """Stands for a module of such a package until something of it is used."""

    def __getattr__(self, name: str) -> Any:
        if not _deferring.is_on:
            return getattr(_deferring.load(self.__name__), name)
        if name == "__path__":
            return []
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(lambda: getattr(_deferring.load(self.__name__), name))


def _package_of(name: str) -> str | None:
    """The deferred package that a module is, or is in."""
    return next((each for each in _DEFERRED if f"{name}.".startswith(f"{each}.")), None)


class _Deferring(MetaPathFinder, Loader):
    """Finds stand-ins for the packages that are deferred, while it is on.

    Attributes:
        is_on: Whether something large is being imported.
    """

    def __init__(self) -> None:
        self.is_on = False

    def find_spec(self, fullname: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        if not self.is_on or (package := _package_of(fullname)) is None:
            return None
        is_deferred = fullname == package or isinstance(sys.modules.get(package), _DeferredModule)
        return ModuleSpec(fullname, self) if is_deferred else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _DeferredModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it."""

    def load(self, name: str) -> ModuleType:
        """The module itself; the first that is asked for ends all stand-ins of its package."""
        was_on, self.is_on = self.is_on, False
        try:
            inside = f"{_package_of(name)}."
            for known, module in list(sys.modules.items()):
                # its type and not its class, which a module asks of what it is loaded from when it is used
                if type(module) is _DeferredModule and f"{known}.".startswith(inside):
                    del sys.modules[known]
            return import_module(name)
        finally:
            self.is_on = was_on


_one_thread, _deferring = _OneThread(), _Deferring()


def begin() -> None:
    """Begin a process of the command line, before anything else is imported; it is ended by `end`."""
    global _is_begun  # noqa: PLW0603 - there is one process
    _is_begun = True
    gc.set_threshold(_OBJECTS)
    leave_pandas_out()
    if _NUMPY not in sys.modules and _one_thread not in sys.meta_path:
        sys.meta_path.insert(0, _one_thread)
    if _deferring not in sys.meta_path:
        sys.meta_path.insert(0, _deferring)


@contextmanager
def importing() -> Iterator[None]:
    """Import what is large: nothing of it is garbage, so nobody looks for any meanwhile, nor later where the process is our own."""
    is_on = gc.isenabled()
    gc.disable()
    was_deferring, _deferring.is_on = _deferring.is_on, True
    try:
        yield
    finally:
        _deferring.is_on = was_deferring
        if _is_begun:
            gc.freeze()  # an interpreter that goes to its end would tell of objects of C++ that are never freed
        if is_on:
            gc.enable()


def end(code: int) -> NoReturn:
    """End a process of the command line: threads end, what wants to be told is told, and objects are left to the system."""
    global _ending  # noqa: PLW0603 - there is one process, and it ends once
    _ending = (os.getpid(), code)
    sys.exit(code)


@atexit.register  # as this module is loaded, before what others register: they are told first
def _leave() -> None:
    if _ending is None or _ending[0] != os.getpid():
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # Python says so itself, with an exit code of its own
    _end_process(_ending[1])
