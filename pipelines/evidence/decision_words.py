"""What a decision of the agent was made from, in words: what the model was sent, whether that is proven, prompt, model and tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pipelines.console import counted
from pipelines.evidence.parts import Field, Prompt, StoryDecision, Tool, Verification
from pipelines.evidence.story_words import moment, version_range

ROLES = {"system": "Instructions", "user": "User", "assistant": "Agent", "tool": "Tool answer"}
"""Who speaks in a message of a request."""
VERIFICATION: Mapping[Verification, str] = {
    "same": "yes: the log holds exactly what was sent (it has the SHA-256 that was recorded on sending)",
    "other": "NO: the log holds something else than was sent (it has another SHA-256 than was recorded on sending)",
    "no_hash": "not known: no SHA-256 of what was sent was recorded",
    "no_model": "not known: the call of the model was not recorded",
    "erased": "not known: a part of it is erased",
}
"""Whether the context is verified."""
_STOPPED = {
    "stop": "it was done",
    "end_turn": "it was done",
    "tool_calls": "it wanted to use a tool",
    "function_call": "it wanted to use a tool",
    "tool_use": "it wanted to use a tool",
    "length": "it had written as much as it may",
    "max_tokens": "it had written as much as it may",
    "content_filter": "a filter stopped it",
}
"""Why a model stopped, by the codes of the usual endpoints; any other is shown as it was recorded."""
_HASH_SHOWN = 16


@dataclass(frozen=True, slots=True)
class DecisionBlock:
    """What a decision was made from, as it is shown.

    Attributes:
        number: Of the decision.
        first: Its first event.
        facts: Name, value.
        verification: As in `StoryDecision`.
        tools: The tools on offer, if they are known.
        prompt_text: The registered text of the prompt; None where it is not known.
        context: The messages sent: title, text, notes; None where they are not told.
    """

    number: int
    first: int
    facts: tuple[tuple[str, str], ...]
    verification: Verification
    tools: tuple[Tool, ...]
    prompt_text: str | None
    context: tuple[tuple[str, str | None, tuple[str, ...]], ...] | None

    @property
    def tool_count(self) -> str:
        """How many tools were on offer."""
        return f"{len(self.tools):,}"


def describe_decisions(decisions: Sequence[StoryDecision]) -> dict[int, DecisionBlock]:
    """What decisions were made from, in words, by the version of their first event.

    What model, parameters, prompt and tools were is said once; of later decisions with the same, that they are the same.
    """
    told: StoryDecision | None = None
    blocks = {}
    for each in decisions:
        is_same = told is not None and _setting(each) == _setting(told)
        blocks[each.first_version] = _describe_decision(each, told if is_same else None)
        told = told if is_same else each
    return blocks


def _setting(decision: StoryDecision) -> tuple[Any, ...]:
    return decision.model, decision.response_model, decision.params, decision.prompt, decision.tools_sha256


def _describe_decision(decision: StoryDecision, same: StoryDecision | None) -> DecisionBlock:
    """One decision in words; `same` is one that had the same model, parameters, prompt and tools, told before."""
    sent = [("the model was sent", _sent(decision)), ("verified", VERIFICATION[decision.verification])]
    setting = [
        ("model asked", decision.model or "not recorded"),
        (
            "model that answered",
            decision.response_model or ("the same, as far as recorded" if decision.model else None),
        ),
        ("parameters", None if decision.params is None else _params(decision.params)),
        ("prompt", "not recorded" if decision.prompt is None else _prompt(decision.prompt)),
        ("tools on offer", _tools(decision)),
    ]
    if same is not None:
        setting = [("model and tools", f"as in decision {same.decision}, with the same prompt and parameters")]
    stopped = decision.finish_reason
    facts = [
        *sent,
        *setting,
        ("failed", decision.error),
        ("took", _spent(decision)),
        ("stopped because", None if stopped is None else _STOPPED.get(stopped, stopped)),
    ]
    context = None
    if decision.context is not None:
        context = tuple(
            (
                f"{each.number}. {ROLES.get(each.role, each.role)}{f' ({each.name})' if each.name else ''}"
                + (f", to {each.call_id}" if each.call_id else ""),
                each.text,
                tuple(f"{call.name} {call.arguments}  ({call.call_id})" for call in each.calls),
            )
            for each in decision.context
        )
    return DecisionBlock(
        number=decision.decision,
        first=decision.first_version,
        facts=tuple((name, value) for name, value in facts if value),
        verification=decision.verification,
        tools=decision.tools if decision.tools is not None and same is None else (),
        prompt_text=decision.prompt.text if decision.prompt is not None and same is None else None,
        context=context,
    )


def _sent(decision: StoryDecision) -> str:
    count = decision.context_messages
    if count is None:
        return "cannot be told: a part of what was before is erased"
    if not count:
        return "no message: nothing was said before"
    asked = f"the user spoke last in event {decision.asked}" if decision.asked else "the user had said nothing yet"
    return f"{version_range('message', 1, count)}; {asked}"


def _prompt(prompt: Prompt) -> str:
    sha256 = f"SHA-256 {prompt.sha256[:_HASH_SHOWN]}…"
    if prompt.name is None or prompt.registered_at is None:
        return f"{sha256}; no registered prompt in the lake has it"
    return f"{prompt.name}, version {prompt.number} of {prompt.count}, in use since {moment(prompt.registered_at)} ({sha256})"


def _tools(decision: StoryDecision) -> str:
    if decision.tools is not None:
        return ", ".join(tool.name for tool in decision.tools) or "none"
    if decision.tools_sha256 is None:
        return "not recorded"
    return f"SHA-256 {decision.tools_sha256[:_HASH_SHOWN]}…; no registered list in the lake has it"


def _params(params: Sequence[Field]) -> str:
    return ", ".join(f"{each.name} {each.value}".strip() for each in params) or "none"


def _spent(decision: StoryDecision) -> str:
    parts = []
    if decision.latency_ms is not None:
        parts.append(f"{decision.latency_ms:,.0f} ms")
    for tokens, what in ((decision.input_tokens, "read"), (decision.output_tokens, "written")):
        if tokens is not None:
            parts.append(f"{counted(tokens, 'token')} {what}")
    if decision.cost_usd is not None:
        parts.append(f"{Decimal(str(decision.cost_usd)):f} USD")
    return ", ".join(parts)
