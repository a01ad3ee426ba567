"""A user's code: its hash over its module and the modules of its own that it imports, and where in it an exception was raised.

Static: imports are read from the syntax tree, so the hash does not depend on what happens to be loaded. Only files under
the module's own root count (its top-level package, or its folder); libraries are named by the experiment's lock file,
not here.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import re
import traceback
from functools import cache
from pathlib import Path

from pipelines.errors import BadInputError


def find_module(name: str, roots: list[Path]) -> tuple[Path, Path]:
    """The file of module `name` and the root it was found under; the first root that has it wins.

    Raises:
        BadInputError: No root has it; the message lists the roots.
    """
    parts = name.split(".")
    for root in roots:
        base = root.joinpath(*parts)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path, root
    searched = ", ".join(str(root) for root in roots)
    raise BadInputError(f"there is no Python module {name!r} in {searched}")


def source_sha256(name: str, roots: list[Path]) -> str:
    """Hash (hex) of the source of module `name` and of all modules of its own that it imports, directly or not.

    Args:
        name: Dotted module name.
        roots: Folders that are searched for it, in order.

    Raises:
        BadInputError: The module is not there, or a file is not Python.
    """
    _, root = find_module(name, roots)
    # A module of a package owns that package; a lone file owns its folder.
    scope = name.split(".", maxsplit=1)[0] if "." in name else None
    seen: dict[str, bytes] = {}
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module in seen or (scope is not None and module.split(".", maxsplit=1)[0] != scope):
            continue
        try:
            path, _ = find_module(module, [root])
        except BadInputError:
            continue  # a name imported from a module, or a library
        source = path.read_bytes()
        seen[module] = source
        is_package = path.name == "__init__.py"
        waiting += _imports(source, module, path, is_package=is_package)
    digest = hashlib.sha256()
    for module in sorted(seen):
        digest.update(module.encode() + b"\0" + hashlib.sha256(seen[module]).digest())
    return digest.hexdigest()


@cache
def _imports(source: bytes, module: str, path: Path, *, is_package: bool) -> tuple[str, ...]:
    """Every dotted name that the source may import, relative ones resolved."""
    try:
        tree = ast.parse(source, str(path))
    except SyntaxError as error:
        raise BadInputError(f"{path}: line {error.lineno}: {error.msg}") from error
    package = module.split(".") if is_package else module.split(".")[:-1]
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                parts = alias.name.split(".")
                names += [".".join(parts[: n + 1]) for n in range(len(parts))]
        elif isinstance(node, ast.ImportFrom):
            kept = len(package) - node.level + 1
            base = [*package[:kept], *(node.module or "").split(".")] if node.level else (node.module or "").split(".")
            base = [part for part in base if part]
            names += [".".join(base[: n + 1]) for n in range(len(base))]
            names += [".".join([*base, alias.name]) for alias in node.names]
    return tuple(name for name in names if name)


_SAID_BY_PYTHON = (NameError, AttributeError, ImportError, TypeError, IndexError, ZeroDivisionError, RecursionError)
"""Exceptions whose words, when Python itself raises them, name code and types and no value."""
_SHOWN = 100
_RAISES = re.compile(r"\b(?:raise|throw)\b")


class Raised(str):
    """What a user's code raised, for people who look on: it may hold anything, so it is told once.

    Attributes:
        kept: The same without what it says, unless Python itself says it: what may be kept.
    """

    __slots__ = ("kept",)
    kept: str


def describe_exception(error: BaseException, folder: Path) -> Raised:
    """An exception of the user's code: its type, what it says, and the line of the user's file that it passed last.

    What a person's code raises, or a value, may be anything that was recorded; what Python says of names and types is none.

    Args:
        error: With its traceback.
        folder: Where the user's files are.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    own = [each for each in frames if Path(each[0].f_code.co_filename).is_relative_to(folder)] or frames[1:] or frames
    kind, said, place = type(error).__name__, f": {error}", ""
    if own:
        frame, number = own[-1]
        line = linecache.getline(frame.f_code.co_filename, number).strip()
        shown = f": {line[:_SHOWN]}" if line and not _RAISES.search(line) else ""
        place = f" at {Path(frame.f_code.co_filename).name}:{number} in {frame.f_code.co_name}{shown}"
    is_raised = bool(frames) and _is_raise(frames[-1][0].f_code.co_filename, frames[-1][1])
    is_python = isinstance(error, _SAID_BY_PYTHON) and not is_raised
    told = Raised(f"{kind}{said}{place}")
    told.kept = f"{kind}{said[:_SHOWN] if is_python else ''}{place}"
    return told


def _is_raise(path: str, number: int) -> bool:
    """Whether a line raises by itself; one that cannot be seen, or says it anywhere, counts as one that does."""
    line = linecache.getline(path, number)
    return not line or _RAISES.search(line) is not None
