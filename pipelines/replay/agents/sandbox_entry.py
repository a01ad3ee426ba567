"""A program: the first one inside a sandbox. It makes the network there, hands it out, locks the door and becomes the command.

`python sandbox_entry.py SOCKET PORT COMMAND …`, in a network namespace of its own with the rights to set it up (`CAP_NET_ADMIN`,
`CAP_NET_RAW`). Over the Unix socket `SOCKET` it sends two sockets: one that listens on 127.0.0.1:PORT in here, on which the gateway
accepts, and one that sees attempts to reach anything else. Every address is this namespace's own, so that such an attempt is refused at
once, as by a machine where nobody listens, and leaves a packet to be seen. Without a command it ends well once all that worked.

Before the command begins it has no rights left and makes no sockets but those of the internet's protocols: none of a Unix path,
wherever it is mounted, none of a virtual machine. It is started by its path, and imports the standard library alone.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys

FAILED = 70
"""Exit code where the platform did not let it."""
_NEW_ROUTE, _REQUEST_CREATE, _TABLE_LOCAL, _SCOPE_HOST, _LOCAL, _OIF = 24, 0x605, 255, 254, 2, 4
_ALL_PROTOCOLS, _ATTACH_FILTER = 3, 26
_SET_NO_NEW_PRIVILEGES, _SET_SECCOMP, _AMBIENT, _CLEAR_AMBIENT = 38, 22, 47, 4
_CAPABILITIES_VERSION = 0x20080522
_LOAD_WORD, _LOAD_BYTE, _LOAD_BYTE_BEYOND, _LOAD_HEADER_LENGTH = 0x20, 0x30, 0x50, 0xB1
_MASK, _SHIFT, _EQUAL, _AT_LEAST, _RETURN = 0x54, 0x74, 0x15, 0x35, 0x06
_PACKET_KIND = 0xFFFFF004
_OUTGOING = 4
_SYN, _RST, _SYN_OR_ACK = 0x02, 0x04, 0x12
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NOT_PERMITTED, _NO_SUCH_CALL, _NO_SUCH_FAMILY = 1, 38, 97
_CALLS = {"x86_64": (0xC000003E, 41, 53), "aarch64": (0xC00000B7, 198, 199)}
"""Of a machine: the audit number of its architecture, and the numbers of `socket` and `socketpair`."""
_IO_URING_SETUP, _FOREIGN_CALLS = 425, 0x40000000
_Step = tuple[int, int, int, int]
"""One step of a packet filter: what to do, how many steps to pass over if it is so, and if not, and a number."""


def _let_all_addresses_be_here(family: int) -> None:
    """A route by which every address is this namespace's own."""
    index = socket.if_nametoindex("lo")
    route = struct.pack("=BBBBBBBBIHHi", family, 0, 0, 0, _TABLE_LOCAL, 3, _SCOPE_HOST, _LOCAL, 0, 8, _OIF, index)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.send(struct.pack("=IHHII", 16 + len(route), _NEW_ROUTE, _REQUEST_CREATE, 1, 0) + route)
        (code,) = struct.unpack_from("=i", kernel.recv(4096), 16)
    if code:
        raise OSError(-code, os.strerror(-code))


def _steps(steps: list[_Step]) -> tuple[bytes, ctypes.Array[ctypes.c_char]]:
    """A program of the kernel's packet filter, as it takes it; the second is what the first points at, and has to stay."""
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    kept = ctypes.create_string_buffer(code, len(code))
    return struct.pack("@HP", len(steps), ctypes.addressof(kept)), kept


def _watch() -> socket.socket:
    """What sees attempts: packets that begin a connection, that refuse one, and datagrams; each once, as it comes in."""
    accept, drop = (_RETURN, 0, 0, 96), (_RETURN, 0, 0, 0)
    flags = [
        (_MASK, 0, 0, _SYN_OR_ACK | _RST),
        (_EQUAL, 2, 0, _SYN),
        (_MASK, 0, 0, _RST),
        (_EQUAL, 0, 1, _RST),
        accept,
        drop,
    ]
    four = [
        (_LOAD_BYTE, 0, 0, 9),
        (_EQUAL, 7, 0, socket.IPPROTO_UDP),
        (_EQUAL, 0, 7, socket.IPPROTO_TCP),
        (_LOAD_HEADER_LENGTH, 0, 0, 0),
        (_LOAD_BYTE_BEYOND, 0, 0, 13),
        *flags,
    ]
    six = [
        (_LOAD_BYTE, 0, 0, 6),
        (_EQUAL, 6, 0, socket.IPPROTO_UDP),
        (_EQUAL, 0, 6, socket.IPPROTO_TCP),
        (_LOAD_BYTE, 0, 0, 53),
        *flags,
    ]
    start = [
        (_LOAD_WORD, 0, 0, _PACKET_KIND),
        (_EQUAL, 0, 1, _OUTGOING),
        drop,
        (_LOAD_BYTE, 0, 0, 0),
        (_SHIFT, 0, 0, 4),
        (_EQUAL, 0, len(four), 4),
    ]
    watch = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    program, _kept = _steps([*start, *four, *six])
    watch.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, program)
    watch.bind(("lo", _ALL_PROTOCOLS))
    return watch


def _lock() -> None:
    """Give up all rights, for good, and every socket but those of the internet's protocols."""
    architecture, make, make_pair = _CALLS[platform.machine()]
    deny = (_RETURN, 0, 0, _ERROR | _NOT_PERMITTED)
    allow = (_RETURN, 0, 0, _ALLOW)
    program, _kept = _steps(
        [
            (_LOAD_WORD, 0, 0, 4),
            (_EQUAL, 1, 0, architecture),
            deny,
            (_LOAD_WORD, 0, 0, 0),
            (_AT_LEAST, 0, 1, _FOREIGN_CALLS),
            deny,
            (_EQUAL, 0, 1, _IO_URING_SETUP),  # it makes sockets of its own
            (_RETURN, 0, 0, _ERROR | _NO_SUCH_CALL),
            (_EQUAL, 0, 6, make),
            (_LOAD_WORD, 0, 0, 16),
            (_EQUAL, 3, 0, socket.AF_INET),
            (_EQUAL, 2, 0, socket.AF_INET6),
            (_EQUAL, 1, 0, socket.AF_NETLINK),
            (_RETURN, 0, 0, _ERROR | _NO_SUCH_FAMILY),
            allow,
            (_EQUAL, 0, 4, make_pair),  # a pair of datagrams' may be sent to any path
            (_LOAD_WORD, 0, 0, 24),
            (_MASK, 0, 0, 0xF),
            (_EQUAL, 1, 0, socket.SOCK_STREAM),
            deny,
            allow,
        ]
    )
    libc = ctypes.CDLL(None, use_errno=True)
    nothing = ctypes.create_string_buffer(24)
    for done in (
        libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0),
        libc.prctl(_AMBIENT, _CLEAR_AMBIENT, 0, 0, 0),
        libc.capset(struct.pack("=Ii", _CAPABILITIES_VERSION, 0), nothing),
        libc.prctl(_SET_SECCOMP, 2, program, 0, 0),
    ):
        if done:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def enter(out: int, port: int) -> None:
    """Make the network, hand it out, and lock the door."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            _let_all_addresses_be_here(family)
        except OSError:
            if family == socket.AF_INET:  # a kernel without the sixth version has nowhere to go with it
                raise
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener, _watch() as watch:
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        with socket.socket(fileno=out) as outside:
            socket.send_fds(outside, [b"+"], [listener.fileno(), watch.fileno()])
    _lock()


def main() -> None:
    """Be the command, inside."""
    try:
        enter(int(sys.argv[1]), int(sys.argv[2]))
        if command := sys.argv[3:]:
            os.execvp(command[0], command)  # noqa: S606 -- what the experiment names
    except (OSError, KeyError) as error:
        sys.stderr.write(f"sandbox: {error}\n")
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
