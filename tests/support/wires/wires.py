"""The wires of the test server, by the name that an experiment gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

from tests.support.wires import chat, messages, responses
from tests.support.wires.form import Body, Document, Message, Refused, Tokens

Api = Literal["chat", "responses", "messages"]


def _check_nothing(_headers: Mapping[str, str]) -> None:
    pass


@dataclass(frozen=True)
class Wire:
    """One wire.

    Attributes:
        path: Where it is spoken, below the host.
        base: What of that belongs to the address that clients are given.
        read: A request in the neutral form; raises `Refused`.
        write: An answer as a document.
        error: A refusal as a document.
        stream: A request and its document as server-sent events.
        malformed: A document that is no answer.
        check_headers: Raises `Refused` where the headers are not taken.
    """

    path: str
    base: str
    read: Callable[[Body], Body]
    write: Callable[[Body, Message, Tokens], Document]
    error: Callable[[Refused], Document]
    stream: Callable[[Body, Document], Iterator[bytes]]
    malformed: Document
    check_headers: Callable[[Mapping[str, str]], None] = _check_nothing


def _wire(module: ModuleType, base: str, **more: Callable[[Mapping[str, str]], None]) -> Wire:
    functions = (module.read, module.write, module.error, module.stream)
    return Wire(module.PATH, base, *functions, module.MALFORMED, **more)


WIRES: dict[Api, Wire] = {
    "chat": _wire(chat, "/v1"),
    "responses": _wire(responses, "/v1"),
    "messages": _wire(messages, "", check_headers=messages.check_headers),
}
