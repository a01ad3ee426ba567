"""Upcasters of one's own: types that are not shipped, lifted by `REFOLD_HOME/upcasters/<type>.vN.sql`.

They are known where events are read as such; the shipped folds know the shipped types alone. A step of one's own is a user's
SQL: it is bound and tried where it can do nothing and is stopped, before a view holds it, and what was found is remembered.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import duckdb

from pipelines.errors import BadInputError
from pipelines.log.upcasters import Upcasters, build_upcasters, load_upcasters, parse_type, read_steps
from pipelines.settings import MIN_MEMORY_BYTES

_TRIED = "upcasters.json"
"""In the home: hash of a step of one's own that was tried, and the type that it gives."""


def load_own_upcasters(home: Path | None) -> Upcasters:
    """The shipped upcasters, and the types that `home/upcasters` lifts.

    Raises:
        BadInputError: As in `load_upcasters`; or a file is for a shipped type, whose versions are the folds' matter; or takes too
            long or too much memory for a payload without anything in it.
    """
    shipped = load_upcasters()
    folder = None if home is None else home / "upcasters"
    paths = sorted(folder.glob("*.sql")) if folder is not None and folder.is_dir() else []
    if not paths:
        return shipped
    upcasters = read_steps(paths)
    own: set[str] = set()
    for text, _ in upcasters:
        name, version = parse_type(text, "upcaster")
        if name in shipped.latest:
            raise BadInputError(
                f"upcaster {folder}/{text}.sql: {name} is a shipped type; its versions are those shipped"
            )
        own |= {f"{name}.v{number}" for number in range(1, version + 2)}
    assert home is not None
    added = build_upcasters(own, upcasters, str(folder), partial(_tried_type, home / _TRIED))
    steps = sorted((*shipped.steps, *added.steps), key=lambda step: (step.version, step.name))
    return Upcasters(shipped.latest | added.latest, tuple(steps))


def _tried_type(path: Path, text: str, expression: str) -> str:
    """The type of a user's expression, as bound and run on `{}` in a process of its own, or as remembered in `path`.

    Raises:
        BadInputError: It cannot be bound, names something else than the payload, or has to be stopped.
    """
    import pyarrow as pa  # noqa: PLC0415 -- only where there are such steps

    from pipelines.lake.locked import StoppedError, locked_session  # noqa: PLC0415

    key = hashlib.sha256(f"{duckdb.__version__}\n{expression}".encode()).hexdigest()
    known = _remembered(path)
    if key in known:
        return known[key]
    what, query = f"upcaster {text}", f"SELECT (\n{expression}\n) AS payload FROM event"
    with locked_session({"event": pa.table({"payload": ["{}"]})}, memory_bytes=MIN_MEMORY_BYTES) as locked:
        locked.bind(query, what, expression)
        given = locked.type_of(query, what, expression)
        try:
            locked.select(query, what, expression, 1)
        except StoppedError:
            raise
        except BadInputError:  # an empty payload may be none that it can lift
            pass
    _remember(path, known | {key: given})
    return given


def _remembered(path: Path) -> dict[str, str]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(given) for key, given in known.items()} if isinstance(known, dict) else {}


def _remember(path: Path, known: dict[str, str]) -> None:
    """Keep what is known, all of it or nothing; a home that cannot be written to is tried again each time."""
    with suppress(OSError):
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            json.dump(known, file, sort_keys=True)
        Path(file.name).replace(path)
