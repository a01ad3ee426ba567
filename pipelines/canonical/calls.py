"""Tool calls in canonical form, and their hashes at four levels of equality.

| level | two calls are equal when their names are, and their arguments are … |
|---|---|
| L0 | the same text, as recorded |
| L1 | the same JSON value (RFC 8785): key order, white space, escapes and 1 against 1.0 vanish |
| L2 | the same after `rules.normalise`; the default meaning of "same" |
| L3 | the same after `rules.lenient`; only for tools that opt in |

Equality at one level implies it at every later one. Arguments that are not JSON are equal only as text, at every level.
No arguments, `""` and `{}` are one value; `null` is another. A call's hash is SHA-256 over `{"args":<canonical bytes>,"name":…}`, or `{"name":…,"raw":…}` for
text (L0, and arguments that do not parse), so that anybody can recompute it. How calls of two sides are paired lives in
`pipelines.diff.pair.align`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from pipelines.canonical.arguments import sent_text
from pipelines.canonical.jcs import Flag, NotJsonError, Parsed, canonical_bytes, parse, plain_bytes, string_bytes
from pipelines.canonical.rules import PLAIN_RULES, ToolRules, lenient, normaliser

Level = Literal["L0", "L1", "L2", "L3"]

_NO_RULES: Mapping[str, ToolRules] = MappingProxyType({})
# Without rules only strings change, and only for one of these in their canonical bytes: a character that is not ASCII,
# an escape (line ends, tabs), a blank beside a quote.
_PERHAPS_CHANGED = re.compile(rb'[\x80-\xff\\]|" | "')
_CACHED_TEXT = 4_096  # characters; longer arguments seldom repeat and would fill the memory
_CACHE_ENTRIES = 100_000


@dataclass(frozen=True, slots=True)
class CallHashes:
    """Hashes of one tool call, or of one list of them: SHA-256, lower-case hex.

    Attributes:
        l0: Arguments as recorded.
        l1: Arguments as a JSON value.
        l2: Arguments normalised.
        l3: Arguments normalised leniently; equal to `l2` for a tool that did not opt in.
    """

    l0: str
    l1: str
    l2: str
    l3: str


class CanonicalCall(NamedTuple):
    """One tool call, read.

    Attributes:
        name: The tool's name.
        raw: Arguments as recorded: the text of the JSON value, or the string's own text; None when there were none.
        is_json: Whether the arguments could be read as JSON.
        value: Arguments normalised (L2), or leniently (L3) for a tool that opted in; None when not JSON.
        l1: Canonical bytes of the arguments; of a string holding `raw` when not JSON.
        l2: Canonical bytes of the normalised arguments; likewise.
        l3: Canonical bytes of the leniently normalised arguments; `l2` for a tool that did not opt in.
        flags: What is odd about the arguments, sorted.
    """

    name: str
    raw: str | None
    is_json: bool
    value: Any
    l1: bytes
    l2: bytes
    l3: bytes
    flags: tuple[Flag, ...]

    @property
    def key(self) -> tuple[str, bool, bytes]:
        """What two calls share exactly when they are the same call by the tool's own rules."""
        return self.name, self.is_json, self.l3

    def hashes(self) -> CallHashes:
        """Return the hashes of this call."""
        name = _name_bytes(self.name)
        raw = b"" if self.raw is None else b',"raw":' + string_bytes(self.raw)
        l0 = hashlib.sha256(b'{"name":' + name + raw + b"}").hexdigest()
        if not self.is_json:
            return CallHashes(l0, l0, l0, l0)
        tail = b',"name":' + name + b"}"
        l1 = hashlib.sha256(b'{"args":' + self.l1 + tail).hexdigest()
        l2 = l1 if self.l2 == self.l1 else hashlib.sha256(b'{"args":' + self.l2 + tail).hexdigest()
        l3 = l2 if self.l3 == self.l2 else hashlib.sha256(b'{"args":' + self.l3 + tail).hexdigest()
        return CallHashes(l0, l1, l2, l3)


def equal_level(a: CanonicalCall, b: CanonicalCall) -> Level | None:
    """Return the strongest level at which the arguments of two calls are equal, whatever their names; None for none.

    Arguments missing on both sides are equal at L0.
    """
    if a.raw == b.raw:
        return "L0"
    if not (a.is_json and b.is_json):
        return None
    if a.l1 == b.l1:
        return "L1"
    if a.l2 == b.l2:
        return "L2"
    return "L3" if a.l3 == b.l3 else None


class Canonicaliser:
    """Reads tool calls under one set of rules, remembering what it has read.

    Real logs repeat: the same few tools, and arguments copied from one run to the next. Not safe to share by threads.
    """

    def __init__(self, rules: Mapping[str, ToolRules] = _NO_RULES) -> None:
        self._rules = rules
        self._normalisers = {name: normaliser(rule) for name, rule in rules.items()}
        self._plain = normaliser(PLAIN_RULES)
        self._calls: dict[tuple[str, str | None], CanonicalCall] = {}
        self._hashes: dict[tuple[str, str | None], CallHashes] = {}

    def read(self, name: str, arguments: str | None) -> CanonicalCall:
        """Read one call.

        Args:
            name: The tool's name.
            arguments: JSON text of the `arguments` field, as jsonb prints it. Text that begins with a quote is a JSON
                string: its content is what the model sent. Text that is not JSON is taken as that content itself.
                None: the field was absent.

        Returns:
            The call in canonical form; never an error, oddities are flags.
        """
        key = (name, arguments)
        call = self._calls.get(key)
        if call is None:
            call = self._read(name, arguments)
            if arguments is None or len(arguments) <= _CACHED_TEXT:
                if len(self._calls) >= _CACHE_ENTRIES:
                    self._calls.clear()
                self._calls[key] = call
        return call

    def hash_call(self, name: str, arguments: str | None) -> CallHashes:
        """Return the hashes of one call; arguments as in `read`."""
        key = (name, arguments)
        hashes = self._hashes.get(key)
        if hashes is None:
            hashes = self._read(name, arguments).hashes()
            if arguments is None or len(arguments) <= _CACHED_TEXT:
                if len(self._hashes) >= _CACHE_ENTRIES:
                    self._hashes.clear()
                self._hashes[key] = hashes
        return hashes

    def hash_calls(self, names: Iterable[str], arguments: Iterable[str | None]) -> list[CallHashes]:
        """Return the hashes of many calls, in their order.

        Args:
            names: Tool names.
            arguments: JSON texts as in `read`, one per name.

        Raises:
            ValueError: The two differ in length.
        """
        return [self.hash_call(name, text) for name, text in zip(names, arguments, strict=True)]

    def hash_list(self, calls: Sequence[tuple[int, str, str | None]]) -> CallHashes:
        """Return the hashes of a list of calls, for telling equal lists without aligning them.

        Two lists have one hash exactly when they have the same sequence of blocks, each with the same calls in any
        order. With a different number for every call, order within blocks counts too, and the hash is that of the plain
        sequence. An empty list has a hash like any other.

        Args:
            calls: (block, name, arguments as in `read`), calls of one block adjacent. Only changes of the block number
                matter, not its value.
        """
        blocks = [
            [self.hash_call(name, arguments) for _, name, arguments in group]
            for _, group in groupby(calls, key=_first_item)
        ]
        return CallHashes(
            l0=_hash_of_blocks([[hashes.l0 for hashes in block] for block in blocks]),
            l1=_hash_of_blocks([[hashes.l1 for hashes in block] for block in blocks]),
            l2=_hash_of_blocks([[hashes.l2 for hashes in block] for block in blocks]),
            l3=_hash_of_blocks([[hashes.l3 for hashes in block] for block in blocks]),
        )

    def _read(self, name: str, arguments: str | None) -> CanonicalCall:
        raw = None if arguments is None else sent_text(arguments)
        try:
            parsed = parse(raw) if raw else Parsed({}, ("args_missing",), is_plain=True)
        except NotJsonError as error:
            text = string_bytes(raw or "")
            return CanonicalCall(name, raw, False, None, text, text, text, (error.flag,))
        flags = parsed.flags
        value = parsed.value
        if value is not None and not isinstance(value, dict):
            flags = tuple(sorted((*flags, "args_not_object")))
        l1 = plain_bytes(value) if parsed.is_plain else canonical_bytes(value)
        normalise = self._normalisers.get(name)
        if normalise is None:
            normalised = value if _PERHAPS_CHANGED.search(l1) is None else self._plain(value)
        else:
            normalised = normalise(value)
        l2 = l1 if normalised is value else canonical_bytes(normalised)
        rules = self._rules.get(name)
        if rules is None or not rules.is_lenient:
            return CanonicalCall(name, raw, True, normalised, l1, l2, l2, flags)
        loose = lenient(normalised)
        return CanonicalCall(name, raw, True, loose, l1, l2, canonical_bytes(loose), flags)


def _first_item(call: tuple[int, str, str | None]) -> int:
    return call[0]


def _hash_of_blocks(blocks: list[list[str]]) -> str:
    text = "\n".join(",".join(sorted(block)) for block in blocks)
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=4096)
def _name_bytes(name: str) -> bytes:
    return string_bytes(name)
