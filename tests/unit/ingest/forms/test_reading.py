"""Files of JSON as records with their places, and fields as they are taken out of records."""

from __future__ import annotations

import copy
import gzip
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.forms.fields import at, nanoseconds, take, take_number, take_text, take_time, without
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.gathering import Found, gathered
from pipelines.ingest.forms.reading import objects, values

MEMORY = 10**8
SCALARS = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.text(max_size=5)
KEYS = st.sampled_from(["a", "b", "c"])
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=10
)
OBJECTS = st.dictionaries(KEYS, JSON, max_size=3)


def written(folder: Path, text: str, *, is_packed: bool = False) -> Path:
    path = folder / "log.jsonl"
    path.write_bytes(gzip.compress(text.encode()) if is_packed else text.encode())
    return path


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('{"a": 1}', ["log.jsonl:1"]),
        ('{"a": 1}\n\n{"a": 2}\n', ["log.jsonl:1", "log.jsonl:3"]),
        ('[{"a": 1}, {"a": 2}]', ["log.jsonl#$[0]", "log.jsonl#$[1]"]),
        ('{\n  "a": {\n    "b": 1\n  }\n}\n', ["log.jsonl"]),
        ('[\n  {"a": 1},\n  {"a": 2}\n]', ["log.jsonl#$[0]", "log.jsonl#$[1]"]),
    ],
)
def test_places(text: str, places: list[str], is_packed: bool, tmp_path: Path) -> None:
    """One document, an array, or a record a line: each record has the place where it stands."""
    assert [place for place, _ in values(written(tmp_path, text, is_packed=is_packed), MEMORY)] == places


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "log.jsonl is empty"),
        ('{"a": 1}\n{"a": }\n', "log.jsonl:2: $.a: not JSON"),
        ('{"a": 1\n', "log.jsonl:1: $"),
        ('{"a": 1}\n[2]\n', "log.jsonl:2: is an array; a record is a JSON object"),
        ('{"a": "\\ud800"}', "log.jsonl:1: $.a: the string holds the lone surrogate"),
        ('{"a": 1, "a": 2}', "log.jsonl:1: $.a: the key occurs twice"),
        ('{"a": 1e999}', "log.jsonl:1: $.a: the number 1e999 is outside"),
    ],
)
def test_damage(text: str, told: str, tmp_path: Path) -> None:
    """What is no JSON, or cannot be kept, is told with its line and path."""
    with pytest.raises(BadInputError) as caught:
        list(objects(written(tmp_path, text), MEMORY))
    assert told in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """Other bytes than UTF-8, a gzip file that ends early, a folder, and no file."""
    latin = tmp_path / "latin.json"
    latin.write_bytes('{"a": "ü"}'.encode("latin-1"))
    cut = tmp_path / "cut.json.gz"
    cut.write_bytes(gzip.compress(json.dumps({"a": "b" * 1000}).encode())[:-12])
    for path, told in (
        (latin, "not UTF-8 at byte 8"),
        (cut, "ends early"),
        (tmp_path, "is a folder"),
        (tmp_path / "no", "cannot read"),
    ):
        with pytest.raises(BadInputError, match=told):
            list(objects(path, MEMORY))


def test_a_document_that_does_not_fit(tmp_path: Path) -> None:
    """A document over many lines is refused by its size before it is parsed; lines of the same size are read."""
    row = json.dumps({"a": "x" * 1000})
    path = written(tmp_path, "[\n" + ",\n".join([row] * 2000) + "\n]")
    with pytest.raises(BadInputError, match="one JSON document of more than 1,048,576 bytes"):
        list(objects(path, 1))
    assert len(list(objects(written(tmp_path, f"{row}\n" * 2000), 1))) == 2000


@given(OBJECTS, st.lists(KEYS, min_size=1, max_size=3))
def test_what_is_taken_is_gone_and_nothing_else(record: dict[str, Any], path: list[str]) -> None:
    """A record has as many leaves less as what was taken of it; what is not taken leaves it as it was."""
    before = copy.deepcopy(record)
    for taken in (take, take_text, take_number):
        value = taken(record, *path)
        assert leaves(before) == leaves(record) + leaves(value)
        if value is None:
            assert record == before
        else:
            assert at(before, *path) == value
            assert at(record, *path) is None
        record = copy.deepcopy(before)


@given(OBJECTS, OBJECTS)
def test_what_one_record_says_and_another_does_not(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Nothing of a record is left beside itself, and all of it beside nothing; never more than it has."""
    assert leaves(without(one, one)) == 0
    assert leaves(without(one, {})) == leaves(one)
    assert leaves(without(one, other)) <= leaves(one)


@given(st.integers(0, 7 * 10**15), st.integers(0, 999), st.integers(-720, 720))
def test_times(micros: int, nanos: int, offset: int) -> None:
    """A time in text, in any zone and with up to nine digits, and as a number, is the nanoseconds that the standard library counts."""
    naive = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    text = f"{naive:%Y-%m-%dT%H:%M:%S}.{naive.microsecond:06d}{nanos:03d}"
    assert nanoseconds(text) == nanoseconds(f"{text}Z") == micros * 1000 + nanos
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    assert nanoseconds(f"{text}{zone}") == (micros - offset * 60 * 10**6) * 1000 + nanos
    assert nanoseconds(micros, "us") == micros * 1000
    assert abs((nanoseconds(micros / 10**6, "s") or 0) - micros * 1000) <= 2000


@pytest.mark.parametrize("value", [None, True, "", "soon", "[trimmed]", [], {}, float("inf"), "12:00"])
def test_what_is_no_time_stays(value: Any) -> None:
    """What cannot be read as a time is left in the record."""
    record = {"at": value}
    assert take_time(record, "at", unit="s") is None
    assert record == {"at": value}


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.integers(0, 3), st.text(max_size=3)), max_size=20))
def test_records_gathered(rows: list[tuple[str, int, str]]) -> None:
    """Conversations come as their first records were read, records in order of start and then as read; names that come late hold."""
    found = [Found(key, False, f"{n}", {"text": text}, "kind", start) for n, (key, start, text) in enumerate(rows)]
    with tempfile.TemporaryDirectory() as folder:
        made = [
            (group.key, group.is_named, [(r.place, r.value, r.kind, r.leaves) for r in group.records])
            for group in gathered(found, Options(folder=Path(folder)), {"x": "named", "y": "named"})
        ]
        assert not list(Path(folder).iterdir())
    expected: dict[str, list[Any]] = {}
    for n, (key, start, text) in enumerate(rows):
        expected.setdefault("z" if key == "z" else "named", []).append((start, n, text))
    assert made == [
        (key, key == "named", [(f"{n}", {"text": text}, "kind", 1) for _, n, text in sorted(records)])
        for key, records in expected.items()
    ]
