"""The spill file: packets that found no room in memory, safe on disk until the store takes them.

One file a recorder, append-only lines of JSON, each fsynced before the agent goes on, locked by its owner as long as
the owner lives. A file without an owner is drained by the next recorder on the same folder. Draining writes nothing but
where a packet goes when that changes (an amendment, fsynced before it is tried); sending all of it again after a kill is
recognised by the store, so a half-drained file is drained again from its start.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from pipelines.recorder.packet import Packet, moved_line, read_line

SUFFIX = ".spill.jsonl"
REFUSED = "refused.jsonl"
"""Packets that the store refuses for ever; a person reads it."""


class SpillFile:
    """One spill file, open and locked.

    Attributes:
        path: Where it is.
        size: Bytes of whole lines.
    """

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle
        self._amendments: dict[int, dict[str, Any]] = {}
        self._read_to = 0
        self.size = self._whole_lines()

    @classmethod
    def create(cls, folder: Path) -> SpillFile:
        """A new file in `folder`, which is made if need be; only its owner's account may read either."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            path = folder / f"{os.getpid()}-{uuid4().hex}{SUFFIX}"
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink > 0:
                break
            os.close(handle)  # between its making and its locking another recorder found it empty and removed it
        _sync_folder(folder)
        return cls(path, handle)

    @classmethod
    def adopt(cls, folder: Path) -> SpillFile | None:
        """A file of `folder` whose owner is gone, the oldest first; None when there is none."""
        if not folder.is_dir():
            return None
        for path in sorted(folder.glob(f"*{SUFFIX}"), key=lambda each: (_age(each), each.name)):
            try:
                handle = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue  # drained by another recorder just now
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)  # its owner lives
                continue
            if os.fstat(handle).st_nlink == 0:
                os.close(handle)
                continue
            return cls(path, handle)
        return None

    def append(self, packets: list[Packet]) -> None:
        """Write packets at the end, durable on return; they know their place afterwards.

        Raises:
            OSError: They could not be written; the file is as it was.
        """
        lines = [moved_line(packet) for packet in packets]
        at = self.size
        self._write(b"".join(lines))
        for packet, line in zip(packets, lines, strict=True):
            packet.offset = at
            at += len(line)

    def amend(self, packet: Packet) -> None:
        """Keep where a packet of this file goes now, durable on return."""
        assert packet.offset is not None
        self._note(packet.offset, {"expected": packet.expected, "late": packet.is_late})

    def pass_over(self, packet: Packet) -> None:
        """Read a packet of this file no more, after a restart neither."""
        assert packet.offset is not None
        self._note(packet.offset, {"refused": True})

    def read(self, packets: int, max_bytes: int) -> tuple[list[Packet], int]:
        """The next packets, and where to go on after them; reading moves nothing."""
        found: list[Packet] = []
        at, held = self._read_to, 0
        for offset, line in self._lines(self._read_to, self.size):
            if len(found) == packets or (found and held + len(line) > max_bytes):
                break
            at = offset + len(line)
            if line.startswith(b'{"amends":'):
                continue
            amended = self._amendments.get(offset, {})
            if amended.get("refused"):
                continue
            try:
                content = read_line(line)
            except ValueError as error:
                set_aside(self.path.parent, line, f"line at byte {offset} of {self.path.name} is damaged: {error}")
                self._note(offset, {"refused": True})
                continue
            found.append(
                Packet(line, amended.get("expected", content.expected), amended.get("late", content.is_late), offset)
            )
            held += len(line)
        return found, at

    def advance(self, read_to: int) -> None:
        """Everything before `read_to` is in the store."""
        self._read_to = read_to

    @property
    def unread_bytes(self) -> int:
        """Bytes that are not in the store yet."""
        return max(self.size - self._read_to, 0)

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left to read."""
        return self._read_to >= self.size

    def remove(self) -> None:
        """Delete the drained file and give it up."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Give the file up; the next recorder may take it."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _note(self, offset: int, change: dict[str, Any]) -> None:
        amended = {**self._amendments.get(offset, {}), **change}
        self._write(json.dumps({"amends": offset, **amended}, separators=(",", ":")).encode() + b"\n")
        self._amendments[offset] = amended

    def _write(self, data: bytes) -> None:
        at = self.size
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(self._handle, view, at)
                view, at = view[written:], at + written
            os.fsync(self._handle)
        except OSError:
            os.ftruncate(self._handle, self.size)
            raise
        self.size = at

    def _whole_lines(self) -> int:
        """Cut a line that a kill left unfinished (nobody was told that it is safe), and read the amendments."""
        size = 0
        for offset, line in self._lines(0, os.fstat(self._handle).st_size):
            if not line.endswith(b"\n"):
                break
            size = offset + len(line)
            if line.startswith(b'{"amends":'):
                note = json.loads(line)
                self._amendments[note.pop("amends")] = note
        os.ftruncate(self._handle, size)
        return size

    def _lines(self, at: int, end: int) -> Iterator[tuple[int, bytes]]:
        """(offset, line) from `at` on."""
        with os.fdopen(os.dup(self._handle), "rb") as file:
            file.seek(at)
            while at < end:
                line = file.readline(end - at)
                if not line:
                    return
                yield at, line
                at += len(line)


def has_files(folder: Path) -> bool:
    """Whether the folder holds spill files, with an owner or without."""
    return folder.is_dir() and any(folder.glob(f"*{SUFFIX}"))


def set_aside(folder: Path, line: bytes, reason: str) -> None:
    """Keep a line that the store refuses for ever, with the reason, in the folder's `refused.jsonl`."""
    kept = {"reason": reason, "packet": line.decode(errors="backslashreplace").rstrip("\n")}
    with os.fdopen(os.open(folder / REFUSED, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(json.dumps(kept, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
