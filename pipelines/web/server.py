"""A page's place and server: a free port of 127.0.0.1, a fresh token, uvicorn behind the guard until somebody stops it."""

from __future__ import annotations

import secrets
import signal
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from types import FrameType

from pipelines.errors import BadInputError
from pipelines.web.guard import TOKEN_NAME, App, Guard

HOST = "127.0.0.1"
_CONNECTIONS = 128
"""Requests that wait while the application is loaded."""


def listen(port: int | None, usual: int, host: str = HOST) -> socket.socket:
    """A socket that listens on `port` of `host`; None is the `usual` one, or any that is free when that is taken.

    Raises:
        BadInputError: `port` or `host` cannot be used.
    """
    try:
        return _listen(usual if port is None else port, host)
    except (OSError, OverflowError) as error:
        if port is None and host == HOST:
            return _listen(0, host)
        shown = usual if port is None else port
        raise BadInputError(f"port {shown} of {host} cannot be used ({error}); choose another with --port") from None


def _listen(port: int, host: str) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_CONNECTIONS)
    except BaseException:
        listener.close()
        raise
    return listener


def port_of(listener: socket.socket) -> int:
    """The port that a socket listens on."""
    port: int = listener.getsockname()[1]
    return port


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(32)


def address(listener: socket.socket, token: str) -> str:
    """What the person opens."""
    return f"http://{HOST}:{port_of(listener)}/?{TOKEN_NAME}={token}"


def run_server(app: App, listener: socket.socket, token: str, *, post_only: Iterable[str] = ()) -> None:
    """Serve an application to who has the token, until Ctrl-C or SIGTERM.

    Args:
        app: The ASGI application; unguarded.
        listener: From `listen`.
        token: From `new_token`.
        post_only: Paths that do work, see `Guard`.
    """
    serve(Guard(app, token, port_of(listener), post_only=post_only), listener)


def serve(
    app: App,
    listener: socket.socket,
    on_ready: Callable[[], None] = lambda: None,
    linger: Callable[[], float] = lambda: 0.0,
) -> None:
    """Serve an application that guards itself, until Ctrl-C or SIGTERM; requests that have begun are given a second.

    Args:
        app: The ASGI application.
        listener: From `listen`.
        on_ready: Called once both signals are heard, before the first request is answered.
        linger: Asked at the first signal for how many seconds more to serve; a second signal ends that.
    """
    import uvicorn  # noqa: PLC0415 - 0.3 s, and --help needs none

    config = uvicorn.Config(
        app,
        http="h11",  # the guard must see a target with a host in it; httptools drops that host (Kludex/uvicorn#3097)
        log_level="error",
        access_log=False,  # addresses may hold the token
        proxy_headers=False,  # nobody stands between, so X-Forwarded-* is somebody's invention
        server_header=False,
        timeout_graceful_shutdown=1,  # a page that is open holds its websocket for ever
    )
    server = uvicorn.Server(config)
    came: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        seconds = linger() if len(came) == 1 else 0.0
        if seconds <= 0:
            server.force_exit = server.should_exit
            server.should_exit = True
            return
        timer = threading.Timer(seconds, setattr, (server, "should_exit", True))
        timer.daemon = True
        timer.start()

    # uvicorn would end on both signals at once and, since 0.29, raise them again; for this program to be stopped is an ordinary end.
    server.capture_signals = nullcontext  # type: ignore[method-assign, assignment]
    former = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        on_ready()
        server.run(sockets=[listener])
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
