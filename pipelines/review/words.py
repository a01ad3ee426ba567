"""The codes of the datasets in a reviewer's words. Words only; what a code means is decided where it is given."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.console import counted
from pipelines.stats.estimate import MIN_CHANGED, MIN_CLUSTERS

_SIDE = re.compile(r"\b[AB]\b")

UNIT_CLASSES: Mapping[str, str] = {
    "set_changed": "other tool calls",
    "args_only": "same tools, other arguments",
    "reordered_only": "same calls, other order",
    "text_to_tool": "only B calls tools",
    "tool_to_text": "only A calls tools",
    "unparseable": "arguments are not JSON",
    "error": "B gave no answer",
    "same_calls": "same tool calls",
}
"""Classes of a pair, from the deepest change to none."""

PAIR_CLASSES: Mapping[str, str] = {
    "same": "same",
    "reordered": "same, at another place",
    "args_changed": "other arguments",
    "name_changed": "other tool, same arguments",
    "name_args_changed": "other tool and arguments",
    "added": "only B",
    "removed": "only A",
}
"""Classes of two aligned tool calls."""

TEXT_CLASSES: Mapping[str, str] = {
    "identical": "same text",
    "format_only": "differs in form only",
    "minor": "a few words differ",
    "moderate": "partly rewritten",
    "rewrite": "rewritten",
}

ARGUMENT_CHANGES: Mapping[str, str] = {
    "arg_value": "changed",
    "arg_type": "changed type",
    "arg_added": "only in B",
    "arg_removed": "only in A",
}

SHARES: Mapping[str, str] = {
    "same_names": "Same tools, in the same order",
    "same_calls": "Same tool calls and arguments",
    "same_calls_answered": "Same tool calls, of the pairs that B answered",
    "same_calls_worst": "Same tool calls, if all that is left out had changed",
    "same_final": "Same text, letter by letter",
    "failed": "B gave no answer",
}

REASONS: Mapping[str, str] = {
    "no_units": "no values to compare",
    "before_erasure": "of before units were erased",
    "one_cluster": "all in one conversation",
    "small_sample": f"fewer than {MIN_CLUSTERS} conversations, or a few with nearly all pairs",
    "few_changes": f"differs in fewer than {MIN_CHANGED} conversations",
    "no_change": "differs in no conversation",
    "skewed": "a few conversations make most of the difference: no telling how far the rest of that kind would go",
    "no_goal": "no direction declared",
    "no_variation": "every conversation agrees",
    "no_control": "no control was replayed",
    "few_draws": "fewer than two draws of a side",
    "recorded_is_control": "the recording is one of the control's runs",
}

NOISE: Mapping[str, str] = {
    "noise_raw": "B from the recording",
    "noise_between": "B from the control",
    "noise_control": "the control from itself",
    "noise_candidate": "B from itself",
    "noise_excess": "B from the control, beyond noise",
    "noise_drift": "the control from the recording, beyond noise",
}
"""Lines of a noise floor, in the order in which they are read."""

VERDICTS: Mapping[str, str] = {
    "equivalent": "no difference that matters",
    "improved": "better",
    "regressed": "worse",
    "inconclusive": "not enough data",
}

METRICS: Mapping[str, str] = {
    "calls": "Tool calls",
    "invalid_calls": "Tool calls with invalid arguments",
    "refusals": "Says that it cannot or will not",
    "money": "Money in arguments",
    "cost_usd": "Cost (USD)",
    "latency_ms": "Latency (ms)",
    "output_tokens": "Tokens written",
    "outcome_good": "Good outcome",
}

FIDELITY: Mapping[str, str] = {
    "off_policy": "past the first divergence, where the recorded user answers somebody else",
    "tainted": "after an answer that was not recorded",
    "unverified": "after tools of which it is not known whether they write",
    "rebuilt": "with a context that was put together from an imported trace, and is not known to be what the model was sent",
}
"""How B was fed, where it was not as recorded."""

FAILURES: Mapping[str, str] = {
    "agent_ended": "the agent's process ended before its answer",
    "agent_memory": "the agent took more memory than it may",
    "agent_timeout": "the agent did not end in time",
    "budget_exhausted": "the budget was used up",
    "candidate_error": "the candidate raised an error",
    "erased": "a part of it, or of what was before it, is erased",
    "diverged": "it called a tool that has no recorded result",
    "incomplete_request": "its request lacks something that was recorded by then",
    "invalid_json": "the endpoint sent no complete answer",
    "missing_variable": "the prompt names a variable that was not recorded",
    "no_context": "nothing was said before it",
    "not_expressible": "the wire has no form for what was recorded",
    "not_replayed": "it was not replayed",
    "prompt_edit": "the text to replace is not in the recorded prompt once",
    "rate_limited": "the endpoint refused it for its rate",
    "refused": "the model declined to answer",
    "rejected": "the endpoint says that the request is wrong",
    "step_limit": "it called tools without end",
    "timeout": "no answer came in time",
    "unknown_tools": "its tools are known by their hash alone",
    "unavailable": "the endpoint could not be reached",
    "unrequested_call": "it called a tool that the model had not asked for",
}


def tell_flat(metrics: Iterable[tuple[str, str, float | None]]) -> list[str]:
    """Metrics that say the same of every unit of a side that called tools, in words."""
    return [
        f"{name} is never anything but {'null' if value is None else f'{value:g}'} on {side.upper()}, which called tools: "
        "look whether it reads what it means to"
        for name, side, value in metrics
    ]


def is_idle(metric: str, total_a: float | None, total_b: float | None) -> bool:
    """Whether a count that is made of every version found nothing on either side: there is nothing to say of it."""
    return metric in ("invalid_calls", "refusals") and not (total_a or total_b)


def in_words(words: Mapping[str, str], code: str | None) -> str:
    """The words of a code; a code without words is shown as it is, and none as a dash."""
    return "–" if code is None else words.get(code, code)


def name_sides(words: str, a: str, b: str) -> str:
    """Words of this module with other names for A and B."""
    return _SIDE.sub(lambda found: a if found[0] == "A" else b, words)


def answers_in_words(answers: Mapping[str, Any] | None) -> list[str]:
    """What there is to say of a version's answers, as its replay counted them: those of another model, and those that were cut."""
    if not answers:
        return []
    told = []
    if answers["from_other_models"]:
        named = ", ".join(f"{model} ({count:,})" for model, count in answers["other_models"].items())
        told.append(
            f"{answers['from_other_models']:,} of {answers['answers']:,} answers came from another model than was asked: {named}"
        )
    if answers["cut"]:
        told.append(
            f"{answers['cut']:,} of {answers['answers']:,} answers were cut: the model reached its bound of tokens"
        )
    return told


def count_streams(streams: int, calls: int) -> list[str]:
    """How many conversations and calls pairs are from; a call is a voice call, and `streams` holds both."""
    counts = [(streams - calls, "conversation"), (calls, "call")]
    return [counted(number, name) for number, name in counts if number or (name == "conversation" and not calls)]


def name_streams(calls: int) -> str:
    """What pairs are from, without numbers; `calls` of it are voice calls."""
    return "conversations and calls" if calls else "conversations"


def repeated(words: Iterable[str]) -> list[str]:
    """Words without those that come again, each with how often it came: `search ×3`; in the order in which they came first."""
    return [f"{word} ×{count}" if count > 1 else word for word, count in Counter(words).items()]


def pointer_steps(pointer: str) -> list[str]:
    """The names that a JSON Pointer (RFC 6901) goes through; none for the whole."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
