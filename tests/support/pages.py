"""A page that a verb serves, in a process of its own, and requests to it as bytes: what no well-behaved client sends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import PATIENCE, wait_until

_ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]+)")


@dataclass(frozen=True)
class Served:
    """A page that answers.

    Attributes:
        port: Its port on 127.0.0.1.
        token: What the printed address carries.
        pid: The verb's process.
        log: File with what the verb has printed.
    """

    port: int
    token: str
    pid: int
    log: Path

    @property
    def url(self) -> str:
        """The address as it was printed."""
        return f"http://127.0.0.1:{self.port}/?token={self.token}"

    @property
    def host(self) -> str:
        """What `Host` says in the person's own browser."""
        return f"127.0.0.1:{self.port}"

    def send(self, request: bytes) -> tuple[int, str, str]:
        """Status, head and body of the answer to a request's bytes; status 0 when the connection was just closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(request)
            parts = []
            while part := _receive(connection):
                parts.append(part)
        head, _, body = b"".join(parts).decode("utf-8", "replace").partition("\r\n\r\n")
        return (int(head.split()[1]) if head else 0), head, body

    def ask(
        self, line: str, *headers: str, body: bytes = b"", host: str | None = "", is_known: bool = True
    ) -> tuple[int, str, str]:
        """Send a request: its first line without the protocol, its headers; with the right host and token unless said otherwise."""
        fields = [f"Host: {self.host}"] if host == "" else [f"Host: {host}"] if host else []
        fields += [f"Authorization: Bearer {self.token}"] if is_known else []
        fields += [*headers, "Connection: close"] + ([f"Content-Length: {len(body)}"] if body else [])
        return self.send("\r\n".join([f"{line} HTTP/1.1", *fields, "", ""]).encode("latin-1") + body)


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(1 << 16)
    except ConnectionResetError:
        return b""


@contextmanager
def served(
    arguments: list[str], environment: dict[str, str], log: Path, *, may_be_killed: bool = False
) -> Iterator[Served]:
    """The page of `refold` with these arguments, from when it answers; stopped as by Ctrl-C, and it must end with 0, if a test did not kill it."""
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield _wait_for(process, log)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    assert code == 0 or (may_be_killed and code == -signal.SIGKILL), log.read_text()


def _wait_for(process: subprocess.Popen[bytes], log: Path) -> Served:
    def answering() -> Served | None:
        assert process.poll() is None, log.read_text()
        found = _ADDRESS.search(log.read_text())
        page = Served(int(found[1]), found[2], process.pid, log) if found else None
        # the request waits in the queue of the socket until the page is there
        return page if page is not None and page.ask("HEAD /")[0] == 200 else None

    return wait_until(answering, log.read_text)
