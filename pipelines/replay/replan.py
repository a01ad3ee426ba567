"""Re-plan: put one recorded decision before a candidate, a few times, and keep what came out beside what was recorded.

Nothing is written but what a model was paid for. How the two compare is shown by `pipelines.review.replanned`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from pipelines.documents import read_document
from pipelines.errors import BadInputError
from pipelines.experiment.code import load_python
from pipelines.experiment.file import Experiment, experiment_of
from pipelines.experiment.manifest import read_tool_policy
from pipelines.experiment.prompt import load_prompt
from pipelines.experiment.tool_schemas import has_erased_tools, registered_tools
from pipelines.experiment.units import create_stream_relations
from pipelines.folds.state import find_stream
from pipelines.lake.lake import Lake
from pipelines.log.readable import create_readable_events
from pipelines.replay.answer import replay_units
from pipelines.replay.asking.models import OnSending, asking
from pipelines.replay.drive import drive
from pipelines.replay.ledger import Outcome, Row
from pipelines.replay.sides import spec_of
from pipelines.replay.streams import list_chunks, read_streams
from pipelines.replay.work import Unit, list_work
from pipelines.settings import Settings

_RECORDED = """
SELECT
    text, list_transform(tool_calls, LAMBDA call: {'name': call.name, 'arguments': call.arguments}) AS tool_calls,
    turn, model, context_verified, input_tokens, output_tokens, latency_ms, cost_usd, is_erased, is_context_erased
FROM decisions
WHERE aggregate_id = $stream AND decision = $decision
"""
_ONE_STREAM = """
CREATE OR REPLACE TEMP TABLE plan_streams AS
SELECT aggregate_id, last_version, source, agent, vertical, channel, task, variant
FROM streams
WHERE aggregate_id = $stream
"""


@dataclass(frozen=True, slots=True)
class Action:
    """One agent message: recorded, or of a candidate.

    Attributes:
        status: ok or failed.
        reason: Code of the failure; None when ok.
        detail: What went wrong, for people; None when ok.
        text: What it says; None for tool calls alone.
        tool_calls: (name, JSON text of the arguments), in order.
        input_tokens: Tokens of the request; None when not known.
        output_tokens: Tokens of the reply; None when not known.
        latency_ms: How long it took, milliseconds; None when not known.
        cost_usd: Price, US dollars; None when not known.
    """

    status: str
    reason: str | None
    detail: str | None
    text: str | None
    tool_calls: tuple[tuple[str, str], ...]
    input_tokens: int | None
    output_tokens: int | None
    latency_ms: float | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Replanned:
    """One decision beside what a candidate would do.

    Attributes:
        aggregate_id: The stream.
        decision: Its number.
        turn: The turn it is in.
        candidate: Who was asked, in words.
        model: The recorded model; None when not recorded.
        context_verified: Whether the recorded context is what the agent was sent; None when that was not recorded.
        request_sha256: Hash of the request that was put before the candidate; None when none could be made.
        context: The messages of that request, oldest first.
        recorded: What the agent did.
        draws: What the candidate does, one per draw.
    """

    aggregate_id: str
    decision: int
    turn: int
    candidate: str
    model: str | None
    context_verified: bool | None
    request_sha256: str | None
    context: tuple[Mapping[str, Any], ...]
    recorded: Action
    draws: tuple[Action, ...]


def read_candidate(path: Path) -> Experiment:
    """Read who is asked: an experiment file, or a file with just a candidate (with or without the key `candidate`).

    Raises:
        BadInputError: It is neither, or names a recorded variant, which cannot be asked.
    """
    document = read_document(path, "")
    value = document.value
    if isinstance(value, dict) and "experiment" not in value:
        value = {"experiment": "replan", **(value if "candidate" in value else {"candidate": value})}
        document = replace(document, value=value)
    candidate = value.get("candidate") if isinstance(value, dict) else None
    if isinstance(candidate, dict) and "recorded" in candidate:
        raise BadInputError(f"{path}: a recorded variant cannot be asked; name a model, a Python callable or echo")
    return experiment_of(document)


def replan(
    lake: Lake,
    stream: str,
    decision: int,
    experiment: Experiment,
    folder: Path,
    draws: int = 1,
    *,
    settings: Settings | None = None,
    tell: Callable[[str], None] = lambda _line: None,
    on_sending: Callable[[str, str], None] | None = None,
) -> Replanned:
    """Put one decision before the candidate of an experiment.

    Args:
        lake: Where the conversation is.
        stream: Its id, or `source/conversation_id`.
        decision: Number of the decision.
        experiment: Names the candidate and what is said of its tools; mode, window and the rest do not matter.
        folder: Folder of the experiment file.
        draws: How often it is asked.
        settings: Where a model may be asked, and where its responses are kept; needed when the candidate is one.
        tell: Told when asking waits, and why.
        on_sending: Told the stream and the endpoint before anything is sent to one that is not on this machine; needed then.

    Raises:
        BadInputError: There is no such decision, it or a part of its context is erased, or the candidate cannot be loaded or asked.
        EndpointError: A model was asked and answered nothing; the message has its own words.
    """
    if experiment.candidate.is_agent:
        raise BadInputError(
            "an agent acts in a whole turn, and cannot be asked about one decision; use refold ab in mode turn"
        )
    allowed = settings.allow_files if settings is not None else ()
    candidate = load_python(experiment.candidate.python, folder, allowed) if experiment.candidate.python else None
    policy = read_tool_policy(experiment.tools, folder, allowed)
    with lake.connect() as connection:
        found = find_stream(connection, stream)
        recorded = _recorded(connection, found, stream, decision)
        _select(connection, found)
        spec = spec_of(experiment, load_prompt(experiment.candidate, folder, allowed), "candidate", draws)
        spec = replace(spec, has_erased_tools=has_erased_tools(connection))
        single = experiment.model_copy(update={"mode": "decision"})
        work = list_work(
            read_streams(connection, list_chunks(connection, lake)), single, policy, registered_tools(connection), spec
        )
        units = [unit for unit in work if unit.row["decision"] == decision]
        if experiment.candidate.model is None:
            outcomes = list(replay_units(iter(units), candidate, experiment.budget.concurrency))
        else:
            sending = None if on_sending is None else partial(on_sending, found)
            outcomes = _ask_model(units, experiment, settings, tell, sending)
    request = units[0].request
    return Replanned(
        aggregate_id=found,
        decision=decision,
        turn=recorded["turn"],
        candidate=experiment.candidate.describe(),
        model=recorded["model"],
        context_verified=recorded["context_verified"],
        request_sha256=request.sha256 if request is not None else None,
        context=tuple(request.decision.messages) if request is not None else (),
        recorded=_action({**recorded, "status": "ok"}),
        draws=tuple(_action(outcome.row, outcome.detail) for outcome in outcomes),
    )


def _ask_model(
    units: Sequence[Unit],
    experiment: Experiment,
    settings: Settings | None,
    tell: Callable[[str], None],
    on_sending: OnSending | None,
) -> list[Outcome]:
    """The draws of a model in their order; what an experiment paid for is not asked again."""
    if settings is None:
        raise BadInputError("a model can only be asked with settings, which say where it may be")
    alone = experiment.model_copy(update={"control": None})
    with asking(alone, "replan", settings, tell, on_sending) as asker:
        outcomes = sorted(drive(asker, units, tell), key=lambda outcome: int(outcome.row["draw"]))
        asker.require_answers()
        return outcomes


def _recorded(connection: duckdb.DuckDBPyConnection, stream: str, asked: str, decision: int) -> Row:
    relation = connection.sql(_RECORDED, params={"stream": stream, "decision": decision})
    rows = relation.fetchall()
    if not rows:
        counted = connection.execute(
            "SELECT count(*) FROM decisions WHERE aggregate_id = $stream", {"stream": stream}
        ).fetchall()[0][0]
        known = f"it has decisions 1 to {counted}" if counted else "none of its events is a folded decision"
        raise BadInputError(f"{asked} has no decision {decision}; {known}")
    recorded = dict(zip(relation.columns, rows[0], strict=True))
    if recorded["is_erased"] or recorded["is_context_erased"]:
        raise BadInputError(
            f"decision {decision} of {asked} cannot be put before anybody: a part of it, or of what was before it, is erased"
        )
    return recorded


def _select(connection: duckdb.DuckDBPyConnection, stream: str) -> None:
    """Make the relations that streams are read by, for one stream."""
    create_stream_relations(connection)
    connection.execute(_ONE_STREAM, {"stream": stream})
    create_readable_events(connection)


def _action(row: Row, detail: str | None = None) -> Action:
    calls: Sequence[Mapping[str, str]] = row.get("tool_calls") or ()
    return Action(
        status=row["status"],
        reason=row.get("reason"),
        detail=detail,
        text=row.get("text"),
        tool_calls=tuple((call["name"], call["arguments"]) for call in calls),
        input_tokens=row.get("input_tokens"),
        output_tokens=row.get("output_tokens"),
        latency_ms=row.get("latency_ms"),
        cost_usd=row.get("cost_usd"),
    )
