"""The fidelity ledger: how each step of a replay was fed, and how far a unit is still the recording's world.

Rows of `lake/replays` and `lake/replay_steps` are made here, from what a walk did. What the numbers mean for a headline is
decided where units are summarised: here they are only kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal

from pipelines.canonical.arguments import fields_of
from pipelines.canonical.calls import CallHashes, Canonicaliser
from pipelines.experiment.decision import Reply, ToolCall
from pipelines.replay.cassette import SEVERITY, TAINTING, Lookup, ResultSource
from pipelines.replay.failure import NO_CONTEXT, Reason
from pipelines.replay.request import Request
from pipelines.replay.wires.calls import JsonText

Divergence = Literal["text_to_tool", "tool_to_text", "names", "arguments"]
"""How a step's tool calls first differ from the recorded ones: which side calls, which tools, with what."""

Row = dict[str, Any]
Call = tuple[str, str]
"""(name, JSON text of the arguments)."""

_HASHED_LISTS = 20_000
_VERSION = re.compile(r"([-@:](\d{4}-\d{2}-\d{2}|\d{8}|\d{6}|\d{4}|latest|free|default))+$")
"""What an endpoint adds to the name of a model to say which version or plan of it."""
_NOTHING = Reply()
_fields_of = lru_cache(maxsize=_HASHED_LISTS)(fields_of)
_MEASURES = (
    "input_tokens",
    "output_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "latency_ms",
    "cost_usd",
)
_FACTS = ("model", "finish_reason", *_MEASURES)
_facts_of = attrgetter(*_FACTS)


@dataclass(slots=True)
class Outcome:
    """What became of one unit.

    Attributes:
        row: Its row of `replays`, without version, side and draw.
        steps: Its rows of `replay_steps`, likewise; none for a single decision, whose row says it all.
        detail: What went wrong, for people; it may hold anything, so it is told once and kept nowhere.
    """

    row: Row
    steps: list[Row] = field(default_factory=list)
    detail: str | None = None


class FirstFailures:
    """What went wrong with the first unit of each kind of failure.

    Attributes:
        first_error: Of the first unit of all, for people; what an endpoint said may hold anything.
    """

    _TOLD = ("candidate_error", "missing_variable", "prompt_edit", "unknown_tools")
    """Reasons whose detail holds nothing that was recorded, so that it may be kept."""
    _MOST = 20

    def __init__(self) -> None:
        self.first_error: str | None = None
        self._first: dict[tuple[str, str], tuple[str, str]] = {}

    def add(self, outcome: Outcome) -> None:
        """Look at one unit."""
        if outcome.detail is None:
            return
        unit, reason = str(outcome.row["unit_id"]), str(outcome.row.get("reason"))
        if self.first_error is None:
            self.first_error = f"{unit}: {outcome.detail}"
        told = str(getattr(outcome.detail, "kept", outcome.detail))
        kind = reason, re.split(r"[: ]", told)[0] if reason == "candidate_error" else ""
        if reason in self._TOLD and kind not in self._first and len(self._first) < self._MOST:
            self._first[kind] = unit, told

    def update(self, later: FirstFailures) -> None:
        """Take over what comes after."""
        self.first_error = self.first_error or later.first_error
        self._first = dict(list({**later._first, **self._first}.items())[: self._MOST])

    def listed(self) -> list[list[str]]:
        """(reason, unit, what is told of it), by reason."""
        return sorted([reason, unit, detail] for (reason, _), (unit, detail) in self._first.items())


@dataclass(slots=True)
class StepRecord:
    """One message of a candidate in a walk.

    Attributes:
        turn: The turn it is in.
        decision: The recorded decision at its place; None past the recording's loop or past the divergence.
        calls: Its tool calls.
        found: What the cassette had, one per call; empty when the step has none.
        divergence: Set on the first step that differs.
        is_off_policy: Whether the context holds recorded input that answers somebody else.
        reply: The reply; None for a failed step.
        request_sha256: Hash of the request.
        reason: Why there is no reply, or why the walk stopped here.
        model_requested: The model that was asked; None when it was none.
        spent: What was answered and counted, also where a filter took it back; None when nothing was.
        differences: How an agent's request differs from what would have been rendered for it; None where the request is ours.
    """

    turn: int
    decision: int | None
    request_sha256: str
    calls: Sequence[Call] = ()
    found: Sequence[Lookup] = ()
    divergence: Divergence | None = None
    is_off_policy: bool = False
    reply: Reply | None = None
    reason: Reason | None = None
    model_requested: str | None = None
    spent: Reply | None = None
    differences: Sequence[str] | None = None

    @property
    def source(self) -> ResultSource:
        """The worst of its answers; not_applicable without tool calls."""
        return max((lookup.source for lookup in self.found), key=SEVERITY.__getitem__, default="not_applicable")


def read_calls(reply: Reply) -> list[Call]:
    """The reply's tool calls; arguments as JSON text, a raw string as a JSON string.

    Raises:
        TypeError: What the candidate returned is not a `Reply` of text and tool calls.
        ValueError: Text or arguments cannot be stored: a lone surrogate, NaN, an infinity.
    """
    if not isinstance(reply, Reply):
        raise TypeError(f"the candidate returned {type(reply).__name__}, not a Reply")
    if reply.text is not None:
        if not isinstance(reply.text, str):
            raise TypeError(f"Reply.text is {type(reply.text).__name__}, not a string")
        reply.text.encode()
    return [_read_call(call) for call in reply.tool_calls] if reply.tool_calls else []


def _read_call(call: ToolCall) -> Call:
    if not isinstance(call, ToolCall) or not isinstance(call.name, str):
        raise TypeError(f"a tool call of the reply is {call!r}, not a ToolCall with a name")
    given = call.arguments
    arguments = str(given) if isinstance(given, JsonText) else json.dumps(given, ensure_ascii=False, allow_nan=False)
    (call.name + arguments).encode()
    return call.name, arguments


class ListHasher:
    """Hashes of lists of calls, one parallel block each; what was hashed is remembered, since agents repeat themselves."""

    def __init__(self) -> None:
        self._canonicaliser = Canonicaliser()
        self._remembered = lru_cache(maxsize=_HASHED_LISTS)(self._hash)

    def __call__(self, calls: Sequence[Call]) -> CallHashes:
        """The hashes of one block."""
        return self._remembered(tuple(calls))

    def _hash(self, calls: tuple[Call, ...]) -> CallHashes:
        return self._canonicaliser.hash_list([(0, name, arguments) for name, arguments in calls])


def _listed(block: int, call: Call) -> Row:
    """A call in the column `tool_calls`."""
    return {"block": block, "name": call[0], **_fields_of(call[1])}


def answered_decision(request: Request, unit: Row, reply: Reply, calls: Sequence[Call], hasher: ListHasher) -> Row:
    """The row of a decision that was answered; no tool call of it was looked up."""
    hashes = hasher(calls)
    return {
        **unit,
        "status": "ok",
        "result_source": "not_applicable",
        "text": reply.text,
        "tool_calls": [_listed(0, call) for call in calls],
        "call_count": len(calls),
        "l0_hash": hashes.l0,
        "l1_hash": hashes.l1,
        "l2_hash": hashes.l2,
        "request_sha256": request.sha256,
        "model_requested": request.head.model,
        "is_refusal": reply.is_refusal,
        **_answered(reply),
    }


def failed_unit(
    unit: Row, reason: Reason, detail: str | None = None, reply: Reply | None = None, request: Request | None = None
) -> Outcome:
    """A unit without an answer; what was answered and what it cost nevertheless is kept."""
    failed: Row = {"status": "failed", "reason": reason, "result_source": "not_applicable"}
    if request is not None:
        failed |= {"request_sha256": request.sha256, "model_requested": request.head.model}
    return Outcome({**unit, **failed, **_answered(reply)}, [], detail)


def _answered(reply: Reply | None) -> Row:
    """Facts of an answer, whether or not it counts as one."""
    return dict(zip(_FACTS, _facts_of(reply), strict=True)) if reply is not None else {}


def not_asked(unit: Row, reason: str = NO_CONTEXT) -> Outcome:
    """A unit about which nobody can be asked: the recording holds nothing to put before them, or not all of it any more."""
    return Outcome({**unit, "status": "not_asked", "reason": reason, "result_source": "not_applicable"})


def walked_unit(
    unit: Row,
    steps: Sequence[StepRecord],
    recorded: int,
    covered_to: int | None,
    hasher: ListHasher,
    detail: str | None = None,
) -> Outcome:
    """The rows of a walk.

    Args:
        unit: What names the unit.
        steps: What the candidate did, in order.
        recorded: Decisions of the recording that the unit stands beside.
        covered_to: The last of them that the walk reached.
        hasher: Hashes lists of calls.
        detail: What went wrong, for people.
    """
    found = [lookup.source for step in steps for lookup in step.found]
    first = next((number for number, step in enumerate(steps, start=1) if step.divergence), None)
    matched = len([step for step in steps if step.reply is not None]) if first is None else first - 1
    reason = steps[-1].reason if steps else None
    answered = sum(source in ("exact", "exact_conv", "exact_unverified") for source in found)
    texts = [step.reply for step in steps if step.reply is not None and (step.reply.text or "").strip()]
    row = {
        **unit,
        "status": "ok" if reason is None else "failed",
        "reason": reason,
        "result_source": max(found, key=SEVERITY.__getitem__, default="not_applicable"),
        "is_tainted": any(source in TAINTING for source in found),
        "is_off_policy": any(step.is_off_policy for step in steps),
        "step_count": len(steps),
        "covered_to": covered_to if reason is None else None,
        "first_divergence_step": first,
        "divergence": steps[first - 1].divergence if first is not None else None,
        "matched_steps": matched,
        "prefix_fraction": min(matched / recorded, 1.0) if recorded else None,
        "coverage": answered / len(found) if found else None,
        "coverage_reason": None if found else "not_applicable",
        "exact_calls": sum(source in ("exact", "exact_conv") for source in found),
        "unverified_calls": found.count("exact_unverified"),
        "missed_calls": sum(source in TAINTING for source in found),
        "text": texts[-1].text if texts else None,
        "is_refusal": texts[-1].is_refusal if texts else False,
        **_who(steps),
        **_all_calls(steps, hasher),
        **{name: _total(steps, name) for name in _MEASURES},
    }
    return Outcome(row, _step_rows(unit, steps), detail)


def _all_calls(steps: Sequence[StepRecord], hasher: ListHasher) -> Row:
    """Every tool call in order, one block per message, and the hash over the messages that call."""
    listed = [_listed(number, call) for number, step in enumerate(steps, start=1) for call in step.calls]
    hashes = [hasher(step.calls) for step in steps if step.calls]
    chained = {
        f"{level}_hash": hashlib.sha256("\n".join(getattr(each, level) for each in hashes).encode()).hexdigest()
        for level in ("l0", "l1", "l2")
    }
    return {"tool_calls": listed, "call_count": len(listed), **chained}


def _who(steps: Sequence[StepRecord]) -> Row:
    """Who was asked, who answered (of several, one that is not the one asked), and why the last message ended."""
    answers = [step.spent for step in steps if step.spent is not None]
    requested = steps[-1].model_requested if steps else None
    models = [answer.model for answer in answers if answer.model is not None]
    other = next((model for model in models if is_other_model(requested, model)), None)
    return {
        "model": other or (models[-1] if models else None),
        "model_requested": requested,
        "finish_reason": answers[-1].finish_reason if answers else None,
    }


def is_other_model(requested: str | None, answered: str | None) -> bool:
    """Whether another model answered than was asked: a dated version, or a name with a path before it, is the same one."""
    if requested is None or answered is None:
        return False
    wanted, found = (_VERSION.sub("", name.strip().lower().rsplit("/", 1)[-1]) for name in (requested, answered))
    return wanted != found


def _total(steps: Sequence[StepRecord], name: str) -> Any:
    """Sum over the steps that were answered; None when one of them does not say it, since a part is too little."""
    values = [getattr(step.spent, name) for step in steps if step.spent is not None]
    return sum(values) if values and None not in values else None


def _step_rows(unit: Row, steps: Sequence[StepRecord]) -> list[Row]:
    rows, is_tainted = [], False
    for number, step in enumerate(steps, start=1):
        is_tainted = is_tainted or step.source in TAINTING
        rows.append(
            {
                "unit_id": unit["unit_id"],
                "aggregate_id": unit["aggregate_id"],
                "step": number,
                "turn": step.turn,
                "decision": step.decision,
                "status": "ok" if step.reason is None else "failed",
                "reason": step.reason,
                "result_source": step.source,
                "is_tainted": is_tainted,
                "is_off_policy": step.is_off_policy,
                "divergence": step.divergence,
                "text": step.reply.text if step.reply is not None else None,
                "tool_calls": [_looked_up(call, lookup) for call, lookup in zip(step.calls, step.found, strict=True)],
                "request_sha256": step.request_sha256,
                "model_requested": step.model_requested,
                "request_differences": step.differences,
                **_answered(step.spent or _NOTHING),
            }
        )
    return rows


def _looked_up(call: Call, lookup: Lookup) -> Mapping[str, Any]:
    """One call of a step with what answered it, or what came nearest to answering it."""
    return {
        "name": call[0],
        "arguments": _fields_of(call[1])["arguments"],
        "result_source": lookup.source,
        "recorded_version": lookup.recorded.version if lookup.recorded is not None else None,
        "is_ended": lookup.is_ended,
        "miss": json.dumps(asdict(lookup.miss), ensure_ascii=False) if lookup.miss is not None else None,
    }
