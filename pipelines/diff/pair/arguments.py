"""How two calls' arguments differ: similarity for alignment, and one operation per changed argument for people.

Both work on values as `pipelines.canonical` normalises them, so an ignored argument or a filled-in default is no difference.
Which calls are compared with each other is decided in `align`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from rapidfuzz.distance import Indel

from pipelines.canonical.calls import CanonicalCall
from pipelines.canonical.jcs import HugeNumber, canonical_bytes

UNIT = 5_354_228_880
"""Parts of one whole similarity: the least common multiple of 1 to 24. Sums of such parts are exact integers, so equal
sums of shares like 1/3 + 2/3 and 1/2 + 1/2 are equal, and no order of addition matters."""

_SAFE = 2**53 - 1
_COMPARED_TEXT = 10_000  # characters of one string that similarity looks at: its cost grows with the square

OpKind = Literal["arg_added", "arg_removed", "arg_value", "arg_type"]


class ArgOp(NamedTuple):
    """One difference between the arguments of two paired calls.

    Attributes:
        op: `arg_added` and `arg_removed` for a member or element of one side alone (a whole subtree is one operation),
            `arg_type` for another JSON type, `arg_value` for another value of the same type.
        path: JSON Pointer (RFC 6901); "" is the arguments themselves.
        old: The value on side A, as `jcs.parse` returns values; None when added. As text: `jcs.canonical_text`.
        new: The value on side B, likewise; None when removed.
    """

    op: OpKind
    path: str
    old: Any
    new: Any


def leaves(call: CanonicalCall) -> dict[str, Any]:
    """Flatten a call's arguments to path and value.

    Args:
        call: The call.

    Returns:
        JSON Pointer to leaf: a string as it is, anything else as canonical bytes. Empty objects and arrays inside are
        leaves; `{}` and `[]` as a whole, and missing arguments, have none. Text that is not JSON is one leaf at "".
    """
    if not call.is_json:
        return {} if call.raw is None else {"": call.raw}
    found: dict[str, Any] = {}
    if call.value not in ({}, []):
        _flatten(call.value, "", found)
    return found


def similarity(a: Mapping[str, Any], b: Mapping[str, Any]) -> int:
    """Return how alike two sets of leaves are, in parts of `UNIT`.

    `UNIT` if both are empty, else `UNIT * (2 * equal + sum(v)) / (len(a) + len(b))`: leaves with the same path and value
    count twice, two strings at the same path count their Indel similarity v (over their first 10,000 characters), so
    that a near miss earns at most half.

    Args:
        a: Leaves of one call.
        b: Leaves of the other.
    """
    if not a and not b:
        return UNIT
    scores = [_leaf_score(value, b[path]) for path, value in a.items() if path in b]
    # fsum is exact before its one rounding: the order of keys changes nothing.
    return round(UNIT * math.fsum(scores) / (len(a) + len(b)))


def shares_leaf(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Return whether some path is a leaf of both."""
    return not a.keys().isdisjoint(b.keys())


def arg_ops(a: CanonicalCall, b: CanonicalCall) -> tuple[ArgOp, ...]:
    """Return what turns A's arguments into B's.

    Applied in order, the operations give B's arguments: members in order of their names, array elements from the
    front, except that surplus elements are removed from the end.

    Args:
        a: The call on side A.
        b: The call on side B.

    Returns:
        Operations; none when the arguments are equal. Text that is not JSON counts as a value of its own type.
    """
    if a.raw is None or b.raw is None:
        return _missing_ops(a, b)
    if not (a.is_json and b.is_json):
        if a.is_json == b.is_json and a.raw == b.raw:
            return ()
        kind: OpKind = "arg_value" if a.is_json == b.is_json else "arg_type"
        return (ArgOp(kind, "", a.value if a.is_json else a.raw, b.value if b.is_json else b.raw),)
    ops: list[ArgOp] = []
    _compare(a.value, b.value, "", ops)
    return tuple(ops)


def _missing_ops(a: CanonicalCall, b: CanonicalCall) -> tuple[ArgOp, ...]:
    if a.raw is not None:
        return (ArgOp("arg_removed", "", a.value if a.is_json else a.raw, None),)
    if b.raw is not None:
        return (ArgOp("arg_added", "", None, b.value if b.is_json else b.raw),)
    return ()


def _flatten(value: Any, path: str, found: dict[str, Any]) -> None:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _flatten(item, f"{path}/{_token(key)}", found)
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            _flatten(item, f"{path}/{index}", found)
    else:
        found[path] = value if isinstance(value, str) else _scalar_bytes(value)


def _scalar_bytes(value: Any) -> bytes:
    if type(value) is int and -_SAFE <= value <= _SAFE:  # most leaves that are no strings; a bool is no int here
        return b"%d" % value
    return canonical_bytes(value)


def _token(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key


def _leaf_score(a: Any, b: Any) -> float:
    if a == b:
        return 2.0
    if isinstance(a, str) and isinstance(b, str):
        return Indel.normalized_similarity(a[:_COMPARED_TEXT], b[:_COMPARED_TEXT])
    return 0.0


def _compare(a: Any, b: Any, path: str, ops: list[ArgOp]) -> None:
    if type(a) is str and type(b) is str:  # most values; the general way says the same
        if a != b:
            ops.append(ArgOp("arg_value", path, a, b))
    elif isinstance(a, dict) and isinstance(b, dict):
        for key in sorted(a.keys() | b.keys()):
            inner = f"{path}/{_token(key)}"
            if key not in b:
                ops.append(ArgOp("arg_removed", inner, a[key], None))
            elif key not in a:
                ops.append(ArgOp("arg_added", inner, None, b[key]))
            else:
                _compare(a[key], b[key], inner, ops)
    elif isinstance(a, list) and isinstance(b, list):
        _compare_arrays(a, b, path, ops)
    elif _json_type(a) != _json_type(b):
        ops.append(ArgOp("arg_type", path, a, b))
    elif a != b and canonical_bytes(a) != canonical_bytes(b):  # NaN is no value that equals itself
        ops.append(ArgOp("arg_value", path, a, b))


def _compare_arrays(a: list[Any], b: list[Any], path: str, ops: list[ArgOp]) -> None:
    for index in range(min(len(a), len(b))):
        _compare(a[index], b[index], f"{path}/{index}", ops)
    # From the end, so that each operation's index holds when it is applied.
    ops.extend(ArgOp("arg_removed", f"{path}/{i}", a[i], None) for i in range(len(a) - 1, len(b) - 1, -1))
    ops.extend(ArgOp("arg_added", f"{path}/{i}", None, b[i]) for i in range(len(a), len(b)))


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float | HugeNumber):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "object"
    return "null" if value is None else "array"
