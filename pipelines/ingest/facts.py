"""What a run line says of its conversation as a whole, beside its messages: where it came from, how it ended, how it was judged.

A fact that has the shape that its event wants is taken into it; any other stays a field that nobody knows, kept verbatim. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.ingest.messages import Draft, Leftovers
from pipelines.log.versions import SCORE, STARTED_FIELDS

FIDELITY = ("content_missing", "history_compacted", "reasoning_lost", "is_truncated", "session_ambiguous")
"""What a record may lack, as a line's `fidelity` names it."""
_SCORE_FIELDS = {
    "label": str,
    "comment": str,
    "kind": ("numeric", "boolean", "categorical", "text"),
    "source": ("human", "model", "rule", "user"),
    "recorded_at": (str, int, float),
}
_ACTORS = {"human": "user", "user": "user", "model": "service", "rule": "service"}


def kind(record: Mapping[str, Any]) -> str:
    """What the stream of a line is about: `call` or `conversation`."""
    return "call" if record.get("kind") == "call" else "conversation"


def of_start(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the start says beside who serves the conversation."""
    return {name: record[name] for name in STARTED_FIELDS if name in record and _is_fact(name, record[name])}


def is_over(record: Mapping[str, Any]) -> bool:
    """Whether a line says that its conversation is over, or how it went."""
    return any(record.get(name) is not None for name in ("outcome", "ended_at")) or has_reason(record)


def has_reason(record: Mapping[str, Any]) -> bool:
    """Whether a line says why its conversation ended."""
    return isinstance(record.get("ended_reason"), str)


def placed(record: Mapping[str, Any], messages: int) -> set[str]:
    """The fields that events say; of a line with so many messages."""
    names = set(of_start(record))
    if has_reason(record):
        names.add("ended_reason")
    if record.get("ended_at") is not None:
        names.add("ended_at")
    if scores(record, messages):
        names.add("scores")
    return names


def scores(record: Mapping[str, Any], messages: int) -> list[Draft]:
    """The scores of a line of so many messages; none unless all are objects with a name and a value, of what is there."""
    given = record.get("scores")
    if not isinstance(given, list) or not all(_is_score(each, messages) for each in given):
        return []
    return [_score(each) for each in given]


def _score(given: Mapping[str, Any]) -> Draft:
    payload = {name: value for name, value in given.items() if name not in ("message", "call_id")}
    target: dict[str, Any] = {}
    if given.get("message") is not None:
        target["message_id"] = f"m{given['message']}"
    if given.get("call_id") is not None:
        target["call_id"] = given["call_id"]
    if target:
        payload["target"] = target
    draft = Draft(SCORE, payload, actor=_ACTORS.get(str(given.get("source"))))
    draft.note("score", Leftovers({n: None for n in ("message", "call_id") if n in given and given[n] is None}, []))
    return draft


def score_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The score that a line says, of the payload that was made of it."""
    target = payload.get("target") or {}
    score = {name: value for name, value in payload.items() if name != "target"}
    if "message_id" in target:
        score["message"] = int(str(target["message_id"]).removeprefix("m"))
    if "call_id" in target:
        score["call_id"] = target["call_id"]
    return score


def _is_score(given: Any, messages: int) -> bool:
    if not isinstance(given, Mapping) or not isinstance(given.get("name"), str) or not given["name"]:
        return False
    message, call_id = given.get("message"), given.get("call_id")
    is_of_one = message is None or (type(message) is int and 0 <= message < messages)
    is_placed = (
        "value" in given and "target" not in given and is_of_one and (call_id is None or isinstance(call_id, str))
    )
    return is_placed and all(_is_one(given.get(name), wanted) for name, wanted in _SCORE_FIELDS.items())


def _is_one(value: Any, wanted: Any) -> bool:
    if value is None:
        return True
    if isinstance(wanted, tuple) and isinstance(wanted[0], str):
        return isinstance(value, str) and value in wanted
    return isinstance(value, wanted) and not isinstance(value, bool)


def _is_fact(name: str, value: Any) -> bool:
    if name == "parent":
        return isinstance(value, Mapping) and all(
            key in ("conversation_id", "call_id") and (each is None or isinstance(each, str))
            for key, each in value.items()
        )
    if name == "metadata":
        return isinstance(value, dict)
    return isinstance(value, list) and all(isinstance(e, str) and (name == "tags" or e in FIDELITY) for e in value)
