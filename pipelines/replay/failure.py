"""Why a unit has no reply: the codes, and what goes with them.

Nothing here sends, reads or keeps anything; whoever answers a request says so in these words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pipelines.experiment.decision import Reply

Reason = Literal[
    "missing_variable",  # the prompt names a variable that was not recorded; not sent
    "prompt_edit",  # the text to replace is not in the recorded system message exactly once; not sent
    "unknown_tools",  # the recorded agent had tools of which only a hash is known; not sent
    "erased",  # the same, and events that held lists of tools are erased; not sent
    "budget_exhausted",  # the budget of requests or US dollars does not cover it; not sent
    "timeout",  # no complete response in time, at every attempt
    "rate_limited",  # refused for its rate, at every attempt
    "unavailable",  # no connection, or a server error, at every attempt
    "invalid_json",  # the response was no complete answer, at every attempt
    "not_expressible",  # the wire has no form for what was recorded; not sent
    "rejected",  # the endpoint says that the request is wrong; asking again would not help
    "refused",  # the model or a filter declined to answer
    "candidate_error",  # the candidate's code raised, or returned what is no reply
    "diverged",  # a tool call has no recorded result
    "step_limit",  # the candidate called tools on and on without a final message
    "unrequested_call",  # the agent called a tool, and no message of the model's had asked for it
    "incomplete_request",  # the agent's request lacks a recorded text or tool result that was there by then
    "agent_timeout",  # the agent did not end in time
    "agent_ended",  # the agent's process ended before its answer
    "agent_memory",  # the agent's processes took more memory than they may
]
"""Why a unit has no reply. A failed unit is a row and stays in every denominator."""

NO_CONTEXT = "no_context"
"""Why a unit was not asked: the recording holds nothing before it. It is nobody's failure, and on neither side of any number."""

ERASED = "erased"
"""Another reason why a unit was not asked: a part of it, or of what was before it, is erased."""

REASONS: tuple[Reason, ...] = get_args(Reason)


@dataclass(frozen=True, slots=True)
class Failure:
    """No reply, and why.

    Attributes:
        reason: Code.
        detail: What happened, for people; it may hold anything, so it is told and kept nowhere.
        reply: What was answered and counted nevertheless, for example a message that a filter stopped; None when nothing was.
        is_doubtful: Whether it may not be this request's fault: an endpoint that turns everybody down says the same.
    """

    reason: Reason
    detail: str = ""
    reply: Reply | None = None
    is_doubtful: bool = False


Answer = Reply | Failure
