"""What the review renders: nothing but harmless elements, every word of the data, differences marked on their side."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.review.headline import find_version, load_headline
from pipelines.review.headline_html import render_headline
from pipelines.review.markup import fill_part, style_sheet
from pipelines.review.numbers import interval, metric_name, number, percent
from pipelines.review.pair import load_pair
from pipelines.review.pair_html import TEXT_SHOWN, compare_words, render_pair
from tests.notebooks.fragments import Fragment
from tests.notebooks.small_lake import CHANGED, EXPERIMENT, OTHER_EXPERIMENT, PICTURE, SCRIPT


@pytest.mark.parametrize("place", range(len(CHANGED)))
def test_a_pair_is_harmless_and_complete(small, place):
    """Scripts and pictures in texts, tool names and arguments are shown as text, on both sides."""
    pair = load_pair(small.lake, find_version(small.lake, EXPERIMENT), CHANGED[place]["unit_id"])
    shown = Fragment(render_pair(pair))
    assert shown.is_harmless
    assert f"[redacted]: refund {SCRIPT} {PICTURE}" in shown.words
    for text in (pair.a.text, pair.b.text):
        assert (text or "no text") in shown.words or pair.status != "ok"


def test_differences_are_marked_on_their_side(small):
    """Words and arguments of A alone are in `del`, of B alone in `ins`."""
    pair = load_pair(small.lake, find_version(small.lake, EXPERIMENT), "s1/1")
    marked = Fragment(render_pair(pair)).marked
    assert marked["del"].split() == ["Hello", "usd:", "8080"]
    assert marked["ins"].split() == ["Goodbye", "usd:", "50note:", '<b>half</b>50"<b>half</b>"']


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_arguments_recorded_as_text_are_shown_by_name(small, depth):
    """Arguments that were recorded as a JSON string, once or twice over, are names and values like all others."""
    pair = load_pair(small.lake, find_version(small.lake, EXPERIMENT), "s1/1")
    arguments = json.dumps({"usd": 80, "note": "x"})
    for _ in range(depth):
        arguments = json.dumps(arguments)
    shown = Fragment(render_pair(replace(pair, calls=(replace(pair.calls[0], arguments_a=arguments),))))
    assert "usd: 80\nnote: x" in shown.words


def test_a_failed_pair_says_why(small):
    """A pair that B did not answer says so in words."""
    pair = load_pair(small.lake, find_version(small.lake, EXPERIMENT), "s4/1")
    assert "B gave no answer: the candidate raised an error." in Fragment(render_pair(pair)).words


def test_transcripts_can_be_opened(small):
    """Paired conversations bring both transcripts."""
    pair = load_pair(small.lake, find_version(small.lake, OTHER_EXPERIMENT), "s1")
    shown = Fragment(render_pair(pair))
    assert shown.is_harmless
    assert "All of A's conversation (4 messages)" in shown.words
    assert "All of B's conversation (4 messages)" in shown.words


def test_the_headline_is_harmless_and_says_the_numbers(small):
    """Shares, classes and metrics appear with their intervals; filters and segment values are text."""
    headline = load_headline(small.lake, find_version(small.lake, EXPERIMENT))
    shown = Fragment(render_headline(headline))
    assert shown.is_harmless
    for words in (
        "vertical = '<i>retail</i>'",
        "vertical: <b>retail</b>",
        "5 of 8",
        "30.0% to 86.0%",
        "−40 to +8.50",
        "all pairs: 560 → 450",
        "not enough data",
        "about 120 conversations needed, 8 seen",
        "fewer than 20 conversations",
        "other tool calls",
    ):
        assert words in shown.words


def texts(a: str | None, b: str | None) -> list[Fragment]:
    """Both sides as the page has them."""
    return [
        Fragment(fill_part("pair.html", "said", said, letter).strip("\n"))
        for said, letter in zip(compare_words(a, b), "ab", strict=True)
    ]


@given(st.text(alphabet="ab <&\n", max_size=30), st.text(alphabet="ab <&\n", max_size=30))
@example("", "a")
@example("a", "a")
def test_marked_texts_are_the_texts(a, b):
    """Marking words changes no word: each side reads as its text, and equal texts have no mark."""
    for shown, text, mark in zip(texts(a, b), (a, b), ("del", "ins"), strict=True):
        assert shown.words == (text or "an empty text")
        assert shown.tags <= {"div", "p", mark}
        assert a != b or not shown.marked[mark]


def test_long_texts_are_cut_and_say_so():
    """A text beyond the bound is shown in part, with the number of characters that are not."""
    a, b = texts("x " * TEXT_SHOWN, "x")
    assert f"{TEXT_SHOWN:,} more characters" in a.words
    assert "more characters" not in b.words


def test_no_text_is_not_an_empty_text():
    """A side that said nothing and one that said an empty text are told apart."""
    assert [side.words for side in texts(None, "")] == ["no text", "an empty text"]


def test_the_style_sheet_loads_nothing():
    """The style sheet fetches no font, picture or sheet."""
    assert not any(word in style_sheet().lower() for word in ("url(", "@import", "http", "expression"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (0, "0"),
        (-0.00242, "−0.00242"),
        (1234.5, "1,234"),
        (147.03, "147.03"),
        (-80, "−80"),
        (0.5, "0.5"),
    ],
)
def test_numbers_for_readers(value, expected):
    """Unknown is a dash, never 0; digits that do not matter are left out."""
    assert number(value) == expected


def test_signs_intervals_and_names():
    """Differences carry their sign, unknown bounds make no interval, units stand in brackets."""
    assert (number(3.0, is_signed=True), number(-3.0, is_signed=True)) == ("+3", "−3")
    assert (interval(None, None), interval(0.1, 0.25, is_share=True), percent(None)) == ("–", "10.0% to 25.0%", "–")
    assert (interval(None, 1.0), interval(0.1, None, is_share=True)) == ("at most +1", "at least 10.0%")
    assert [metric_name(name) for name in ("calls", "refund_usd", "wait_ms", "good_end")] == [
        "Tool calls",
        "Refund (USD)",
        "Wait (ms)",
        "Good end",
    ]
