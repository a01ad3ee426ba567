"""The server on this machine through which an agent reaches models and recorded tools: HTTP over the stage of the unit that it is in.

Each unit, or each worker slot, has a path that cannot be guessed. Below it are the model calls of the three wires, plain and
streamed, and the tools, as an MCP server and by their names; everything else is refused, and the refusal noted. What is answered is
the stage's matter: also whether messages that a provider keeps (`previous_response_id`) or kept answers (`store`, `background`) can be
asked for. Keys and all other headers of the agent's end here. What goes around this server cannot be seen from here.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from pipelines.console import on_one_line
from pipelines.replay.agents.http_request import (
    HOST,
    MAX_BODY,
    MCP_PATH,
    TOOLS_PATH,
    RefusedError,
    Unit,
    error_response,
    serve,
)
from pipelines.replay.agents.stage import Refused, Stage
from pipelines.replay.asking.fault import storable

if TYPE_CHECKING:
    from aiohttp import web

MAX_STRAYS = 1_000
"""Refusals outside of units that are kept; the others are counted."""
_TARGET = 500
"""Characters of a target that are kept."""
_IDLE_SECONDS = 600.0
_END_SECONDS = 0.2
"""How long a request may still take when the gateway ends: no unit is under way then."""
_TOKEN_BYTES = 24
_LOG = logging.getLogger("refold.gateway")
"""For the server's library, which logs requests that it cannot parse: silent, since their texts may be anything."""
_LOG.disabled = True


class Urls(NamedTuple):
    """Addresses of one place.

    Attributes:
        model_url: Base URL of models, with `/v1`; Anthropic's clients take it without.
        mcp_url: The recorded tools as an MCP server.
    """

    model_url: str
    mcp_url: str

    @property
    def tools_url(self) -> str:
        """The recorded tools by `POST` to their names below it: arguments in, `{"content": …}` out."""
        return self.mcp_url.removesuffix(MCP_PATH) + TOOLS_PATH.rstrip("/")


class Stray(NamedTuple):
    """A refused request that belongs to no unit.

    Attributes:
        why: Why.
        method: Of HTTP.
        target: As it was asked for, without the name of a place; it may hold anything.
    """

    why: Refused
    method: str
    target: str


class Slot:
    """A place at which one unit is at a time.

    Attributes:
        urls: Its addresses, the same for its whole life.
        unit: The unit that is there; None for none.
    """

    def __init__(self, urls: Urls) -> None:
        self.urls = urls
        self.unit: Unit | None = None

    @contextmanager
    def enter(self, stage: Stage) -> Iterator[Urls]:
        """Let a unit be here for the length of the block; in the loop of the gateway.

        Raises:
            RuntimeError: Another unit is here.
            Exception: What the stage raised meanwhile, which is a fault of ours and none of the agent's.
        """
        if self.unit is not None:
            raise RuntimeError("a slot of the gateway has one unit at a time")
        self.unit = unit = Unit(stage)
        try:
            yield self.urls
        finally:
            self.unit = None
        if unit.fault is not None:
            raise unit.fault


class _Door(NamedTuple):
    """A socket that is listened on, and who answers there."""

    server: asyncio.Server
    protocols: web.Server


class Gateway:
    """The server, in the loop in which it is entered.

    Attributes:
        strays: Refused requests that belong to no unit, the first `MAX_STRAYS`.
        stray_count: How many there were.
    """

    def __init__(self) -> None:
        self.strays: list[Stray] = []
        self.stray_count = 0
        self._slots: dict[str, Slot] = {}
        self._port = 0
        self._doors: list[_Door] = []

    @property
    def stray_note(self) -> str | None:
        """What is told of refused requests that belong to no unit; None for none."""
        if not self.strays:
            return None
        why, method, target = self.strays[0]
        said = f"{method} {target}"
        return f"{self.stray_count:,} requests of agents belong to no unit and were refused; the first ({why}): {on_one_line(said)}"

    async def __aenter__(self) -> Self:
        listening = socket.create_server((HOST, 0), backlog=512)
        self._port = listening.getsockname()[1]
        await self.listen(listening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for door in self._doors:
            door.server.close()
        for door in self._doors:
            door.protocols.pre_shutdown()
            await door.protocols.shutdown(_END_SECONDS)
            await door.server.wait_closed()
        self._doors = []

    async def listen(self, listening: socket.socket, slot: Slot | None = None) -> asyncio.Server:
        """Answer on another socket as well, such as one that listens in a network of its own; it is closed with the gateway.

        Args:
            listening: The socket; it is the server's from now on.
            slot: Who alone can reach it: what is refused there is noted by the unit that is in this place, though it names none.
        """
        from aiohttp import web  # noqa: PLC0415 -- verbs that serve nothing pay nothing

        loop = asyncio.get_running_loop()

        def request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
            return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=MAX_BODY)

        protocols = web.Server(
            partial(self._answer, slot),
            request_factory=request,
            access_log=None,
            logger=_LOG,
            keepalive_timeout=_IDLE_SECONDS,
        )
        server = await loop.create_server(protocols, sock=listening)
        self._doors = [*(door for door in self._doors if door.server.is_serving()), _Door(server, protocols)]
        return server

    def slot(self) -> Slot:
        """A place for the life of the gateway."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        root = f"http://{HOST}:{self._port}/{token}"
        slot = self._slots[token] = Slot(Urls(f"{root}/v1", f"{root}{MCP_PATH}"))
        return slot

    @contextmanager
    def unit(self, stage: Stage) -> Iterator[Urls]:
        """A place of its own for a unit, for the length of the block. Raises as `Slot.enter`."""
        slot = self.slot()
        try:
            with slot.enter(stage) as urls:
                yield urls
        finally:
            self._slots = {token: each for token, each in self._slots.items() if each is not slot}

    async def _answer(self, whose: Slot | None, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, whatever it is; `whose` is the place of the only one who can have made it."""
        slot, target = self._find(request.raw_path)
        unit = None if slot is None else slot.unit
        try:
            return await serve(request, unit, target)
        except RefusedError as refused:
            owner = unit if slot is not None or whose is None else whose.unit
            if owner is None:
                self._stray(refused.why, request.method, target)
            else:
                owner.stage.refuse(refused.why, request.method, target)
            return error_response(target, refused.status, refused.why, str(refused), refused.headers)

    def _find(self, raw: str) -> tuple[Slot | None, str]:
        """(The place that a target names, the rest of the path); None for no place, and the target without what may be one."""
        if not raw.startswith("/"):
            return None, raw
        token, slash, rest = raw.partition("?")[0][1:].partition("/")
        slot = self._slots.get(token)
        is_ours = slot is not None or len(token) == len(secrets.token_urlsafe(_TOKEN_BYTES))
        return slot, f"{slash}{rest}" if is_ours else raw

    def _stray(self, why: Refused, method: str, target: str) -> None:
        self.stray_count += 1
        if len(self.strays) < MAX_STRAYS:
            self.strays.append(Stray(why, method, storable(target[:_TARGET])))
