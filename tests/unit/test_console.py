"""What progress says, and what of a hostile text a terminal gets to see."""

from __future__ import annotations

import io
import json
import math
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import console
from pipelines.console import (
    Ticker,
    counted,
    duration,
    on_one_line,
    printable,
    render_table,
    safe_streams,
    size,
    tell,
    to_json,
)


def test_progress_says_how_much_longer(monkeypatch):
    """At most twice a second; rate and time left follow from what is done; without a total there is no time left."""
    now = [100.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    told: list[str] = []
    ticker = Ticker("rows", told.append)
    for seconds, done in ((0, 0), (0.2, 10), (1, 250_000), (1.2, 260_000), (4, 1_000_000)):
        now[0] = 100 + seconds
        ticker(done, 1_500_000)
    now[0] = 110
    ticker(0)  # the next month begins
    now[0] = 112
    ticker(4_000)
    assert told == [
        "  250,000 of 1,500,000 rows (17%), 250,000/s, 5 s left",
        "  1,000,000 of 1,500,000 rows (67%), 250,000/s, 2 s left",
        "  4,000 rows, 2,000/s",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7_620, "2 h 07 min")],
)
def test_durations(seconds, text):
    """Seconds below a minute, minutes below an hour, hours above."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (12_345_678, "12.3 MB"), (10**15, "1,000.0 TB")]
)
def test_sizes(number, text):
    """Decimal units, one digit after the point."""
    assert size(number) == text


CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_every_character_that_is_not_seen_is_written_as_its_code():
    """The pattern holds Unicode's categories, whole; line ends and tabs stay, and the joiners between letters beyond ASCII."""
    for number in range(0x110000):
        character = chr(number)
        category = unicodedata.category(character)
        if category == "Cn":  # not assigned in this Python's Unicode; perhaps in the next one's
            continue
        is_seen = category not in CATEGORIES or character in "\n\t"
        assert (printable(f"a{character}b") == f"a{character}b") is is_seen, hex(number)
    for joined in ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f468\u200d\U0001f469\u200d\U0001f467"):
        assert printable(joined) == joined
    assert printable("pay\u200dpal\u200c") == "pay\\u200dpal\\u200c"
    assert printable("\x1b[31m\x07\r\x7f\x9b\u202e\U000e0041\ud800") == r"\x1b[31m\x07\r\x7f\x9b\u202e\U000e0041\ud800"
    assert on_one_line("a\nb\tc\r\x1b") == r"a\nb\tc\r\x1b"


@given(
    st.recursive(
        st.none() | st.floats() | st.text() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
@settings(max_examples=300)
def test_json_is_json_and_shows_what_it_holds(value):
    """Whatever is in a result, the line is JSON of one line without a character that is not seen, and says the same."""

    def without_nan(part):
        if isinstance(part, float):
            return part if math.isfinite(part) else None
        if isinstance(part, dict):
            return {key: without_nan(item) for key, item in part.items()}
        return [without_nan(item) for item in part] if isinstance(part, list) else part

    text = to_json(value)
    assert json.loads(text, parse_constant=pytest.fail) == without_nan(value)
    assert printable(text) == on_one_line(text) == text


def test_streams_print_what_is_printable(monkeypatch):
    """Also what libraries write, and only within the verb; bytes pass."""
    out, err = io.TextIOWrapper(io.BytesIO(), write_through=True), io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    with safe_streams():
        print("\x1b[2J")
        print("\u202e", file=sys.stderr)
        sys.stdout.writelines(["\x07", "b\n"])
        sys.stdout.buffer.write(b"\x1b")
        tell("\x9b")
    assert sys.stdout is out
    assert out.buffer.getvalue() == b"\\x1b[2J\n\\x07b\n\x1b"
    assert err.getvalue() == "\\u202e\n\\x9b\n"


def test_a_table_shows_texts_and_not_their_markup():
    """Markup, emoji codes and line ends of data are data; numbers that are given as text are not grouped."""
    table = render_table(["[bold]n", "year"], [["[red]x[/red] :smile:\n[link]", "2026"], [1234567, None]])
    head, *lines = table.splitlines()
    assert head.split() == ["[bold]n", "year"]
    assert [line.strip() for line in lines] == [r"[red]x[/red] :smile:\n[link]  2026", "1,234,567"]


def test_a_table_fits_the_terminal(monkeypatch):
    """Wide columns are folded, between words where there are any, until the line fits; letters of two columns count as two."""
    columns, rows = ["n", "said", "id"], [[7, "one two three four", "x" * 12], [8, "日本語日本語日本語", ""]]
    assert render_table(columns, rows).splitlines()[1] == f"7  one two three four  {'x' * 12}"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "23")
    assert render_table(columns, rows).splitlines() == [
        "n  said       id",
        "7  one two    xxxxxxxxx",
        "   three      xxx",
        "   four",
        "8  日本語日",
        "   本語日本",
        "   語",
    ]


@pytest.mark.parametrize(
    ("number", "nouns", "told"),
    [
        (0, ("conversation",), "0 conversations"),
        (1, ("conversation",), "1 conversation"),
        (2_000, ("decision pair",), "2,000 decision pairs"),
        (1, ("person", "people"), "1 person"),
        (3, ("person", "people"), "3 people"),
    ],
)
def test_one_of_a_thing_is_one(number: int, nouns: tuple[str, ...], told: str):
    """Plurals are made in one place."""
    assert counted(number, *nouns) == told
