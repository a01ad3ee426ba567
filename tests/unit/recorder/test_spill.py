"""The spill file by itself: killed, torn, damaged, contested, and on a full disk."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.recorder.packet import Packet, write_line
from pipelines.recorder.spill import DAMAGED, REFUSED, SpillDamagedError, SpillFile, has_files
from pipelines.store import NewEvent, stream_id

AT = datetime(2026, 1, 1, tzinfo=UTC)


def packet(number: int, size: int = 0) -> Packet:
    event = NewEvent("user.utterance.v1", {"text": f"{number} Zoë{'x' * size}"}, {}, AT)
    return Packet(write_line(stream_id("s", "c"), "conversation", [event]), number)


def numbers(file: SpillFile, packets: int = 100) -> list[int]:
    """Read the next packets, as if the store had taken them."""
    found = file.read(packets, 10**9)
    told = [each.expected for each in found]
    file.forget(found)
    return told


def adopted(folder: Path) -> SpillFile:
    file = SpillFile.adopt(folder)
    assert file is not None
    return file


WRITE = """
import sys
from pathlib import Path
from tests.unit.recorder.test_spill import SpillFile, packet
file = SpillFile.create(Path(sys.argv[1]))
for number in range(1000):
    file.append([packet(number, 3000)])
    print(number, flush=True)
"""


def killed_writer(folder: Path, after: int) -> int:
    """Kill a process that appends, once it has told of so many; answer the last of which it told."""
    command = [sys.executable, "-c", WRITE, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        for _ in range(after):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        return [after - 1, *map(int, process.stdout)][-1]


def test_a_killed_writer_keeps_what_it_was_told_is_safe(tmp_path: Path) -> None:
    """`kill -9` of who appends: all that it was told of is there, once and in order; at most the one that was cut off is more."""
    last = killed_writer(tmp_path, 30)
    file = adopted(tmp_path)
    found = numbers(file, 10_000)
    assert found == list(range(len(found)))
    assert len(found) - 1 in (last, last + 1)
    file.remove()
    assert list(tmp_path.iterdir()) == []


@given(cut=st.integers(0, 10**6))
@hypothesis_settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_log_costs_only_its_end(tmp_path: Path, cut: int) -> None:
    """Whatever the byte at which the last writes were cut off, what is before them is read, and the file goes on."""
    file = SpillFile.create(tmp_path)
    ends = []
    log = Path(f"{file.path}-wal")
    for number in range(6):
        file.append([packet(number)])
        ends.append(log.stat().st_size)
    # as the disk has it when the machine stops: copied beside its owner, who would tidy up
    folder = tmp_path / "copy"
    folder.mkdir(exist_ok=True)
    copy = folder / file.path.name
    keep = cut % (ends[-1] + 1)
    copy.write_bytes(file.path.read_bytes())
    Path(f"{copy}-wal").write_bytes(log.read_bytes()[:keep])
    file.remove()
    other = adopted(folder)
    assert numbers(other) == [number for number, end in enumerate(ends) if end <= keep]
    other.append([packet(9)])
    assert numbers(other) == [9]
    other.remove()


def test_an_amendment_outlives_its_writer(tmp_path: Path) -> None:
    """Where a packet was about to go, and which was refused, is known to whoever drains the file next."""
    file = SpillFile.create(tmp_path)
    packets = [packet(n) for n in range(3)]
    file.append(packets)
    packets[1].expected, packets[1].is_late = 41, True
    file.amend(packets[1])
    file.forget(packets[:1])
    file.close()
    other = adopted(tmp_path)
    read = other.read(100, 10**9)
    assert [(p.expected, p.is_late) for p in read] == [(41, True), (2, False)]
    assert [p.content().events for p in read] == [packet(n).content().events for n in (1, 2)]
    other.remove()


def test_a_drain_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What was sent is not sent again by the next owner, and packets and bytes are those that are left."""
    file = SpillFile.create(tmp_path)
    file.append([packet(n) for n in range(5)])
    assert numbers(file, 2) == [0, 1]
    file.close()
    other = adopted(tmp_path)
    assert (other.packets, other.size) == (3, sum(len(packet(n).line) for n in (2, 3, 4)))
    assert numbers(other) == [2, 3, 4]
    assert (other.packets, other.size) == (0, 0)
    other.remove()


def test_a_read_is_bounded_by_bytes_and_brings_one_at_least(tmp_path: Path) -> None:
    """A packet larger than the bound comes alone."""
    file = SpillFile.create(tmp_path)
    file.append([packet(0, 5_000), packet(1), packet(2)])
    assert [each.expected for each in file.read(10, 100)] == [0]
    assert [each.expected for each in file.read(10, len(packet(0, 5_000).line) + len(packet(1).line))] == [0, 1]
    file.remove()


@pytest.mark.parametrize("line", ["'###' || x'ff'", "'{\"events\": 1}'", "'{}'"])
def test_a_spoiled_row_is_set_aside_once_and_the_rest_is_read(tmp_path: Path, line: str) -> None:
    """A packet that disk or hand has spoiled is kept for a person; it holds nothing up."""
    file = SpillFile.create(tmp_path)
    file.append([packet(n) for n in range(3)])
    file.close()
    with sqlite3.connect(file.path) as other:
        other.execute(f"UPDATE packets SET line = {line} WHERE id = 2")
    other.close()
    spoiled = adopted(tmp_path)
    assert [each.expected for each in spoiled.read(100, 10**9)] == [0, 2]
    assert numbers(spoiled) == [0, 2]
    assert spoiled.packets == 0
    assert "damaged" in json.loads((tmp_path / REFUSED).read_text())["reason"]
    spoiled.remove()


@pytest.mark.parametrize("where", ["head", "rows"])
def test_a_damaged_file_is_told_and_set_aside(tmp_path: Path, where: str) -> None:
    """A file that SQLite cannot read gets another name, and the others are still found."""
    file = SpillFile.create(tmp_path)
    file.append([packet(n, 3_000) for n in range(10)])
    file.close()
    data = file.path.read_bytes()
    size = len(data)
    file.path.write_bytes(b"#" * 100 + data[100:] if where == "head" else data[:4096] + b"#" * (size - 4096))
    with pytest.raises(SpillDamagedError, match=rf"damaged and set aside as {file.path.name}{DAMAGED}"):
        adopted(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [f"{file.path.name}{DAMAGED}"]
    assert SpillFile.adopt(tmp_path) is None
    assert not has_files(tmp_path)


def test_a_file_has_one_owner(tmp_path: Path) -> None:
    """A file in use is nobody else's, in this process or another; given up, it is the next one's; drained, it is gone."""
    file = SpillFile.create(tmp_path)
    file.append([packet(0)])
    assert SpillFile.adopt(tmp_path) is None
    code = "import sys; from pathlib import Path; from pipelines.recorder.spill import SpillFile\nprint(SpillFile.adopt(Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stdout == "None\n"
    file.append([packet(1)])
    assert SpillFile.adopt(tmp_path) is None
    file.close()
    other = adopted(tmp_path)
    assert SpillFile.adopt(tmp_path) is None
    assert numbers(other) == [0, 1]
    other.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_open", [False, True])
def test_a_file_that_goes_while_it_is_found_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    """Between its making and its locking another recorder may find a file empty and remove it: the owner makes another."""
    real, taken = sqlite3.connect, []

    def late(name: str, **options: object) -> sqlite3.Connection:
        opened = real(name, **options) if is_open or taken else None
        if not taken:
            taken.append(next(tmp_path.glob("*.spill.sqlite")))
            taken[0].unlink()
        return opened or real(name, **options)

    monkeypatch.setattr(sqlite3, "connect", late)
    file = SpillFile.create(tmp_path)
    assert file.path != taken[0]
    assert {entry.name for entry in tmp_path.iterdir()} == {file.path.name, f"{file.path.name}-wal"}
    file.close()
    taken.clear()
    assert SpillFile.adopt(tmp_path) is None
    assert list(tmp_path.glob("*.sqlite")) == []


def test_its_owners_account_alone_reads_it(tmp_path: Path) -> None:
    """Recorded texts are in the file and in its log: both are 0600, and the folder 0700, whatever the umask."""
    former = os.umask(0)
    try:
        file = SpillFile.create(tmp_path / "spool")
        file.append([packet(0)])
    finally:
        os.umask(former)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").iterdir()}
    assert modes == {file.path.name: 0o600, f"{file.path.name}-wal": 0o600}
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    file.remove()


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """An append that finds no room is undone as a whole, and the next one is read after what was there."""
    file = SpillFile.create(tmp_path)
    file.append([packet(0)])
    file._connection.execute("PRAGMA max_page_count = 4")
    several = [packet(1), packet(2, 200_000)]
    with pytest.raises(OSError, match="full"):
        file.append(several)
    assert [each.row for each in several] == [None, None]
    file.append([packet(3)])
    assert numbers(file) == [0, 3]
    file.remove()


def test_what_cannot_be_deleted_is_not_read_again(tmp_path: Path) -> None:
    """Where there is no room to write that it was sent, a packet is sent once, and the file goes as a whole."""
    file = SpillFile.create(tmp_path)
    file.append([packet(n) for n in range(4)])
    file._connection.execute("PRAGMA query_only = ON")
    assert [numbers(file, 3), file.is_spent, numbers(file, 3), file.is_spent] == [[0, 1, 2], False, [3], True]
    assert (file.packets, file.size) == (0, 0)
    file.remove()
    assert list(tmp_path.iterdir()) == []
