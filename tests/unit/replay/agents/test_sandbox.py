"""From inside a sandbox nothing is reached but the gateway, nothing is written outside of a scratch folder, and each attempt is noted."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.errors import BadInputError
from pipelines.replay.agents.commands import Command, CommandAgents
from pipelines.replay.agents.sandbox import require_sandbox, why_no_sandbox
from pipelines.replay.agents.session import Session
from pipelines.replay.agents.stage import Task

ROOT = Path(__file__).parents[4]
PROBE = r"""
import json, os, socket, sys, urllib.request
unit = json.loads(sys.stdin.readline())
places = unit["metadata"]
found = {}

def probe(name, act):
    try:
        found[name] = f"done: {act()}"
    except Exception as error:
        found[name] = type(error).__name__

def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(20)
        return one.connect(address)

def send(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        return one.sendto(b"hello", address)

def send_to_path(path):
    for each in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        each.sendto(b"hello", path)

def write(folder):
    with open(os.path.join(folder, "written"), "w") as file:
        return file.write("x")

probe("gateway", lambda: urllib.request.urlopen(unit["model_url"]).read().decode())
probe("host", lambda: connect(socket.AF_INET, ("127.0.0.1", places["host_port"])))
probe("public", lambda: connect(socket.AF_INET, ("192.0.2.1", 443)))
probe("public6", lambda: connect(socket.AF_INET6, ("2001:db8::1", 443)))
probe("datagram", lambda: send(("192.0.2.1", 4433)))
probe("name", lambda: socket.getaddrinfo("somewhere.example", 443))
probe("proxy", lambda: urllib.request.urlopen("http://192.0.2.1/elsewhere"))
probe("unix", lambda: connect(socket.AF_UNIX, places["unix"]))
probe("unix in run", lambda: connect(socket.AF_UNIX, places["unix_in_run"]))
probe("unix datagram", lambda: send_to_path(places["unix"]))
probe("abstract", lambda: connect(socket.AF_UNIX, "\0refold"))
probe("machine", lambda: connect(socket.AF_VSOCK, (2, 1024)))
probe("packets", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
for each in ("/etc", "/usr", "/run", "/home", "/var/tmp", "/dev/..", places["home"], places["root"], places["folder"]):
    probe(f"write {each}", lambda: write(each))
probe("scratch", lambda: write("/tmp"))
probe("home", lambda: write(os.path.expanduser("~")))
probe("hidden", lambda: os.listdir(places["hidden"]))
probe("in run", lambda: os.path.exists(places["unix_in_run"]))
probe("process", lambda: os.kill(places["process"], 0))
found["processes"] = sorted(int(each) for each in os.listdir("/proc") if each.isdigit())
found["rights"] = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm", "CapAmb"))]
print(json.dumps({"id": unit["id"], "text": json.dumps(found)}))
sys.stdin.readline()
"""


class Place:
    """A slot of a gateway that has one answer, and counts who asked."""

    def __init__(self, port: int) -> None:
        self.urls = SimpleNamespace(model_url=f"http://127.0.0.1:{port}/token/v1")
        self.asked: list[bytes] = []

    @contextmanager
    def enter(self, stage):
        yield

    async def listen(self, listening):
        return await asyncio.start_server(self._answer, sock=listening)

    async def _answer(self, reader, writer):
        self.asked.append(await reader.readuntil(b"\r\n"))
        status = b"200 OK" if b" /token/v1 " in self.asked[-1] else b"404 Not Found"
        writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
        await writer.drain()
        writer.close()


class Stage:
    """What notes refusals."""

    def __init__(self) -> None:
        self.refused: list[tuple[str, str, str]] = []

    def refuse(self, why, method, target):
        self.refused.append((why, method, target))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sandbox")
    why = why_no_sandbox(folder)
    if why is not None:
        pytest.skip(f"no sandbox here: {why}")
    (folder / "agent.py").write_text(PROBE, encoding="utf-8")
    return folder


def listen_at(path):
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    return listening


@pytest.fixture(scope="module")
def probed(folder):
    """What a program inside found, what was noted of it, and who asked the gateway."""
    hidden = folder / "hidden"
    hidden.mkdir()
    (hidden / "secret").write_text("secret", encoding="utf-8")
    run = Path("/run") if os.access("/run", os.W_OK) else Path(os.environ.get("XDG_RUNTIME_DIR", folder))
    in_run = run / f"refold-{os.getpid()}.sock"
    stage = Stage()
    with (
        socket.create_server(("127.0.0.1", 0)) as host,
        socket.create_server(("127.0.0.1", 0)) as gateway,
        listen_at(folder / "db.sock"),
        listen_at(in_run),
    ):
        place = Place(gateway.getsockname()[1])
        words = [sys.executable, "agent.py"]
        command = Command(words, folder, is_confined=True, hidden=[hidden], memory_mb=1_000)
        metadata = {
            "host_port": host.getsockname()[1],
            "unix": str(folder / "db.sock"),
            "unix_in_run": str(in_run),
            "home": str(Path.home()),
            "root": str(ROOT),
            "folder": str(folder),
            "hidden": str(hidden),
            "process": os.getpid(),
        }

        async def ask():
            session = Session([], "hello", [], "m", place.urls.model_url, "", metadata, None)
            async with CommandAgents(command, [place]) as crew:
                return json.loads(await crew.run(Task(session, stage)))

        try:
            found = asyncio.run(ask())
        finally:
            in_run.unlink()
    return SimpleNamespace(
        found=found, refused=stage.refused, place=place, host=metadata["host_port"], home=Path.home()
    )


def test_the_gateway_alone_is_reached(probed):
    """The gateway answers on its own address; this machine, others, names, and sockets of every other kind do not."""
    found = probed.found
    assert found["gateway"] == "done: hi"
    refused = ("host", "public", "public6")
    assert {name: found[name] for name in refused} == dict.fromkeys(refused, "ConnectionRefusedError")
    assert found["name"] == "gaierror"
    assert found["proxy"] == "HTTPError"
    others = ("unix", "unix in run", "unix datagram", "abstract", "machine", "packets")
    assert {found[name] for name in others} <= {"OSError", "PermissionError"}


def test_nothing_is_written_elsewhere(probed):
    """Only the scratch folder, which is the home in there, can be written to."""
    found = probed.found
    writes = {name: said for name, said in found.items() if name.startswith("write ")}
    assert len(writes) >= 7
    assert set(writes.values()) <= {"OSError", "PermissionError", "FileNotFoundError"}
    assert (found["scratch"], found["home"]) == ("done: 1", "done: 1")
    assert not (Path("/tmp/written")).exists()


def test_nothing_of_the_machine_is_there(probed):
    """What is hidden is empty, sockets in /run are not there, other processes are not seen, and no right is left."""
    found = probed.found
    assert (found["hidden"], found["in run"], found["process"]) == ("done: []", "done: False", "ProcessLookupError")
    assert max(found["processes"]) < 20
    assert {int(each, 16) for each in found["rights"]} == {0}


def test_each_attempt_is_noted(probed):
    """Whatever left a socket for anywhere but the gateway is there with protocol and target; the gateway's own requests are not."""
    assert {why for why, _, _ in probed.refused} == {"network"}
    assert [(method, target) for _, method, target in probed.refused] == [
        ("TCP", f"127.0.0.1:{probed.host}"),
        ("TCP", "192.0.2.1:443"),
        ("TCP", "[2001:db8::1]:443"),
        ("UDP", "192.0.2.1:4433"),
        ("DNS", "somewhere.example"),
    ]
    assert [line.split()[:2] for line in probed.place.asked] == [
        [b"GET", b"/token/v1"],
        [b"GET", b"http://192.0.2.1/elsewhere"],
    ]


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (None, "there is no bwrap on PATH; install bubblewrap"),
        ("echo 'bwrap: Creating new namespace failed: Operation not permitted' >&2; exit 1", "Operation not permitted"),
        ("exit 3", "exit code 3"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap is Linux's")
def test_a_system_that_forbids_it_is_refused_in_its_words(tmp_path, monkeypatch, program, says):
    """Before anything is asked, and never run half confined."""
    if program is not None:
        (tmp_path / "bwrap").write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
        (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadInputError, match=f"sandbox: true cannot be had here: .*{says}"):
        require_sandbox(tmp_path)
