"""Bodies as files of a private folder: written, synced and renamed before anybody is told, and there until they are not needed.

A file's name says when it came. `NAME.jsonl` has something to import, `NAME.imported.jsonl` has not, `NAME.part` was never whole.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipelines.errors import BadInputError
from pipelines.locks import open_lock, try_lock

_NEW, _IMPORTED, _PART = ".jsonl", ".imported.jsonl", ".part"


class Folder:
    """The folder `received` of a home, for one process at a time.

    Raises:
        BadInputError: Another process has it, or it cannot be made.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / "received"
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = open_lock(self.path / "lock")
        except OSError as error:
            raise BadInputError(f"cannot make the folder {self.path}: {error.strerror}") from error
        if not try_lock(self._lock):
            os.close(self._lock)
            raise BadInputError(f"another receiver writes to {self.path}; one is enough for many exporters")
        for path in self.path.glob(f"*{_PART}"):
            path.unlink()

    def keep(self, line: bytes, check: Callable[[Path], bool]) -> str | None:
        """Write a body, so that it is there whatever happens after.

        Args:
            line: The body.
            check: Called with the file before it counts; where it is False, or raises, nothing is kept.

        Returns:
            The name of the body; None of one that is not kept.

        Raises:
            OSError: It cannot be written; nothing is kept.
        """
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        part = self.path / (name + _PART)
        try:
            with part.open("xb") as file:
                part.chmod(0o600)
                file.write(line)
                file.flush()
                is_kept = check(part)
                os.fsync(file.fileno())
            if not is_kept:
                part.unlink()
                return None
            part.rename(self.path / (name + _NEW))
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self._sync()
        return name

    def _sync(self) -> None:
        """Make names durable."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def kept(self) -> Iterator[tuple[str, bool]]:
        """The names of all bodies in the order in which they came, and whether all that they hold is imported."""
        for path in sorted(self.path.glob(f"*{_NEW}")):
            yield path.name.partition(".")[0], path.name.endswith(_IMPORTED)

    def file(self, name: str) -> Path:
        """The file of a body."""
        new = self.path / (name + _NEW)
        return new if new.exists() else self.path / (name + _IMPORTED)

    def mark_imported(self, name: str) -> None:
        """Remember that all that a body holds is imported; forgotten in a crash, it is imported again, which appends nothing."""
        self.file(name).rename(self.path / (name + _IMPORTED))

    def remove(self, name: str) -> None:
        """Remove a body that nothing needs any more."""
        self.file(name).unlink()

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)


def heard_ns(name: str) -> int:
    """When a body came, in nanoseconds since 1970."""
    return int(name.partition("-")[0])
