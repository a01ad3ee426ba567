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
from pipelines.experiment.code import load_code
from pipelines.experiment.file import experiment_of
from pipelines.experiment.manifest import Manifest, ToolPolicy
from pipelines.experiment.plan import Plan, name_version
from pipelines.experiment.prompt import Prompt
from pipelines.experiment.sides import Candidate, Control
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
        BadInputError: It is not kept, or cannot be gone on with: code or a callable is another by now.
    """
    partition = {"experiment": experiment, "version_id": version_id}
    what = f"version {version_id} of {experiment}"
    with lake.connect("FROM versions_history") as connection:
        found = connection.sql(_KEPT, params=partition).fetchall()
        if not found:
            raise BadInputError(f"{what} is not planned; run `refold ab` with the experiment's file")
        kept: dict[str, Any] = dict(zip(_COLUMNS, found[0], strict=True))
        streams, runs = (
            connection.sql(_LIST.format(name=name), params=partition).to_arrow_table() for name in ("streams", "runs")
        )
    kept |= {name: parse_json(kept[name], what) for name in ("definition", "settings", "tools")}
    definition = kept["definition"].value
    if (definition["code_sha256"], definition["folds_sha256"]) != (version_hash(), fold_hash()):
        raise BadInputError(
            f"{what} was planned by other code than this; run `refold ab` with the experiment's file again"
        )
    if name_version(definition, streams, runs) != version_id:
        raise BadInputError(f"{what} is not what was planned: its row in `versions` is another; run `refold verify`")
    return _plan_of(kept, streams, runs, version_id, allowed)


def find_replays(lake: Lake, plan: Plan) -> Commit | None:
    """The commit of a version's replays; None as long as not every unit of it was put before its sides."""
    last = lake.last_commit(REPLAYS.name, plan.partition)
    return last if last is not None and last.input_hash == plan.version_id else None


def _plan_of(
    kept: Mapping[str, Any], streams: pa.Table, runs: pa.Table, version_id: str, allowed: Sequence[Path]
) -> Plan:
    """The plan of what is kept: texts as they are kept, callables from their files."""
    experiment, definition, tools = experiment_of(kept["settings"]), kept["definition"].value, kept["tools"].value
    folder = Path(kept["folder"])
    callables, measures = load_code(experiment, folder, allowed)
    for planned, found in (("source_sha256", callables), ("measures", measures)):
        for name, each in found.items():
            if definition[planned][name] != each.source_sha256:
                raise BadInputError(
                    f"{each.spec} ({name}) is not what it was when version {version_id} of {experiment.experiment} was planned; "
                    "run `refold ab` with the experiment's file again"
                )
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
