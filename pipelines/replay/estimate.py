"""What a replay would ask, send and cost, before anything is asked: the numbers of a dry run.

Requests are made as the replay would make them, so their number and size are exact where a unit is one request; tokens are
estimated from bytes, replies from what was recorded. In the other modes a candidate decides itself how often it is asked:
the recorded decisions stand for it, and nothing is looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb

from pipelines.collecting import collecting_seldom
from pipelines.console import counted
from pipelines.experiment.file import Experiment
from pipelines.experiment.models import Model, list_models
from pipelines.experiment.plan import Plan, make_plans
from pipelines.experiment.prices import load_prices
from pipelines.experiment.sides import Api
from pipelines.experiment.units import count_decisions, count_erased, count_not_asked, create_plan_relations
from pipelines.lake.lake import Lake
from pipelines.lake.sizes import Range
from pipelines.replay.asking.asker import BYTES_PER_TOKEN
from pipelines.replay.asking.responses import ResponseStore
from pipelines.replay.batch.ledger import Ledger
from pipelines.replay.batch.providers import describe_batches
from pipelines.replay.disclosure import describe_toolless
from pipelines.replay.preflight import Preflight
from pipelines.replay.progress import describe_seconds
from pipelines.replay.request import Request
from pipelines.replay.sides import list_units
from pipelines.replay.streams import list_chunks
from pipelines.settings import Settings

_BATCH = 1_000
_USUAL_SECONDS = 2.0
"""Of a call, where no latency was recorded."""
_USUAL_OUTPUT = 256.0
_RECORDED = """
SELECT
    avg(coalesce(output_tokens, (coalesce(len(text), 0) + len(to_json(tool_calls)::VARCHAR)) / 4)),
    avg(latency_ms) / 1000
FROM decisions
SEMI JOIN plan_streams USING (aggregate_id)
"""
_SUBJECTS = """
SELECT count(DISTINCT subject_id), count(*) FILTER (WHERE subject_id IS NULL)
FROM streams
WHERE list_contains($streams, aggregate_id)
"""


@dataclass(frozen=True, slots=True)
class Destination:
    """What one endpoint would get for one side.

    Attributes:
        endpoint: Its address.
        model: The model asked for.
        side: Candidate or control.
        requests: Requests, those with the same answer counted once.
        kept: Those of them whose answer is paid for already.
        under_way: Those of them that are in a batch that is under way: booked already, and not sent again.
        conversations: Conversations of which something would be sent.
        subjects: People whom these are about, as far as recorded.
        conversations_without_subject: Conversations that do not say whom they are about.
        input_tokens: Of what would be sent, estimated.
        output_tokens: Of what would come back, estimated.
        usd: What it would cost; None when no price is known.
        unasked: Units and draws that would fail without being asked, by reason.
        api: The wire; None where an agent chooses.
        is_kept: Whether the endpoint is asked to keep what it is sent, on a wire on which it can; None on others.
        preflight: Which decisions can be asked over the wire, and what of them goes out in another form.
    """

    endpoint: str
    model: str
    side: str
    requests: int
    kept: int
    under_way: int
    conversations: int
    subjects: int
    conversations_without_subject: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    unasked: dict[str, int]
    api: Api | None
    is_kept: bool | None
    preflight: Preflight


@dataclass(frozen=True, slots=True)
class Estimate:
    """A dry run.

    Attributes:
        experiment: Name.
        version_id: Version.
        mode: What a unit is.
        conversations: Conversations selected.
        decisions: Recorded decisions in them.
        not_asked: Units about which nobody can be asked, since nothing was said before them; left out of both sides.
        erased: Units about which nobody can be asked, since a part of them, or of what was before, is erased; likewise.
        is_exact: Whether the number of requests is known; else it is that of the recorded decisions.
        destinations: What would be sent where; empty when nobody is asked over a network.
        usd: In all; None when a price is not known.
        seconds: At the given limits, without waiting for a window; None when nobody is asked.
        prices: Date and source of the prices.
        off_peak: The window in which calls are made, if there is one.
        batches: What there is to say of batches, where models are asked in them.
        toolless: What there is to say of decisions that would be asked without tools, since none were recorded.
    """

    experiment: str
    version_id: str
    mode: str
    conversations: int
    decisions: int
    not_asked: int
    erased: int
    is_exact: bool
    destinations: list[Destination]
    usd: float | None
    seconds: float | None
    prices: str
    off_peak: str | None
    batches: tuple[str, ...] = ()
    toolless: str | None = None

    def describe(self) -> str:
        """In lines, for people."""
        what = (
            f"{counted(self.decisions, 'decision')} in {counted(self.conversations, 'conversation')}, mode {self.mode}"
        )
        lines = [f"{self.experiment}  version {self.version_id}: {what}"]
        if self.not_asked:
            lines.append(f"left out of both sides: {counted(self.not_asked, 'unit')} before which nothing was said")
        if self.erased:
            lines.append(f"left out of both sides: {counted(self.erased, 'unit')} erased in part, or after what is")
        for to in self.destinations:
            about = "" if self.is_exact else "about "
            price = f"{to.usd:,.4f} USD" if to.usd is not None else "price not known"
            lines += [
                f"{to.side}: {about}{counted(to.requests, 'request')} to {to.model} at {to.endpoint}, {to.kept:,} of them paid for before",
                f"  would send text of {counted(to.conversations, 'conversation')} about {counted(to.subjects, 'person', 'people')}"
                + (f" ({to.conversations_without_subject:,} name nobody)" if to.conversations_without_subject else ""),
                f"  about {to.input_tokens:,} tokens in, {to.output_tokens:,} out: {price}",
            ]
            if to.under_way:
                told = f"{counted(to.under_way, 'request')} of them in batches that are under way, booked when they were submitted"
                lines.append(f"  {told}: not sent again, and not in these figures")
            if to.is_kept is not None:
                lines.append(f"  the endpoint is {'asked' if to.is_kept else 'told not'} to keep it (store)")
            lines += to.preflight.describe(to.api) if to.api is not None else []
        lines += [f"note: {self.toolless}"] if self.toolless is not None else []
        if self.destinations:
            total = f"{self.usd:,.4f} USD" if self.usd is not None else "not known: add a price table, REFOLD_PRICES"
            lines.append(f"in all about {total}, prices of {self.prices}")
        lines += self.batches
        if self.seconds is not None:
            window = f", within {self.off_peak}" if self.off_peak else ""
            lines.append(f"about {describe_seconds(self.seconds)} at the given limits{window}")
        return "\n".join([*lines, "nothing was sent, nothing was written"])


def estimate_experiment(
    settings: Settings, experiment: Experiment, folder: Path, tell: Callable[[str], None]
) -> list[tuple[Plan, Estimate]]:
    """Plan a checked experiment and say what it would come to, window by window, without writing or sending anything."""
    lake = Lake.from_settings(settings)
    plans = make_plans(lake, experiment, folder, tell, allowed=settings.allow_files)
    return [(plan, estimate_replay(lake, plan, settings)) for plan in plans]


def total_of(estimates: Iterable[Estimate]) -> float | None:
    """What several candidates would cost over the same units: a control that all of them share is paid once. None when a price is not known."""
    paid: dict[tuple[str, ...], float] = {}
    for number, each in enumerate(estimates):
        for to in each.destinations:
            if to.usd is None:
                return None
            whose = ("control", to.endpoint, to.model) if to.side == "control" else (str(number), to.endpoint, to.model)
            paid[whose] = max(to.usd, paid.get(whose, 0.0))
    return sum(paid.values())


def estimate_replay(lake: Lake, plan: Plan, settings: Settings) -> Estimate:
    """What replaying the plan would come to.

    Args:
        lake: Where the folds are.
        plan: What to replay.
        settings: Where models may be asked, what they cost, and what is paid for.

    Raises:
        BadInputError: A model cannot be asked as the experiment says.
    """
    models = list_models(plan.experiment, settings)
    is_exact = plan.experiment.mode in ("decision", "single")
    with lake.connect() as connection, collecting_seldom():
        create_plan_relations(connection, plan)
        chunks = list_chunks(connection, lake)
        decisions = count_decisions(connection, plan)
        output, latency = connection.execute(_RECORDED).fetchall()[0]
        as_decisions = plan if is_exact else replace(plan, experiment=_by_decision(plan))
        destinations = [
            _destination(
                connection, as_decisions, chunks, model, output or _USUAL_OUTPUT, settings if is_exact else None
            )
            for model in models
        ]
        toolless = describe_toolless(connection, plan)
        not_asked, erased = count_not_asked(connection, plan), count_erased(connection, plan)
    prices = load_prices(settings.prices)
    known = [to.usd for to in destinations if to.usd is not None]
    return Estimate(
        experiment=plan.experiment.experiment,
        version_id=plan.version_id,
        mode=plan.experiment.mode,
        conversations=plan.streams.num_rows,
        decisions=decisions,
        not_asked=not_asked,
        erased=erased,
        is_exact=is_exact,
        destinations=destinations,
        usd=sum(known) if len(known) == len(destinations) else None,
        seconds=_seconds(plan, destinations, latency or _USUAL_SECONDS)
        if models and not plan.experiment.batch
        else None,
        prices=f"{prices.as_of} ({prices.source})",
        off_peak=plan.experiment.budget.off_peak,
        batches=describe_batches(models) if plan.experiment.batch else (),
        toolless=toolless,
    )


def _by_decision(plan: Plan) -> Any:
    return plan.experiment.model_copy(update={"mode": "decision"})


def _destination(
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    chunks: Sequence[Range],
    model: Model,
    output: float,
    settings: Settings | None,
) -> Destination:
    """Count one side's requests; `settings` is None where kept answers cannot be told."""
    seen: set[int] = set()  # 64 bits tell requests apart, and a million of them fit
    streams: set[str] = set()
    requests = kept = under_way = size = 0
    preflight = Preflight()
    units = list_units(connection, plan, model.side, chunks)
    for batch, is_kept, is_under_way in _looked_up(preflight.requests(units), model, settings):
        for key, request in batch.items():
            hashed = hash(key)
            if hashed in seen:
                continue
            seen.add(hashed)
            requests += 1
            if key in is_kept or key in is_under_way:
                kept += key in is_kept
                under_way += key not in is_kept
                continue
            streams.add(request.aggregate_id)
            size += len(request.head.frame.prefix) + sum(map(len, request.lines)) + len(request.head.frame.suffix)
    subjects, nobody = connection.execute(_SUBJECTS, {"streams": sorted(streams)}).fetchall()[0]
    tokens_in, tokens_out = size // BYTES_PER_TOKEN, int((requests - kept - under_way) * output)
    return Destination(
        endpoint=model.base_url,
        model=model.name or "any model",
        side=model.side,
        requests=requests,
        kept=kept,
        under_way=under_way,
        conversations=len(streams),
        subjects=int(subjects),
        conversations_without_subject=int(nobody),
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        usd=model.price.cost(tokens_in, tokens_out) if model.price is not None else None,
        unasked=dict(sorted(preflight.unasked.items())),
        api=None if plan.experiment.sides[model.side].is_agent else model.api,
        is_kept=plan.experiment.is_kept_by(model.side),
        preflight=preflight,
    )


def _looked_up(
    requests: Iterable[Request], model: Model, settings: Settings | None
) -> Iterator[tuple[dict[str, Request], Collection[str], Collection[str]]]:
    """Requests some at a time, by key, with the keys of those whose answers are paid for, and of those in batches under way."""
    source = iter(requests)
    if settings is None or not settings.responses.exists():
        while batch := {each.key: each for each in islice(source, _BATCH)}:
            yield batch, (), ()
        return
    with ResponseStore(settings.responses) as store:
        endpoint, ledger = store.endpoint(model.base_url), Ledger(store)
        while batch := {each.key: each for each in islice(source, _BATCH)}:
            standing = ledger.standing(endpoint, [bytes.fromhex(key) for key in batch])
            under_way = {key.hex() for key, each in standing.items() if each.state == "open"}
            yield batch, set(store.get(endpoint, list(batch))), under_way


def _seconds(plan: Plan, destinations: list[Destination], latency: float) -> float:
    """The limit that binds: calls at once, calls or tokens a minute."""
    budget = plan.experiment.budget
    calls = sum(to.requests - to.kept - to.under_way for to in destinations)
    if budget.requests is not None:
        calls = min(calls, budget.requests)
    tokens = sum(to.input_tokens + to.output_tokens for to in destinations)
    bounds = [calls * latency / budget.concurrency]
    bounds += [calls * 60 / budget.rpm] if budget.rpm is not None else []
    bounds += [tokens * 60 / budget.tpm] if budget.tpm is not None else []
    return max(bounds)
