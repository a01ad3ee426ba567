"""What redactions leave of a payload.

Pure: payloads and redactions in, payload out; where they are stored is none of its business. The rules:

- A `path` (JSON Pointer, RFC 6901) names a value; it becomes `[redacted]`. A `span` names code points of a string,
  half-open; they become `[redacted]`, all offsets being those of the recorded string, overlaps allowed.
- What cannot be followed exactly is followed generously: a path that leads nowhere hides the nearest value above it that
  exists, a span that names no code point of a string hides the whole value. Such redactions are counted as inexact.
- Utterances hold what was said twice, as `text` and as recorded `content`: hiding a part of one hides all of the other.
- The shape that folds need stays: a hidden payload keeps its members and its `call_id`, a hidden list of system messages
  its length. Null and empty strings hide nothing and stay.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

Steps = tuple[str, ...]

HIDDEN = "[redacted]"
IS_REDACTION = "event_type LIKE 'redaction.applied.v%'"
"""Which events are redactions, as SQL; of a version that is not known they hide all that they may mean."""
TARGET_VERSION = "TRY_CAST(json_extract_string(payload, '$.target.stream_version') AS INTEGER)"
"""The version of its stream that a redaction hides a part of, as SQL; see `target_version`."""
_TWINS = {"text": "content", "content": "text"}
_STRUCTURE = "call_id"
"""The one member of a payload that pairs events instead of saying something."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """One redaction, as its event says it.

    Attributes:
        path: JSON Pointer of the value in the recorded payload.
        start: First code point of the string there; None hides the value.
        end: One past the last code point; None hides the value.
    """

    path: str
    start: int | None = None
    end: int | None = None

    @classmethod
    def from_json(cls, text: str) -> Redaction:
        """`from_payload` of JSON text."""
        return cls.from_payload(json.loads(text))

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any]) -> Redaction:
        """Read the payload of a `redaction.applied` event; what it does not say clearly hides everything."""
        span = payload.get("span")
        if isinstance(span, Mapping):
            path, start, end = span.get("path"), span.get("start"), span.get("end")
            if isinstance(path, str) and isinstance(start, int) and isinstance(end, int):
                return cls(path, start, end)
            return cls(path if isinstance(path, str) else "")
        path = payload.get("path")
        return cls(path if isinstance(path, str) else "")


def target_version(payload: Mapping[str, Any]) -> int | None:
    """The version of its stream that a redaction hides a part of, by the payload of its event; None if it does not say."""
    target = payload.get("target")
    version = target.get("stream_version") if isinstance(target, Mapping) else None
    with suppress(TypeError, ValueError):
        return None if version is None or isinstance(version, (bool, float)) else int(version)
    return None


Fault = Literal["no_target", "no_path", "no_span"]
"""What is wrong with a redaction: the event that it names is not there; its path leads nowhere, so that what is above it is
hidden; or its span names no code point of a string, so that the whole value is."""


@dataclass(frozen=True, slots=True)
class Redacted:
    """A payload with redactions applied.

    Attributes:
        payload: What may be shown.
        inexact: Redactions that had to hide more than they named.
    """

    payload: dict[str, Any]
    inexact: int


def redact(payload: Mapping[str, Any], redactions: Iterable[Redaction]) -> Redacted:
    """Apply all redactions of one event to its payload, as recorded; the order of redactions does not matter."""
    shown: dict[str, Any] = copy.deepcopy(dict(payload))
    spans: dict[Steps, list[tuple[int, int]]] = {}
    paths: set[Steps] = set()
    inexact = 0
    for redaction in redactions:
        wanted = _steps(redaction.path)
        found, value = _nearest(payload, wanted or ())
        if found == wanted and redaction.start is not None and redaction.end is not None and isinstance(value, str):
            start, end = max(redaction.start, 0), min(redaction.end, len(value))
            if start < end:
                spans.setdefault(found, []).append((start, end))
                continue
        paths.add(found)
        inexact += found != wanted or redaction.start is not None
    for steps, ranges in spans.items():
        _set(shown, steps, cut(_nearest(payload, steps)[1], ranges))
    # deepest first: what is hidden above ends up hidden, whatever was hidden below
    for steps in sorted(paths, key=len, reverse=True):
        if steps:
            _set(shown, steps, _hide(_nearest(payload, steps)[1], steps))
        else:
            shown |= {name: _hide(value, (name,)) for name, value in payload.items() if name != _STRUCTURE}
    if "text" in payload and "content" in payload:
        for steps in (*paths, *spans):
            twin = _TWINS.get(steps[0]) if steps else None
            if twin is not None:
                shown[twin] = _hide(payload[twin], (twin,))
    return Redacted(shown, inexact)


def find_fault(payload: Mapping[str, Any], redaction: Redaction) -> Fault | None:
    """Why a redaction hides more than it names, or nothing; None if it hides what it names."""
    wanted = _steps(redaction.path)
    found, value = _nearest(payload, wanted or ())
    if found != wanted:
        return "no_path"
    if redaction.start is None or redaction.end is None:
        return None
    is_span = isinstance(value, str) and max(redaction.start, 0) < min(redaction.end, len(value))
    return None if is_span else "no_span"


def hidden_part(payload: Mapping[str, Any], redaction: Redaction) -> Any:
    """What a redaction hides of a payload: a part of a string, or the value that it names, or the nearest above it."""
    wanted = _steps(redaction.path)
    found, value = _nearest(payload, wanted or ())
    if find_fault(payload, redaction) is None and redaction.start is not None and found == wanted:
        return value[max(redaction.start, 0) : redaction.end]
    return value


def redact_text(payload: str, redactions: Iterable[Redaction]) -> tuple[str, int]:
    """The same on JSON text: (payload, inexact)."""
    redacted = redact(json.loads(payload), redactions)
    return json.dumps(redacted.payload, ensure_ascii=False, separators=(",", ":")), redacted.inexact


def cut(text: str, ranges: list[tuple[int, int]]) -> str:
    """Replace code points by `[redacted]`, once for each stretch of overlapping or adjacent ranges."""
    pieces: list[str] = []
    end_of_last = -1
    for start, end in sorted(ranges):
        if start > end_of_last:
            pieces += [text[max(end_of_last, 0) : start], HIDDEN]
        end_of_last = max(end_of_last, end)
    return "".join([*pieces, text[end_of_last:]])


def _steps(pointer: str) -> Steps | None:
    """The reference tokens of a JSON Pointer; None for text that is not one."""
    if pointer and not pointer.startswith("/"):
        return None
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def _child(value: Any, token: str) -> tuple[bool, Any]:
    if isinstance(value, Mapping) and token in value:
        return True, value[token]
    if isinstance(value, list) and token.isdecimal() and token.isascii() and int(token) < len(value):
        return True, value[int(token)]
    return False, None


def _nearest(payload: Any, wanted: Steps) -> tuple[Steps, Any]:
    """The longest beginning of a path that exists, and the value there."""
    value = payload
    for depth, token in enumerate(wanted):
        exists, child = _child(value, token)
        if not exists:
            return wanted[:depth], value
        value = child
    return wanted, value


def _set(payload: dict[str, Any], steps: Steps, value: Any) -> None:
    holder = _nearest(payload, steps[:-1])[1]
    if isinstance(holder, list):
        holder[int(steps[-1])] = value
    else:
        holder[steps[-1]] = value


def _hide(value: Any, steps: Steps) -> Any:
    if value is None or value == "":
        return value
    if steps == ("messages",) and isinstance(value, list):
        return [_hide(message, ("messages", "0")) for message in value]
    if len(steps) == 2 and steps[0] == "messages":
        return {"role": "system", "content": HIDDEN}
    return HIDDEN
