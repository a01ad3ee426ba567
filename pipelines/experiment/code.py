"""Code that an experiment names: who answers a recorded decision, and what measures a side of a pair.

A candidate is given a `Decision` and returns a `Reply`. It never gets the recorded answer (except the echo, which is
nothing else) and its tool calls are never executed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import multiprocessing
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pipelines.arrow import let_pandas_in
from pipelines.documents import require_inside
from pipelines.errors import BadInputError, RefoldError
from pipelines.experiment.source import find_module, source_sha256
from pipelines.lake.locked import Locked, python_session
from pipelines.settings import SQL_SECONDS

if TYPE_CHECKING:
    from pipelines.experiment.file import Experiment
    from pipelines.experiment.sides import Side

_SHIPPED = Path(__file__).resolve().parents[1]
"""The demo's agents may be named from anywhere."""
_RUNNER = "pipelines.replay.agents.runner"
"""Runs a Python agent in a process of its own, talking in lines."""


class CandidateEndedError(RefoldError):
    """Code that an experiment names tried to end the process that runs it. Nothing was written."""


_end_process = os._exit


def _refuse_to_end(status: int) -> NoReturn:
    """`os._exit` once code of a person's own is loaded: it would end a verb without a word, with any exit code."""
    if os.getpid() != _loader:  # a process that the code forked may end as it likes
        _end_process(status)
    raise CandidateEndedError(
        f"the candidate or a metric called os._exit({status}), which would end Refold itself; nothing was written. Raise an "
        "exception there, or return a Reply"
    )


_loader = 0


def _hold_process() -> None:
    """From here on this process ends by itself alone. A worker process may be ended: that is seen by the one that started it."""
    global _loader
    if multiprocessing.parent_process() is None:
        _loader, os._exit = os.getpid(), _refuse_to_end


@dataclass(frozen=True, slots=True)
class PythonCandidate:
    """A callable `module:function` and the hash of its source.

    Attributes:
        spec: `module:function`.
        source_sha256: Hash of the module and of those of its own that it imports.
        answer: The callable; given a `Decision` it returns a `Reply`, an agent's is given a `Session` and returns text; or something
            awaitable that gives it.
        folder: Where it was looked for first, so that another process finds it too.
        allowed: Further folders in which it may be, likewise.
    """

    spec: str
    source_sha256: str
    answer: Callable[[Any], Any]
    folder: Path = Path()
    allowed: tuple[Path, ...] = ()

    @property
    def is_async(self) -> bool:
        """Whether it is declared `async`, as a function or as an object's `__call__`."""
        call = getattr(self.answer, "__call__", None)  # noqa: B004 -- asked for its declaration, not whether it is there
        return inspect.iscoroutinefunction(self.answer) or inspect.iscoroutinefunction(call)


@dataclass(frozen=True, slots=True)
class PythonMetric:
    """A metric's callable `module:function`; it is imported where it is called, never in this process.

    Attributes:
        spec: `module:function`.
        source_sha256: Hash of the module and of those of its own that it imports.
        folder: Where it is looked for first.
        allowed: Further folders in which it may be.
    """

    spec: str
    source_sha256: str
    folder: Path
    allowed: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Program:
    """An agent that is run as a process of its own.

    Attributes:
        words: The command and its arguments.
        folder: Where it is started: the experiment's folder.
        source_sha256: Hash of the command and of the files that it is made of.
        allowed: Further folders in which its files may be.
    """

    words: tuple[str, ...]
    folder: Path
    source_sha256: str
    allowed: tuple[Path, ...] = ()


def load_python(spec: str, folder: Path, allowed: Sequence[Path] = ()) -> PythonCandidate:
    """Import a candidate.

    Args:
        spec: `module:function`; the module is looked for in `folder` first, then where Python looks.
        folder: Folder of the experiment file.
        allowed: Further folders in which the module may be.

    Raises:
        BadInputError: The module or function is not there or is elsewhere, or importing it fails; the message says why.
    """
    what = f"candidate {spec}"
    source_sha256 = _identify(spec, folder, what, allowed)
    return PythonCandidate(
        spec, source_sha256, load_function(spec, folder, what, allowed), folder.resolve(), tuple(allowed)
    )


def find_metric(name: str, spec: str, folder: Path, allowed: Sequence[Path] = ()) -> PythonMetric:
    """Find the module of a metric; as `load_python`, without importing it.

    Raises:
        BadInputError: It is not there, or is elsewhere.
    """
    source_sha256 = _identify(spec, folder, f"metric {name}: {spec}", allowed)
    return PythonMetric(spec, source_sha256, folder.resolve(), tuple(allowed))


def load_code(
    experiment: Experiment, folder: Path, allowed: Sequence[Path] = ()
) -> tuple[dict[Side, PythonCandidate], dict[str, PythonMetric]]:
    """The callables of an experiment, imported, by side; and its metrics that are functions, found, by name.

    Raises:
        BadInputError: As `load_python` and `find_metric`.
    """
    specs = {side: asked.python or asked.agent for side, asked in experiment.sides.items() if not asked.sandbox}
    callables = {side: load_python(spec, folder, allowed) for side, spec in specs.items() if spec}
    measures = {
        name: find_metric(name, metric.python, folder, allowed)
        for name, metric in experiment.metrics.items()
        if metric.python
    }
    return callables, measures


def find_programs(experiment: Experiment, folder: Path, allowed: Sequence[Path] = ()) -> dict[Side, Program]:
    """The sides of an experiment that are run as processes of their own: commands, and agents in a sandbox.

    Raises:
        BadInputError: A file that is named is not there, or is elsewhere than beside the experiment or in a folder that is allowed.
    """
    programs: dict[Side, Program] = {}
    for side, asked in experiment.sides.items():
        if asked.command is not None:
            source = _identify_files(f"{side}.command", asked.command, asked.files, folder, allowed)
            programs[side] = Program(asked.command, folder.resolve(), source, tuple(allowed))
        elif asked.agent is not None and asked.sandbox:
            source = _identify(asked.agent, folder, f"{side} {asked.agent}", allowed)
            words = (sys.executable, "-m", _RUNNER, asked.agent, *map(str, allowed))
            programs[side] = Program(words, folder.resolve(), source, tuple(allowed))
    return programs


def _identify_files(
    what: str, words: Sequence[str], files: Sequence[str], folder: Path, allowed: Sequence[Path]
) -> str:
    """The hash of a command: of its words, and of name and content of every file that it is made of."""
    digest = hashlib.sha256("\0".join(words).encode())
    for named in (*(word for word in words if (folder / word).is_file()), *files):
        path = folder / named
        if not path.exists():
            raise BadInputError(f"{what}: there is no file or folder {named!r} in {folder}")
        require_inside(path, folder, what, [*allowed, *_programs()])
        for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if each.is_file():
                digest.update(f"\0{each.relative_to(path) if path.is_dir() else named}\0".encode())
                digest.update(hashlib.sha256(each.read_bytes()).digest())
    return digest.hexdigest()


def _programs() -> list[Path]:
    """Where programs are installed: a command may name its interpreter by its path."""
    return [Path(each) for each in (*os.get_exec_path(), sys.prefix, sys.base_prefix) if Path(each).is_absolute()]


def identify_code(experiment: Experiment, folder: Path, allowed: Sequence[Path] = ()) -> dict[str, str]:
    """The hashes of the sources of all functions that an experiment names, none of which is imported.

    Raises:
        BadInputError: A module is not there, or is elsewhere.
    """
    specs = [spec for asked in experiment.sides.values() if (spec := asked.python or asked.agent)]
    sides = {f"candidate {spec}": spec for spec in specs}
    metrics = {f"metric {name}: {each.python}": each.python for name, each in experiment.metrics.items() if each.python}
    programs = find_programs(experiment, folder, allowed)
    commands = {
        f"{side} {' '.join(each.words)}": each.source_sha256
        for side, each in programs.items()
        if experiment.sides[side].command
    }
    return {what: _identify(spec, folder, what, allowed) for what, spec in (sides | metrics).items()} | commands


def require_measures(measures: Mapping[str, PythonMetric], *, memory_bytes: int, seconds: float = SQL_SECONDS) -> None:
    """Import every function where it will be called.

    Raises:
        BadInputError: One is not there, importing it fails, or it is `async`: metrics are evaluated one by one.
    """
    if measures:
        with measuring(measures, memory_bytes=memory_bytes, seconds=seconds) as session:
            session.call(f"importing metric {', '.join(sorted(measures))}", check_measures, dict(measures))


def measuring(
    measures: Mapping[str, PythonMetric], *, memory_bytes: int, seconds: float
) -> AbstractContextManager[Locked]:
    """The session in which these functions are called."""
    return python_session(frozenset(measures.items()), memory_bytes=memory_bytes, seconds=seconds)


def check_measures(connection: None, measures: Mapping[str, PythonMetric]) -> None:
    """Import the functions; asked of the child."""
    load_measures(connection, measures)


_loaded: dict[PythonMetric, Callable[..., Any]] = {}


def load_measures(_connection: None, measures: Mapping[str, PythonMetric]) -> dict[str, Callable[..., Any]]:
    """The functions by name, imported; asked of the child."""
    for name, metric in measures.items():
        if metric not in _loaded:
            function = load_function(metric.spec, metric.folder, f"metric {name}: {metric.spec}", metric.allowed)
            if inspect.iscoroutinefunction(function):
                raise BadInputError(
                    f"metric {name}: {metric.spec} is async; write a plain function that returns a number, or a Series"
                )
            _loaded[metric] = function
    return {name: _loaded[metric] for name, metric in measures.items()}


def takes_frames(function: Callable[..., Any]) -> bool:
    """Whether a metric's function takes two arguments: the frames of both sides, in place of one side of one unit."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # one of C that does not say
        return False
    needed = [
        each
        for each in parameters
        if each.default is each.empty and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) == 2


def load_function(spec: str, folder: Path, what: str, allowed: Sequence[Path] = ()) -> Callable[..., Any]:
    """Import `module:function`.

    Raises:
        BadInputError: It is not there, or importing it fails; the message begins with `what`.
    """
    module_name, function_name = spec.split(":")
    path, root = find_module(module_name, _roots(folder, allowed))
    _hold_process()
    try:
        module = _import(module_name, path, root)
    except (Exception, SystemExit) as error:
        raise BadInputError(f"{what}: importing {path} failed: {type(error).__name__}: {error}") from error
    let_pandas_in()
    answer = getattr(module, function_name, None)
    if not callable(answer):
        raise BadInputError(f"{what}: {path} has no function {function_name!r}")
    return answer  # type: ignore[no-any-return]


def _identify(spec: str, folder: Path, what: str, allowed: Sequence[Path]) -> str:
    """The hash of a module that may be used."""
    module_name = spec.partition(":")[0]
    path, _ = find_module(module_name, _roots(folder, allowed))
    require_inside(path, folder, what, [*allowed, _SHIPPED])
    return source_sha256(module_name, _roots(folder, allowed))


def _roots(folder: Path, allowed: Sequence[Path]) -> list[Path]:
    return [folder, *allowed, *(Path(entry) if entry else Path.cwd() for entry in sys.path)]


def _import(name: str, path: Path, root: Path) -> object:
    """The module, imported from `path`; one that was loaded from elsewhere under the same name is not taken for it."""
    loaded = sys.modules.get(name)
    if (
        loaded is not None
        and getattr(loaded, "__file__", None)
        and Path(str(loaded.__file__)).resolve() == path.resolve()
    ):
        return loaded
    if str(root) in sys.path or "." in name:
        sys.path.insert(0, str(root))
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(str(root))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(root))  # its neighbours
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(root))
    return module
