"""Check an experiment whole, before anything is asked, folded or imported: everything that is wrong with it, in one list.

Its form, the names in its gate, its SQL bound on empty tables, its files and functions, its prices, bounds and keys. What only the
data can show is found when it runs. What a finding needs is imported for it: a wrong key costs neither DuckDB nor an agent's code.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.documents import Document, DocumentError, Place, find_file, read_document, read_text
from pipelines.errors import BadInputError
from pipelines.experiment.file import Experiment, experiment_of
from pipelines.settings import MIN_MEMORY_BYTES, Settings
from pipelines.sqlfiles import read_sql

if TYPE_CHECKING:
    import pyarrow as pa

    from pipelines.lake.lake import Lake
    from pipelines.lake.locked import Locked

Finding = tuple[Place, str]

_NO_NUMBER = ("STRUCT", "MAP", "UNION", "BLOB", "DATE", "TIME", "INTERVAL", "UUID")
"""Beginnings of types that are never a number, nor yes or no."""


@dataclass(frozen=True, slots=True)
class Checked:
    """An experiment with which nothing is wrong.

    Attributes:
        experiment: The experiment.
        missing_keys: What asking alone needs and is not there, by its place in the file: API keys.
        document: The file.
    """

    experiment: Experiment
    missing_keys: list[Finding]
    document: Document

    def require_keys(self) -> None:
        """Refuse the file, if a key is missing: somebody is to be asked.

        Raises:
            BadInputError: One is; all are listed, with lines.
        """
        if self.missing_keys:
            self.document.refuse(self.missing_keys)


def read_checked(
    path: Path, settings: Settings, is_unchanged: Callable[[Experiment], bool] = lambda _experiment: False
) -> Checked:
    """The experiment in a file, once nothing is found wrong with it; a key that is missing is no fault by itself.

    Args:
        path: The file.
        settings: The lake whose views a filter speaks of, prices, endpoints, and folders in which files may be.
        is_unchanged: Told the experiment once its form is right: whether its SQL, files and functions were checked as they are.

    Raises:
        BadInputError: It cannot be read, or something is wrong; all of it is listed, with lines.
    """
    document = read_document(path, "")
    findings: list[Finding] = []
    experiment: Experiment | None = None
    try:
        experiment = experiment_of(document)
    except DocumentError as error:
        if not error.findings or not isinstance(document.value, dict):
            raise
        findings += error.findings
    if experiment is None or not is_unchanged(experiment):
        findings += _sql_findings(document, settings)
        findings += _file_findings(document.value, path.resolve().parent, settings)
    missing = []
    if experiment is not None:
        findings += _bound_findings(experiment, settings)
        missing = list(_key_findings(experiment))
    if findings or experiment is None:
        document.refuse([*findings, *missing])
    return Checked(experiment, missing, document)


def _sql_findings(document: Document, settings: Settings) -> Iterator[Finding]:
    """The expressions that cannot be bound."""
    metrics = document.value.get("metrics")
    rules = document.value.get("expect")
    own = dict(_texts(metrics, ("metrics",))) | dict(_texts(rules, ("expect",)))
    where = document.value.get("where")
    if not own and not isinstance(where, str):
        return
    from pipelines.diff.metrics import VIEW, empty_units
    from pipelines.lake.lake import Lake
    from pipelines.lake.locked import StoppedError, locked_session

    lake = Lake.from_settings(settings)
    tables = {"given_units": empty_units()}
    given: list[tuple[Place, str, str, str]] = []
    if isinstance(where, str):
        tables["conversations"] = _empty_conversations(lake)
    for place, text in own.items():
        kind = "BOOLEAN" if place[0] == "expect" else "DOUBLE"
        given.append((place, _named(document.value, place), text, f"CAST((\n{text}\n) AS {kind})"))
    if isinstance(where, str):
        given.append((("where",), "where", where, f"(\n{where}\n)"))
    waiting = iter(given)
    is_stopped = True
    while is_stopped:  # what was stopped has taken its session with it
        is_stopped = False
        with locked_session(tables, memory_bytes=MIN_MEMORY_BYTES, seconds=lake.sql_seconds) as locked:
            locked.execute(VIEW)
            for place, what, text, expression in waiting:
                try:
                    _bind(locked, place, what, text, expression)
                except StoppedError as error:
                    yield place, str(error)
                    is_stopped = True
                    break
                except BadInputError as error:
                    yield place, str(error)


def _bind(locked: Locked, place: Place, what: str, text: str, expression: str) -> None:
    if place == ("where",):
        locked.bind(f"SELECT aggregate_id FROM conversations WHERE {expression}", what, text)
        return
    locked.bind(f"SELECT unit_row, {expression} AS bound FROM unit ORDER BY unit_row", what, text)
    kind = locked.type_of(f"SELECT (\n{text}\n) FROM unit", what, text)
    if kind.endswith("]") or kind.startswith(_NO_NUMBER):
        raise BadInputError(
            f"{what}: {text!r} gives {kind}; give one {'yes or no' if place[0] == 'expect' else 'number'}"
        )


def _named(value: Any, place: Place) -> str:
    """What an expression is called in errors."""
    if place[0] == "metrics":
        return f"metric {place[1]}"
    return f"rule {value['expect'][place[1]].get('name')}"


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Places and texts of the members `sql`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        if isinstance(each, dict) and isinstance(each.get("sql"), str):
            yield (*place, key, "sql"), each["sql"]


def _empty_conversations(lake: Lake) -> pa.Table:
    """What `where` speaks of, without rows."""
    query = f"SELECT * FROM ({read_sql('diffs/selectable_streams.sql')}) LIMIT 0"
    with lake.connect(query) as connection:
        rows: pa.Table = connection.sql(query).to_arrow_table()
        return rows


def _file_findings(value: dict[str, Any], folder: Path, settings: Settings) -> Iterator[Finding]:
    """Files that are not there, are elsewhere or cannot be used, and functions that cannot be imported."""
    allowed = settings.allow_files

    def found(place: Place) -> Any:
        inner: Any = value
        for part in place:
            if isinstance(part, int):
                inner = inner[part] if isinstance(inner, list) else None
            else:
                inner = inner.get(part) if isinstance(inner, dict) else None
        return inner if isinstance(inner, str) else None

    checks: list[tuple[Place, Callable[[str], Any]]] = [
        (("tools", name), partial(_read_tools, name, folder, allowed)) for name in ("manifest", "schemas")
    ]
    candidates = value.get("candidates")
    several = range(len(candidates)) if isinstance(candidates, list) else ()
    sides: list[Place] = [("candidate",), *(("candidates", place) for place in several), ("control",)]
    for side in sides:
        checks += [
            (
                (*side, "prompt_file"),
                lambda name: read_text(find_file(name, folder, "prompt_file", allowed), "prompt_file"),
            ),
            ((*side, "python"), lambda spec: _load_candidate(spec, folder, settings)),
        ]
    checks.append(
        (
            ("judge", "rubric_file"),
            lambda name: read_text(find_file(name, folder, "judge.rubric_file", allowed), "judge.rubric_file"),
        )
    )
    metrics = value.get("metrics")
    for name in metrics if isinstance(metrics, dict) else ():
        checks.append((("metrics", name, "python"), _measure_check(name, folder, settings)))
    for place, check in checks:
        given = found(place)
        if given is not None:
            try:
                check(given)
            except BadInputError as error:
                yield place, str(error)


def _read_tools(member: str, folder: Path, allowed: Sequence[Path], name: str) -> None:
    from pipelines.experiment.manifest import read_manifest, read_schemas

    path = find_file(name, folder, f"tools.{member}", allowed)
    (read_manifest if member == "manifest" else read_schemas)(path)


def _load_candidate(spec: str, folder: Path, settings: Settings) -> None:
    if ":" in spec:
        from pipelines.experiment.code import load_python

        load_python(spec, folder, settings.allow_files)


def _measure_check(name: str, folder: Path, settings: Settings) -> Callable[[str], None]:
    def check(spec: str) -> None:
        if ":" in spec:
            from pipelines.experiment.code import find_metric, require_measures

            metric = {name: find_metric(name, spec, folder, settings.allow_files)}
            require_measures(metric, memory_bytes=settings.memory_bytes // 4, seconds=settings.sql_seconds)

    return check


def _key_findings(experiment: Experiment) -> Iterator[Finding]:
    """Keys that are not there; each variable once, where the experiment names it."""
    from pipelines.experiment.models import read_key

    seen: set[str] = set()
    for place, each in _candidates(experiment):
        for side, asked in each.sides.items():
            variable = each.endpoint_of(side)[1] if asked.asks_models else None
            if variable is None or variable in seen:
                continue
            seen.add(variable)
            try:
                read_key(variable, os.environ)
            except BadInputError as error:
                there = ("control",) if side == "control" and variable == asked.api_key_env else place
                yield (*there, "api_key_env"), str(error)


def _candidates(experiment: Experiment) -> Iterator[tuple[Place, Experiment]]:
    """The experiment of each candidate and of the judge, and where who is asked stands in the file."""
    if experiment.judge is not None:
        yield ("judge",), experiment.for_judge()
    for number, each in enumerate(experiment.by_candidate()):
        yield (("candidates", number) if experiment.candidates else ("candidate",)), each


def _bound_findings(experiment: Experiment, settings: Settings) -> Iterator[Finding]:
    """Names in the gate, and what models may be asked and may cost."""
    from pipelines.diff.names import require_known_gate, require_known_primary
    from pipelines.experiment.models import list_models

    checks: list[tuple[Place, Callable[[], Any]]] = [
        (("primary",), lambda: require_known_primary(experiment)),
        (("gate",), lambda: require_known_gate(experiment)),
        *((place, partial(list_models, each, settings)) for place, each in _candidates(experiment)),
    ]
    for place, check in checks:
        try:
            check()
        except BadInputError as error:
            yield place, str(error)
