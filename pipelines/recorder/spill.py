"""The spill file: packets that found no room in memory, safe on disk until the store takes them.

One SQLite file a recorder, locked by its owner as long as the owner lives; a file without an owner is drained by the next recorder
on the same folder. An append is durable on return (a write-ahead log, synced at each commit), and so is where a packet goes when
that changes, before it is tried. What is sent is deleted without a sync: should that be lost with the machine, it is sent again,
which the store recognises.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from pipelines.recorder.packet import Packet

SUFFIX = ".spill.sqlite"
DAMAGED = ".damaged"
"""Ends the name of a file that SQLite cannot read."""
REFUSED = "refused.jsonl"
"""Packets that the store refuses for ever; a person reads it."""

# Alone in its file: no other process has to be told of it, so there is no shared memory, and the lock is held until the end.
_SETTINGS = ("PRAGMA locking_mode = EXCLUSIVE", "PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL")
_NOT_OURS = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN)
_TABLE = """
CREATE TABLE IF NOT EXISTS packets (
    id INTEGER PRIMARY KEY, line BLOB NOT NULL, expected INTEGER NOT NULL, is_late INTEGER NOT NULL
)
"""


class SpillDamagedError(Exception):
    """SQLite cannot read the file any more."""


class SpillFile:
    """One spill file, open and locked. Every call raises `OSError` for what may pass, and `SpillDamagedError` for what will not.

    Attributes:
        path: Where it is.
        packets: Packets that are not sent.
        size: Bytes of their lines.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._undeleted: set[int] = set()
        count = "SELECT count(*), coalesce(sum(length(line)), 0), coalesce(max(id), 0) FROM packets"
        try:
            self.packets, self.size, self._last = connection.execute(count).fetchone()
        except sqlite3.Error:
            connection.close()
            raise

    @classmethod
    def create(cls, folder: Path) -> SpillFile:
        """A new file in `folder`, which is made if need be; only its owner's account may read either."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            path = folder / f"{time.time_ns():020}-{os.getpid()}-{uuid4().hex}{SUFFIX}"
            os.close(
                os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            )  # SQLite's own files beside it get its mode
            _sync_folder(folder)
            with _told(path):
                connection = _lock(path)
                if connection is not None:
                    return cls(path, connection)
            # between its making and its locking another recorder found it empty and removed it

    @classmethod
    def adopt(cls, folder: Path) -> SpillFile | None:
        """A file of `folder` whose owner is gone, the oldest first; None when there is none. A damaged one has another name then."""
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                with _told(path):
                    connection = _lock(path)
                    if connection is not None:
                        return cls(path, connection)
            except SpillDamagedError:
                _rename(path)
                raise
        return None

    def append(self, packets: Sequence[Packet]) -> None:
        """Write packets at the end, all or none, durable on return; they know their row afterwards."""
        numbered = list(enumerate(packets, self._last + 1))
        with self._written():
            rows = [(row, packet.line, packet.expected, packet.is_late) for row, packet in numbered]
            self._connection.executemany("INSERT INTO packets VALUES (?, ?, ?, ?)", rows)
        for row, packet in numbered:
            packet.row = self._last = row
        self.packets += len(packets)
        self.size += sum(len(each.line) for each in packets)

    def amend(self, packet: Packet) -> None:
        """Keep where a packet of this file goes now, durable on return."""
        with self._written():
            change = "UPDATE packets SET expected = ?, is_late = ? WHERE id = ?"
            self._connection.execute(change, (packet.expected, packet.is_late, packet.row))

    def read(self, packets: int, max_bytes: int) -> list[Packet]:
        """The next packets, at least one if there is any that can be read; a spoiled one is set aside."""
        found: list[Packet] = []
        spoiled: list[Packet] = []
        held = 0
        query = "SELECT CAST(line AS BLOB), expected, is_late, id FROM packets ORDER BY id"
        with _told(self.path), closing(self._connection.execute(query)) as rows:
            for line, expected, is_late, row in rows:
                if len(found) == packets or (found and held + len(line) > max_bytes):
                    break
                if row in self._undeleted:
                    continue
                packet = Packet(line, expected, bool(is_late), row)
                try:
                    packet.content()
                except ValueError as error:
                    set_aside(self.path.parent, line, f"row {row} of {self.path.name} is damaged: {error}")
                    spoiled.append(packet)
                    continue
                found.append(packet)
                held += len(line)
        self.forget(spoiled)
        return found

    def forget(self, packets: Sequence[Packet]) -> None:
        """Delete packets that are in the store, or kept elsewhere; after a crash of the machine they may be there again."""
        kept = [each for each in packets if each.row is not None]
        if not kept:
            return
        try:
            self._connection.execute("PRAGMA synchronous = NORMAL")
            with self._written():
                self._connection.executemany("DELETE FROM packets WHERE id = ?", [(each.row,) for each in kept])
        except OSError:  # a full disk keeps nothing from being sent
            self._undeleted |= {each.row for each in kept if each.row is not None}
        finally:
            self._connection.execute("PRAGMA synchronous = FULL")
        self.packets -= len(kept)
        self.size -= sum(len(each.line) for each in kept)
        for packet in kept:
            packet.row = None

    @property
    def is_spent(self) -> bool:
        """Whether it is of no more use: everything is sent, and could not be deleted."""
        return self.packets == 0 and bool(self._undeleted)

    def remove(self) -> None:
        """Delete the drained file and give it up."""
        self.path.unlink(missing_ok=True)  # first, while nobody else can be its owner
        self.close()
        self.path.with_name(f"{self.path.name}-wal").unlink(missing_ok=True)

    def set_aside(self) -> None:
        """Give a damaged file another name, under which a person finds it, and give it up."""
        self.close()
        _rename(self.path)

    def close(self) -> None:
        """Give the file up; the next recorder may take it."""
        with suppress(sqlite3.Error):  # what was told to be safe is, in the file or in its log
            self._connection.close()

    @contextmanager
    def _written(self) -> Iterator[None]:
        """All that is written inside, or nothing."""
        with _told(self.path):
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                with suppress(sqlite3.Error):  # it may be rolled back already
                    self._connection.execute("ROLLBACK")
                raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What SQLite says of a file, as an error of the system, which may pass, or as damage."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(f"{path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise SpillDamagedError(f"{path} is damaged and set aside as {path.name}{DAMAGED}: {error}") from error


def has_files(folder: Path) -> bool:
    """Whether the folder holds spill files, with an owner or without."""
    return any(folder.glob(f"*{SUFFIX}"))


def set_aside(folder: Path, line: bytes, reason: str) -> None:
    """Keep a line that the store refuses for ever, with the reason, in the folder's `refused.jsonl`."""
    kept = {"reason": reason, "packet": line.decode(errors="backslashreplace").rstrip("\n")}
    with os.fdopen(os.open(folder / REFUSED, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(kept, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _lock(path: Path) -> sqlite3.Connection | None:
    """Open a file as its owner, with its table; None where another is its owner, or it is gone."""
    with ExitStack() as failing:
        try:
            # by agents' threads and the sender's, one at a time
            connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                timeout=0,
                isolation_level=None,
                uri=True,
                check_same_thread=False,
            )
            failing.callback(connection.close)
            for each in (*_SETTINGS, "BEGIN IMMEDIATE", _TABLE, "COMMIT"):
                connection.execute(each)
        except sqlite3.Error as error:
            if (
                error.sqlite_errorcode & 0xFF in _NOT_OURS or not path.exists()
            ):  # in its lower byte, whatever the details
                return None
            raise
        if path.exists():
            failing.pop_all()
            return connection
    return None


def _rename(path: Path) -> None:
    """Give a file and its log names that no recorder looks for."""
    for name in (f"{path.name}-wal", path.name):
        with suppress(FileNotFoundError):
            path.with_name(name).replace(path.with_name(f"{name}{DAMAGED}"))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
