"""Tool schemas that were recorded: lists by their hash, and what the decisions of some conversations agree on.

A list is registered with the log when it comes into use (`tools.registered`), and every decision names the hash of its
own. What an experiment says of its tools goes before all of this and is read elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import jsonschema_rs

from pipelines.canonical.rules import rules_from_tools
from pipelines.errors import BadInputError
from pipelines.log.readable import create_readable_events

ToolList = tuple[Mapping[str, Any], ...]

_NAMED = """
SELECT DISTINCT decisions.tools_sha256
FROM decisions
WHERE
    decisions.tools_sha256 IS NOT NULL
    AND decisions.aggregate_id IN (
        SELECT aggregate_id FROM selected
        UNION ALL
        SELECT recorded_aggregate_id FROM selected WHERE recorded_aggregate_id IS NOT NULL
    )
"""


def registered_tools(connection: duckdb.DuckDBPyConnection) -> dict[str, ToolList]:
    """Recorded tool schemas by their hash. The connection has the view `upcast_events`."""
    rows = connection.execute(
        "SELECT payload FROM upcast_events WHERE event_name = 'tools.registered' AND NOT is_erased ORDER BY position"
    ).fetchall()
    registered = (json.loads(payload) for (payload,) in rows)
    return {
        payload["sha256"]: tuple(tool for tool in payload["tools"] if isinstance(tool, dict))
        for payload in registered
        if isinstance(payload["tools"], list)  # a redaction may have left a text
    }


def has_erased_tools(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether lists of tools were erased, so that nobody knows which hashes were theirs; the same connection."""
    query = "SELECT 1 FROM upcast_events WHERE event_name = 'tools.registered' AND is_erased LIMIT 1"
    return bool(connection.execute(query).fetchall())


def selected_tools(connection: duckdb.DuckDBPyConnection) -> ToolList:
    """What the decisions of the selected conversations agree on.

    Args:
        connection: Has the relations `selected` (aggregate_id, recorded_aggregate_id), `decisions` and `events`.
    """
    named = {sha256 for (sha256,) in connection.execute(_NAMED).fetchall()}
    if not named:  # then the log need not be read
        return ()
    create_readable_events(connection)
    return agreed_tools(tools for sha256, tools in registered_tools(connection).items() if sha256 in named)


def agreed_tools(lists: Iterable[ToolList]) -> ToolList:
    """The tools whose arguments every list that has them describes alike, by name.

    Which list a call was made under is not asked: of a tool whose schema changed, nothing is known. A schema that is no
    JSON Schema, or that refers to another place, is none.

    Args:
        lists: As registered.

    Returns:
        `{"name", "parameters"}` per tool.
    """
    found: dict[str, Mapping[str, Any] | None] = {}
    for tools in lists:
        for tool in tools:
            try:
                rules = rules_from_tools([tool])
            except BadInputError:
                continue
            for name, rule in rules.items():
                is_other = name in found and _text(found[name]) != _text(rule.schema)
                found[name] = None if is_other or not _is_schema(rule.schema) else rule.schema
    return tuple({"name": name, "parameters": schema} for name, schema in sorted(found.items()) if schema)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def _is_schema(schema: Mapping[str, Any]) -> bool:
    try:
        jsonschema_rs.validator_for(dict(schema), offline=True)
    except (ValueError, jsonschema_rs.ReferencingError):
        return False
    return True
