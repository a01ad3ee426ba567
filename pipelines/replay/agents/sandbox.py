"""What surrounds a candidate's process that may reach nothing but the gateway: bubblewrap's walls, and what was tried against them.

Inside there is a network of its own, a folder to write in, and this machine's files to read but for homes, temporary files and what is in
/run. `sandbox_entry.py` is the first program there; its listener is where the gateway accepts. A system that does not allow it is
refused, with its words: nothing is half confined.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.console import on_one_line
from pipelines.errors import BadInputError
from pipelines.replay.agents import sandbox_entry

_ENTRY = Path(sandbox_entry.__file__).resolve()
_SHARED_FOLDERS = ("/home", "/root", "/run", "/var/run", "/var/tmp", "/mnt", "/media")  # noqa: S108 -- none is written to
"""Where homes, sockets and other people's files are, beside this user's home and /tmp."""
_SCRATCH = "/tmp"  # noqa: S108 -- the sandbox's own, of which nobody else knows
_WRITABLE = (_SCRATCH, "/dev/shm")  # noqa: S108 -- likewise; both on disk, for what is written to memory is no process's
_TO_CHECK = 30.0
MAX_ATTEMPTS = 1_000
"""Attempts of one unit that are told one by one."""
_MAX_PACKET = 2_048
"""Bytes that are read of one: its heads, and the name that a question is about."""
_TCP, _UDP, _DNS_PORT = 6, 17, 53
_SYN, _RST, _ACK = 0x02, 0x04, 0x10
_PACKET_OPTIONS, _STATISTICS = 263, 6


class Sandbox:
    """Where one process lives. Close it once the process has ended.

    Attributes:
        scratch: The folder on this machine that is written to from inside.

    Args:
        port: Where the gateway is, on 127.0.0.1: in there its address is the same.
        folder: Where the command is run: it may be read, wherever it is.
        readable: Other files and folders that may be, such as the program's own.
        hidden: Folders that may not, though nothing else would hide them.
    """

    def __init__(self, port: int, folder: Path, readable: Iterable[Path] = (), hidden: Iterable[Path] = ()) -> None:
        self._port, self._folder = port, folder
        self._readable, self._hidden = list(readable), list(hidden)
        self.scratch = Path(tempfile.mkdtemp(prefix="refold-sandbox-"))
        for path in _WRITABLE:
            (self.scratch / Path(path).name).mkdir()
        self._here, self._there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._watch: socket.socket | None = None

    @property
    def inherited(self) -> tuple[int, ...]:
        """File descriptors that the process has to inherit."""
        return (self._there.fileno(),)

    def command(self, words: Sequence[str]) -> list[str]:
        """What to run for these words to be run inside."""
        entry = [sys.executable, "-I", "-S", str(_ENTRY), str(self._there.fileno()), str(self._port)]
        needed = [self._folder, *self._readable, *_python(), *(_program(words[0], self._folder) if words else ())]
        return [*_walls(self.scratch, self._folder, needed, self._hidden), *entry, *words]

    def environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Variables as they have to be inside: the scratch folder for a home, and the gateway for a proxy, which lets nothing through."""
        proxy = f"http://127.0.0.1:{self._port}"
        names = ("http_proxy", "https_proxy", "all_proxy")
        proxies = {each: proxy for name in names for each in (name, name.upper())}
        direct = dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost")
        return {**variables, **proxies, **direct, "NODE_USE_ENV_PROXY": "1", "HOME": _SCRATCH, "TMPDIR": _SCRATCH}

    async def listener(self) -> socket.socket | None:
        """What listens inside, once the process has begun; None where it ended before. Whoever takes it closes it."""
        self._there.close()
        self._here.setblocking(False)
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._here, ready.set)
        try:
            await asyncio.wait_for(ready.wait(), _TO_CHECK)
        except TimeoutError:
            return None
        finally:
            loop.remove_reader(self._here)
        _, numbers, _, _ = socket.recv_fds(self._here, 1, 2)
        if len(numbers) != 2:
            return None
        listener, self._watch = (socket.socket(fileno=number) for number in numbers)
        self._watch.setblocking(False)
        return listener

    def attempts(self) -> Iterator[tuple[str, str]]:
        """What was tried since this was asked last, with what protocol and where to, in order; a name that was looked up is there once.

        After `MAX_ATTEMPTS`, and where there were more than the kernel keeps, the last one says how many packets more.
        """
        if self._watch is None:
            return
        told, names, more = 0, set(), 0
        while True:
            try:
                packet = self._watch.recv(_MAX_PACKET)
            except BlockingIOError:
                break
            attempt = _attempt(packet)
            if attempt is None or attempt in names:
                continue
            if told == MAX_ATTEMPTS:
                more += 1
                continue
            if attempt[0] == "DNS":
                names.add(attempt)
            told += 1
            yield attempt
        _, lost = struct.unpack("=II", self._watch.getsockopt(_PACKET_OPTIONS, _STATISTICS, 8))
        if more + lost:
            yield "", f"{more + lost} more"

    def close(self) -> None:
        """Leave nothing of it."""
        for each in (self._here, self._there, self._watch):
            if each is not None:
                each.close()
        shutil.rmtree(self.scratch, ignore_errors=True)


def require_sandbox(folder: Path) -> None:
    """Try whether a sandbox can be had.

    Args:
        folder: Where commands are to be run.

    Raises:
        BadInputError: It cannot, with the system's words.
    """
    why = why_no_sandbox(folder)
    if why is not None:
        raise BadInputError(f"candidate: sandbox: true cannot be had here: {why}")


def why_no_sandbox(folder: Path) -> str | None:
    """Why there is no sandbox here, in the system's words; None where there is."""
    if sys.platform != "linux":
        return "it is made of what Linux has"
    if shutil.which("bwrap") is None:
        return "there is no bwrap on PATH; install bubblewrap"
    sandbox = Sandbox(0, folder)
    try:
        tried = subprocess.run(  # noqa: S603 -- bwrap, and what is written above
            sandbox.command([]),
            pass_fds=sandbox.inherited,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_TO_CHECK,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    finally:
        sandbox.close()
    said = on_one_line(tried.stderr.decode("utf-8", "replace").strip())
    return None if tried.returncode == 0 else said or f"bwrap ended with exit code {tried.returncode}"


def _walls(scratch: Path, folder: Path, needed: Sequence[Path], hidden: Sequence[Path]) -> list[str]:
    """What bubblewrap is told."""
    homes = [*_SHARED_FOLDERS, os.path.expanduser("~")]  # noqa: PTH111 -- a home that is not known stays as it is
    covered = _outermost(Path(each).resolve() for each in homes if Path(each).is_dir())
    needed = [path for each in needed for path in (each.absolute(), each.resolve())]  # a link may be followed or read
    hidden = _outermost(each.resolve() for each in hidden if each.is_dir())
    beneath = [
        each for each in _outermost(needed) if any(each.is_relative_to(cover) for cover in (*covered, Path(_SCRATCH)))
    ]
    again = [each for each in needed if any(each.is_relative_to(cover) for cover in hidden)]
    arguments = ["bwrap", "--unshare-all", "--unshare-user", "--uid", "0", "--gid", "0"]
    for right in ("CAP_NET_ADMIN", "CAP_NET_RAW"):
        arguments += ["--cap-add", right]
    arguments += ["--die-with-parent", "--new-session", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for each in covered:
        arguments += ["--tmpfs", str(each)]
    for path in _WRITABLE:
        arguments += ["--bind", str(scratch / Path(path).name), path]
    for each in beneath:
        arguments += ["--ro-bind", str(each), str(each)]
    for each in hidden:
        arguments += ["--tmpfs", str(each)]
    for each in again:
        arguments += ["--ro-bind", str(each), str(each)]
    for each in (*covered, *hidden, Path("/dev")):
        arguments += ["--remount-ro", str(each)]
    return [*arguments, "--chdir", str(folder), "--"]


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Those that are in none of the others."""
    found: list[Path] = []
    for path in sorted({each.absolute() for each in paths}):
        if not any(path.is_relative_to(each) for each in found):
            found.append(path)
    return found


def _python() -> list[Path]:
    """What this Python needs to start, the entry, and what runs functions."""
    return [Path(sys.base_prefix), Path(sys.prefix), _ENTRY.parents[2]]


def _program(name: str, folder: Path) -> list[Path]:
    """Where a program and what belongs to it are; never a home as a whole."""
    found = shutil.which(folder / name if os.sep in name else name)
    if found is None:
        return []
    whole = {Path.home(), Path.home() / ".local"}  # what is a person's, and not a program's
    places = []
    for path in (Path(found).absolute(), Path(found).resolve()):
        around = path.parent.parent if path.parent.name in ("bin", "shims") else path.parent
        is_too_much = any(each.is_relative_to(around) for each in whole)
        places.append(path if is_too_much else around)
    return places


def _attempt(packet: bytes) -> tuple[str, str] | None:
    """What a packet that came in says was tried; None for one that stays with the sandbox's own, or with the gateway."""
    try:
        four = packet[0] >> 4 == 4
        kind, start = (packet[9], (packet[0] & 15) * 4) if four else (packet[6], 40)
        source, target = (packet[12:16], packet[16:20]) if four else (packet[8:24], packet[24:40])
        from_port, to_port = struct.unpack_from("!HH", packet, start)
        if kind == _UDP:
            return _datagram(target, to_port, packet[start + 8 :])
        (sequence,) = struct.unpack_from("!I", packet, start + 4)
        flags = packet[start + 13]
    except (IndexError, struct.error):
        return None
    if flags & _RST:  # nobody listens there: a connection that never was has no sequence
        is_refusal = flags & _ACK and sequence == 0 and _is_own(source)
        return ("TCP", _address(source, from_port)) if is_refusal else None
    return None if _is_own(target) else ("TCP", _address(target, to_port))


def _datagram(target: bytes, port: int, content: bytes) -> tuple[str, str] | None:
    if port == _DNS_PORT:
        return "DNS", _name(content) or _address(target, port)
    return None if _is_own(target) else ("UDP", _address(target, port))


def _is_own(address: bytes) -> bool:
    return ipaddress.ip_address(address).is_loopback


def _address(address: bytes, port: int) -> str:
    found = ipaddress.ip_address(address)
    return f"[{found}]:{port}" if found.version == 6 else f"{found}:{port}"


def _name(question: bytes) -> str | None:
    """The name that a question to a name server is about; None where it is none."""
    labels, place = [], 12
    while place < len(question) and 0 < (length := question[place]) < 64:
        labels.append(question[place + 1 : place + 1 + length].decode("ascii", "replace"))
        place += 1 + length
    return ".".join(labels) or None
