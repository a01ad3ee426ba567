"""Check an experiment whole, before anything is asked, folded or imported: everything that is wrong with it, in one list.

Its form, the names in its gate, its SQL bound on empty tables, its files and functions, its prices, bounds and keys. What only the
data can show is found when it runs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.diff.gating import require_known_gate, require_known_primary
from pipelines.diff.measure import Measured, measure_units
from pipelines.diff.metrics import UNIT_COLUMNS, VIEW, empty_units, evaluate_metrics, expressions
from pipelines.diff.shards import create_recorded, create_relations
from pipelines.documents import Document, DocumentError, Place, find_file, read_document, read_text
from pipelines.errors import BadInputError
from pipelines.lake.datasets import REPLAYS
from pipelines.lake.lake import Lake
from pipelines.lake.locked import Locked, StoppedError, locked_session
from pipelines.replay.candidate import find_metric, load_python, require_measures
from pipelines.replay.endpoint import read_key
from pipelines.replay.experiment import Experiment, experiment_of
from pipelines.replay.manifest import read_manifest, read_schemas
from pipelines.replay.models import list_models
from pipelines.replay.plan import Plan
from pipelines.settings import MIN_MEMORY_BYTES, Settings
from pipelines.sqlfiles import read_sql

Finding = tuple[Place, str]

TRIED = 20
"""Recorded units that metrics in Python are tried on before a model is asked: a call of one may take its time."""
_NO_NUMBER = ("STRUCT", "MAP", "UNION", "BLOB", "DATE", "TIME", "INTERVAL", "UUID")
"""Beginnings of types that are never a number, nor yes or no."""


def read_checked(path: Path, lake: Lake, settings: Settings, note: Callable[[str], None] | None = None) -> Experiment:
    """The experiment in a file, once nothing is found wrong with it.

    Args:
        path: The file.
        lake: Whose views a filter speaks of.
        settings: Prices, endpoints, and folders in which files may be.
        note: Told what asking alone needs and is not there, an API key; None, as for who asks, makes that a finding.

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
    findings += _sql_findings(document, lake)
    findings += _file_findings(document.value, path.resolve().parent, settings)
    if experiment is not None:
        findings += _bound_findings(experiment, settings)
        for place, what in _key_findings(experiment):
            if note is None:
                findings.append((place, what))
            else:
                note(f"note: {what}; a dry run needs none")
    if findings or experiment is None:
        document.refuse(findings)
    return experiment


def _sql_findings(document: Document, lake: Lake) -> Iterator[Finding]:
    """The expressions that cannot be bound."""
    metrics = document.value.get("metrics")
    rules = document.value.get("expect")
    own = dict(_texts(metrics, ("metrics",))) | dict(_texts(rules, ("expect",)))
    where = document.value.get("where")
    if not own and not isinstance(where, str):
        return
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
    with lake.connect() as connection:
        rows: pa.Table = connection.sql(
            f"SELECT * FROM ({read_sql('diffs/selectable_streams.sql')}) LIMIT 0"
        ).to_arrow_table()
        return rows


def _file_findings(value: dict[str, Any], folder: Path, settings: Settings) -> Iterator[Finding]:
    """Files that are not there, are elsewhere or cannot be used, and functions that cannot be imported."""
    allowed = settings.allow_files

    def found(place: Place) -> Any:
        inner: Any = value
        for part in place:
            inner = inner.get(part) if isinstance(inner, dict) else None
        return inner if isinstance(inner, str) else None

    checks: list[tuple[Place, Callable[[str], Any]]] = [
        (("tools", "manifest"), lambda name: read_manifest(find_file(name, folder, "tools.manifest", allowed))),
        (("tools", "schemas"), lambda name: read_schemas(find_file(name, folder, "tools.schemas", allowed))),
    ]
    for side in ("candidate", "control"):
        checks += [
            (
                (side, "prompt_file"),
                lambda name: read_text(find_file(name, folder, "prompt_file", allowed), "prompt_file"),
            ),
            ((side, "python"), lambda spec: load_python(spec, folder, allowed) if ":" in spec else None),
        ]
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


def _measure_check(name: str, folder: Path, settings: Settings) -> Callable[[str], None]:
    def check(spec: str) -> None:
        if ":" in spec:
            metric = {name: find_metric(name, spec, folder, settings.allow_files)}
            require_measures(metric, memory_bytes=settings.memory_bytes // 4, seconds=settings.sql_seconds)

    return check


def require_measurable(lake: Lake, plan: Plan) -> None:
    """See that metrics and rules give something on what was recorded, before anybody is asked for the other side.

    SQL is tried on every recorded unit, functions on the first `TRIED`; nothing is kept, and nothing is tried where nobody is
    asked or the version is replayed already.

    Raises:
        BadInputError: SQL cannot be evaluated on a recorded value, or a metric fails wherever it was tried.
    """
    metrics, measures = expressions(plan.experiment), plan.measures
    last = lake.last_commit(REPLAYS.name, plan.partition)
    is_asked = any(asked.model or asked.python for asked in plan.experiment.sides.values())
    if not is_asked or not (metrics or measures) or (last is not None and last.input_hash == plan.version_id):
        return
    memory, seconds = lake.memory_bytes // 4, lake.sql_seconds
    tried: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    firsts: dict[str, str] = {}
    columns = ", ".join(UNIT_COLUMNS).replace("call_count", "len(tool_calls)::INTEGER AS call_count")
    with lake.connect() as connection:
        for number, shard in enumerate(create_relations(connection, lake, plan)):
            create_recorded(connection, plan, shard)
            units = connection.sql(
                f"SELECT row_number() OVER (ORDER BY unit_id) AS unit_row, unit_id, aggregate_id, {columns} FROM units_a "
                "WHERE is_asked ORDER BY unit_id"
            ).to_arrow_table()
            found: list[tuple[Iterable[str], pa.Table, Measured]] = [
                (metrics, units, evaluate_metrics(metrics, units, "a", memory_bytes=memory, seconds=seconds))
            ]
            if measures and number == 0:
                few = units.slice(0, TRIED)
                found.append((measures, few, measure_units(measures, few, "a", memory_bytes=memory, seconds=seconds)))
            for names, given, measured in found:
                tried.update(dict.fromkeys(names, given.num_rows))
                failed.update(name for errors in measured.errors for name, _ in errors)
                for (name, why), (unit, detail) in measured.first.items():
                    firsts.setdefault(name, f"{why}{f': {detail}'.removeprefix(f': {why}')} (first in {unit})")
    for name in sorted(failed):
        if failed[name] == tried[name]:
            raise BadInputError(
                f"metric {name} fails on all {tried[name]:,} recorded units that it was tried on, and nobody was asked yet: {firsts[name]}"
            )


def _key_findings(experiment: Experiment) -> Iterator[Finding]:
    """Keys that are not there; each variable once, where the experiment names it."""
    seen: set[str] = set()
    for side, asked in experiment.sides.items():
        variable = experiment.endpoint_of(side)[1] if asked.model is not None else None
        if variable is None or variable in seen:
            continue
        seen.add(variable)
        try:
            read_key(variable, os.environ)
        except BadInputError as error:
            yield (side if variable == asked.api_key_env else "candidate", "api_key_env"), str(error)


def _bound_findings(experiment: Experiment, settings: Settings) -> Iterator[Finding]:
    """Names in the gate, and what models may be asked and may cost."""
    checks: list[tuple[Place, Callable[[], Any]]] = [
        (("primary",), lambda: require_known_primary(experiment)),
        (("gate",), lambda: require_known_gate(experiment)),
        (("candidate",), lambda: list_models(experiment, settings)),
    ]
    for place, check in checks:
        try:
            check()
        except BadInputError as error:
            yield place, str(error)
