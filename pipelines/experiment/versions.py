"""What a version of an experiment is, kept in the lake as soon as it is planned: definition, conversations, settings.

Planned once: who replays it and who compares it load what was kept, also after a kill in between. Its texts are data: prompts,
expressions and tool schemas are those that were planned, whatever their files say now, and are not read for anything. Code is not
kept: a callable comes from its file, and is refused when that is not the one that was planned. Keys are named, never held.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.documents import parse_json
from pipelines.errors import BadInputError
from pipelines.experiment.closed import is_closed, tell_closed
from pipelines.experiment.code import PythonCandidate, PythonMetric, load_code
from pipelines.experiment.file import Experiment, recall_experiment
from pipelines.experiment.manifest import Manifest, ToolPolicy
from pipelines.experiment.plan import Plan, name_version
from pipelines.experiment.prompt import Prompt
from pipelines.experiment.sides import Candidate, Control, Side
from pipelines.fold.identity import fold_hash, version_hash
from pipelines.lake.datasets import REPLAYS, VERSIONS
from pipelines.lake.lake import Commit, Lake

_COLUMNS = ("definition", "settings", "folder", "tools")
_KEPT = f"""
SELECT {", ".join(_COLUMNS)}
FROM versions_history
WHERE experiment = $experiment AND version_id = $version_id
"""
_LIST = """
SELECT member.*
FROM (SELECT unnest({name}) AS member FROM versions_history WHERE experiment = $experiment AND version_id = $version_id)
"""


def keep_version(lake: Lake, plan: Plan, folder: Path) -> bool:
    """Keep a plan as the version that it is.

    Args:
        lake: Where to.
        plan: The version.
        folder: Folder of the experiment file, where its callables are.

    Returns:
        False when it is kept already, with the same settings.

    Raises:
        CommitLostError: Another writer keeps the same version at this moment.
    """
    tools = plan.tools
    row = {
        "definition": _text(plan.definition),
        "settings": plan.experiment.to_json(),
        "folder": str(folder.resolve()),
        "tools": _text(
            {
                "manifest": tools.manifest.model_dump(mode="json"),
                "schemas": tools.schemas,
                "on_miss": tools.on_miss,
                "unknown": tools.unknown,
                "registered": tools.registered,
            }
        ),
    }
    # the version_id stands for the conversations
    input_hash = hashlib.sha256(_text({**row, "version_id": plan.version_id}).encode()).hexdigest()
    last = lake.last_commit(VERSIONS.name, plan.partition)
    if last is not None and last.input_hash == input_hash:
        return False
    schema = VERSIONS.data_schema()
    columns = [
        _as_list(getattr(plan, field.name), field.type)
        if field.name in ("streams", "runs")
        else pa.array([row[field.name]], field.type)
        for field in schema
    ]
    with lake.replacing(VERSIONS, plan.partition) as writer:
        writer.write(pa.Table.from_arrays(columns, schema=schema))
        writer.commit(input_hash=input_hash)
    return True


def load_version(lake: Lake, experiment: str, version_id: str, allowed: Sequence[Path] = ()) -> Plan:
    """The plan of a version that is kept.

    Args:
        lake: Where it is.
        experiment: Name of the experiment.
        version_id: The version.
        allowed: Folders in which callables may be beside the experiment's own.

    Raises:
        BadInputError: It is not kept, or cannot be gone on with: code or a callable is another by now, or units were erased.
    """
    partition = {"experiment": experiment, "version_id": version_id}
    what = f"version {version_id} of {experiment}"
    if is_closed(lake.last_commit(VERSIONS.name, partition)):
        raise BadInputError(tell_closed(experiment, version_id))
    kept, streams, runs = _read(lake, partition, what)
    definition = kept["definition"].value
    if not is_of_this_code(definition):
        raise BadInputError(
            f"{what} was planned by other code than this; run `refold ab` with the experiment's file again"
        )
    if name_version(definition, streams, runs) != version_id:
        raise BadInputError(f"{what} is not what was planned: its row in `versions` is another; run `refold verify`")
    planned = recall_experiment(kept["settings"])
    callables, measures = load_code(planned, Path(kept["folder"]), allowed)
    for place, found in (("source_sha256", callables), ("measures", measures)):
        for name, each in found.items():
            if definition[place][name] != each.source_sha256:
                raise BadInputError(
                    f"{each.spec} ({name}) is not what it was when version {version_id} of {experiment} was planned; "
                    "run `refold ab` with the experiment's file again"
                )
    return _plan_of(planned, kept, streams, runs, version_id, callables, measures)


def recall_version(lake: Lake, partition: Mapping[str, str]) -> Plan:
    """A version as it was planned, without its code: for who looks at what came of it, and neither asks nor measures.

    Args:
        lake: Where it is.
        partition: Its `experiment` and `version_id`.

    Raises:
        BadInputError: It is not kept, or its settings are none to today's reader.
    """
    version_id = partition["version_id"]
    what = f"version {version_id} of {partition['experiment']}"
    kept, streams, runs = _read(lake, partition, what)
    try:
        return _plan_of(recall_experiment(kept["settings"]), kept, streams, runs, version_id, {}, {})
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{what} was kept in a form that is not read any more ({type(error).__name__})") from error


def _read(lake: Lake, partition: Mapping[str, str], what: str) -> tuple[dict[str, Any], pa.Table, pa.Table]:
    """What is kept of a version: its texts, parsed, its streams and its further runs."""
    with lake.connect("FROM versions_history") as connection:
        params = dict(partition)
        found = connection.execute(_KEPT, params).fetchall()
        if not found:
            raise BadInputError(f"{what} is not planned; run `refold ab` with the experiment's file")
        kept: dict[str, Any] = dict(zip(_COLUMNS, found[0], strict=True))
        streams, runs = (
            connection.sql(_LIST.format(name=name), params=params).to_arrow_table() for name in ("streams", "runs")
        )
    return kept | {name: parse_json(kept[name], what) for name in ("definition", "settings", "tools")}, streams, runs


def is_of_this_code(definition: Mapping[str, Any]) -> bool:
    """Whether a version was planned by the code that runs now, folds included."""
    return (definition.get("code_sha256"), definition.get("folds_sha256")) == (version_hash(), fold_hash())


def find_replays(lake: Lake, plan: Plan) -> Commit | None:
    """The commit of a version's replays; None as long as not every unit of it was put before its sides."""
    last = lake.last_commit(REPLAYS.name, plan.partition)
    return last if last is not None and last.input_hash == plan.version_id else None


def _plan_of(
    experiment: Experiment,
    kept: Mapping[str, Any],
    streams: pa.Table,
    runs: pa.Table,
    version_id: str,
    callables: Mapping[Side, PythonCandidate],
    measures: Mapping[str, PythonMetric],
) -> Plan:
    """The plan of what is kept, with the code that it is given."""
    definition, tools = kept["definition"].value, kept["tools"].value
    start, stop = (None if bound is None else datetime.fromisoformat(bound) for bound in definition["window"])
    return Plan(
        experiment=experiment,
        version_id=version_id,
        window=(start, stop),
        streams=streams,
        callables=callables,
        prompts={side: _prompt_of(asked, definition["prompts"].get(side)) for side, asked in experiment.sides.items()},
        tools=ToolPolicy(
            manifest=Manifest.model_validate(tools["manifest"]),
            schemas=None if tools["schemas"] is None else tuple(tools["schemas"]),
            on_miss=tools["on_miss"],
            unknown=tools["unknown"],
            registered=tuple(tools["registered"]),
        ),
        definition=definition,
        measures=measures,
        runs=runs,
        programs={},
    )


def _prompt_of(asked: Candidate | Control, text: str | None) -> Prompt | None:
    if text is not None:
        return Prompt(text=text)
    return Prompt(edits=asked.prompt_edit) if asked.prompt_edit else None


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _as_list(rows: pa.Table, kind: pa.ListType[Any]) -> pa.ListArray[Any]:
    """A table as the one list of a column."""
    fields = list(kind.value_type)
    columns = [rows[field.name].cast(field.type).combine_chunks() for field in fields]
    members = pa.StructArray.from_arrays(columns, fields=fields)
    return pa.ListArray.from_arrays(pa.array([0, rows.num_rows], pa.int32()), members, type=kind)
