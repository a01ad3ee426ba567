"""What the store holds of a month at one moment, and what of it the lake holds already.

The watermark of an export is the snapshot that it saw: `epoch` and PostgreSQL's own description of which transactions
had ended (`xmin:xmax:running`). What is new since is what that snapshot did not see: every event that is visible now is
either in it or not, so nothing is read twice, nothing is passed over, and a transaction that has been running for hours
holds nobody back. (A follower that needs an order must stop below the oldest running transaction; a set needs none: a
snapshot holds every stream up to some version, since one that goes on from an event commits after it.)
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from pipelines.lake.lake import Commit

_RULES = "export/1"
"""Part of the input hash: a change of what an exported month looks like exports every month again."""

_MAX_UNSORTED_SHARE = 0.25
"""A month is written anew when increments would hold more than this share of its sorted part: each event is then
written about five times at most, and readers skip over few small row groups."""
_MAX_INCREMENTS = 16
"""Likewise when it would consist of more increments than this; every file costs every reader an open."""

_CONTENT = "SELECT count(*), max(position), max(created_at) FROM refold.events WHERE "
# Ids of a cluster that has not reached the store's last transaction tell nothing: the store was moved (see new_epoch).
_MOMENT = """
SELECT
    s.epoch,
    pg_current_snapshot()::text,
    coalesce(
        (
            SELECT e.order_xid FROM refold.events AS e WHERE e.epoch = s.epoch
            ORDER BY e.epoch DESC, e.order_xid DESC, e.position DESC LIMIT 1
        )
        < pg_snapshot_xmax(pg_current_snapshot()),
        true
    ),
    coalesce(pg_relation_size(to_regclass('refold.events_' || replace(%(month)s, '-', '_'))), 0)
    / current_setting('block_size')::integer,
    coalesce((SELECT m.state FROM refold.months AS m WHERE m.month = %(month)s) = 'sealed', false),
    (SELECT count(*) FROM refold.erasures AS x WHERE x.month = %(month)s AND x.is_done),
    pg_export_snapshot()
FROM refold.store AS s
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A month of the store at one moment.

    Attributes:
        month: YYYY-MM.
        start: Its first instant.
        stop: The first instant of the next.
        rows: Its events.
        last_position: Largest position among them, None without any.
        last_created_at: Latest time among them, None without any.
        epoch: The store's epoch.
        seen: Which transactions had ended, as `pg_snapshot` writes it.
        is_comparable: Whether `seen` speaks of the transactions that appended: false after a move to another cluster.
        blocks: Blocks of the month's own table; only to divide work.
        is_sealed: Whether the month is sealed: the list of its files names the lake's, and they are left as they are.
        erasures: Erasures done in it, counted stream by stream.
        token: What other connections see the same snapshot by, as long as this transaction lasts.
    """

    month: str
    start: datetime
    stop: datetime
    rows: int
    last_position: int | None
    last_created_at: datetime | None
    epoch: int
    seen: str
    is_comparable: bool
    blocks: int
    is_sealed: bool
    erasures: int
    token: str

    @property
    def input_hash(self) -> str:
        """Hash (SHA-256, hex) of what an export of it holds: events never change but by erasures, so three numbers name them."""
        named = [_RULES, self.month, self.rows, self.last_position, self.erasures]
        return hashlib.sha256(json.dumps(named).encode()).hexdigest()

    def is_held_by(self, commit: Commit) -> bool:
        """Whether a commit holds this content: by its input hash, or in a sealed month by what that names.

        So a change of the rules of the export does not rewrite what a manifest proves.
        """
        if commit.input_hash == self.input_hash:
            return True
        known = commit.provenance
        names = ("rows", "last_position", "erased")
        return self.is_sealed and tuple(known.get(name) for name in names) == (
            self.rows,
            self.last_position,
            self.erasures,
        )

    @property
    def where(self) -> str:
        """The month's events as a condition; from the parent table, so that strays in DEFAULT are in."""
        return month_condition(self.month)

    def provenance(self, *, sorted_rows: int, increments: int) -> dict[str, Any]:
        """What the commits of an export of it remember."""
        return {
            "rows": self.rows,
            "last_position": self.last_position,
            "last_created_at": self.last_created_at.isoformat() if self.last_created_at else None,
            "epoch": self.epoch,
            "xmin": _xmin(self.seen),
            "seen": self.seen if self.is_comparable else None,
            "sorted_rows": sorted_rows,
            "increments": increments,
            "erased": self.erasures,
        }


@dataclass(frozen=True, slots=True)
class Increment:
    """What must be added to a month of the lake.

    Attributes:
        base: The commit that it is added to.
        rows: Events to add.
        where: The events to add, as a condition.
    """

    base: Commit
    rows: int
    where: str


def month_bounds(month: str) -> tuple[datetime, datetime]:
    """First instant of a UTC month (YYYY-MM) and of the one after it."""
    year, number = int(month[:4]), int(month[5:7])
    start = datetime(year, number, 1, tzinfo=UTC)
    if (year, number) == (9999, 12):
        return start, datetime.max.replace(tzinfo=UTC)
    return start, datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)


def month_condition(month: str, column: str = "created_at") -> str:
    """The times of a UTC month as a condition of the store, which knows the moment after the year 9999."""
    start, stop = month_bounds(month)
    end = "10000-01-01T00:00:00+00:00" if month == "9999-12" else stop.isoformat()
    return f"{column} >= '{start.isoformat()}' AND {column} < '{end}'"


def take_snapshot(conn: psycopg.Connection, month: str) -> Snapshot:
    """Look at a month; the connection's transaction, begun here, must last as long as its token is used."""
    start, stop = month_bounds(month)
    conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    # Before the snapshot is taken: strays that move to their month while this waits must not be missed in both places.
    conn.execute("LOCK TABLE ONLY refold.events IN ACCESS SHARE MODE")
    content = conn.execute((_CONTENT + month_condition(month)).encode()).fetchone()
    moment = conn.execute(_MOMENT, {"month": month}).fetchone()
    assert content is not None
    assert moment is not None
    return Snapshot(month, start, stop, *content, *moment)


def is_sorted(commit: Commit) -> bool:
    """Whether an exported month is in its one sorted form; false where that is not remembered."""
    return commit.provenance.get("increments") == 0


def plan_increment(now: Snapshot, events: Commit | None, heads: Commit | None) -> Increment | None:
    """What to add to the lake's month, or None when the month must be written whole.

    Args:
        now: The month of the store.
        events: Last commit of the month of `events`.
        heads: Last commit of the month of `stream_months`.
    """
    if events is None or heads is None or events.input_hash != heads.input_hash:
        return None  # a crash between two commits, or a first export
    known = events.provenance
    seen, epoch = known.get("seen"), known.get("epoch")
    if seen is None or epoch is None or not now.is_comparable:
        return None
    if epoch > now.epoch or (epoch == now.epoch and _xmax(seen) > _xmax(now.seen)):
        return None  # the store went back in time
    if int(known.get("erased", 0)) != now.erasures:
        return None
    rows = now.rows - events.row_count
    unsorted = now.rows - int(known["sorted_rows"])
    too_many = int(known["increments"]) >= _MAX_INCREMENTS
    if rows <= 0 or too_many or unsorted > _MAX_UNSORTED_SHARE * int(known["sorted_rows"]):
        return None
    # What was appended since is told by xid; order_xid, which is never less, finds it in the index.
    unseen = (
        f"(epoch, order_xid) >= ({epoch}, '{_xmin(seen)}'::xid8) "
        f"AND NOT (epoch = {epoch} AND pg_visible_in_snapshot(xid, '{seen}'::pg_snapshot))"
    )
    return Increment(events, rows, f"{now.where} AND {unseen}")


def _xmin(seen: str) -> int:
    return int(seen.split(":", maxsplit=1)[0])


def _xmax(seen: str) -> int:
    return int(seen.split(":", maxsplit=2)[1])
