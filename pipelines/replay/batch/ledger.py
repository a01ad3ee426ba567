"""The ledger of batches: what was begun at a provider, and which request is in which batch; in the store of responses.

Everything that costs money is written here before it is done. A batch is charged at its most when it is intended; each request
gives back what it did not cost when its result comes, in the transaction that keeps the result, so a budget holds whoever is
killed when, and a result that is read twice is kept once.

    intended -> uploaded -> creating -> created -> done
        `-----------`----------`-----------`--> released        (nothing was created, or nothing of it was worked on)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from pipelines.experiment.sides import Api
from pipelines.replay.asking.responses import CHARGE, PUT, SENT, ResponseStore, Stored, now
from pipelines.replay.batch.provider import Remote
from pipelines.replay.failure import Reason

State = Literal["intended", "uploaded", "creating", "created", "done", "released"]
Key = bytes
"""Under which an answer is kept: of request and draw, at one endpoint."""

_OPEN = "state NOT IN ('done', 'released')"
_COLUMNS = (
    "id, token, endpoint, api, api_key_env, experiment, version_id, side, model, is_retry, is_listed, price, requests, state, "
    "upload, remote, told, answered, intended_at, changed_at"
)
_KEYS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class Purpose:
    """For whom a batch is: a side of a version.

    Attributes:
        experiment: Name.
        version_id: Version.
        side: Candidate or control.
        endpoint: Number of the endpoint.
        api: The wire.
        model: Asked for by this name.
        api_key_env: Variable that holds the key; None for none.
        price: What tokens cost in a batch, as JSON; None when not known.
        is_retry: Whether it is for units that had failed.
    """

    experiment: str
    version_id: str
    side: str
    endpoint: int
    api: Api
    model: str
    api_key_env: str | None
    price: str | None
    is_retry: bool


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch, as far as it is known here.

    Attributes:
        id: Its number.
        token: What the provider knows it by.
        base_url: Its endpoint.
        purpose: For whom it is.
        is_listed: Whether all that there was to submit beside it was submitted.
        requests: How many it has.
        state: How far it got.
        upload: The provider's name of the file of requests; None where there is none, or it is not known.
        remote: The provider's name of the batch; None as long as it is not known.
        told: The provider's word for how far it is, when it was asked last.
        answered: Requests that are done, likewise.
        intended_at: When it was intended.
        changed_at: When it got to its state.
    """

    id: int
    token: str
    base_url: str
    purpose: Purpose
    is_listed: bool
    requests: int
    state: State
    upload: str | None
    remote: str | None
    told: str | None
    answered: int
    intended_at: datetime
    changed_at: datetime


class Asked(NamedTuple):
    """One request of a batch that is intended.

    Attributes:
        key: Under which its answer is to be kept.
        aggregate_id: The conversation.
        attempt: Of the unit.
        tries: Batches in which it brought nothing before, in this attempt.
        most_usd: What it costs at most.
    """

    key: Key
    aggregate_id: str
    attempt: int
    tries: int
    most_usd: float


class Standing(NamedTuple):
    """How it stands with one request.

    Attributes:
        state: `open`, `answered`, `again` or `failed`.
        reason: Why it failed.
        attempt: Of the unit for which it was asked last.
        tries: Batches in which it brought nothing, in that attempt.
        version: Experiment and version of its last batch.
    """

    state: str
    reason: Reason | None
    attempt: int
    tries: int
    version: tuple[str, str]


class Result(NamedTuple):
    """What came of one request.

    Attributes:
        key: Which.
        state: `answered`, `again` or `failed`.
        spent_usd: What it cost; None where that is not known, and is the most that it can be.
        stored: What is kept of it; None where nothing was answered.
        reason: Why it failed.
    """

    key: Key
    state: Literal["answered", "again", "failed"]
    spent_usd: float | None
    stored: Stored | None = None
    reason: Reason | None = None


class Ledger:
    """The batches of one store.

    Args:
        store: Open.
    """

    def __init__(self, store: ResponseStore) -> None:
        self._store = store

    def intend(self, purpose: Purpose, token: str, asked: Sequence[Asked]) -> Batch:
        """Have it on disk that a batch is about to be made, what it may cost, and whose texts go where."""
        at = now()
        version = (purpose.experiment, purpose.version_id)
        most = sum(each.most_usd for each in asked)
        head = (token, purpose.endpoint, purpose.api, purpose.api_key_env, *version, purpose.side, purpose.model)
        values = (*head, purpose.is_retry, purpose.price, len(asked), "intended", at, at)
        with self._store.writing() as connection:
            (number,) = connection.execute(
                "INSERT INTO batches (token, endpoint, api, api_key_env, experiment, version_id, side, model, is_retry, price, "
                f"requests, state, intended_at, changed_at) VALUES ({', '.join('?' * len(values))}) RETURNING id",
                values,
            ).fetchone()
            connection.executemany(
                "INSERT OR REPLACE INTO batch_requests VALUES (?, ?, ?, ?, ?, ?, ?, 'open', NULL)",
                [(purpose.endpoint, each.key, number, *each[1:]) for each in asked],
            )
            connection.execute(CHARGE, (*version, at[:10], len(asked), most))
            connection.executemany(
                SENT,
                [
                    (*version, purpose.endpoint, purpose.model, purpose.side, stream, at)
                    for stream in dict.fromkeys(each.aggregate_id for each in asked)
                ],
            )
        return self.find(number)

    def advance(self, batch: Batch, state: State, *, upload: str | None = None, remote: Remote | None = None) -> Batch:
        """Have it on disk how far a batch got, and what is known of it by now."""
        name, told, answered = (remote.id, remote.state, remote.done) if remote is not None else (None, None, None)
        with self._store.writing() as connection:
            connection.execute(
                "UPDATE batches SET state = ?, upload = coalesce(?, upload), remote = coalesce(?, remote), "
                "told = coalesce(?, told), answered = coalesce(?, answered), "
                "changed_at = CASE WHEN state = ? THEN changed_at ELSE ? END WHERE id = ?",
                (state, upload, name, told, answered, state, now(), batch.id),
            )
        return self.find(batch.id)

    def release(self, batch: Batch) -> tuple[int, float]:
        """Close a batch of which nothing was worked on: its requests are asked for anew, and it cost nothing.

        Returns:
            Calls and US dollars that it gives back.
        """
        with self._store.writing() as connection:
            count, most = connection.execute(
                "SELECT count(*), coalesce(sum(most_usd), 0) FROM batch_requests WHERE batch = ? AND state = 'open'",
                (batch.id,),
            ).fetchone()
            connection.execute("DELETE FROM batch_requests WHERE batch = ? AND state = 'open'", (batch.id,))
            self._give_back(connection, batch, count, most)
            connection.execute("UPDATE batches SET state = 'released', changed_at = ? WHERE id = ?", (now(), batch.id))
        return int(count), float(most)

    def keep(self, batch: Batch, results: Iterable[Result]) -> float:
        """Keep results, each once: those of requests that are not waited for any more change nothing.

        Returns:
            US dollars that they give back.
        """
        back = 0.0
        with self._store.writing() as connection:
            for each in results:
                row = connection.execute(
                    "UPDATE batch_requests SET state = ?, reason = ?, tries = tries + ? "
                    "WHERE endpoint = ? AND key = ? AND batch = ? AND state = 'open' "
                    "RETURNING aggregate_id, most_usd",
                    (each.state, each.reason, each.state != "answered", batch.purpose.endpoint, each.key, batch.id),
                ).fetchone()
                if row is None:
                    continue
                aggregate_id, most = row
                back += 0.0 if each.spent_usd is None else most - each.spent_usd
                if each.stored is not None:
                    stored = each.stored
                    values = (stored.body, stored.latency_ms, stored.cost_usd, now())
                    connection.execute(PUT, (batch.purpose.endpoint, each.key, aggregate_id, *values))
            self._give_back(connection, batch, 0, back)
        return back

    def find(self, number: int) -> Batch:
        """One batch."""
        return self._list("batches.id = ?", (number,))[0]

    def list_open(self, base_url: str | None = None) -> list[Batch]:
        """The batches of which something is still to come, of one endpoint or of all, in the order in which they were intended."""
        return self._list(f"{_OPEN} AND coalesce(?, base_url) = base_url", (base_url,))

    def known(self, endpoint: int) -> set[str]:
        """The provider's names of all batches of an endpoint that are known here."""
        with self._store.reading() as connection:
            rows = connection.execute(
                "SELECT remote FROM batches WHERE endpoint = ? AND remote IS NOT NULL", (endpoint,)
            )
            return {remote for (remote,) in rows}

    def waiting(self, batch: Batch) -> dict[Key, int]:
        """The requests of a batch whose results are not here: batches before in which each brought nothing."""
        query = "SELECT key, tries FROM batch_requests WHERE batch = ? AND state = 'open'"
        with self._store.reading() as connection:
            return dict(connection.execute(query, (batch.id,)).fetchall())

    def standing(self, endpoint: int, keys: Sequence[Key]) -> dict[Key, Standing]:
        """How it stands with requests that were in a batch."""
        found: dict[Key, Standing] = {}
        with self._store.reading() as connection:
            for start in range(0, len(keys), _KEYS_PER_QUERY):
                some = keys[start : start + _KEYS_PER_QUERY]
                query = (
                    "SELECT key, batch_requests.state, reason, attempt, tries, experiment, version_id "
                    "FROM batch_requests JOIN batches ON batches.id = batch WHERE batch_requests.endpoint = ? "
                    f"AND key IN ({', '.join('?' * len(some))})"
                )
                for key, *rest, experiment, version_id in connection.execute(query, (endpoint, *some)):
                    state, reason, attempt, tries = rest
                    found[key] = Standing(state, reason, attempt, tries, (experiment, version_id))
        return found

    def counts(self, version: tuple[str, str], side: str) -> dict[str, int]:
        """Requests of a side of a version, by state, and failed ones by reason."""
        query = (
            "SELECT coalesce(reason, batch_requests.state), count(*) FROM batch_requests JOIN batches ON batches.id = batch "
            "WHERE experiment = ? AND version_id = ? AND side = ? GROUP BY 1"
        )
        with self._store.reading() as connection:
            return dict(connection.execute(query, (*version, side)).fetchall())

    def forget_failures(self, version: tuple[str, str]) -> None:
        """Have a version's failed requests asked for anew by whoever runs it next."""
        with self._store.writing() as connection:
            connection.execute(
                "DELETE FROM batch_requests WHERE state = 'failed' AND batch IN "
                "(SELECT id FROM batches WHERE experiment = ? AND version_id = ?)",
                version,
            )

    def note_listed(self, version: tuple[str, str]) -> None:
        """Note that all that there was to submit of a version is submitted."""
        with self._store.writing() as connection:
            connection.execute(
                f"UPDATE batches SET is_listed = TRUE WHERE experiment = ? AND version_id = ? AND {_OPEN}", version
            )

    def _give_back(self, connection: Any, batch: Batch, requests: int, usd: float) -> None:
        """Correct the charge of the day on which a batch was intended."""
        purpose = batch.purpose
        connection.execute(
            "UPDATE charges SET requests = requests - ?, usd = max(usd - ?, 0) WHERE experiment = ? AND version_id = ? AND day = ?",
            (requests, usd, purpose.experiment, purpose.version_id, f"{batch.intended_at:%Y-%m-%d}"),
        )

    def _list(self, where: str, values: tuple[Any, ...]) -> list[Batch]:
        columns = ", ".join(f"batches.{name.strip()}" for name in _COLUMNS.split(","))
        query = f"SELECT base_url, {columns} FROM batches JOIN endpoints ON endpoints.id = endpoint WHERE {where} ORDER BY batches.id"
        with self._store.reading() as connection:
            return [_batch(*row) for row in connection.execute(query, values).fetchall()]


def price_text(price: Any) -> str | None:
    """A price, as the ledger has it."""
    return None if price is None else json.dumps(price.model_dump(mode="json"), sort_keys=True)


def _batch(base_url: str, *row: Any) -> Batch:
    found = dict(zip((name.strip() for name in _COLUMNS.split(",")), row, strict=True))
    purpose = Purpose(
        **{
            name: found[name]
            for name in ("experiment", "version_id", "side", "endpoint", "api", "model", "api_key_env", "price")
        },
        is_retry=bool(found["is_retry"]),
    )
    same = ("id", "token", "requests", "state", "upload", "remote", "told", "answered")
    return Batch(
        base_url=base_url,
        purpose=purpose,
        is_listed=bool(found["is_listed"]),
        intended_at=datetime.fromisoformat(found["intended_at"]).astimezone(UTC),
        changed_at=datetime.fromisoformat(found["changed_at"]).astimezone(UTC),
        **{name: found[name] for name in same},
    )
