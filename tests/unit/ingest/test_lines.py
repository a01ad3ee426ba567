"""Files become numbered lines: plain or gzip, whole or with a stated fault."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.ingest.reading import lines
from pipelines.ingest.reading.lines import LineReader, RawLine


def read(path: Path, **options: int) -> list[RawLine]:
    return list(LineReader(path, **options))


@given(
    data=st.lists(st.sampled_from([b"a", b"\n", b"\r\n", b"xyz" * 9, b"\xef\xbb\xbf"]), max_size=20),
    cut=st.integers(1, 9),
)
def test_lines_equal_the_plain_split(tmp_path_factory: pytest.TempPathFactory, data: list[bytes], cut: int) -> None:
    """Whatever the block size and compression, the lines are the bytes split at newlines, numbered from 1."""
    whole = b"".join(data)
    expected = whole.split(b"\n")
    if not expected[-1]:
        expected.pop()
    expected[:1] = [first.removeprefix(b"\xef\xbb\xbf") for first in expected[:1]]
    folder = tmp_path_factory.mktemp("lines")
    (folder / "plain").write_bytes(whole)
    (folder / "packed").write_bytes(gzip.compress(whole[:cut]) + gzip.compress(whole[cut:]) + b"\0\0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_BLOCK", cut + 1)
        for name in ("plain", "packed"):
            assert read(folder / name) == [RawLine(n, line) for n, line in enumerate(expected, 1)]


def test_truncated_gzip_gives_the_whole_lines_and_a_fault(tmp_path: Path) -> None:
    """At every place where a gzip file can be cut, no whole line is invented and the cut is reported."""
    packed = gzip.compress(b'{"a":1}\n{"b":2}\n' * 50)
    for cut in range(2, len(packed)):
        (tmp_path / "f").write_bytes(packed[:cut])
        *whole, last = read(tmp_path / "f")
        assert "truncated" in (last.fault or "")
        assert all(line.fault is None and line.data in (b'{"a":1}', b'{"b":2}') for line in whole)


def test_damaged_gzip_is_a_fault(tmp_path: Path) -> None:
    """Bytes changed inside a gzip file are noticed, by the checksum at the latest."""
    packed = bytearray(gzip.compress(b'{"a":"0123456789"}\n' * 3))
    packed[-6] ^= 1  # inside the CRC
    (tmp_path / "f").write_bytes(packed)
    assert "damaged" in (read(tmp_path / "f")[-1].fault or "")


def test_a_line_that_no_store_could_hold_is_cut_short(tmp_path: Path) -> None:
    """A line above the limit is a fault with its beginning, and the lines around it are untouched."""
    (tmp_path / "f").write_bytes(b"one\n" + b"x" * 5_000_000 + b"\nthree\n")
    first, second, third = read(tmp_path / "f", max_line_bytes=2_000_000)
    assert (first.data, third) == (b"one", RawLine(3, b"three"))
    assert "2,000,000 bytes" in (second.fault or "")
    assert len(second.data) <= 1000


def test_unreadable_files_are_bad_input(tmp_path: Path) -> None:
    """A missing file and a folder are named, before anything is read."""
    with pytest.raises(BadInputError, match="nothing-here"):
        LineReader(tmp_path / "nothing-here")
    with pytest.raises(BadInputError, match="folder"):
        LineReader(tmp_path)


def test_empty_files_have_no_lines(tmp_path: Path) -> None:
    """An empty file, packed or not, and a file of one BOM are legal and empty of content."""
    (tmp_path / "plain").write_bytes(b"")
    (tmp_path / "packed").write_bytes(gzip.compress(b""))
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbf")
    assert read(tmp_path / "plain") == read(tmp_path / "packed") == []
    assert [line.data for line in read(tmp_path / "bom")] == [b""]
