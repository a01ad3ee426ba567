"""What is found in a payload is hidden by the redactions that are made of it, whatever the payload and however it spells the value."""

from __future__ import annotations

import html
import json
import unicodedata
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipelines.errors import BadInputError
from pipelines.log.redaction import HIDDEN, Redaction, redact
from pipelines.redaction.hidden import hidden_by
from pipelines.redaction.payload import find_hits
from pipelines.redaction.selection import Wanted
from pipelines.redaction.spelling import fold, mapped, mapped_readings, readings
from pipelines.redaction.value import SHORT, Value

LETTERS = st.text(st.sampled_from('abcJoeMü\u0308ßIİK \\"/&%<>{}[]0159\n\té\u1100\u1161😀-.'), max_size=12)
VALUES = st.one_of(
    st.sampled_from(
        ["Joe Müller", "4711-0815", "12.5", 'say "x\\y"', "a@b.example", "A-1", "Zoë", "Straße 5", "][a]["]
    ),
    st.text(min_size=4, max_size=9),
)
SPELLINGS = (
    lambda value: value,
    str.upper,
    lambda value: unicodedata.normalize("NFD", value),
    json.dumps,
    lambda value: json.dumps({"name": value, "of": [json.dumps([value])]}, ensure_ascii=False),
    html.escape,
    quote,
    lambda value: "".join(f"\\u{unit:04x}" for unit in _units(value)),
)


def _units(text: str) -> list[int]:
    raw = text.encode("utf-16-le", "replace")
    return [int.from_bytes(raw[at : at + 2], "little") for at in range(0, len(raw), 2)]


def value_of(text: str) -> Value | None:
    """A value, or None where it is refused."""
    try:
        return Value(text)
    except BadInputError:
        return None


def decoded(value: Any) -> list[str]:
    """Every text of JSON values, by a walk of its own: names, strings, numbers, and what is JSON within strings."""
    if isinstance(value, dict):
        return [text for name, inner in value.items() for text in (name, *decoded(inner))]
    if isinstance(value, list):
        return [text for inner in value for text in decoded(inner)]
    if isinstance(value, str):
        try:
            inner = json.loads(value)
        except (ValueError, RecursionError):
            return [value]
        return [value, *(decoded(inner) if inner != value else [])]
    return [] if value is None or isinstance(value, bool) else [json.dumps(value)]


def small(text: str) -> str:
    """In small letters; composed, since an e with a mark after it is another letter, however it is written."""
    return unicodedata.normalize("NFC", text).lower()


@st.composite
def payloads(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A value, and a payload that holds it in some spellings at some places, between other texts."""
    value = draw(VALUES)
    held = st.builds(lambda a, spell, b: a + spell(value) + b, LETTERS, st.sampled_from(SPELLINGS), LETTERS)
    leaf = st.one_of(held, LETTERS, st.integers(0, 10**6), st.floats(allow_nan=False, allow_infinity=False), st.none())
    tree = st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.one_of(LETTERS, st.just(value)), inner, max_size=3)
        ),
        max_leaves=8,
    )
    names = ("text", "content", "call_id", "name", "arguments", "messages", "output")
    return value, draw(st.dictionaries(st.sampled_from(names), tree, min_size=1, max_size=4))


@settings(max_examples=250)
@example(("a@b.example", {"text": "a@b.example\u0308", "content": "a@b.exampl\u00eb, a@b.example"}), [])
@given(payloads(), st.lists(st.builds(Redaction, st.sampled_from(["/text", "/content/0", "/arguments"])), max_size=2))
def test_nothing_of_it_stands_afterwards(given_: tuple[str, dict[str, Any]], applied: list[Redaction]) -> None:
    """After the redactions the value is in no text of the payload, decoded; and again there is nothing to do."""
    text, payload = given_
    value = value_of(text)
    if value is None:
        return
    wanted = Wanted.of_value(value)
    hits = find_hits("user.utterance.v1", payload, applied, wanted.find)
    assert not hits.is_left
    redactions = [*applied, *(hit.redaction for hit in hits.hits)]
    shown = redact(payload, redactions).payload
    if len(text) >= SHORT:
        assert not [each for each in decoded(shown) if small(text) in small(each)]
    assert not any(value.stands_in(each) for each in decoded(shown))
    again = find_hits("user.utterance.v1", payload, redactions, wanted.find)
    assert again.hits == ()


@settings(max_examples=200)
@given(st.text(max_size=30) | LETTERS)
def test_readings_are_the_same_with_their_places(text: str) -> None:
    """What a text is read as does not depend on whether one asks where it came from."""
    assert list(readings(text)) == [each.text for each in mapped_readings(text)]
    for each in mapped_readings(text):
        assert len(each.text) == len(each.starts) == len(each.ends)
        assert all(0 <= start < end <= len(text) for start, end in zip(each.starts, each.ends, strict=True))
    assert mapped(text, fold).text == fold(text)


@settings(max_examples=200)
@given(VALUES, LETTERS, st.sampled_from(SPELLINGS), LETTERS)
def test_a_value_is_found_in_every_spelling(text: str, before: str, spell: Any, after: str) -> None:
    """Wherever a spelling of it stands between other words, it is found; and the ranges are of the text."""
    value = value_of(text)
    if value is None:
        return
    whole = f"{before} {spell(text)} {after}"
    ranges = value.find(whole)
    assert value.stands_in(whole) == bool(ranges)
    assert all(0 <= start < end <= len(whole) for start, end in ranges)
    if len(text) >= SHORT and not set(text + before + after) & set("%&\\"):
        assert ranges


def test_short_values_are_words_of_their_own() -> None:
    """Two or three characters are found as a word in their own case, and not within other words."""
    assert Value("Al").find("Al and al, Also Al.") == [(0, 2), (16, 18)]
    assert Value("ALSO").find("Also") == [(0, 4)]


@pytest.mark.parametrize("text", ["", "  ", "a", " a ", "redacted", "[Redacted", "acted]"])
def test_values_that_stand_everywhere_are_refused(text: str) -> None:
    """One character, or a part of what stands for hidden values, would always be found."""
    with pytest.raises(BadInputError):
        Value(text)


def test_an_utterance_is_hidden_once() -> None:
    """Its content is hidden with its text, so only the text is named, and the rest of it stays."""
    payload = {"text": "I am Joe Smith.", "content": [{"type": "text", "text": "I am Joe Smith."}]}
    hits = find_hits("user.utterance.v1", payload, [], Wanted.of_value(Value("joe smith")).find).hits
    assert [each.redaction for each in hits] == [Redaction("/text", 5, 14)]
    assert (hits[0].before, hits[0].found, hits[0].after) == ("I am ", "Joe Smith", ".")
    assert redact(payload, [hits[0].redaction]).payload == {"text": f"I am {HIDDEN}.", "content": HIDDEN}


def test_arguments_stay_json() -> None:
    """A span in a string of JSON covers whole escapes: what is left can be read."""
    arguments = json.dumps({"name": 'Jo "Müller" x', "n": 1})
    payload = {"call_id": "c", "name": "f", "arguments": arguments}
    hits = find_hits("tool.call.v1", payload, [], Wanted.of_value(Value('"Müller"')).find).hits
    shown = redact(payload, [each.redaction for each in hits]).payload
    assert json.loads(shown["arguments"]) == {"name": f"Jo {HIDDEN} x", "n": 1}


def test_what_a_sentence_shows_is_not_what_was_hidden_before() -> None:
    """Around a hit stands what may be shown: what another redaction hides is not told."""
    payload = {"text": "Joe lives in Ulm, tell 4711-0815 to him"}
    hits = find_hits(
        "user.utterance.v1", payload, [Redaction("/text", 13, 16)], Wanted.of_value(Value("4711-0815")).find
    )
    assert hits.hits[0].before == f"Joe lives in {HIDDEN}, tell "


def test_hidden_texts_are_things_or_coarse() -> None:
    """A name is looked for; a sentence, an object with a digit and one character are coarse."""
    payload = {"text": "x " * 60, "arguments": {"name": "Joe Smith", "n": 5}, "output": 'Jo \\u00fc "x"'}
    named = hidden_by(payload, [Redaction("/arguments/name")])
    assert ([each.text for each in named.values], named.is_coarse) == (["Joe Smith"], False)
    assert hidden_by(payload, [Redaction("/text")]).is_coarse
    assert hidden_by(payload, [Redaction("/arguments")]).is_coarse
    assert 'Jo ü "x"' in [each.text for each in hidden_by(payload, [Redaction("/output")]).values]
    assert named.cut("tell JOE SMITH, please") == f"tell {HIDDEN}, please"
