"""The buffer between agent and store, and the thread that empties it.

Everything the agent's side does here is bounded: a packet is put into memory, or on disk once memory is full. The thread
sends in order, many packets in one transaction, and never gives one up for a reason that may pass. Every packet names
the version it follows, so one whose answer was lost is sent again and found to be there.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from contextlib import closing
from pathlib import Path

import psycopg

from pipelines.errors import BadInputError, RefoldError
from pipelines.recorder.packet import Packet
from pipelines.recorder.spill import SpillDamagedError, SpillFile, has_files, set_aside
from pipelines.recorder.status import RecorderFull, RecorderStatus, WhenFull
from pipelines.store import Erased, MonthSealed, Store, StoreUnavailable, VersionConflict, connect

LOG = logging.getLogger("refold.recorder")
_BATCH_PACKETS = 64
_BATCH_BYTES = 4_000_000
_REMEMBERED = 1_000
"""Messages that are not told a second time."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
"""Seconds between attempts while the store is away."""


class Sender:
    """The buffer and its thread; `put` is called by agents, everything else by the recorder."""

    def __init__(self, dsn: str, when_full: WhenFull, spill: Path | None, max_packets: int, max_bytes: int) -> None:
        self._dsn, self._when_full, self._folder = dsn, when_full, spill
        self._max_packets, self._max_bytes = max_packets, max_bytes
        self._changed = threading.Condition()
        self._memory: deque[Packet] = deque()
        self._memory_bytes = 0
        self._file: SpillFile | None = None
        self._orphans_left = spill is not None and has_files(spill)
        self._is_closing = self._is_stopped = self._is_away = False
        self._sent = self._refused = self._lost = self._failed = self._described = 0
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="refold-recorder", daemon=True)
        self._thread.start()

    def put(self, packet: Packet) -> None:
        """Keep a packet until the store has it.

        Raises:
            RecorderFull: There is no room, and the recorder's owner chose `raise`.
        """
        size = len(packet.line)
        with self._changed:
            if not self._is_spilling:
                while not self._has_room(size):
                    if self._when_full == "raise":
                        raise RecorderFull(
                            f"{len(self._memory)} recorded calls ({self._memory_bytes:,} bytes) wait for the store; "
                            "nothing of this call was recorded"
                        )
                    if self._when_full == "spill":
                        self._spill([*self._memory, packet])
                        self._changed.notify_all()
                        return
                    if self._is_closing:
                        break
                    self._changed.wait()
            if self._is_closing:
                self._lose(1, "it was recorded after the recorder was closed")
            elif self._is_spilling:
                self._spill([packet])
            else:
                self._memory.append(packet)
                self._memory_bytes += size
            self._changed.notify_all()

    def status(self) -> RecorderStatus:
        """Where everything is now."""
        with self._changed:
            left = 0 if self._file is None else self._file.size
            return RecorderStatus(
                buffered=len(self._memory),
                buffered_bytes=self._memory_bytes,
                spilled_bytes=left,
                sent=self._sent,
                refused=self._refused,
                lost=self._lost,
                failed=self._failed,
                described=self._described,
                is_away=self._is_away,
            )

    def count(self, *, failed: int = 0, described: int = 0) -> None:
        """Count recording calls of which nothing was kept, and values that are kept as a description."""
        with self._changed:
            self._failed += failed
            self._described += described

    def flush(self, timeout: float | None) -> bool:
        """Wait until the store has everything; false when `timeout` seconds were not enough."""
        with self._changed:
            return self._changed.wait_for(self._is_idle, timeout)

    def close(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds, keep the rest on disk if there is a folder, and end the thread."""
        with self._changed:
            if not self._is_closing:
                self._changed.wait_for(self._is_idle, timeout)
            is_done = self._is_idle()
            self._is_closing = self._is_stopped = True
            if self._memory and self._folder is not None:
                self._spill(list(self._memory))
            elif self._memory:
                self._lose(len(self._memory), "the recorder was closed and has no spill folder")
                self._forget_memory()
            self._changed.notify_all()
        self._thread.join(timeout=1.0)
        with self._changed:
            if self._file is not None:
                if self._is_spilling:
                    self._file.close()
                else:
                    self._file.remove()
                self._file = None
        return is_done

    def tell_once(self, about: str, message: str, *values: object, level: int = logging.ERROR) -> None:
        """Log a message the first time it is about this."""
        if about not in self._told:
            if len(self._told) >= _REMEMBERED:
                self._told.clear()
            self._told.add(about)
            LOG.log(level, message, *values)

    def _has_room(self, size: int) -> bool:
        if not self._max_packets:
            return False
        return not self._memory or (
            len(self._memory) < self._max_packets and self._memory_bytes + size <= self._max_bytes
        )

    @property
    def _is_spilling(self) -> bool:
        """Whether something waits in the file, which what comes later must not overtake."""
        return self._file is not None and self._file.packets > 0

    def _is_idle(self) -> bool:
        return not self._memory and not self._is_spilling and not self._orphans_left

    def _spill(self, packets: list[Packet]) -> None:
        """Write packets, and with them what is in memory, to the spill file; memory is empty afterwards."""
        kept = [packet for packet in packets if not packet.is_refused]
        try:
            try:
                self._own_file().append(kept)
            except SpillDamagedError as error:
                self._give_up_file(error)
                self._own_file().append(kept)
        except (OSError, SpillDamagedError) as error:
            self._lose(sum(p.row is None and p not in self._memory for p in packets), f"cannot spill: {error}")
            return
        self._forget_memory()

    def _own_file(self) -> SpillFile:
        assert self._folder is not None
        if self._file is None:
            self._file = SpillFile.create(self._folder)
        return self._file

    def _give_up_file(self, error: SpillDamagedError) -> None:
        """Leave a damaged file of our own to a person."""
        if self._file is not None:
            self._file.set_aside()
            self._lose(self._file.packets, str(error))
            self._file = None

    def _forget_memory(self) -> None:
        self._memory.clear()
        self._memory_bytes = 0

    def _lose(self, packets: int, why: str) -> None:
        if packets:
            self._lost += packets
            self.tell_once(f"lost {why}", "%d recorded calls are lost: %s", packets, why)

    # --- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while self._wait_for_work():
            try:
                with closing(connect(self._dsn)) as conn:
                    store = Store(conn, self._dsn)
                    store.check_cluster()
                    self._drain_orphans(store)
                    while self._wait_for_work():
                        self._send_some(store)
                        pause = self._is_back()
            except (RefoldError, psycopg.Error, OSError, ValueError) as error:
                self._is_gone(error)
            except SpillDamagedError as error:
                with self._changed:
                    self._give_up_file(error)
            except Exception as error:
                # whatever it is, the agent must not notice, and what waits must not be lost
                LOG.exception("the recorder's thread failed; it goes on")
                self._is_gone(error)
            with self._changed:
                self._changed.notify_all()  # what was given up may have been the last that somebody waits for
                self._changed.wait_for(lambda: self._is_stopped, pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _wait_for_work(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or not self._is_idle())
            return not self._is_stopped

    def _is_gone(self, error: Exception) -> None:
        with self._changed:
            if not self._is_away:
                self._is_away = True
                LOG.warning("the recorder cannot send, and keeps what is recorded: %s", error)

    def _is_back(self) -> float:
        with self._changed:
            if self._is_away:
                self._is_away = False
                LOG.info("the recorder sends again")
        return _FIRST_PAUSE

    def _drain_orphans(self, store: Store) -> None:
        """Send the files that recorders which are gone left in the folder; first, as they are older."""
        if self._folder is None or not self._orphans_left:
            return
        while not self._is_stopped:
            try:
                orphan = SpillFile.adopt(self._folder)
                if orphan is None:
                    break
                self._drain(store, orphan)
            except SpillDamagedError as error:
                LOG.error("what an earlier recorder left cannot be sent: %s", error)  # noqa: TRY400 -- it says all
        with self._changed:
            self._orphans_left = self._is_stopped
            self._changed.notify_all()

    def _drain(self, store: Store, orphan: SpillFile) -> None:
        with closing(orphan):
            try:
                while orphan.packets and not self._is_stopped:
                    packets = orphan.read(_BATCH_PACKETS, _BATCH_BYTES)
                    self._deliver_all(store, packets, orphan)
                    orphan.forget(packets)
            except SpillDamagedError:
                orphan.set_aside()
                raise
            if not orphan.packets:
                orphan.remove()

    def _send_some(self, store: Store) -> None:
        with self._changed:
            file = self._file if self._is_spilling else None
            packets = file.read(_BATCH_PACKETS, _BATCH_BYTES) if file else self._from_memory()
        self._deliver_all(store, packets, file)
        with self._changed:
            if self._is_stopped:
                return
            if file is not None:
                file.forget(packets)
                if file.is_spent:
                    file.remove()
                    self._file = None
            else:
                for packet in packets:
                    if self._memory and self._memory[0] is packet:  # else it was moved to the file meanwhile
                        self._memory.popleft()
                        self._memory_bytes -= len(packet.line)
            self._changed.notify_all()

    def _from_memory(self) -> list[Packet]:
        taken: list[Packet] = []
        held = 0
        for packet in self._memory:
            if len(taken) == _BATCH_PACKETS or (taken and held + len(packet.line) > _BATCH_BYTES):
                break
            taken.append(packet)
            held += len(packet.line)
        return taken

    def _deliver_all(self, store: Store, packets: list[Packet], file: SpillFile | None) -> None:
        """Append packets in one transaction, or one by one when the store refuses any of them."""
        try:
            batches = (p.content().batch(p.expected, is_late=p.is_late) for p in packets if not p.is_refused)
            store.append_many(batches, validate=True)
        except (VersionConflict, MonthSealed, BadInputError, Erased):
            for packet in packets:
                self._deliver(store, packet, file)
        self._sent += len(packets)

    def _deliver(self, store: Store, packet: Packet, file: SpillFile | None) -> None:
        content = packet.content()
        while not packet.is_refused:
            batch = content.batch(packet.expected, is_late=packet.is_late)
            try:
                store.append(batch.aggregate_id, batch.aggregate_type, batch.events, batch.expected_version)
            except VersionConflict as conflict:
                if content.is_once:
                    return
                if content.has_redaction:
                    # its target is named by a version that may be another event's now; only a person can tell
                    self._refuse(packet, file, f"the stream was moved by another writer: {conflict}")
                    return
                self.tell_once(
                    f"moved {batch.aggregate_id}",
                    "stream %s has another writer: it is at version %s, not %s; the events are appended there",
                    *(batch.aggregate_id, conflict.actual, packet.expected),
                    level=logging.WARNING,
                )
                self._move(packet, file, expected=conflict.actual)
            except MonthSealed as sealed:
                if packet.is_late:
                    self._refuse(packet, file, str(sealed))
                    return
                self._move(packet, file, is_late=True)
            except BadInputError as error:
                self._refuse(packet, file, str(error))
                return
            except Erased as erased:  # what was erased is kept nowhere, so nothing of it is set aside
                self._give_up(packet, file)
                self.tell_once(f"erased {batch.aggregate_id}", "%s; what was recorded of it is dropped", erased)
                return
            else:
                return

    def _move(
        self, packet: Packet, file: SpillFile | None, *, expected: int | None = None, is_late: bool = False
    ) -> None:
        """Note where a packet goes before it is tried there: else a lost answer could not be told from a refusal."""
        with self._changed:
            if self._is_stopped:
                raise StoreUnavailable("the recorder was closed")
            packet.expected = packet.expected if expected is None else expected
            packet.is_late = packet.is_late or is_late
            keeper = file or self._file
            if packet.row is not None and keeper is not None:
                keeper.amend(packet)

    def _refuse(self, packet: Packet, file: SpillFile | None, reason: str) -> None:
        """Give a packet up for a reason that never passes, and keep it where a person finds it."""
        self._give_up(packet, file, reason)
        LOG.error("the store refuses what was recorded for stream %s: %s", packet.content().aggregate_id, reason)

    def _give_up(self, packet: Packet, file: SpillFile | None, reason: str | None = None) -> None:
        """Send a packet no more; with a reason it is set aside."""
        with self._changed:
            if self._is_stopped:
                raise StoreUnavailable("the recorder was closed")
            if self._folder is not None and reason is not None:
                set_aside(self._folder, packet.line, reason)
            packet.is_refused = True
            keeper = file or self._file
            if keeper is not None:
                keeper.forget([packet])
            self._refused += 1
