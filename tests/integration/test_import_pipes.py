"""Importing what can be read once: it is read once, by every name that a shell gives it, and nothing of it stays."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.errors import BadInputError
from pipelines.ingest import chat
from pipelines.ingest.chat import ImportProgress, import_chat
from pipelines.ingest.reading.lines import LineReader
from pipelines.ingest.reading.pipes import refuse_unreadable, spooled
from pipelines.settings import Settings
from pipelines.store import Store
from tests.support.waiting import PATIENCE

AT = datetime(2026, 1, 1, tzinfo=UTC)
Given = Callable[[bytes], "Iterator[Path]"]


def lines(numbers: range, text: str = "hi") -> bytes:
    said = [
        {"source": "s", "conversation_id": str(n), "messages": [{"role": "user", "content": text}]} for n in numbers
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in said)


@contextmanager
def writing(into: int, data: bytes) -> Iterator[None]:
    """A writer that goes on as it is read, a few bytes first."""

    def write() -> None:
        with open(into, "wb", buffering=0) as out:
            out.writelines(
                data[start : 1 if start == 0 else start + 50_000] for start in [0, *range(1, len(data), 50_000)]
            )

    thread = threading.Thread(target=write)
    thread.start()
    yield
    thread.join(PATIENCE)


@contextmanager
def a_pipe(data: bytes, _folder: Path) -> Iterator[Path]:
    """As `<(…)` gives it."""
    out, into = os.pipe()
    try:
        with writing(into, data):
            yield Path(f"/dev/fd/{out}")
    finally:
        os.close(out)


@contextmanager
def a_fifo(data: bytes, folder: Path) -> Iterator[Path]:
    path = folder / f"fifo {len(list(folder.iterdir()))}"
    os.mkfifo(path)
    thread = threading.Thread(target=path.write_bytes, args=[data])
    thread.start()
    yield path
    thread.join(PATIENCE)


@contextmanager
def a_socket(data: bytes, _folder: Path) -> Iterator[Path]:
    """As some shells give standard input; it cannot be opened by its path."""
    ours, theirs = socket.socketpair()
    with ours, writing(theirs.detach(), data):
        yield Path(f"/proc/self/fd/{ours.fileno()}")


@contextmanager
def an_open_file(data: bytes, folder: Path) -> Iterator[Path]:
    """A redirected file of which somebody has read a line already."""
    path = folder / "redirected"
    path.write_bytes(b"read before\n" + data)
    with path.open("rb", buffering=0) as file:
        file.read(len(b"read before\n"))
        yield Path(f"/dev/fd/{file.fileno()}")


KINDS = [a_pipe, a_fifo, a_socket, an_open_file]


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gz"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_can_be_read_once_is_imported_whole(store: Store, tmp_path: Path, kind, pack) -> None:
    """Several files of which one or two are pipes; a second time all of it is there already."""
    plain = tmp_path / "plain.jsonl"
    plain.write_bytes(lines(range(3)))
    data = pack(lines(range(3, 300)))
    for there in (False, True):
        with kind(data, tmp_path) as once, a_fifo(lines(range(300, 302)), tmp_path) as other:
            result = import_chat(store, [plain, once, other], at=AT, spool=tmp_path / "home")
        assert (result.conversations, result.already_present) == ((0, 302) if there else (302, 0))
        assert result.empty == ()
    assert list((tmp_path / "home").iterdir()) == [], "nothing stays"


@pytest.mark.parametrize("kind", KINDS)
def test_bad_lines_of_a_pipe_are_named_and_kept(store: Store, tmp_path: Path, kind) -> None:
    """A bad line stops it with its place, before anything is stored; with a file for bad lines the rest is imported."""
    data = lines(range(2)) + b"\n{bad\n" + lines(range(2, 4))
    with kind(data, tmp_path) as once, pytest.raises(BadInputError, match=r":4: .*nothing of this file was imported"):
        import_chat(store, [once], at=AT)
    bad = tmp_path / "bad.jsonl"
    with kind(data, tmp_path) as once:
        result = import_chat(store, [once], at=AT, skip_bad=bad)
        assert (result.conversations, result.skipped) == (4, 1)
        assert json.loads(bad.read_text()) | {"reason": ""} == {
            "file": str(once),
            "line": 4,
            "path": "$",
            "reason": "",
            "text": "{bad",
        } | {"path": json.loads(bad.read_text())["path"]}


@pytest.mark.parametrize(
    "data", [b"", b"\n \n", gzip.compress(b""), b"\xef\xbb\xbf"], ids=["nothing", "blank", "gz", "mark"]
)
def test_an_empty_pipe_is_told(store: Store, tmp_path: Path, data: bytes) -> None:
    """Zero lines are no silent success: the result names where nothing came from, a file as much as a pipe."""
    (tmp_path / "file").write_bytes(data)
    with a_pipe(data, tmp_path) as once:
        result = import_chat(store, [once, tmp_path / "file", Path(os.devnull)], at=AT)
        assert result.empty == (str(once), str(tmp_path / "file"), os.devnull)
    assert result.conversations == 0


def test_what_cannot_be_read_is_refused_before_anything_waits(tmp_path: Path) -> None:
    """A folder, a device without end, a path that is not there, one pipe by two names; a FIFO is not opened to see it."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    refuse_unreadable([fifo])
    out, into = os.pipe()
    with ExitStack() as stack:
        stack.callback(os.close, out)
        stack.callback(os.close, into)
        for paths, told in [
            ([Path("/dev/zero")], "is a device"),
            ([Path("/dev/urandom")], "is a device"),
            ([tmp_path], "is a folder"),
            ([fifo, tmp_path / "nothing"], "cannot read .*nothing"),
            ([Path("/dev/fd/987")], "cannot read /dev/fd/987"),
            ([fifo, fifo], "are one pipe"),
            ([Path(f"/dev/fd/{out}"), fifo, Path(f"/proc/self/fd/{out}")], "are one pipe"),
        ]:
            with pytest.raises(BadInputError, match=told):
                refuse_unreadable(paths)


def test_a_spooled_pipe_is_private(tmp_path: Path) -> None:
    """The copy has no name, and nobody else may read it; it gives the same bytes as often as wanted."""
    data = os.urandom(300_000)
    told: list[int] = []
    with a_pipe(data, tmp_path) as once, spooled(once, tmp_path / "home", told.append) as kept:
        assert kept is not None
        status = os.fstat(kept.fileno())
        assert (status.st_nlink, status.st_mode & 0o077) == (0, 0)
        for _ in range(2):
            kept.seek(0)
            assert kept.read() == data
    assert told[-1] == len(data)
    assert told == sorted(told)


def test_blank_lines_without_end_are_passed_and_told(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blank lines are counted a block at a time, progress is told although no conversation comes."""
    monkeypatch.setattr(chat, "BLOCKS_TOLD", 2)
    path = tmp_path / "blank.jsonl.gz"
    blank = gzip.compress(b"\n" * 2**22)
    path.write_bytes(blank * 8 + gzip.compress(lines(range(1))))
    seen: list[ImportProgress] = []
    assert import_chat(store, [path], at=AT, progress=seen.append).conversations == 1
    check = [each.bytes_read for each in seen if each.step == "check"]
    assert len(check) > 10
    assert check == sorted(check)
    assert [raw.number for raw in LineReader(path, skip_blank=True)] == [8 * 2**22 + 1]


def test_a_fifo_without_a_writer_can_be_interrupted(store_settings: Settings, tmp_path: Path) -> None:
    """Ctrl-C ends the waiting: exit code 130, no traceback."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    env = {**os.environ, "REFOLD_HOME": str(store_settings.home), "REFOLD_DSN": str(store_settings.dsn)}
    command = [sys.executable, "-m", "pipelines.cli", "import", "chat", str(fifo)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and b"fifo" not in Path(f"/proc/{process.pid}/wchan").read_bytes():
        time.sleep(0.1)
        if not Path(f"/proc/{process.pid}/wchan").read_bytes().strip(b"0"):
            time.sleep(8)  # the kernel does not say where a process waits
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err


def test_a_shell_pipes_into_a_dash(store_settings: Settings) -> None:
    """`… | refold import chat -` and `/dev/stdin` take what comes; an empty one is told."""
    env = {**os.environ, "REFOLD_HOME": str(store_settings.home), "REFOLD_DSN": str(store_settings.dsn)}
    told = []
    for name, data in (("-", lines(range(3))), ("/dev/stdin", lines(range(5))), ("-", b"")):
        command = [sys.executable, "-m", "pipelines.cli", "import", "chat", name]
        done = subprocess.run(command, env=env, input=data, capture_output=True, check=True)
        told.append(done.stdout.decode().strip().splitlines())
    assert told[0][0].startswith("3 conversations")
    assert told[1][0].startswith("2 conversations")
    assert told[2] == ["0 conversations, 0 events appended", "- holds no line: nothing came from it"]
