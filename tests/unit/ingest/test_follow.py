"""Which files of a folder are read, told from files that were made so."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.ingest.follow.folder import Known, Memory, Seen, Stamp, ends_in_half_a_line, has_changes, look, sha256_of
from pipelines.settings import Settings

NOW = 2_000_000_000 * 10**9
OLD = NOW - 3_600 * 10**9


def write(path: Path, text: str, at_ns: int = OLD) -> Path:
    """A file that was last changed then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(at_ns, at_ns))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder to follow."""
    path = tmp_path / "logs"
    path.mkdir()
    return path


def remembered(tmp_path: Path, *seen: dict[str, Known]) -> Memory:
    """What is loaded of a note that was saved with these files."""
    memory = Memory(tmp_path / "note.json", "log")
    for each in seen:
        memory.files |= each
    memory.save()
    return Memory.load(memory.path, "log")


def test_new_grown_unchanged(folder: Path, tmp_path: Path) -> None:
    """A file is new once, unchanged while it is as it was, touched or not, and grown when its bytes are others."""
    for name in ("a.jsonl", "deep/b.jsonl", "c\udcff.jsonl"):
        write(folder / name, '{"a": 1}\n')
    first = look(folder, Memory(tmp_path / "note.json", "log"), NOW)
    assert list(first.new) == ["a.jsonl", "c\udcff.jsonl", "deep/b.jsonl"]
    memory = remembered(tmp_path, first.new)
    assert (memory.path.stat().st_mode & 0o777, memory.files) == (0o600, first.new)
    assert list(look(folder, memory, NOW).unchanged) == list(first.new)
    assert not has_changes(folder, memory, NOW)
    write(folder / "a.jsonl", '{"a": 1}\n', OLD + 1)
    touched = look(folder, memory, NOW)
    assert list(touched.unchanged) == list(first.new)
    assert touched.unchanged["a.jsonl"].stamp.changed_ns == OLD + 1
    write(folder / "deep/b.jsonl", '{"a": 1}\n{"a": 2}\n')
    assert has_changes(folder, remembered(tmp_path, touched.unchanged), NOW)
    assert list(look(folder, memory, NOW).grown) == ["deep/b.jsonl"]
    (folder / "a.jsonl").unlink()
    assert "a.jsonl" not in look(folder, memory, NOW).unchanged


def test_a_file_of_another_name_or_place_is_read(folder: Path, tmp_path: Path) -> None:
    """One that takes another's name with the same size and time is another file."""
    write(folder / "a.jsonl", '{"a": 1}\n')
    memory = remembered(tmp_path, look(folder, Memory(tmp_path / "note.json", "log"), NOW).new)
    write(folder / ".b", '{"a": 2}\n').replace(folder / "a.jsonl")
    assert list(look(folder, memory, NOW).grown) == ["a.jsonl"]


def test_what_waits_and_what_is_passed_over(folder: Path, tmp_path: Path) -> None:
    """Files that are being written wait, with the reason; those that are none are not named."""
    write(folder / "young.jsonl", "{}\n", NOW - 29 * 10**9)
    write(folder / "half.jsonl", '{"a": 1}\n{"a": ')
    write(folder / "from_tomorrow.jsonl", "{}\n", NOW + 86_400 * 10**9)
    for name in (".hidden", ".git/x.jsonl", "x.tmp", "y.part", "z.db-wal"):
        write(folder / name, "{}\n")
    write(folder / "table/_delta_log/0.json", "{}\n")
    os.mkfifo(folder / "pipe")
    seen = look(folder, Memory(tmp_path / "note.json", "log"), NOW)
    assert list(seen.new) == ["from_tomorrow.jsonl"]
    assert seen.waiting == {
        "young.jsonl": "it changed less than 30 seconds ago",
        "half.jsonl": "its last line is not whole",
    }
    assert list(seen.passed_over) == ["table"]
    assert list(look(folder, Memory(tmp_path / "note.json", "log"), NOW, settle=0).waiting) == ["half.jsonl"]


def test_a_link_to_nothing_is_told(folder: Path, tmp_path: Path) -> None:
    """What cannot be read is refused, and tried each time."""
    (folder / "gone.jsonl").symlink_to(folder / "nowhere")
    memory = Memory(tmp_path / "note.json", "log")
    assert "cannot be read" in look(folder, memory, NOW).unreadable["gone.jsonl"]
    assert not has_changes(folder, memory, NOW)


def test_a_database_has_grown_with_what_stands_beside_it(folder: Path, tmp_path: Path) -> None:
    """What SQLite has written and not put into the file yet is of the file."""
    path = write(folder / "s.db", "SQLite")
    before = (Stamp.of(path), sha256_of(path))
    memory = remembered(tmp_path, look(folder, Memory(tmp_path / "note.json", "log"), NOW).new)
    write(folder / "s.db-wal", "more")
    assert (Stamp.of(path), sha256_of(path)) != before
    assert list(look(folder, memory, NOW).grown) == ["s.db"]


def test_a_note_of_another_log_or_none(folder: Path, tmp_path: Path) -> None:
    """It is forgotten; a damaged one, too."""
    write(folder / "a.jsonl", "{}\n")
    memory = remembered(tmp_path, look(folder, Memory(tmp_path / "note.json", "log"), NOW).new)
    assert Memory.load(memory.path, "another").files == {}
    assert Memory.load(memory.path, None) == memory
    for text in ("", "[]", "{}", '{"log": 1, "files": {"a": {}}}', '{"log": "log", "files": {"a": {"stamp": 1}}}'):
        memory.path.write_text(text)
        assert Memory.load(memory.path, "log").files == {}
    with pytest.raises(BadInputError, match="no folder"):
        look(folder / "none", memory, NOW)
    assert Seen().new == {}


documents = st.recursive(st.none() | st.integers() | st.text(max_size=5), lambda each: st.lists(each, max_size=3))


@given(
    values=st.lists(st.dictionaries(st.text(max_size=3), documents, min_size=1, max_size=3), min_size=1, max_size=4),
    cut=st.integers(min_value=1),
)
def test_half_a_line(tmp_path_factory: pytest.TempPathFactory, values: list[dict[str, object]], cut: int) -> None:
    """Whole lines and documents are whole, with a newline or without; a last line that is cut within is not."""
    path = tmp_path_factory.getbasetemp() / "half.jsonl"
    lines = [json.dumps(value) for value in values]
    for text in ("\n".join(lines), "\n".join(lines) + "\n", json.dumps(values), json.dumps(values, indent=2)):
        path.write_text(text)
        assert not ends_in_half_a_line(path)
    last = lines[-1][: cut % (len(lines[-1]) - 1) + 1]
    path.write_text("\n".join([*lines[:-1], last]))
    assert ends_in_half_a_line(path)


@pytest.mark.parametrize("data", [b"", b"\n", b'a,b\n"{"', b"\x1f\x8b{", b"PAR1\n{x", b"# title\n[x"])
def test_what_is_no_json_is_not_half(tmp_path: Path, data: bytes) -> None:
    """Only files that begin as JSON have lines of JSON."""
    (tmp_path / "x").write_bytes(data)
    assert not ends_in_half_a_line(tmp_path / "x")


def test_a_long_last_line(tmp_path: Path) -> None:
    """It is read from its end in growing steps."""
    path = tmp_path / "x"
    path.write_text("{}\n" + json.dumps({"a": "x" * 1_000_000}))
    assert not ends_in_half_a_line(path)
    path.write_text(path.read_text()[:-1])
    assert ends_in_half_a_line(path)


def test_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of form and folder, whole paths, each once."""
    monkeypatch.chdir(tmp_path)
    told = Settings.from_env({"REFOLD_FOLLOW": " otlp:/var/otel; auto: logs:1 ;;otlp:/var/otel;"}).follow
    assert told == (("otlp", Path("/var/otel")), ("auto", tmp_path / "logs:1"))
    assert Settings.from_env({}).follow == ()
    for bad in ("/var/otel", "otlp:", ":/x", "Otlp:/x", "otlp /x", "otlp:/x\0"):
        with pytest.raises(BadInputError, match="REFOLD_FOLLOW"):
            Settings.from_env({"REFOLD_FOLLOW": bad})
