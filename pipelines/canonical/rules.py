"""What counts as the same argument: per-tool rules and the normalisation behind levels L2 and L3.

A rule never guesses. Without a schema a string stays a string and a date stays text; only Unicode form, line ends and
outer white space are evened out. A tool's own schema or configuration allows more, and the loosest level (L3) is opt-in
per tool, because it calls `user-12` and `user1-2` the same. Reading JSON and hashing live elsewhere.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.canonical.jcs import canonical_bytes
from pipelines.errors import BadInputError

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-]\d{2}:\d{2})?"
_TIME = re.compile(_CLOCK, re.ASCII)
_DATE_TIME = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}[T ]{_CLOCK}", re.ASCII)
# The characters that the Berkeley Function-Calling Leaderboard's checker drops before it compares strings.
_LENIENT_DROPPED = str.maketrans({**dict.fromkeys(" ,./-_*^"), "'": '"'})
_LENIENT_DIGITS = 9
_MAX_DIGITS_COERCED = 4_000  # longer digit strings stay text: CPython refuses to convert them
_MAX_REF_HOPS = 32


@dataclass(frozen=True, slots=True)
class ToolRules:
    """How one tool's arguments are compared.

    Attributes:
        schema: JSON Schema of the arguments object; `{}` when unknown. Used: `type`, `format`, `default`, `required`,
            `properties`, `additionalProperties`, `items`, `uniqueItems`, local `$ref`, and `anyOf`/`oneOf` with one
            branch that is not null.
        ignore_args: Arguments left out of L2, for request ids and timestamps: a top-level name, or the JSON Pointer of
            an object member, in which a token `*` is any key or index.
        multiset_args: Arrays whose order does not count, named in the same way.
        key_args: Top-level arguments that alone make two calls the same; None for all.
        is_lenient: Whether equality at L3 makes two calls of this tool the same.
    """

    schema: Mapping[str, Any] = field(default_factory=dict)
    ignore_args: frozenset[str] = frozenset()
    multiset_args: frozenset[str] = frozenset()
    key_args: frozenset[str] | None = None
    is_lenient: bool = False


PLAIN_RULES = ToolRules()
"""The rules of a tool about which nothing is known."""


def rules_from_tools(tools: Iterable[Mapping[str, Any]]) -> dict[str, ToolRules]:
    """Read tool schemas as registered with a model or served by a tool server.

    Args:
        tools: Chat-completions tools (`{"type": "function", "function": {"name", "parameters"}}`), or objects with
            `name` and one of `parameters`, `input_schema`, `inputSchema`.

    Returns:
        Rules per tool name; of a name given twice the last counts.

    Raises:
        BadInputError: A tool without a name, or whose schema is not an object.
    """
    rules: dict[str, ToolRules] = {}
    for tool in tools:
        body = tool.get("function", tool)
        name = body.get("name") if isinstance(body, Mapping) else None
        if not isinstance(name, str) or not name:
            raise BadInputError(f"a tool schema has no name: {str(tool)[:200]}; give each tool a non-empty name")
        schema: Any = next((body[key] for key in ("parameters", "input_schema", "inputSchema") if body.get(key)), {})
        if not isinstance(schema, Mapping):
            raise BadInputError(f"the schema of tool {name!r} is {type(schema).__name__}; it must be a JSON object")
        rules[name] = ToolRules(schema=schema)
    return rules


def normalise(value: Any, rules: ToolRules = PLAIN_RULES) -> Any:
    """Return the value that is compared at L2.

    Strings are put in NFC with LF line ends and no outer white space; ignored arguments are dropped; schema defaults are
    filled in; `"5"` becomes 5 where the schema asks for a number; strings of format `time` and `date-time` (RFC 3339) are
    written one way, in UTC when they carry an offset (a `date` has one way); arrays without order are sorted by their canonical bytes.

    Args:
        value: Arguments as `jcs.parse` returns them; never changed in place.
        rules: The tool's rules.

    Returns:
        The normalised value; `value` itself when no rule is given and nothing had to change.
    """
    return normaliser(rules)(value)


def normaliser(rules: ToolRules) -> Callable[[Any], Any]:
    """Return `normalise` with the rules read once, for many calls of one tool."""
    if rules.key_args is not None:
        kept, others = rules.key_args, normaliser(replace(rules, key_args=None))
        return lambda value: _only(kept, others(value))
    if rules.schema == {} and not rules.ignore_args and not rules.multiset_args:
        return _plain
    ignored = tuple(_pointer_tokens(pattern) for pattern in sorted(rules.ignore_args))
    unordered = tuple(_pointer_tokens(pattern) for pattern in sorted(rules.multiset_args))
    walk = _Normaliser(rules.schema, ignored, unordered)
    return lambda value: walk.apply(value, rules.schema, ())


def _only(names: frozenset[str], value: Any) -> Any:
    return {key: item for key, item in value.items() if key in names} if isinstance(value, dict) else value


def lenient(value: Any) -> Any:
    """Return the value that is compared at L3, from the one compared at L2.

    Strings: case folded, and without blanks and `,./-_*^`. Numbers with a fraction: nine significant digits. (A hash cannot hold a
    tolerance: two numbers astride a rounding boundary differ, however close.)
    """
    if isinstance(value, str):
        return "".join(value.casefold().split()).translate(_LENIENT_DROPPED)
    if isinstance(value, float):
        number = float(f"{value:.{_LENIENT_DIGITS}g}")
        return int(number) if number.is_integer() else number
    if isinstance(value, list):
        return [lenient(item) for item in value]
    if isinstance(value, dict):
        return {key: lenient(item) for key, item in value.items()}
    return value


def _text(text: str) -> str:
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return text.replace("\r\n", "\n").strip()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        items = {key: _plain(item) for key, item in value.items()}
        return items if any(items[key] is not item for key, item in value.items()) else value
    if isinstance(value, list):
        new = [_plain(item) for item in value]
        return new if any(a is not b for a, b in zip(new, value, strict=True)) else value
    return value


def _pointer_tokens(pattern: str) -> tuple[str, ...]:
    """Split a JSON Pointer (RFC 6901), or take a bare name as the name of a top-level argument."""
    if not pattern.startswith("/"):
        return (pattern,)
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pattern[1:].split("/"))


def _matches(path: tuple[str, ...], patterns: tuple[tuple[str, ...], ...]) -> bool:
    return any(
        len(path) == len(pattern) and all(want in ("*", token) for token, want in zip(path, pattern, strict=True))
        for pattern in patterns
    )


@dataclass(frozen=True, slots=True)
class _Normaliser:
    """Normalisation under one tool's rules: a walk over value and schema side by side."""

    root: Mapping[str, Any]
    ignored: tuple[tuple[str, ...], ...]
    unordered: tuple[tuple[str, ...], ...]

    def apply(self, value: Any, schema: Mapping[str, Any], path: tuple[str, ...]) -> Any:
        schema = self._resolve(schema)
        if isinstance(value, str):
            return _typed(_text(value), schema)
        if isinstance(value, dict):
            return self._object(value, schema, path)
        if isinstance(value, list):
            inner = _as_schema(schema.get("items"))
            items = [self.apply(item, inner, (*path, str(index))) for index, item in enumerate(value)]
            if schema.get("uniqueItems") is True or _matches(path, self.unordered):
                items.sort(key=canonical_bytes)
            return items
        return value

    def _object(self, value: Mapping[str, Any], schema: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        properties = _as_schema(schema.get("properties"))
        others = _as_schema(schema.get("additionalProperties"))
        required = schema.get("required", ())
        filled = dict(value)
        for key, inner in properties.items():
            resolved = self._resolve(_as_schema(inner))
            if key not in filled and key not in required and "default" in resolved:
                filled[key] = resolved["default"]
        return {
            key: self.apply(item, _as_schema(properties.get(key, others)), (*path, key))
            for key, item in filled.items()
            if not _matches((*path, key), self.ignored)
        }

    def _resolve(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Follow local references and optional types to the schema that says something."""
        for _ in range(_MAX_REF_HOPS):  # a cycle of references says nothing
            reference = schema.get("$ref")
            branches = [
                branch
                for branch in schema.get("anyOf", schema.get("oneOf", ()))
                if isinstance(branch, Mapping) and branch.get("type") != "null"
            ]
            if isinstance(reference, str) and reference.startswith("#/"):
                target: Any = self.root
                for token in _pointer_tokens(reference[1:]):
                    target = target.get(token) if isinstance(target, Mapping) else None
                inner = _as_schema(target)
            elif len(branches) == 1:
                inner = branches[0]
            else:
                return schema
            # Keywords beside the reference, above all `default`, hold too.
            schema = {**inner, **{key: schema[key] for key in schema if key not in ("$ref", "anyOf", "oneOf")}}
        return {}


def _as_schema(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}  # true and false are schemas that say nothing about form


def _typed(text: str, schema: Mapping[str, Any]) -> Any:
    declared = schema.get("type")
    types = frozenset(declared if isinstance(declared, list | tuple) else (declared,))
    if "string" not in types and len(text) <= _MAX_DIGITS_COERCED:
        if types & {"integer", "number"} and _INTEGER.fullmatch(text):
            return int(text)
        if "number" in types and _NUMBER.fullmatch(text):
            number = float(text)
            return int(number) if number.is_integer() and abs(number) < 2**53 else number
    one_way = _ONE_WAY.get(str(schema.get("format")))
    return one_way(text) if one_way is not None else text


def _date_time(text: str) -> str:
    upper = text.upper()
    if not _DATE_TIME.fullmatch(upper):
        return text
    try:
        moment = dt.datetime.fromisoformat(upper)
        if moment.tzinfo is not None:
            moment = moment.astimezone(dt.UTC)
    except (ValueError, OverflowError):  # 30 February; an offset that leaves the years 1 to 9999
        return text
    return moment.isoformat().replace("+00:00", "Z")  # without an offset the zone is unknown, so it is not UTC


def _time(text: str) -> str:
    upper = text.upper()
    if not _TIME.fullmatch(upper):
        return text
    try:
        moment = dt.time.fromisoformat(upper)
    except ValueError:  # an offset beyond a day
        return text
    offset = moment.utcoffset()
    if offset is None:
        return moment.isoformat()
    day = dt.datetime.combine(dt.date(2000, 1, 2), moment.replace(tzinfo=None)) - offset
    return day.time().isoformat() + "Z"


_ONE_WAY: Mapping[str, Callable[[str], str]] = {"date-time": _date_time, "time": _time}
"""Formats with more than one way of writing the same instant; a full date has one."""
