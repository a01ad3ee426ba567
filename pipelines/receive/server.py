"""The receiver as a process: it listens, imports every so often, and once more when it is stopped."""

from __future__ import annotations

import socket
from contextlib import closing
from ipaddress import ip_address
from threading import Event, Thread

from pipelines.console import counted
from pipelines.errors import BadInputError
from pipelines.receive.app import Receiver
from pipelines.receive.rounds import Rounds
from pipelines.web.guard import Place
from pipelines.web.server import port_of, serve

TOKEN = "REFOLD_RECEIVE_TOKEN"  # noqa: S105 - the name of the variable


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def check_token(host: str, token: str | None) -> None:
    """Refuse to listen to other machines without a token.

    Raises:
        BadInputError: There is none.
    """
    if token is None and not is_loopback(host):
        raise BadInputError(
            f"other machines reach {host}: set {TOKEN} to a secret that exporters send as a bearer token"
        )


def receive(
    rounds: Rounds, listener: socket.socket, host: str, token: str | None, *, every: float, most_bytes: int
) -> None:
    """Receive until Ctrl-C or SIGTERM.

    Args:
        rounds: What keeps and imports.
        listener: What is listened on.
        host: Its address.
        token: What exporters must send; None asks for nothing.
        every: Seconds between two imports.
        most_bytes: Bytes of a body at most.
    """
    stopping = Event()

    def go_on() -> None:
        rounds.run()
        while not stopping.wait(every):
            rounds.run()

    with closing(rounds.folder):
        rounds.load()
        place = Place(port_of(listener)) if is_loopback(host) else None
        importing = Thread(target=go_on, name="imports")
        shown = f"[{host}]" if ":" in host else host

        def begin() -> None:
            importing.start()
            rounds.tell(f"refold: OTEL_EXPORTER_OTLP_ENDPOINT=http://{shown}:{port_of(listener)}")

        try:
            serve(
                Receiver(rounds.keep, place=place, token=token, most_bytes=most_bytes),
                listener,
                begin,
                rounds.unsettled,
            )
        finally:
            stopping.set()
            if importing.ident is not None:
                importing.join()
        rounds.run(is_ending=True)
        if waiting := rounds.traces.waiting():
            rounds.tell(
                f"refold: {counted(waiting, 'conversation')} not imported yet; the next `refold receive` does it"
            )
