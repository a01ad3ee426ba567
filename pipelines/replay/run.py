"""Run a plan: one row of `lake/replays` per unit, side and draw, from whoever answers.

A version that is complete is not run again, but for its failed units when that is asked for. Nothing here compares anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import duckdb

from pipelines.collecting import collecting_seldom
from pipelines.errors import BadInputError
from pipelines.experiment.closed import is_closed, tell_closed
from pipelines.experiment.file import is_walked
from pipelines.experiment.plan import Plan
from pipelines.experiment.sides import Side
from pipelines.experiment.units import READS, create_plan_relations, create_units
from pipelines.experiment.versions import find_replays
from pipelines.lake.dataset import Dataset
from pipelines.lake.datasets import REPLAY_STEPS, REPLAYS
from pipelines.lake.lake import Commit, Lake
from pipelines.lake.sizes import RANGE_SHARE, SAID_BYTES, Range, cut_ranges
from pipelines.replay.answer import replay_units
from pipelines.replay.asking.asker import Asker
from pipelines.replay.asking.models import OnSending, asking
from pipelines.replay.disclosure import count_redactions, describe_answers, describe_asking, describe_toolless
from pipelines.replay.drive import drive
from pipelines.replay.ledger import FirstFailures, Outcome
from pipelines.replay.pool import replayed_by_workers
from pipelines.replay.progress import OnProgress, ProgressMeter
from pipelines.replay.retry import FailedUnits, keep_answered
from pipelines.replay.rows import STEPS, UNITS, OutcomeTables
from pipelines.replay.sides import count_units, list_units
from pipelines.replay.streams import list_chunks
from pipelines.replay.work import Unit
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.replay.agents.host import Host

_RANGE_ROWS = 10**6
"""Rows of what was replayed that are sorted at a time, at most."""


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a run did.

    Attributes:
        experiment: Name.
        version_id: Version.
        is_written: False when the version was complete already.
        units: Units replayed, failed ones included.
        not_asked: Those of them about which nobody could be asked.
        failures: Number of failed units by reason.
        first_error: What went wrong with the first unit that the candidate could not answer, told by this run only.
        size_bytes: Bytes of the version's replays.
        seconds: Time taken.
    """

    experiment: str
    version_id: str
    is_written: bool
    units: int
    not_asked: int
    failures: dict[str, int]
    first_error: str | None
    size_bytes: int
    seconds: float


def run_replay(
    lake: Lake,
    plan: Plan,
    on_progress: OnProgress | None = None,
    *,
    settings: Settings | None = None,
    tell: Callable[[str], None] = lambda _line: None,
    retry_failed: bool = False,
    on_sending: OnSending | None = None,
) -> ReplayResult:
    """Put every unit of the plan before its sides, unless that was done.

    Args:
        lake: Where the folds are and the replays go.
        plan: What to replay.
        on_progress: Told how far it is, now and then.
        settings: Where models may be asked and responses are kept; needed when a side is a model.
        tell: Told when the work waits or stops, and why.
        retry_failed: Whether the failed units of a version that was replayed are replayed once more.
        on_sending: Told of each endpoint that is not on this machine, before texts are sent there; needed where there is one.

    Raises:
        BadInputError: A model cannot be asked as the experiment says, or failed units of a version are to be asked again of
            which others were erased; nothing was asked.
        EndpointError: An endpoint answers nobody; what was paid for is kept.
        UnfinishedError: Batches are under way; nothing is written, and the next run goes on with them.
        KeyboardInterrupt: It was stopped; what was paid for is kept, and the next run goes on from there.
    """
    started = time.monotonic()
    last = find_replays(lake, plan)
    if last is not None and not (retry_failed and last.provenance["failures"]):
        return _result(plan, last, is_written=False, seconds=time.monotonic() - started)
    if is_closed(last):
        raise BadInputError(tell_closed(plan.experiment.experiment, plan.version_id))
    with lake.connect(READS) as connection, collecting_seldom():
        create_plan_relations(connection, plan)
        work = _Work(connection, plan, on_progress, settings, tell, on_sending)
        with _replayed(lake, work, is_retry=last is not None) as told:
            commit = _commit(lake, connection, plan, {"first_failures": told.firsts.listed(), **told.provenance})
    seconds = time.monotonic() - started
    return _result(plan, commit, is_written=True, seconds=seconds, first_error=told.firsts.first_error)


def _commit(lake: Lake, connection: duckdb.DuckDBPyConnection, plan: Plan, provenance: dict[str, Any]) -> Commit:
    """Write what was replayed; `replays` last, because a version that has it is replayed."""
    failed = connection.execute(
        f"SELECT reason, count(*) FROM {UNITS} WHERE status = 'failed' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    not_asked = connection.execute(f"SELECT count(*) FROM {UNITS} WHERE status = 'not_asked'").fetchall()[0][0]
    answers = describe_answers(connection, STEPS if is_walked(plan.experiment) else UNITS)
    if answers is not None:
        provenance = {**provenance, "answers": answers}
    if is_walked(plan.experiment):
        _write(lake, connection, plan, REPLAY_STEPS, STEPS, {})
    return _write(
        lake, connection, plan, REPLAYS, UNITS, {"failures": dict(failed), "not_asked": not_asked, **provenance}
    )


def _write(
    lake: Lake,
    connection: duckdb.DuckDBPyConnection,
    plan: Plan,
    dataset: Dataset,
    relation: str,
    provenance: dict[str, Any],
) -> Commit:
    """Write a relation as the plan's partition, as much text at a time as is sorted in memory: a sort spills no texts."""
    items = f"SELECT unit_id AS id, count(*) AS rows, sum({SAID_BYTES}) AS bytes FROM {relation} GROUP BY unit_id"
    ranges = cut_ranges(connection, items, rows=_RANGE_ROWS, size=int(lake.memory_bytes * RANGE_SHARE))
    with lake.replacing(dataset, plan.partition) as writer:
        for each in ranges:
            query = f"SELECT * FROM {relation} WHERE unit_id BETWEEN $first AND $last"
            writer.write_query(connection, query, {"first": each.first, "last": each.last})
        return writer.commit(input_hash=plan.version_id, provenance=provenance)


@dataclass(slots=True)
class _Told:
    """What a run has to say beside its rows."""

    firsts: FirstFailures = field(default_factory=FirstFailures)
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Work:
    """What a run is given."""

    connection: duckdb.DuckDBPyConnection
    plan: Plan
    on_progress: OnProgress | None
    settings: Settings | None
    tell: Callable[[str], None]
    on_sending: OnSending | None


@contextmanager
def _replayed(lake: Lake, work: _Work, *, is_retry: bool) -> Iterator[_Told]:
    """Have the rows of every side in `UNITS` and `STEPS`.

    What an endpoint said may hold anything, so it is told once and kept nowhere.
    """
    connection, plan = work.connection, work.plan
    if plan.experiment.candidate.kind == "recorded":
        _copy_recorded(connection, plan)
        yield _Told()
    elif plan.experiment.workers and not is_retry:
        meter = ProgressMeter(work.on_progress)
        with replayed_by_workers(lake, connection, plan, meter) as firsts:
            yield _Told(firsts)
    else:
        with OutcomeTables(connection) as tables:
            failed = keep_answered(connection, plan, tables) if is_retry else None
            told = _replay_here(work, tables, list_chunks(connection, lake), failed)
        yield told


def _replay_here(work: _Work, tables: OutcomeTables, chunks: Sequence[Range], failed: FailedUnits | None) -> _Told:
    """Replay the units of every side in this process, or those of them that failed."""
    connection, plan = work.connection, work.plan
    told = _Told()
    models = [side for side, asked in plan.experiment.sides.items() if asked.asks_models or asked.is_agent]

    def units_of(side: Side, host: Host | None = None) -> Iterator[Unit]:
        units = list_units(connection, plan, side, chunks, host)
        return units if failed is None else failed.among(units)

    def take(outcomes: Iterable[Outcome], meter: ProgressMeter) -> None:
        for outcome in outcomes:
            if failed is not None:
                outcome.row["attempt"] = failed.next_attempt(outcome.row)
            tables.add(outcome)
            told.firsts.add(outcome)
            meter(tables.done)
        tables.flush()
        meter(tables.done, is_end=True)

    def ask_models() -> None:
        if models:
            told.provenance["asked"] = _ask_models(work, units_of, models, failed, take)

    def call_others() -> None:
        for side in (side for side in plan.experiment.sides if side not in models):
            outcomes = replay_units(units_of(side), plan.callables.get(side), plan.experiment.budget.concurrency)
            take(outcomes, ProgressMeter(work.on_progress))

    # batches may not be done for a day, and others are not called each time that somebody looks
    for step in (ask_models, call_others) if plan.experiment.batch else (call_others, ask_models):
        step()
    return told


def _ask_models(
    work: _Work,
    units_of: Callable[[Side, Host | None], Iterator[Unit]],
    models: Sequence[Side],
    failed: FailedUnits | None,
    take: Callable[[Iterable[Outcome], ProgressMeter], None],
) -> dict[str, Any]:
    """Ask the sides that are models or agents; what there is to say of it in the provenance."""
    connection, plan = work.connection, work.plan
    if work.settings is None:
        raise BadInputError("a model can only be asked with settings, which say where it may be")
    toolless = describe_toolless(connection, plan)
    if toolless is not None:
        work.tell(f"note: {toolless}")
    with asking(plan.experiment, plan.version_id, work.settings, work.tell, work.on_sending) as asker:
        asker.forget(count_redactions(connection))
        total = count_units(connection, plan) if failed is None and work.on_progress is not None else None
        meter = ProgressMeter(work.on_progress, total, lambda: (asker.tally.hit_rate, asker.account.usd))

        hosts = {
            side: _host_of(plan, side, asker, work.settings) for side in models if plan.experiment.sides[side].is_agent
        }

        def units() -> Iterator[Unit]:
            return chain.from_iterable(units_of(side, hosts.get(side)) for side in models)

        if plan.experiment.batch:
            take(_in_batches(asker, work, units, failed), meter)
        else:
            take(drive(asker, units(), work.tell, hosts.values()), meter)
            for note in filter(None, (host.gateway.stray_note for host in hosts.values())):
                work.tell(f"note: {note}")
            asker.require_answers()
        return describe_asking(connection, plan, asker, work.settings)


def _host_of(plan: Plan, side: Side, asker: Asker, settings: Settings) -> Host:
    """Where the agents of a side are at home."""
    from pipelines.replay.agents.host import open_host  # noqa: PLC0415 -- only where agents are run

    return open_host(plan, side, asker, settings)


def _in_batches(
    asker: Asker, work: _Work, units: Callable[[], Iterator[Unit]], failed: FailedUnits | None
) -> Iterator[Outcome]:
    """Ask models in batches; the outcomes, once nothing is under way."""
    from pipelines.replay.batch.batches import Batches  # noqa: PLC0415 -- only where models are asked so

    assert work.settings is not None
    batches = Batches(
        asker,
        work.settings.replays,
        work.tell,
        attempt_of=(lambda _unit: 1) if failed is None else (lambda unit: failed.next_attempt(unit.row)),
        is_retry=failed is not None,
    )
    batches.go_on(units)
    return batches.outcomes(units())


def _copy_recorded(connection: duckdb.DuckDBPyConnection, plan: Plan) -> None:
    """Take the paired recorded runs as they are: complete runs, with the tool answers that they got themselves.

    So are the runs that are further draws, of either side.
    """
    with OutcomeTables(connection):
        pass  # their tables
    connection.register("runs_given", plan.runs)
    connection.execute("CREATE OR REPLACE TEMP TABLE plan_runs AS SELECT * FROM runs_given")
    connection.unregister("runs_given")
    _copy_draw(connection, plan, "candidate", 0, "plan_streams")
    drawn = connection.execute("SELECT DISTINCT side, draw FROM plan_runs ORDER BY draw").fetchall()
    for side, draw in drawn:
        connection.execute(
            "CREATE OR REPLACE TEMP TABLE drawn_runs AS SELECT * FROM plan_runs WHERE draw = $draw", {"draw": draw}
        )
        _copy_draw(connection, plan, side, draw, "drawn_runs")


def _copy_draw(connection: duckdb.DuckDBPyConnection, plan: Plan, side: str, draw: int, streams: str) -> None:
    create_units(connection, plan, "recorded", "recorded_aggregate_id", streams=streams)
    connection.execute(
        f"""
        INSERT INTO {UNITS} BY NAME
        SELECT
            recorded.* EXCLUDE (outcome, covered_to, is_rebuilt, is_erased, is_asked) REPLACE (recorded.unit_id AS aggregate_id),
            'conversation' AS unit,
            $side AS side,
            $draw AS draw,
            'ok' AS status,
            1 AS attempt,
            recorded.aggregate_id AS recorded_aggregate_id,
            'exact' AS result_source,
            false AS is_tainted,
            false AS is_off_policy
        FROM recorded
        """,
        {"side": side, "draw": draw},
    )


def _result(
    plan: Plan, commit: Commit, *, is_written: bool, seconds: float, first_error: str | None = None
) -> ReplayResult:
    return ReplayResult(
        experiment=plan.experiment.experiment,
        version_id=plan.version_id,
        is_written=is_written,
        units=commit.row_count,
        not_asked=commit.provenance["not_asked"],
        failures=dict(commit.provenance["failures"]),
        first_error=first_error,
        size_bytes=commit.size_bytes,
        seconds=seconds,
    )
