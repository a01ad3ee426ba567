"""The known event types, and the upcasters that lift every stored payload to the latest version of its type.

A type is known when `sql/events/` registers it; versions below the latest are lifted by `sql/upcasters/<type>.vN.sql`,
one DuckDB expression each, from vN to vN+1. An event whose type or version is not known is never guessed at: it has no
`event_name` and is counted as skipped. Events are never rewritten; a missing step is refused. A step leads
from N to N + 1 by its name, so that there is no cycle to refuse.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import duckdb

from pipelines.duck import scratch
from pipelines.errors import BadInputError
from pipelines.log.erased import IS_ERASED
from pipelines.sqlfiles import list_sql

_TYPE = re.compile(r"(?P<name>[a-z0-9_]+(\.[a-z0-9_]+)+)\.v(?P<version>[1-9][0-9]*)")
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_SELECT = re.compile(r"\s*SELECT\b(?P<expression>.*?);?\s*", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        name: The type without its version, `noun.verb`.
        version: N; the expression makes vN+1.
        expression: DuckDB expression over the column `payload` (JSON text), giving JSON text.
    """

    name: str
    version: int
    expression: str


@dataclass(frozen=True, slots=True)
class Upcasters:
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
        shipped = set(load_upcasters().steps)
        return tuple(step for step in self.steps if step not in shipped)

    def known_types(self) -> list[tuple[str, str, int]]:
        """Every stored type that can be read: (`noun.verb.vN`, `noun.verb`, N), in order."""
        return sorted(
            (f"{name}.v{version}", name, version)
            for name, latest in self.latest.items()
            for version in range(1, latest + 1)
        )

    def among(self, stored: Collection[str]) -> Upcasters:
        """Those that events of the stored types `stored` alone need, which say of them what all do: a query is planned in half the time."""
        present = [(name, version) for text, name, version in self.known_types() if text in stored]
        lowest: dict[str, int] = {}
        for name, version in present:
            lowest[name] = min(version, lowest.get(name, version))
        steps = tuple(step for step in self.steps if step.version >= lowest.get(step.name, step.version + 1))
        # of no type at all there is no query
        return Upcasters({name: self.latest[name] for name in lowest}, steps) if lowest else self

    def named(self, source: str) -> str:
        """A SELECT of the relation `source` with `event_name` and `is_erased`, as in `query`, and all else as stored."""
        names = " ".join(f"WHEN '{stored}' THEN '{name}'" for stored, name, _ in self.known_types())
        return f"SELECT *, CASE event_type {names} END AS event_name, {IS_ERASED.format('')} AS is_erased FROM {source}"

    def query(self, source: str) -> str:
        """A SELECT of the relation `source`, which has the columns of `events`, with payloads at their latest version.

        Beside the columns of `source` it has `event_name` (`noun.verb`; null for what is not known) and `is_erased`; no step
        runs on an erased event. `event_type` and `event_version` are the latest for known events and as stored for others.
        Rows are those of `source`, in its order: there is no join, which would leave none.
        """
        types, query = self.known_types(), self.named(source)
        changing = [
            step for step in self.steps if step.expression != "payload"
        ]  # the others say that nothing need change
        for version in sorted({step.version for step in changing}):
            cases = []
            for step in (each for each in changing if each.version == version):
                stored = ", ".join(f"'{text}'" for text, name, known in types if name == step.name and known <= version)
                cases.append(f"WHEN event_type IN ({stored}) AND NOT is_erased THEN ({step.expression})")
            query = f"SELECT * REPLACE (CASE {' '.join(cases)} ELSE payload END AS payload) FROM ({query})"
        latest_types, latest_versions = (
            " ".join(
                f"WHEN '{name}' THEN {latest.format(name, version)}" for name, version in sorted(self.latest.items())
            )
            for latest in ("'{0}.v{1}'", "{1}")
        )
        return (
            f"SELECT * REPLACE (CASE event_name {latest_types} ELSE event_type END AS event_type, "
            f"CASE event_name {latest_versions} ELSE event_version END AS event_version) FROM ({query})"
        )

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the known types and the text of every step."""
        digest = hashlib.sha256()
        for recorded_type, _, _ in self.known_types():
            digest.update(f"{recorded_type}\n".encode())
        for step in self.steps:
            digest.update(f"{step.name}.v{step.version}\n{step.expression}\n".encode())
        return digest.hexdigest()


@cache
def load_upcasters() -> Upcasters:
    """The upcasters of `sql/events` and `sql/upcasters`.

    Raises:
        BadInputError: A step is missing, leads nowhere, or is not one expression.
    """
    registered = [path.name.removesuffix(".json") for path in list_sql("events", ".json")]
    return build_upcasters(registered, read_steps(list_sql("upcasters")), "sql/upcasters")


def read_steps(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """The name of each upcaster, and the text of its file."""
    return [(path.name.removesuffix(".sql"), path.read_text(encoding="utf-8")) for path in paths]


def build_upcasters(
    registered: Iterable[str],
    upcasters: Iterable[tuple[str, str]],
    folder: str = "sql/upcasters",
    type_of: Callable[[str, str], str] | None = None,
) -> Upcasters:
    """Check types and steps and put them together.

    Args:
        registered: Names of the known types, `noun.verb.vN`.
        upcasters: (`noun.verb.vN`, text of the file) of every step.
        folder: Where the files are, for the errors.
        type_of: The type that a step's expression gives, by its name and text; by default it is bound in this process.

    Raises:
        BadInputError: As in `load_upcasters`.
    """
    versions: dict[str, set[int]] = {}
    for text in registered:
        name, version = parse_type(text, "event type")
        versions.setdefault(name, set()).add(version)
    latest = {name: max(known) for name, known in versions.items()}
    steps = []
    for text, sql in upcasters:
        name, version = parse_type(text, "upcaster")
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
    return Upcasters(latest, tuple(sorted(steps, key=lambda step: (step.version, step.name))))


def parse_type(text: str, what: str) -> tuple[str, int]:
    """`noun.verb` and N of `noun.verb.vN`; `what` it is the name of, for the error."""
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
