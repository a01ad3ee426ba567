"""The known event types, and the ladder that lifts every stored payload to the latest version of its type.

A type is known when `sql/events/` registers it; versions below the latest are lifted by `sql/upcasters/<type>.vN.sql`,
one DuckDB expression each, from vN to vN+1. An event whose type or version is not known is never guessed at: it has no
`event_name` and is counted as skipped. Events are never rewritten; a ladder with a missing step is refused. A step leads
from N to N + 1 by its name, so that there is no cycle to refuse.

Types of one's own are lifted by `REFOLD_HOME/upcasters/<type>.vN.sql`; they are known where events are read as such. The
shipped folds know the shipped types alone. A step of one's own is a user's SQL: it is bound and tried where it can do
nothing and is stopped, before a view holds it, and what was found is remembered.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.errors import BadInputError
from pipelines.lake.scratch import scratch
from pipelines.settings import MIN_MEMORY_BYTES
from pipelines.sqlfiles import list_sql

_TYPE = re.compile(r"(?P<name>[a-z0-9_]+(\.[a-z0-9_]+)+)\.v(?P<version>[1-9][0-9]*)")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_TRIED = "upcasters.json"
"""In the home: hash of a step of one's own that was tried, and the type that it gives."""
_SELECT = re.compile(r"\s*SELECT\b(?P<expression>.*?);?\s*", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One rung.

    Attributes:
        name: The type without its version, `noun.verb`.
        version: N; the expression makes vN+1.
        expression: DuckDB expression over the column `payload` (JSON text), giving JSON text.
    """

    name: str
    version: int
    expression: str


@dataclass(frozen=True, slots=True)
class Ladder:
    """The latest version of every known type, and the steps that lead there.

    Attributes:
        latest: `noun.verb` → latest version.
        steps: In the order of version, then name.
    """

    latest: dict[str, int]
    steps: tuple[Step, ...]

    @property
    def own_steps(self) -> tuple[Step, ...]:
        """The steps that are not shipped, in their order."""
        shipped = set(load_ladder().steps)
        return tuple(step for step in self.steps if step not in shipped)

    def known_types(self) -> list[tuple[str, str, int]]:
        """Every stored type that can be read: (`noun.verb.vN`, `noun.verb`, N), in order."""
        return sorted(
            (f"{name}.v{version}", name, version)
            for name, latest in self.latest.items()
            for version in range(1, latest + 1)
        )

    def upcast_query(self, source: str) -> str:
        """A SELECT of the relation `source`, which has the columns of `events`, with payloads at their latest version.

        Beside the columns of `events` it has `event_name` (`noun.verb`; null for what is not known). `event_type` and
        `event_version` are the latest for known events and as stored for others. Order and number of rows are those of
        `source`. It reads the temporary table that `create_known_types` makes.
        """
        query = (
            "SELECT stored.*, known.event_name, known.recorded_version FROM "
            f"{source} AS stored LEFT JOIN fold_known_types AS known ON stored.event_type = known.recorded_type"
        )
        for version in sorted({step.version for step in self.steps}):
            cases = " ".join(
                f"WHEN event_name = '{step.name}' AND recorded_version <= {version} THEN ({step.expression})"
                for step in self.steps
                if step.version == version
            )
            query = f"SELECT * REPLACE (CASE {cases} ELSE payload END AS payload) FROM ({query})"
        return (
            "SELECT raised.* EXCLUDE (recorded_version) REPLACE ("
            "coalesce(latest.event_type, raised.event_type) AS event_type, "
            "coalesce(latest.event_version, raised.event_version) AS event_version) "
            f"FROM ({query}) AS raised LEFT JOIN fold_latest_types AS latest ON raised.event_name = latest.event_name"
        )

    def readable_query(self, source: str) -> str:
        """The same as one statement that needs no table: what a view can hold."""
        known = ", ".join(f"('{stored}', '{name}', {version})" for stored, name, version in self.known_types())
        latest = ", ".join(
            f"('{name}', '{name}.v{version}', {version})" for name, version in sorted(self.latest.items())
        )
        return (
            f"WITH fold_known_types (recorded_type, event_name, recorded_version) AS (VALUES {known}), "
            f"fold_latest_types (event_name, event_type, event_version) AS (VALUES {latest}) {self.upcast_query(source)}"
        )

    def create_known_types(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Create the temporary tables of types that `upcast_query` reads."""
        stored, names, versions = zip(*self.known_types(), strict=True)
        known = {"recorded_type": stored, "event_name": names, "recorded_version": pa.array(versions, pa.int32())}
        _create_table(connection, "fold_known_types", pa.table(known))
        names, versions = zip(*sorted(self.latest.items()), strict=True)
        latest = {
            "event_name": names,
            "event_type": [f"{name}.v{version}" for name, version in sorted(self.latest.items())],
            "event_version": pa.array(versions, pa.int32()),
        }
        _create_table(connection, "fold_latest_types", pa.table(latest))

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the known types and the text of every step."""
        digest = hashlib.sha256()
        for recorded_type, _, _ in self.known_types():
            digest.update(f"{recorded_type}\n".encode())
        for step in self.steps:
            digest.update(f"{step.name}.v{step.version}\n{step.expression}\n".encode())
        return digest.hexdigest()


@cache
def load_ladder() -> Ladder:
    """The ladder of `sql/events` and `sql/upcasters`.

    Raises:
        BadInputError: A step is missing, leads nowhere, or is not one expression.
    """
    registered = [path.name.removesuffix(".json") for path in list_sql("events", ".json")]
    return build_ladder(registered, _read(list_sql("upcasters")), "sql/upcasters")


def load_own_ladder(home: Path | None) -> Ladder:
    """The shipped ladder, and the types that `home/upcasters` lifts.

    Raises:
        BadInputError: As in `load_ladder`; or a file is for a shipped type, whose versions are the folds' matter; or takes too
            long or too much memory for a payload without anything in it.
    """
    shipped = load_ladder()
    folder = None if home is None else home / "upcasters"
    paths = sorted(folder.glob("*.sql")) if folder is not None and folder.is_dir() else []
    if not paths:
        return shipped
    upcasters = _read(paths)
    own: set[str] = set()
    for text, _ in upcasters:
        name, version = _parse(text, "upcaster")
        if name in shipped.latest:
            raise BadInputError(
                f"upcaster {folder}/{text}.sql: {name} is a shipped type; its versions are those shipped"
            )
        own |= {f"{name}.v{number}" for number in range(1, version + 2)}
    assert home is not None
    added = build_ladder(own, upcasters, str(folder), partial(_tried_type, home / _TRIED))
    steps = sorted((*shipped.steps, *added.steps), key=lambda step: (step.version, step.name))
    return Ladder(shipped.latest | added.latest, tuple(steps))


def _read(paths: Iterable[Path]) -> list[tuple[str, str]]:
    return [(path.name.removesuffix(".sql"), path.read_text(encoding="utf-8")) for path in paths]


def build_ladder(
    registered: Iterable[str],
    upcasters: Iterable[tuple[str, str]],
    folder: str = "sql/upcasters",
    type_of: Callable[[str, str], str] | None = None,
) -> Ladder:
    """Check types and steps and put them together.

    Args:
        registered: Names of the known types, `noun.verb.vN`.
        upcasters: (`noun.verb.vN`, text of the file) of every step.
        folder: Where the files are, for the errors.
        type_of: The type that a step's expression gives, by its name and text; by default it is bound in this process.

    Raises:
        BadInputError: As in `load_ladder`.
    """
    versions: dict[str, set[int]] = {}
    for text in registered:
        name, version = _parse(text, "event type")
        versions.setdefault(name, set()).add(version)
    latest = {name: max(known) for name, known in versions.items()}
    steps = []
    for text, sql in upcasters:
        name, version = _parse(text, "upcaster")
        if version + 1 not in versions.get(name, ()):
            raise BadInputError(
                f"upcaster {text}: it would make {name}.v{version + 1}, which is not registered; "
                f"add its schema to sql/events/ or remove the upcaster"
            )
        steps.append(Step(name, version, _expression(text, sql, type_of or _bound_type)))
    found = {(step.name, step.version) for step in steps}
    for name, version in sorted(latest.items()):
        for missing in (v for v in range(1, version) if (name, v) not in found):
            raise BadInputError(
                f"{name}.v{missing} cannot be lifted to v{missing + 1}: write {folder}/{name}.v{missing}.sql"
            )
    return Ladder(latest, tuple(sorted(steps, key=lambda step: (step.version, step.name))))


def _parse(text: str, what: str) -> tuple[str, int]:
    match = _TYPE.fullmatch(text)
    if match is None:
        raise BadInputError(f"{what} {text!r}: write noun.verb.vN, for example tool.call.v1")
    return match["name"], int(match["version"])


def _expression(text: str, sql: str, type_of: Callable[[str, str], str]) -> str:
    """The expression of an upcaster file, once DuckDB has agreed that it is one."""
    match = _SELECT.fullmatch(_COMMENT.sub("", sql))
    if match is None:
        raise BadInputError(f"upcaster {text}: the file must be SELECT and one expression over the column payload")
    expression = match["expression"].strip()
    given = type_of(text, expression)
    if given not in {"VARCHAR", "JSON"}:
        raise BadInputError(f"upcaster {text}: it gives {given}; it must give the payload as JSON text")
    return expression


def _bound_type(text: str, expression: str) -> str:
    """The type of a shipped expression."""
    try:
        with scratch() as connection:
            return str(
                connection.sql(f"SELECT ({expression}) AS payload FROM (SELECT '{{}}' AS payload) AS event").types[0]
            )
    except duckdb.Error as error:
        raise BadInputError(f"upcaster {text}: DuckDB refuses it: {error}") from error


def _tried_type(path: Path, text: str, expression: str) -> str:
    """The type of a user's expression, as bound and run on `{}` in a process of its own, or as remembered in `path`.

    Raises:
        BadInputError: It cannot be bound, names something else than the payload, or has to be stopped.
    """
    from pipelines.lake.locked import StoppedError, locked_session  # noqa: PLC0415 -- only where there are such steps

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


def _create_table(connection: duckdb.DuckDBPyConnection, name: str, rows: pa.Table) -> None:
    connection.register("handed_over", rows)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM handed_over")
    connection.unregister("handed_over")
