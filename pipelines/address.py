"""Addresses of endpoints: which texts are one, and whether one is another or lies below it.

Recorded texts go where an address says, so there is one reading of it, and none that a client, a proxy or a server could
take for something else: no user, no percent-escapes, no dots that lead elsewhere, no host that is written in two ways. What
is refused here is not repaired.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_ADDRESS = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?(?P<path>/[^\s]*)?",
    re.ASCII,
)
_SEGMENT = re.compile(r"[A-Za-z0-9._~:+=@-]+", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?", re.ASCII)
_PORTS = {"http": 80, "https": 443}
_EXAMPLE = "write an address such as http://127.0.0.1:8000/v1"
_LARGEST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """Where an endpoint is.

    Attributes:
        scheme: http or https.
        host: Name in lower case, or the one form of an IP address.
        port: Port, that of the scheme where none is written.
        path: Names below the host, in order.
    """

    scheme: str
    host: str
    port: int
    path: tuple[str, ...]

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine: `localhost`, or a loopback address."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def is_under(self, other: Address) -> bool:
        """Whether it is `other`, or has further names after those of it."""
        same = (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)
        return same and self.path[: len(other.path)] == other.path


def read_address(text: str) -> Address:
    """Read an address.

    Raises:
        ValueError: It is none, or could be read in more than one way; the message says why.
    """
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise ValueError(f"{_EXAMPLE}, in ASCII, without user, query and fragment")
    port = int(match["port"]) if match["port"] is not None else _PORTS[match["scheme"]]
    if not 1 <= port <= _LARGEST_PORT:
        raise ValueError(f"{match['port']} is no port")
    return Address(match["scheme"], _host(match["host"]), port, _path(match["path"] or ""))


def _host(text: str) -> str:
    """A host's one form."""
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError:
            raise ValueError(f"{text} is no IPv6 address") from None
    labels = text.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text} is no host: names are joined by single dots, with none at an end")
    if not labels[-1].isdigit() and not labels[-1].lower().startswith("0x"):
        return text.lower()
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError(f"{text} is no IPv4 address of four decimal numbers") from None


def _path(text: str) -> tuple[str, ...]:
    """The names of a path; a slash at its end makes no difference."""
    names = text.removesuffix("/").split("/")[1:]
    for name in names:
        if name in {".", ".."} or not _SEGMENT.fullmatch(name):
            raise ValueError(
                f"{text}: a path is made of letters, digits and ._~:+=@- between single slashes, without escapes, and "
                "no part of it is . or .."
            )
    return tuple(names)
