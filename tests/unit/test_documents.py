"""Files that a person hands in: what they say, and what is refused, with its line."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipelines.documents import MAX_BYTES, DocumentError, find_file, parse_json, parse_yaml, read_document

_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=8)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100_000.0),
        (".5e1", 5.0),
        ("+1e3", 1000.0),
        ("1e0", 1.0),
        ("-1.5E-2", -0.015),
        ("1.", 1.0),
        ("010", 10),
        ("+7", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("22:00", "22:00"),
        ("1:30", "1:30"),
        ("22:00-06:00 UTC", "22:00-06:00 UTC"),
        ("2026-05-01", "2026-05-01"),
        ("2026-05-01T12:00:00Z", "2026-05-01T12:00:00Z"),
        ("yes", "yes"),
        ("No", "No"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1e-3'", "1e-3"),
        ('"null"', "null"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        (".", "."),
        ("-", [None]),
        ("0b101", "0b101"),
        ("1__0", "1__0"),
    ],
)
def test_the_core_schema_of_yaml_1_2(written: str, value: Any):
    """Plain words are what YAML 1.2 says, whatever the library's own older rules."""
    found = parse_yaml(f"a: {written}" if written != "-" else "a:\n  -", "f").value["a"]
    assert found == value
    assert type(found) is type(value)


@given(value=_VALUES)
def test_what_json_says_yaml_says(value: Any):
    """JSON text means the same to both readers, and a document that the library writes is read back."""
    text = json.dumps(value)
    assert parse_json(text, "f").value == value
    assert parse_json(json.dumps(value, indent=2, ensure_ascii=False), "f").value == value
    written = yaml.safe_dump({"v": value}, allow_unicode=False)
    found = parse_yaml(written, "f").value["v"]
    assert found == _keys_as_text(value)


def _keys_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _keys_as_text(each) for key, each in value.items()}
    return [_keys_as_text(each) for each in value] if isinstance(value, list) else value


TWICE = {
    "plain": ("a: 1\nb: 2\na: 3\n", 3, 1),
    "quoted": ("a: 1\n'a': 3\n", 2, 1),
    "escaped": ('a: 1\n"\\x61": 3\n', 2, 1),
    "number": ('1: x\n"1": y\n', 2, 1),
    "boolean": ("true: x\n'true': y\n", 2, 1),
    "flow": ("a: {b: 1,\n  b: 2}\n", 2, 1),
    "nested": ("a:\n  - b: 1\n    c: 2\n    b: 3\n", 4, 2),
    "the same value": ("a: 1\na: 1\n", 2, 1),
    "merge": ("x: &x {a: 1}\ny: &y {b: 1}\nz:\n  <<: *x\n  <<: *y\n", 5, 4),
    "beside a merge": ("x: &x {a: 1}\nz:\n  <<: *x\n  a: 1\n  a: 2\n", 5, 4),
    "inside of an anchor": ("x: &x\n  a: 1\n  a: 2\nz: *x\n", 3, 2),
    "three": ("a: 1\n\n\na: 2\na: 3\n", 4, 1),
    "of a merge's source": ("z:\n  <<: {a: 1, a: 2}\n", 2, 2),
}


@pytest.mark.parametrize("name", TWICE)
def test_a_key_stands_once(name: str):
    """A key given twice is refused with both lines, however it is spelled and however deep."""
    text, second, first = TWICE[name]
    with pytest.raises(DocumentError, match=rf"^f: line {second}: .* is given twice, first in line {first};"):
        parse_yaml(text, "f")


@given(value=st.dictionaries(_TEXTS, st.integers(), min_size=1, max_size=6), data=st.data())
def test_a_key_of_json_stands_once(value: dict[str, int], data: st.DataObject):
    """One key of any object, once more somewhere after it, however it is escaped: both lines are told."""
    keys = list(value)
    key = data.draw(st.sampled_from(keys))
    spelled = json.dumps(key, ensure_ascii=data.draw(st.booleans()))
    lines = [f"{json.dumps(each, ensure_ascii=data.draw(st.booleans()))}: {value[each]}" for each in keys]
    text = "{\n" + ",\n".join([*lines, f"{spelled}: 0"]) + "\n}"
    wrapped = f'[{{"a": []}}, {{"x": {text}}}]'
    with pytest.raises(DocumentError) as told:
        parse_json(wrapped, "f")
    assert f"line {len(keys) + 2}: 1.x.{key} is given twice, first in line {keys.index(key) + 2};" in str(told.value)


def test_a_merge_fills_in_what_is_not_written():
    """`<<` is the default, the mapping's own keys go before it, and of several an earlier one before a later one."""
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc:\n  <<: [*a, *b]\n  x: 3\nd: {<<: *b}\ne: {'<<': 1}\n"
    found = parse_yaml(text, "f").value
    assert found["c"] == {"x": 3, "y": 1, "z": 2}
    assert found["d"] == {"y": 2, "z": 2}
    assert found["e"] == {"<<": 1}


_LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
REFUSED = {
    "billion laughs": (_LAUGHS, "more than 100,000 values"),
    "laughs by merges": (
        "a0: &a0 {x0: 1}\n" + "".join(f"a{n}: &a{n} {{<<: *a{n - 1}, y{n}: *a{n - 1}}}\n" for n in range(1, 40)),
        "more than 100,000 values",
    ),
    "alias of itself": ("a: &a [*a]\n", r"line 1: \*a is inside of what it names"),
    "alias of nothing": ("a: *b\n", r"\*b names nothing"),
    "deep": ("[" * 3000, "nested more than 64 deep"),
    "deep blocks": ("\n".join(" " * n + "a:" for n in range(200)), "nested more than 64 deep"),
    "many": ("- 1\n" * 200_000, "more than 100,000 values"),
    "large": ("#" * (MAX_BYTES + 1), "larger than"),
    "infinity": ("a: 1\nb: .inf", "line 2: .inf is no number"),
    "minus infinity": ("a: -.INF", "is no number"),
    "no number": ("a: .NaN", "is no number"),
    "huge": ("a: 1e999", "larger than any number"),
    "digits": (f"a: {'9' * 5000}", "the number is too long"),
    "tag": ("a: !!python/name:os.system x", "the tag .* is not read"),
    "own tag": ("a: !secret x", "the tag .* is not read"),
    "tag of a list": ("a: !!set {b}", "the tag .* is not read"),
    "key that is a list": ("? [a]\n: 1", "a key is plain or quoted text"),
    "empty key": ("? \n: 1", "a key is empty"),
    "two documents": ("a: 1\n---\nb: 1\n", "line 2: a second document"),
    "merge of a number": ("a: {<<: 1}", "<< takes a mapping"),
    "tab": ("a:\n\tb: 1", "line 2: not valid YAML"),
    "control character": ("a: \x07", "not valid YAML"),
    "open": ("a: [1, 2", "not valid YAML"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str):
    """Too large, too deep, endless by aliases, tags, what is no number: refused before it is built, with its line."""
    text, told = REFUSED[name]
    with pytest.raises(DocumentError, match=told):
        parse_yaml(text, "f")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": NaN}', "NaN is no number"),
        ('{"a": -Infinity}', "is no number"),
        ('{"a": 1e999}', "larger than any number"),
        ("[" * 100_000, "too deep"),
        ("[" * 100 + "]" * 100, "nested more than 64 deep"),
        ('{"a": 1,\n"b": }', "line 2: not valid JSON"),
        ('{"a": "\\ud800"}', "half of a pair"),
        (f"[{'9' * 5000}]", "not valid JSON"),
    ],
)
def test_what_json_is_refused(text: str, told: str):
    """The same of JSON."""
    with pytest.raises(DocumentError, match=told):
        parse_json(text, "f")


def test_files_that_are_none(tmp_path: Path):
    """A pipe is not waited for, a device not read; what is too large or no text is said."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "large.yaml").write_bytes(b" " * (MAX_BYTES + 1))
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    (tmp_path / "folder.yaml").mkdir()
    for name, told in {
        "pipe.yaml": "not a regular file",
        "folder.yaml": "Is a directory|not a regular file",
        "large.yaml": "larger than",
        "latin.yaml": "not UTF-8",
        "none.yaml": "No such file",
    }.items():
        with pytest.raises(DocumentError, match=told):
            read_document(tmp_path / name, "manifest")
    with pytest.raises(DocumentError, match="not a regular file"):
        read_document(Path("/dev/zero"), "manifest")
    (tmp_path / "marked.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_document(tmp_path / "marked.json", "").value == [1]


def test_files_stay_in_their_folder(tmp_path: Path):
    """What a document names is in its folder, wherever links and dots lead, or in a folder that the user names."""
    folder, other = tmp_path / "experiment", tmp_path / "other"
    (folder / "below").mkdir(parents=True)
    other.mkdir()
    (other / "secret.md").write_text("secret")
    (folder / "below" / "prompt.md").write_text("prompt")
    (folder / "inside.md").symlink_to(folder / "below" / "prompt.md")
    (folder / "outside.md").symlink_to(other / "secret.md")
    (folder / "away").symlink_to(other)
    (folder / "loop.md").symlink_to(folder / "loop.md")
    for name in ("below/prompt.md", "inside.md", "below/../inside.md", str(folder / "inside.md")):
        assert find_file(name, folder, "prompt_file") == (folder / "below" / "prompt.md").resolve()
    for name in ("../other/secret.md", str(other / "secret.md"), "outside.md", "away/secret.md", "/proc/self/environ"):
        with pytest.raises(DocumentError, match="--allow-files"):
            find_file(name, folder, "prompt_file")
    assert find_file("outside.md", folder, "prompt_file", [other]) == (other / "secret.md").resolve()
    for name in ("none.md", "loop.md", "a\0b"):
        with pytest.raises(DocumentError, match="cannot be read"):
            find_file(name, folder, "prompt_file")


def test_all_findings_at_once():
    """What is wrong is told in the order of lines, once each, with the line of the nearest place that is written."""
    document = parse_yaml("a: 1\nb:\n  c: [1, 2]\n", "f.yaml")
    with pytest.raises(DocumentError) as told:
        document.refuse([(("b", "c", 1), "is wrong"), (("a", "x"), "too"), ((), "as a whole"), (("a", "x"), "too")])
    assert str(told.value).splitlines() == [
        "f.yaml: 3 findings",
        "  as a whole",
        "  line 1: a.x: too",
        "  line 3: b.c.1: is wrong",
    ]


def test_numbers_are_finite():
    """No reader gives an infinity."""
    assert all(math.isfinite(parse_yaml(f"a: {text}", "f").value["a"]) for text in ("1e308", "-1e308", "1e-400"))
