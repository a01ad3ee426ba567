"""Erasures and holds in the store: what is recorded, what still waits for it, what may not be erased."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg

from pipelines.store.home_log import Signed
from pipelines.store.sqlstate import typed_errors

_HOLDS = "SELECT hold, customer, aggregate_id, reason, placed_by, placed_at FROM refold.holds ORDER BY placed_at, hold"


@dataclass(frozen=True, slots=True)
class Hold:
    """What may not be erased.

    Attributes:
        hold: Its id, by which it is lifted.
        customer: Everything about this person; None where it is of a stream.
        stream: Everything in this stream; None where it is of a person.
        reason: Why.
        placed_by: Database user that placed it.
        placed_at: When, UTC.
    """

    hold: UUID
    customer: str | None
    stream: UUID | None
    reason: str
    placed_by: str
    placed_at: datetime


def record_erasure(conn: psycopg.Connection, document: Signed, *, is_again: bool = False) -> int:
    """Record an erasure; the place of its entry in the home log.

    Args:
        conn: The store.
        document: The erasure as text, and its signature.
        is_again: The store lost the record, the lake has it.

    Raises:
        OnHold: Something of it is on hold.
        StoreBusy: A stream that was to be erased whole grew meanwhile.
        InvalidEvent: It names what is not there.
    """
    with typed_errors():
        row = conn.execute(
            "SELECT refold.record_erasure(%s, %s, %s)", [document.text, document.signature, is_again]
        ).fetchone()
    assert row is not None
    return int(row[0])


def erase_events(conn: psycopg.Connection) -> Iterator[int]:
    """Take the content of all events that recorded erasures name; how many runs of events each transaction did."""
    with typed_errors():
        while (row := conn.execute("SELECT refold.erase_events()").fetchone()) is not None and row[0]:
            yield int(row[0])


def note_scrub(conn: psycopg.Connection, document: Signed) -> int:
    """Note a scrub; the place of its entry in the home log."""
    with typed_errors():
        row = conn.execute("SELECT refold.note_scrub(%s, %s)", [document.text, document.signature]).fetchone()
    assert row is not None
    return int(row[0])


def months_of_erasures(conn: psycopg.Connection) -> dict[UUID, tuple[list[str], bool]]:
    """Of each erasure that names events: the months that they are of, and whether all of them have lost their content."""
    with typed_errors():
        rows = conn.execute(
            "SELECT erasure, array_agg(DISTINCT month ORDER BY month), bool_and(is_done) FROM refold.erasures GROUP BY erasure"
        ).fetchall()
    return {erasure: (months, is_done) for erasure, months, is_done in rows}


def erasure_waits(conn: psycopg.Connection) -> bool:
    """Whether a recorded erasure is not done."""
    with typed_errors():
        row = conn.execute("SELECT EXISTS (SELECT FROM refold.erasures WHERE NOT is_done)").fetchone()
    return row is not None and bool(row[0])


def place_hold(conn: psycopg.Connection, *, customer: str | None, stream: UUID | None, reason: str) -> UUID:
    """Place a hold on a person or on a stream; its id."""
    with typed_errors():
        row = conn.execute("SELECT refold.hold(%s, %s, %s)", [customer, stream, reason]).fetchone()
    assert row is not None
    placed: UUID = row[0]
    return placed


def lift_hold(conn: psycopg.Connection, hold: UUID) -> bool:
    """Lift a hold; whether there was one."""
    with typed_errors():
        row = conn.execute("SELECT refold.lift(%s)", [hold]).fetchone()
    return row is not None and bool(row[0])


def list_holds(conn: psycopg.Connection) -> list[Hold]:
    """The holds in force, oldest first."""
    with typed_errors():
        return [Hold(*row) for row in conn.execute(_HOLDS).fetchall()]


def erasures_of(conn: psycopg.Connection, month: str) -> list[UUID]:
    """The erasures that took content of a month's events."""
    with typed_errors():
        rows = conn.execute("SELECT DISTINCT erasure FROM refold.erasures WHERE month = %s ORDER BY 1", [month])
        return [row[0] for row in rows]


def erased_months(conn: psycopg.Connection) -> list[str]:
    """Months in which events lost their content, ascending."""
    with typed_errors():
        return [row[0] for row in conn.execute("SELECT DISTINCT month FROM refold.erasures ORDER BY 1")]


def recorded_months(conn: psycopg.Connection) -> list[str]:
    """Months in which erasures were recorded, each by an event, ascending."""
    with typed_errors():
        rows = conn.execute(
            "SELECT DISTINCT to_char(e.created_at AT TIME ZONE 'UTC', 'YYYY-MM') FROM refold.events AS e "
            "WHERE e.aggregate_id IN (SELECT x.erasure FROM refold.erasures AS x) ORDER BY 1"
        )
        return [row[0] for row in rows]
