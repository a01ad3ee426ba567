"""What the review renders: nothing but harmless elements, every word of the data, differences marked on their side."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.review.answer import seen_in_words
from pipelines.review.conversation import Conversation, Message
from pipelines.review.conversation import _message as shown_message
from pipelines.review.headline import find_version, load_headline
from pipelines.review.headline_html import render_headline
from pipelines.review.markup import fill_part, style_sheet
from pipelines.review.numbers import interval, metric_name, number, percent
from pipelines.review.pair import load_pair
from pipelines.review.pair_html import TEXT_SHOWN, compare_words, render_pair
from pipelines.review.words import answers_in_words, count_streams
from pipelines.stats.gate import ClauseResult
from tests.support.fragments import Fragment
from tests.support.small_lake import CHANGED, EXPERIMENT, OTHER_EXPERIMENT, PICTURE, SCRIPT


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


def test_a_side_says_what_is_known_of_it(small):
    """Tokens, latency, cost, its own metrics and whether it ended well; what is not known is not said."""
    pair = load_pair(small.lake, find_version(small.lake, EXPERIMENT), "s1/1")
    known = replace(pair.a, calls=2, output_tokens=1_200, latency_ms=12.5, cost_usd=0.0042, outcome=False)
    words = Fragment(render_pair(replace(pair, a=known, b=replace(pair.b, calls=None, metrics={}, outcome=True)))).words
    assert (
        "tool calls: 2 · tokens written: 1,200 · latency: 12.50 ms · cost: 0.0042 USD · Refund (USD): 80 · bad outcome"
        in words
    )
    assert re.search(r"B: what was tried\s.*\sgood outcome\s", words, re.DOTALL)


def test_arguments_too_long_to_show_have_no_patch(small):
    """Of arguments of which only the beginning is shown, no program is told how they differ; a call without any has none to begin with."""
    pair = load_pair(small.lake, find_version(small.lake, EXPERIMENT), "s1/1")
    long = json.dumps({"text": "x" * TEXT_SHOWN})
    words = Fragment(render_pair(replace(pair, calls=(replace(pair.calls[0], arguments_a=long),)))).words
    assert "JSON Patch" not in words
    assert f"text: {'x' * 1_000} … {TEXT_SHOWN - 1_000:,} more characters" in words
    none = Fragment(render_pair(replace(pair, calls=(replace(pair.calls[0], arguments_a=None),))))
    assert none.is_harmless
    assert '{"op": "add", "path": "/usd", "value": 50}' in none.words


def test_a_pair_may_have_no_call_and_lose_its_context(small):
    """What is not there is said: no calls, no context any more, more calls than are read, nobody to ask."""
    pair = load_pair(small.lake, find_version(small.lake, EXPERIMENT), "s1/1")

    def words(**changes) -> str:
        return Fragment(render_pair(replace(pair, **changes))).words

    assert "Neither side called a tool." in words(calls=())
    assert "There is nothing to compare A's tool calls with." in words(calls=(), status="failed", reason="timeout")
    assert "Nobody could be asked: nothing was said before it." in words(status="not_asked", reason="no_context")
    assert "What was said before this decision is not in the lake any more." in words(context=None)
    assert "Only the first 1 are shown." in words(has_more_calls=True)


@pytest.mark.parametrize("messages", [1, 3, 4, 5, 60, 61, 90])
def test_all_messages_before_a_decision_are_shown_or_counted(small, messages):
    """The last four are open, those before them can be opened, and what is left out between is counted: each once, in order."""
    pair = load_pair(small.lake, find_version(small.lake, EXPERIMENT), "s1/1")
    given = [Message("user", f"[{number}]", 0, ()) for number in range(messages)]
    kept = (given, 0, []) if messages <= 60 else (given[:4], messages - 60, given[-56:])
    context = Conversation(tuple(kept[0]), kept[1], tuple(kept[2]))
    page = render_pair(replace(pair, context=context))
    shown = [int(number) for number in re.findall(r"\[(\d+)\]", Fragment(page).words)]
    assert shown == [
        number for number in range(messages) if f"[{number}]" in {each.text for part in kept[::2] for each in part}
    ]
    assert (f"{messages - 4:,} earlier messages" in page) == (messages > 4)
    assert (f"… {messages - 60:,} messages are not shown …" in page) == (messages > 60)
    before = page.partition("What the two sides said")[0]
    assert len(re.findall(r"\[\d+\]", before.rpartition("</details>")[2])) == min(messages, 4)


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (None, ""),
        ([{"type": "text", "text": "one"}, "two", {"type": "tool", "content": "three"}], "one\ntwo\nthree"),
        ([{"type": "image_url", "image_url": {"url": "u"}}], '{"type": "image_url", "image_url": {"url": "u"}}'),
        ({"odd": 1}, '{"odd": 1}'),
    ],
)
def test_content_that_is_no_text_is_shown_as_json(content, shown):
    """A message's parts are shown one a line, what is no text as the JSON that it is: nothing that was sent is hidden."""
    message = shown_message({"role": "user", "content": content})
    assert (message.text, message.left_out) == (shown, 0)


def test_answers_of_other_models_and_cut_ones_are_told():
    """Nothing is said of a version without answers, and both things of one that has them."""
    assert answers_in_words(None) == []
    none = {"answers": 9, "from_other_models": 0, "other_models": {}, "cut": 0}
    assert answers_in_words(none) == []
    told = answers_in_words({**none, "from_other_models": 2, "other_models": {"m-2": 2}, "cut": 1})
    assert told == [
        "2 of 9 answers came from another model than was asked: m-2 (2)",
        "1 of 9 answers were cut: the model reached its bound of tokens",
    ]


@pytest.mark.parametrize(
    ("seen", "told"), [(None, "nothing"), (0.97297297, "0.972973"), (True, "True"), ("better", "better")]
)
def test_what_a_clause_saw(seen, told):
    """A number has six digits, and what is not known is told as nothing."""
    assert seen_in_words(ClauseResult("a >= 1", passed=False, seen=seen, reason=None)) == told


def test_conversations_and_calls_are_told_apart():
    """As many of each as there are; of none, no conversations."""
    assert [count_streams(*given) for given in ((108, 23), (5, 5), (1, 0), (0, 0))] == [
        ["85 conversations", "23 calls"],
        ["5 calls"],
        ["1 conversation"],
        ["0 conversations"],
    ]


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
