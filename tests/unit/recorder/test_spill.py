"""The spill file by itself: torn, damaged and contested."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.recorder.packet import Packet, write_line
from pipelines.recorder.spill import REFUSED, SpillFile
from pipelines.store import NewEvent, stream_id

AT = datetime(2026, 1, 1, tzinfo=UTC)


def packet(number: int) -> Packet:
    event = NewEvent("user.utterance.v1", {"text": f"{number} Zoë"}, {}, AT)
    return Packet(write_line(stream_id("s", "c"), "conversation", number, [event]), number)


def numbers(file: SpillFile) -> list[int]:
    packets, read_to = file.read(100, 10**9)
    file.advance(read_to)
    return [each.expected for each in packets]


@given(cut=st.integers(0, 10**6))
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_torn_end_costs_only_what_nobody_was_told_is_safe(tmp_path: Path, cut: int) -> None:
    """Whatever the byte at which a write was cut off, all whole lines are read, and the file goes on after them."""
    file = SpillFile.create(tmp_path)
    file.append([packet(n) for n in range(4)])
    size, path = file.size, file.path
    ends = [end for n in range(4) if (end := sum(len(packet(m).line) for m in range(n + 1)))]
    file.close()
    keep = cut % (size + 1)
    os.truncate(path, keep)
    adopted = SpillFile.adopt(tmp_path)
    assert adopted is not None
    assert numbers(adopted) == [n for n, end in enumerate(ends) if end <= keep]
    adopted.append([packet(9)])
    assert numbers(adopted) == [9]
    adopted.remove()


def test_an_amendment_outlives_its_writer(tmp_path: Path) -> None:
    """Where a packet was about to go, and which was refused, is known to whoever drains the file next."""
    file = SpillFile.create(tmp_path)
    packets = [packet(n) for n in range(3)]
    file.append(packets)
    packets[1].expected, packets[1].is_late = 41, True
    file.amend(packets[1])
    file.pass_over(packets[0])
    file.close()
    adopted = SpillFile.adopt(tmp_path)
    assert adopted is not None
    read, _ = adopted.read(100, 10**9)
    assert [(p.expected, p.is_late) for p in read] == [(41, True), (2, False)]
    assert [p.content().events for p in read] == [packet(n).content().events for n in (1, 2)]
    adopted.remove()


def test_a_damaged_line_is_set_aside_and_the_rest_is_read(tmp_path: Path) -> None:
    """A line that disk or hand has spoiled is kept for a person; it holds nothing up."""
    file = SpillFile.create(tmp_path)
    file.append([packet(n) for n in range(3)])
    file.close()
    data = file.path.read_bytes().splitlines(keepends=True)
    data[1] = b"#" * (len(data[1]) - 1) + b"\n"
    file.path.write_bytes(b"".join(data))
    adopted = SpillFile.adopt(tmp_path)
    assert adopted is not None
    assert numbers(adopted) == [0, 2]
    assert numbers(adopted) == []
    assert adopted.is_drained
    assert "damaged" in json.loads((tmp_path / REFUSED).read_text())["reason"]
    adopted.remove()


def test_a_file_has_one_owner(tmp_path: Path) -> None:
    """A file in use is nobody else's; given up, it is the next one's; drained, it is gone."""
    file = SpillFile.create(tmp_path)
    file.append([packet(0)])
    assert SpillFile.adopt(tmp_path) is None
    file.close()
    adopted = SpillFile.adopt(tmp_path)
    assert adopted is not None
    assert SpillFile.adopt(tmp_path) is None
    adopted.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An append that fails half-way is undone, so the next one does not continue a torn line."""
    file = SpillFile.create(tmp_path)
    file.append([packet(0)])
    real = os.pwrite

    def half(handle: int, data: bytes, at: int) -> int:
        real(handle, bytes(data)[: len(data) // 2], at)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(OSError, match="space"):
        file.append([packet(1)])
    monkeypatch.undo()
    file.append([packet(2)])
    assert numbers(file) == [0, 2]
    file.remove()
