"""Replay a Python candidate in worker processes: each takes ranges of streams and leaves its rows in files.

A worker reads its own part of the lake, so nothing but ranges and counts passes between processes, and the same function
does the work as in one process. Rows become visible when the caller commits them; a stop or a crash leaves nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.spawn import get_preparation_data
from multiprocessing.util import Finalize
from pathlib import Path

import duckdb

from pipelines.collecting import collecting_seldom
from pipelines.duck import quote_literal
from pipelines.errors import RefoldError
from pipelines.experiment.code import load_python
from pipelines.experiment.plan import Plan
from pipelines.experiment.units import create_plan_relations
from pipelines.lake.lake import Lake
from pipelines.lake.sizes import Range
from pipelines.replay.answer import replay_plan
from pipelines.replay.ledger import FirstFailures
from pipelines.replay.rows import STEPS, UNITS, OutcomeTables
from pipelines.replay.streams import list_chunks


@dataclass(frozen=True, slots=True)
class _Job:
    """What a worker needs to begin: where the lake is, and the plan without what cannot be sent."""

    root: Path
    memory_bytes: int
    plan: Plan
    spec: str
    folder: Path
    allowed: tuple[Path, ...]
    target: Path


@dataclass(frozen=True, slots=True)
class _Done:
    """One range: its number, its units, and what went wrong with the first that failed, of each kind."""

    number: int
    units: int
    firsts: FirstFailures


@contextmanager
def replayed_by_workers(
    lake: Lake, connection: duckdb.DuckDBPyConnection, plan: Plan, on_progress: Callable[[int], None] | None = None
) -> Iterator[FirstFailures]:
    """Replay the units of side B; inside the block the relations `UNITS` and `STEPS` hold their rows.

    Args:
        lake: Read by the workers; its memory bound is shared among them.
        connection: Has `plan_streams`; the relations are made here.
        plan: Its candidate is a Python callable, its experiment names the number of workers.
        on_progress: Told how many units are answered.

    Yields:
        What went wrong with the first unit that failed, of each kind.

    Raises:
        RefoldError: A worker died, or none can be started from here.
    """
    assert plan.candidate is not None
    folder = lake.root / ".spill" / f"workers-{os.getpid()}-{uuid.uuid4().hex}"  # its number tells whether it lives
    folder.mkdir(parents=True)
    workers = plan.experiment.workers
    share = lake.memory_bytes // (workers + 1)
    job = _Job(
        lake.root,
        share,
        replace(plan, callables={}, measures={}),
        plan.candidate.spec,
        plan.candidate.folder,
        plan.candidate.allowed,
        folder,
    )
    try:
        done = _run(job, list_chunks(connection, lake, workers + 1), workers, on_progress)
        for name in (UNITS, STEPS):
            files = ", ".join(quote_literal(str(folder / f"{name}-{each.number}.parquet")) for each in done)
            connection.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS SELECT * FROM read_parquet([{files}])")
        firsts = FirstFailures()
        for each in done:
            firsts.update(each.firsts)
        yield firsts
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(job: _Job, chunks: Sequence[Range], workers: int, on_progress: Callable[[int], None] | None) -> list[_Done]:
    # spawned, not forked: a fork of a process with threads (Arrow, DuckDB) may never wake up
    context = multiprocessing.get_context("spawn")
    try:
        get_preparation_data("worker")  # refuses while this process is itself being spawned; starting would hang
    except RuntimeError as error:
        raise RefoldError(
            'worker processes import the program that starts them: put its calls under `if __name__ == "__main__":`'
        ) from error
    executor = ProcessPoolExecutor(min(workers, len(chunks)), mp_context=context, initializer=_begin, initargs=(job,))
    done: list[_Done] = []
    try:
        running: list[Future[_Done]] = [executor.submit(_replay_chunk, *each) for each in enumerate(chunks)]
        for future in as_completed(running):
            done.append(future.result())
            if on_progress is not None:
                on_progress(sum(each.units for each in done))
    except BrokenProcessPool as error:
        raise RefoldError(
            "a worker process of the replay died, perhaps for want of memory or by the candidate's own exit; "
            "nothing was written; run again with fewer workers, or with workers: 0 to see its error"
        ) from error
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return sorted(done, key=lambda each: each.number)


class _Worker:
    """What a worker process holds from one range to the next."""

    open_things = ExitStack()
    connection: duckdb.DuckDBPyConnection
    plan: Plan
    target: Path


def _begin(job: _Job) -> None:
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    lake = Lake(job.root, memory_bytes=job.memory_bytes)
    Finalize(None, _end, exitpriority=1)  # a worker's exit runs nothing else of ours
    _Worker.open_things.enter_context(collecting_seldom())
    _Worker.connection = _Worker.open_things.enter_context(lake.connect())
    _Worker.connection.execute("SET threads = 1")  # the workers are the parallelism
    _Worker.plan = replace(job.plan, callables={"candidate": load_python(job.spec, job.folder, job.allowed)})
    _Worker.target = job.target
    create_plan_relations(_Worker.connection, _Worker.plan)


def _end_with_parent() -> None:
    """A parent that was killed asks nobody to end, and a worker would wait for it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _end() -> None:
    _Worker.open_things.close()
    del _Worker.connection


def _replay_chunk(number: int, chunk: Range) -> _Done:
    firsts = FirstFailures()
    with OutcomeTables(_Worker.connection) as tables:
        for outcome in replay_plan(_Worker.connection, _Worker.plan, [chunk]):
            tables.add(outcome)
            firsts.add(outcome)
        tables.flush()
    for name in (UNITS, STEPS):
        target = quote_literal(str(_Worker.target / f"{name}-{number}.parquet"))
        _Worker.connection.execute(f"COPY {name} TO {target} (FORMAT parquet, COMPRESSION lz4_raw)")
    return _Done(number, tables.done, firsts)
