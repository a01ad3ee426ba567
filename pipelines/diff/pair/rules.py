"""What is known of an experiment's tools, as rules for comparing their calls, and what their schemas find wrong with calls.

The experiment's own schemas count, else those that its conversations were recorded with; both are part of a version's id. How
a rule is applied is `pipelines.canonical.rules`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from pipelines.canonical.calls import Canonicaliser
from pipelines.canonical.jcs import HugeNumber, NotJsonError, parse
from pipelines.canonical.rules import PLAIN_RULES, ToolRules, rules_from_tools
from pipelines.errors import BadInputError

if TYPE_CHECKING:  # half of what a helper process would import
    from pipelines.experiment.manifest import ToolPolicy


def tool_rules(policy: ToolPolicy) -> dict[str, ToolRules]:
    """The rules of every tool of which something is known: its schema, and what the manifest ignores or forgives."""
    rules = rules_from_tools(policy.registered if policy.schemas is None else policy.schemas)
    for name, tool in policy.manifest.tools.items():
        rules[name] = replace(
            rules.get(name, PLAIN_RULES),
            ignore_args=frozenset(tool.ignore_args),
            key_args=None if tool.key_args is None else frozenset(tool.key_args),
            is_lenient=tool.lenient,
        )
    return rules


class Flagger:
    """Says what is odd about tool calls: their JSON, and what their tools' schemas refuse.

    Args:
        rules: The tools' rules.

    Raises:
        BadInputError: A tool's schema is no JSON Schema.
    """

    def __init__(self, rules: Mapping[str, ToolRules]) -> None:
        self._reader = Canonicaliser(rules)
        self._required: dict[str, frozenset[str]] = {}
        self._validators: dict[str, Any] = {}
        for name, rule in rules.items():
            if not rule.schema:
                continue
            try:
                self._validators[name] = jsonschema_rs.validator_for(dict(rule.schema), offline=True)
            except ValueError as error:
                reason = str(error).splitlines()[0]
                raise BadInputError(f"the schema of tool {name!r} is no JSON Schema: {reason}") from error
            required = rule.schema.get("required", ())
            self._required[name] = frozenset(required if isinstance(required, list | tuple) else ())

    def flags(self, name: str, arguments: str | None) -> list[str]:
        """The flags of one call, sorted: those of `canonical.jcs`, `missing_required` and `schema_invalid`.

        Args:
            name: The tool's name.
            arguments: JSON text as `Canonicaliser.read` takes it. The schema judges it as it was sent.
        """
        call = self._reader.read(name, arguments)
        found: set[str] = set(call.flags)
        if name in self._validators:
            try:
                value = {} if call.raw is None else parse(call.raw).value
            except NotJsonError:  # flagged as such
                return sorted(found)
            if isinstance(value, dict) and not self._required[name] <= value.keys():
                found.add("missing_required")
            if not self._validators[name].is_valid(_plain(value)):
                found.add("schema_invalid")
        return sorted(found)


def _plain(value: Any) -> Any:
    """A parsed value in the types that the validator knows; numbers beyond them as numbers of their kind."""
    if isinstance(value, HugeNumber):
        return 2**53 if value.kind == "int" else 1.5e300
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value
