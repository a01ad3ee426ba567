"""What tools do to the world, and what makes two of their calls the same: the tool manifest and its effect on a replay.

A manifest is a YAML file:

    tools:
      get_order: {effect: read}
      refund_order: {effect: write, ignore_args: [request_id]}
      search: {effect: read, key_args: [query], lenient: true}

What it does not say is asked of the tool's schema (`readOnlyHint`), and is unknown otherwise. Nothing here looks anything
up: that is `cassette`'s. How arguments are normalised is `pipelines.canonical.rules`'s.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipelines.canonical.calls import Canonicaliser
from pipelines.canonical.jcs import canonical_bytes, string_bytes
from pipelines.canonical.rules import PLAIN_RULES, ToolRules, rules_from_tools
from pipelines.documents import find_file, read_document
from pipelines.experiment.file import Tools
from pipelines.experiment.strict import StrictModel, read_model

Effect = Literal["read", "write", "pure", "unknown"]
OnMiss = Literal["stop", "stub_error"]
Unknown = Literal["unverified", "read", "write"]

_CACHED = 100_000
"""Keys that are remembered; real agents repeat their calls."""


class ManifestTool(StrictModel):
    """One tool of a manifest.

    Attributes:
        effect: `read` changes nothing; `write` may change what reads give; `pure` depends on its arguments alone;
            `unknown` is any of these.
        key_args: Top-level arguments that alone make two calls the same; None for all.
        ignore_args: Arguments that make no difference: a top-level name, or the JSON Pointer of an object member.
        lenient: Whether case, blanks and punctuation make no difference either. Such a hit is called `norm` and taints.
    """

    effect: Effect = "unknown"
    key_args: Annotated[tuple[str, ...], Field(strict=False)] | None = None
    ignore_args: Annotated[tuple[str, ...], Field(strict=False)] = ()
    lenient: bool = False

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.key_args is not None and self.ignore_args:
            raise ValueError("give either key_args or ignore_args")
        if self.key_args is not None and self.lenient:
            raise ValueError("give either key_args or lenient")
        return self


class Manifest(StrictModel):
    """A manifest: tools by name."""

    tools: dict[str, ManifestTool] = Field(default_factory=dict)


def read_manifest(path: Path) -> Manifest:
    """Read a manifest file.

    Raises:
        BadInputError: It cannot be read, or says something that a manifest does not.
    """
    document = read_document(path, "tool manifest")
    return read_model(replace(document, value={}) if document.value is None else document, Manifest)


def read_schemas(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Read a file of tool schemas, JSON or YAML: a list, or an object with the list under `tools`.

    Raises:
        BadInputError: It cannot be read, or holds something else.
    """
    document = read_document(path, "tool schemas")
    listed = document.value.get("tools") if isinstance(document.value, dict) else document.value
    if not isinstance(listed, list) or not all(isinstance(tool, dict) for tool in listed):
        document.refuse([((), "write a JSON list of tool schemas")])
    rules_from_tools(listed)  # refuses tools without a name
    return tuple(listed)


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """How an experiment answers tool calls.

    Attributes:
        manifest: What is known of the tools.
        schemas: Tool schemas of the experiment's own; None takes those that were recorded.
        on_miss: What a call without a recorded result gets: nothing (the unit ends as `diverged`), or an error.
        unknown: Whether unknown tools are taken for writes, for reads, or make what follows them unverified.
        registered: Recorded schemas that say which calls are the same, where the experiment has none of its own.
    """

    manifest: Manifest = field(default_factory=Manifest)
    schemas: tuple[Mapping[str, Any], ...] | None = None
    on_miss: OnMiss = "stop"
    unknown: Unknown = "unverified"
    registered: tuple[Mapping[str, Any], ...] = ()

    @property
    def sha256(self) -> str:
        """Hash of all that changes an answer and is not recorded, hex."""
        return _sha256([self.manifest.model_dump(mode="json"), self.schemas, self.on_miss, self.unknown])

    @property
    def registered_sha256(self) -> dict[str, str]:
        """Hash of each recorded schema by the tool's name, hex."""
        return {str(tool["name"]): _sha256(tool) for tool in self.registered}


def read_tool_policy(tools: Tools, folder: Path, allowed: Sequence[Path] = ()) -> ToolPolicy:
    """The policy that an experiment's `tools` asks for.

    Args:
        tools: As written.
        folder: Folder of the experiment file, where its files are.
        allowed: Further folders in which they may be.

    Raises:
        BadInputError: A file cannot be read, or is elsewhere.
    """
    manifest, schemas = (
        None if name is None else find_file(name, folder, f"tools.{what}", allowed)
        for what, name in (("manifest", tools.manifest), ("schemas", tools.schemas))
    )
    return ToolPolicy(
        manifest=Manifest() if manifest is None else read_manifest(manifest),
        schemas=None if schemas is None else read_schemas(schemas),
        on_miss=tools.on_miss,
        unknown=tools.unknown,
    )


def _sha256(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class CallKey:
    """What makes a call the same as another.

    Attributes:
        exact: SHA-256 over name and normalised arguments; of the raw text where they are not JSON.
        lenient: The same over leniently normalised arguments; None for a tool that did not opt in.
    """

    exact: bytes
    lenient: bytes | None = None


class ToolBook:
    """Effects and keys of tools under one policy and one list of schemas.

    Args:
        policy: The experiment's policy.
        recorded: Tool schemas of the recording, used where the policy has none of its own.
    """

    def __init__(self, policy: ToolPolicy, recorded: Sequence[Mapping[str, Any]] = ()) -> None:
        schemas = recorded if policy.schemas is None else policy.schemas
        self._manifest = policy.manifest.tools
        self._hints = _read_only_hints(schemas)
        self._unknown: Effect = "unknown" if policy.unknown == "unverified" else policy.unknown
        rules = rules_from_tools(schemas)
        for name, tool in self._manifest.items():
            given = rules.get(name, PLAIN_RULES)
            rules[name] = replace(given, ignore_args=frozenset(tool.ignore_args), is_lenient=tool.lenient)
        self._rules: Mapping[str, ToolRules] = rules
        self._canonical = Canonicaliser(rules)
        self._keys: dict[tuple[str, str | None], CallKey] = {}

    def effect(self, name: str) -> Effect:
        """What a tool does: as the manifest says, else its schema, else unknown (or what the policy makes of that)."""
        tool = self._manifest.get(name)
        effect = tool.effect if tool is not None and tool.effect != "unknown" else self._hints.get(name, "unknown")
        return self._unknown if effect == "unknown" else effect

    def key(self, name: str, arguments: str | None) -> CallKey:
        """The key of a call; arguments are JSON text as `Canonicaliser.read` takes them."""
        asked = (name, arguments)
        key = self._keys.get(asked)
        if key is None:
            if len(self._keys) >= _CACHED:
                self._keys.clear()
            key = self._keys[asked] = self._key(name, arguments)
        return key

    def _key(self, name: str, arguments: str | None) -> CallKey:
        hashes = self._canonical.hash_call(name, arguments)
        tool = self._manifest.get(name)
        lenient = bytes.fromhex(hashes.l3) if tool is not None and tool.lenient else None
        if tool is None or tool.key_args is None:
            return CallKey(bytes.fromhex(hashes.l2), lenient)
        call = self._canonical.read(name, arguments)
        if not call.is_json or not isinstance(call.value, dict):
            return CallKey(bytes.fromhex(hashes.l2), lenient)
        kept = canonical_bytes({arg: call.value[arg] for arg in tool.key_args if arg in call.value})
        digest = hashlib.sha256(b'{"args":' + kept + b',"name":' + string_bytes(name) + b"}").digest()
        return CallKey(digest)

    def arguments(self, name: str, arguments: str | None) -> Any:
        """The arguments as compared, for people: a JSON value, or the raw text."""
        call = self._canonical.read(name, arguments)
        return call.value if call.is_json else call.raw


def _read_only_hints(schemas: Sequence[Mapping[str, Any]]) -> dict[str, Effect]:
    """Effects that tool schemas declare, as tool servers do: `annotations.readOnlyHint`, or `readOnlyHint` itself."""
    found: dict[str, Effect] = {}
    for tool in schemas:
        body = tool.get("function", tool)
        annotations = tool.get("annotations") or body.get("annotations") or {}
        hint = annotations.get("readOnlyHint", body.get("readOnlyHint", tool.get("readOnlyHint")))
        if isinstance(hint, bool):
            found[body["name"]] = "read" if hint else "write"
    return found
