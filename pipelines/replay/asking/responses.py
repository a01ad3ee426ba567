"""Responses that were paid for, kept under (endpoint, key of request and draw): asked once, whatever happens to the process.

One SQLite file per home, in WAL mode with full synchronisation: `put` returns when the response is on disk, other processes
read while one writes, and a killed writer leaves a file that opens as if nothing had happened. A thread writes, and what
arrives while it writes is written with the next commit: the cost of a commit is shared by all calls under way.

Besides the responses it keeps the ledger: what each version was charged, and whose text went to which endpoint. Both are
written with the responses they belong to, so that a budget holds over every run of a version.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from pipelines.errors import RefoldError
from pipelines.locks import holding, is_held

_LAYOUT = 2
"""Of the file, as its `user_version` says; another one has another key."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS endpoints (id INTEGER PRIMARY KEY, base_url TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS responses (
    id INTEGER PRIMARY KEY,
    endpoint INTEGER NOT NULL REFERENCES endpoints (id),
    key BLOB NOT NULL, -- of wire, request and draw: see replay/key.py
    aggregate_id TEXT NOT NULL, -- of the conversation that it was paid for
    body BLOB NOT NULL,
    latency_ms REAL, -- none of a batch
    cost_usd REAL,
    received_at TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS responses_by_key ON responses (endpoint, key);
CREATE INDEX IF NOT EXISTS responses_by_conversation ON responses (aggregate_id);
CREATE TABLE IF NOT EXISTS forgotten (aggregate_id TEXT PRIMARY KEY, redactions INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS charges (
    experiment TEXT NOT NULL, version_id TEXT NOT NULL, day TEXT NOT NULL, requests INTEGER NOT NULL, usd REAL NOT NULL,
    PRIMARY KEY (experiment, version_id, day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sent (
    experiment TEXT NOT NULL, version_id TEXT NOT NULL, endpoint INTEGER NOT NULL REFERENCES endpoints (id),
    model TEXT NOT NULL, side TEXT NOT NULL, aggregate_id TEXT NOT NULL, first_at TEXT NOT NULL,
    PRIMARY KEY (experiment, version_id, endpoint, model, side, aggregate_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    id INTEGER PRIMARY KEY,
    token TEXT NOT NULL UNIQUE, -- what the provider knows it by
    endpoint INTEGER NOT NULL REFERENCES endpoints (id),
    api TEXT NOT NULL, -- the wire
    api_key_env TEXT, -- name of the variable that holds the key
    experiment TEXT NOT NULL, version_id TEXT NOT NULL, side TEXT NOT NULL, model TEXT NOT NULL,
    is_retry INTEGER NOT NULL, -- whether units that had failed are replayed once more
    is_listed INTEGER NOT NULL DEFAULT 0, -- whether all that there was to submit beside it was submitted
    price TEXT, -- of tokens in a batch, JSON
    requests INTEGER NOT NULL,
    state TEXT NOT NULL, -- intended, uploaded, creating, created; then done or released
    upload TEXT, -- the provider's name of the file of requests
    remote TEXT, -- the provider's name of the batch
    told TEXT, -- the provider's word for how far it is
    answered INTEGER NOT NULL DEFAULT 0, -- requests that the provider calls done
    intended_at TEXT NOT NULL, changed_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS batch_requests (
    endpoint INTEGER NOT NULL, key BLOB NOT NULL, -- as in responses
    batch INTEGER NOT NULL REFERENCES batches (id), -- the last that it was in
    aggregate_id TEXT NOT NULL,
    attempt INTEGER NOT NULL, -- of the unit
    tries INTEGER NOT NULL, -- batches in which it brought nothing, in this attempt
    most_usd REAL NOT NULL, -- what is charged for it as long as it is open
    state TEXT NOT NULL, -- open, answered, again, failed
    reason TEXT,
    PRIMARY KEY (endpoint, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS batch_requests_by_batch ON batch_requests (batch, state);
CREATE INDEX IF NOT EXISTS batch_requests_by_conversation ON batch_requests (aggregate_id);
"""
PUT = (
    "INSERT INTO responses (endpoint, key, aggregate_id, body, latency_ms, cost_usd, received_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET aggregate_id = excluded.aggregate_id, body = excluded.body, "
    "latency_ms = excluded.latency_ms, cost_usd = excluded.cost_usd, received_at = excluded.received_at"
)
"""One that is there already is asked for anew only where it is no answer in today's reading."""
CHARGE = (
    "INSERT INTO charges VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, usd = usd + excluded.usd"
)
SENT = "INSERT INTO sent VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
_KEYS_PER_QUERY = 500
_LOCK_SECONDS = 60.0
"""How long a writer waits for another process's commit."""
_CACHE_KB = 16_384
"""Of the file, held in memory: keys are random, and with less their index is read again and again."""


class Stored(NamedTuple):
    """One response as it came.

    Attributes:
        body: Its bytes.
        latency_ms: From the first byte sent to the last one received, milliseconds; None in a batch.
        cost_usd: What it cost, US dollars; None when not known.
    """

    body: bytes
    latency_ms: float | None
    cost_usd: float | None


_as_stored = partial(tuple.__new__, Stored)
"""A tuple of the right length under its name, without counting again."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one call is charged to, and how much."""

    experiment: str
    version_id: str
    usd: float


@dataclass(frozen=True, slots=True)
class Sent:
    """Whose text goes where: one conversation of one version to one model."""

    experiment: str
    version_id: str
    model: str
    side: str
    aggregate_id: str


_Statement = tuple[str, tuple[Any, ...]]


class _Job(NamedTuple):
    """What is to be written, and who waits until it is."""

    statements: list[_Statement]
    loop: asyncio.AbstractEventLoop
    written: asyncio.Future[None]


class ResponseStore:
    """The responses of one home, as a context manager.

    Args:
        path: The file; made when missing, readable by its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        # other accounts must not read what models said about people
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        with self._guard("open"):
            self._reader = _connect(path)
            self._require_layout()
            with self._reader:
                self._reader.executescript(_SCHEMA)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._endpoints: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._jobs.put(None)
            self._writer.join()
            self._writer = None
        self._reader.close()

    def _require_layout(self) -> None:
        """Refuse a file whose responses are kept under other keys: they would be paid for again, and never be found.

        Raises:
            ResponseStoreError: So it is.
        """
        (layout,) = self._reader.execute("PRAGMA user_version").fetchone()
        (tables,) = self._reader.execute("SELECT count(*) FROM sqlite_master WHERE name = 'responses'").fetchone()
        if tables and layout != _LAYOUT:
            self._reader.close()
            raise ResponseStoreError(
                f"{self.path} keeps paid answers in layout {layout}, and this version reads layout {_LAYOUT}: nothing in it was "
                "changed; replay with the version that wrote it, or move it away to ask, and pay, anew"
            )
        self._reader.execute(f"PRAGMA user_version = {_LAYOUT}")

    def endpoint(self, base_url: str) -> int:
        """The number under which an endpoint's responses are kept."""
        if base_url not in self._endpoints:
            with self._guard("write"), self._reader:
                self._reader.execute("INSERT INTO endpoints (base_url) VALUES (?) ON CONFLICT DO NOTHING", (base_url,))
                row = self._reader.execute("SELECT id FROM endpoints WHERE base_url = ?", (base_url,)).fetchone()
            self._endpoints[base_url] = int(row[0])
        return self._endpoints[base_url]

    def get(self, endpoint: int, keys: Sequence[str]) -> dict[str, Stored]:
        """The responses that are there, by key (`Request.key`, hex)."""
        found: dict[str, Stored] = {}
        with self._guard("read"):
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                wanted = [bytes.fromhex(key) for key in keys[start : start + _KEYS_PER_QUERY]]
                query = (
                    "SELECT key, body, latency_ms, cost_usd FROM responses "
                    f"WHERE endpoint = ? AND key IN ({','.join('?' * len(wanted))})"
                )
                for key, body, latency_ms, cost_usd in self._reader.execute(query, (endpoint, *wanted)):
                    found[key.hex()] = _as_stored((body, latency_ms, cost_usd))
        return found

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk when the block ends: for who writes seldom, and much at once."""
        with self._guard("write"), self._reader:
            self._reader.execute("BEGIN IMMEDIATE")
            yield self._reader

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, to read from."""
        with self._guard("read"):
            yield self._reader

    def in_batches(self, endpoint: int) -> set[str]:
        """Keys (hex) of all that is being asked for in batches at an endpoint."""
        query = "SELECT key FROM batch_requests WHERE endpoint = ? AND state = 'open'"
        with self._guard("read"):
            return {key.hex() for (key,) in self._reader.execute(query, (endpoint,))}

    def charged(
        self, experiment: str | None = None, version_id: str | None = None, day: str | None = None
    ) -> tuple[int, float]:
        """(Calls, US dollars) charged so far: in all, to an experiment, to one of its versions, on a UTC day."""
        query = (
            "SELECT coalesce(sum(requests), 0), coalesce(sum(usd), 0) FROM charges "
            "WHERE coalesce(?, experiment) = experiment AND coalesce(?, version_id) = version_id AND coalesce(?, day) = day"
        )
        with self._guard("read"):
            requests, usd = self._reader.execute(query, (experiment, version_id, day)).fetchone()
        return int(requests), float(usd)

    def sent(self, experiment: str, version_id: str) -> list[dict[str, Any]]:
        """What of a version was sent where: per endpoint, model and side the conversations, in order."""
        query = (
            "SELECT base_url, model, side, aggregate_id, first_at FROM sent JOIN endpoints ON endpoints.id = sent.endpoint "
            "WHERE experiment = ? AND version_id = ? ORDER BY ALL_COLUMNS"
        ).replace("ALL_COLUMNS", "1, 2, 3, 4")
        names = ("base_url", "model", "side", "aggregate_id", "first_at")
        with self._guard("read"):
            return [dict(zip(names, row, strict=True)) for row in self._reader.execute(query, (experiment, version_id))]

    async def put(self, endpoint: int, key: str, aggregate_id: str, stored: Stored, charge: Charge) -> None:
        """Keep a response, and whose it is, and charge its call; returns when both are on disk.

        Raises:
            ResponseStoreError: They could not be written.
        """
        values = (endpoint, bytes.fromhex(key), aggregate_id, stored.body, stored.latency_ms, stored.cost_usd, now())
        await self._write([(PUT, values), _charge_row(charge)])

    async def charge(self, charge: Charge) -> None:
        """Charge a call that brought no response."""
        await self._write([_charge_row(charge)])

    async def note_sent(self, endpoint: int, sent: Sent) -> None:
        """Remember, before anything is sent, whose text goes where."""
        values = (sent.experiment, sent.version_id, endpoint, sent.model, sent.side, sent.aggregate_id, now())
        await self._write([(SENT, values)])

    async def _write(self, statements: list[tuple[str, tuple[Any, ...]]]) -> None:
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()

        if self._writer is None:
            self._writer = threading.Thread(target=self._run, name="responses", daemon=True)
            self._writer.start()
        self._jobs.put(_Job(statements, loop, written))
        await written

    def _run(self) -> None:
        """The writing thread: one commit for everything that waits."""
        connection = _connect(self.path)
        is_open = True
        while is_open:
            jobs: list[_Job] = []
            waiting = self._jobs.get()
            while waiting is not None:
                jobs.append(waiting)
                try:
                    waiting = self._jobs.get_nowait()
                except queue.Empty:
                    break
            is_open = waiting is not None
            error: BaseException | None = None
            try:
                with self._guard("write"), connection:
                    connection.execute("BEGIN IMMEDIATE")
                    for statement, values in _together(jobs):
                        connection.execute(statement, values)
            except RefoldError as failed:
                error = failed
            for loop, those in groupby(jobs, key=attrgetter("loop")):
                loop.call_soon_threadsafe(_tell, [job.written for job in those], error)
        connection.close()

    @contextmanager
    def _guard(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise ResponseStoreError(
                f"{self.path}: cannot {what}: {error}; what was paid for so far is kept"
            ) from error


def _together(jobs: Iterable[_Job]) -> Iterator[_Statement]:
    """The statements of jobs that are written together; what they charge to one version on one day is one sum."""
    charges: dict[tuple[Any, ...], tuple[int, float]] = {}
    for statement, values in chain.from_iterable(job.statements for job in jobs):
        if statement is not CHARGE:
            yield statement, values
            continue
        account, (requests, usd) = values[:-2], values[-2:]
        before = charges.get(account, (0, 0.0))
        charges[account] = before[0] + requests, before[1] + usd
    for account, sums in charges.items():
        yield CHARGE, (*account, *sums)


def _tell(waiting: Iterable[asyncio.Future[None]], error: BaseException | None) -> None:
    """Let those go on who wait for one commit, in their loop."""
    for written in waiting:
        if not written.done():
            written.set_exception(error) if error is not None else written.set_result(None)


def is_asking(folder: Path) -> bool:
    """Whether a replay asks an endpoint at this moment; `folder` is that of `asking_alone`."""
    return any(is_held(path) for path in folder.glob("*.lock"))


class ResponseStoreError(RefoldError):
    """The file of paid responses cannot be read or written."""


@contextmanager
def asking_alone(folder: Path, base_url: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Let one process at a time ask an endpoint, so that two replays never pay for the same request; others wait.

    Args:
        folder: Where the lock files are.
        base_url: The endpoint.
        tell: Told once when there is somebody to wait for.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(base_url.encode()).hexdigest()[:16]}.lock"
    with holding(path, lambda: tell(f"another replay is asking {base_url}; waiting until it ends")):
        yield


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KB}")
    connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten
    return connection


def _charge_row(charge: Charge) -> tuple[str, tuple[Any, ...]]:
    return CHARGE, (charge.experiment, charge.version_id, now()[:10], 1, charge.usd)


def now() -> str:
    """The time, UTC, as the store has it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
