"""The requests of one batch on their way out: written to a file that has no name, so that a kill leaves no texts behind."""

from __future__ import annotations

import base64
import os
import secrets
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

from pipelines.replay.batch.ledger import Asked, Key
from pipelines.replay.batch.provider import Provider


class Spool:
    """The requests of one batch; to be closed.

    Args:
        provider: In whose form.
        folder: Where there is room for them.

    Attributes:
        token: What the batch is to be recognised by.
        asked: Its requests.
        file: What is sent; complete after `finish`.
    """

    def __init__(self, provider: Provider, folder: Path) -> None:
        self.token = secrets.token_hex(8)
        self.asked: list[Asked] = []
        self._provider = provider
        folder.mkdir(parents=True, exist_ok=True)
        self.file = cast("BinaryIO", tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 -- closed by `close`
        self._size = len(provider.head) + len(provider.tail)
        self.file.write(provider.head)

    def close(self) -> None:
        """Have nothing left of it."""
        self.file.close()

    def add(self, asked: Asked, path: str, body: bytes) -> bool:
        """Take one more request.

        Returns:
            False when there is no room for it; it is not taken then.
        """
        entry = self._provider.entry(custom_id(self.token, asked.key), path, body)
        size = self._size + len(entry) + len(self._provider.between)
        if self.asked and (len(self.asked) >= self._provider.most_requests or size > self._provider.most_bytes):
            return False
        if self.asked:
            self.file.write(self._provider.between)
        self.file.write(entry)
        self.asked.append(asked)
        self._size = size
        return True

    def finish(self) -> None:
        """Have it complete, to be read from its beginning."""
        self.file.write(self._provider.tail)
        self.file.flush()
        self.file.seek(0, os.SEEK_SET)


def custom_id(token: str, key: Key) -> str:
    """What a request of a batch is called at its provider: token and key in 60 of `[A-Za-z0-9_-]`, of which 64 are allowed."""
    return f"{token}-{base64.urlsafe_b64encode(key).rstrip(b'=').decode()}"
