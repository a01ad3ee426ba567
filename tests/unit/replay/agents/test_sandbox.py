"""From inside a sandbox nothing is reached but the gateway, nothing is written outside of a scratch folder, and each attempt is noted."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.errors import BadInputError
from pipelines.replay.agents.commands import Command, CommandAgents
from pipelines.replay.agents.gateway import Gateway
from pipelines.replay.agents.sandbox import MAX_ATTEMPTS, require_sandbox, why_no_sandbox
from pipelines.replay.agents.session import Session
from pipelines.replay.agents.stage import Task
from tests.support.stages import ScriptedStage

ROOT = Path(__file__).parents[4]
DATAGRAMS = 2_000
PROBE = r"""
import ctypes, json, os, socket, sys, urllib.request
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

probe("gateway", lambda: urllib.request.urlopen(unit["tools_url"] + "/look_up", b"{}").read().decode())
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
for each in ("/etc", "/usr", "/run", "/home", "/var/tmp", "/dev", "/proc/sys/net/ipv4", "/sys/kernel", "/dev/..", places["home"], places["root"], places["folder"]):
    probe(f"write {each}", lambda: write(each))
probe("scratch", lambda: write("/tmp"))
probe("shared memory", lambda: write("/dev/shm"))
probe("unmount", lambda: ctypes.CDLL(None).umount(b"/run"))
found["files"] = sorted(os.readlink(f"/proc/self/fd/{each}").partition(":")[0] for each in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{each}"))
probe("home", lambda: write(os.path.expanduser("~")))
probe("hidden", lambda: os.listdir(places["hidden"]))
probe("in run", lambda: os.path.exists(places["unix_in_run"]))
probe("process", lambda: os.kill(places["process"], 0))
found["processes"] = sorted(int(each) for each in os.listdir("/proc") if each.isdigit())
found["rights"] = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm", "CapAmb"))]
print(json.dumps({"id": unit["id"], "text": json.dumps(found)}))
unit = json.loads(sys.stdin.readline())
for _ in range(places["datagrams"]):
    send(("192.0.2.1", 9))
print(json.dumps({"id": unit["id"], "text": ""}))
sys.stdin.readline()
"""


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
    stage = ScriptedStage(results={"look_up": "found"})
    flooded = ScriptedStage()
    with (
        socket.create_server(("127.0.0.1", 0)) as host,
        listen_at(folder / "db.sock"),
        listen_at(in_run),
    ):
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
            "datagrams": DATAGRAMS,
        }

        async def ask():
            async with Gateway() as gateway, CommandAgents(command, gateway, 1) as crew:
                with gateway.unit(stage) as urls:
                    session = Session([], "hello", [], "m", *urls, metadata, print, print)
                    text = await crew.run(Task(session, stage))
                    await crew.run(Task(session, flooded))
                return json.loads(text), gateway.stray_count

        try:
            found, strays = asyncio.run(ask())
        finally:
            in_run.unlink()
    return SimpleNamespace(found=found, strays=strays, stage=stage, flooded=flooded, host=metadata["host_port"])


def test_the_gateway_alone_is_reached(probed):
    """The gateway answers on its own address; this machine, others, names, and sockets of every other kind do not."""
    found = probed.found
    assert found["gateway"] == 'done: {"content": "found"}'
    assert (found["host"], found["public"]) == ("ConnectionRefusedError", "ConnectionRefusedError")
    assert found["public6"] in ("ConnectionRefusedError", "OSError")  # the latter where a kernel knows no such address
    assert found["name"] == "gaierror"
    assert found["proxy"] == "HTTPError"
    others = ("unix", "unix in run", "unix datagram", "abstract", "machine", "packets")
    assert {found[name] for name in others} <= {"OSError", "PermissionError"}


def test_nothing_is_written_elsewhere(probed):
    """Only the scratch folder, which is the home in there, can be written to."""
    found = probed.found
    writes = {name: said for name, said in found.items() if name.startswith("write ")}
    assert len(writes) >= 7
    if ROOT.is_relative_to("/tmp"):  # then it stands in the scratch folder, and what is written there is gone with it
        assert not (ROOT / "written").exists()
        del writes[f"write {ROOT}"]
    assert set(writes.values()) <= {"OSError", "PermissionError", "FileNotFoundError"}
    assert (found["scratch"], found["home"], found["shared memory"]) == ("done: 1", "done: 1", "done: 1")
    assert not (Path("/tmp/written")).exists()


def test_nothing_of_the_machine_is_there(probed):
    """What is hidden is empty, sockets in /run are not there, other processes are not seen, and no right is left."""
    found = probed.found
    assert (found["hidden"], found["in run"], found["process"]) == ("done: []", "done: False", "ProcessLookupError")
    assert max(found["processes"]) < 20
    assert {int(each, 16) for each in found["rights"]} == {0}
    assert found["unmount"] == "done: -1"
    assert found["files"] == ["pipe", "pipe", "pipe"]


def test_each_attempt_is_noted(probed):
    """Whatever left a socket for anywhere but the gateway is there with protocol and target; the gateway's own requests are not."""
    six = [("network", "TCP", "[2001:db8::1]:443")] if probed.found["public6"] == "ConnectionRefusedError" else []
    assert probed.stage.refused == [
        ("proxy", "GET", "http://192.0.2.1/elsewhere"),
        ("network", "TCP", f"127.0.0.1:{probed.host}"),
        ("network", "TCP", "192.0.2.1:443"),
        *six,
        ("network", "UDP", "192.0.2.1:4433"),
        ("network", "DNS", "somewhere.example"),
    ]
    assert probed.stage.fetched == [("look_up", {})]
    assert probed.strays == 0


def test_more_attempts_than_are_told_are_counted(probed):
    """Each of very many datagrams is told, or in the number of those that are not."""
    *told, (_, method, rest) = probed.flooded.refused
    assert set(told) == {("network", "UDP", "192.0.2.1:9")}
    number, word = rest.split()
    assert (method, word) == ("", "more")
    assert len(told) <= MAX_ATTEMPTS
    assert len(told) + int(number) == DATAGRAMS


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
