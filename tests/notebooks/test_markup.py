"""What is written as HTML is escaped, whatever the logs say."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipelines.review.markup import Markup, cut, details, join, table_cell, tag, text
from tests.notebooks.fragments import Fragment

HOSTILE = "<script>alert(1)</script>\"' onload=x &lt; ]]> --> </div>"
# An address has one of these with something behind it; a word joiner there ends it.
ADDRESS = re.compile("(?:[:/@]|www)(?!\u2060)", re.IGNORECASE)


@given(st.text())
@example(HOSTILE)
@pytest.mark.quick
def test_text_reads_back_as_it_was(value):
    """A browser shows the text that the log holds: nothing is lost, nothing becomes a tag."""
    shown = Fragment(f"<div>{text(value).html}</div>")
    marks = re.compile("[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
    assert shown.tags == {"div"}
    expected = marks.sub(lambda match: f"\u27e8U+{ord(match[0]):04X}\u27e9", value)
    assert shown.words.replace("\r\n", "\n") == expected.replace("\r\n", "\n")


@given(st.text(), st.text(), st.text())
@example(HOSTILE, HOSTILE, HOSTILE)
@pytest.mark.quick
def test_strings_are_escaped_wherever_they_enter(content, attribute, summary):
    """Content, attributes and summaries that are plain strings can add no element and no attribute."""
    fragment = tag("div", content, details(summary, content), join([content, content], content), title=attribute)
    shown = Fragment(fragment.html)
    assert (shown.tags, shown.attributes) == ({"div", "details", "summary"}, {"title"})


@pytest.mark.quick
def test_markup_is_no_string():
    """Markup and text cannot be joined by accident: one is not the other."""
    with pytest.raises(TypeError):
        _ = "text" + Markup("<b></b>")  # type: ignore[operator]  # this is what the test is about


def test_directions_are_shown_instead_of_obeyed():
    """A text cannot make itself read backwards; invisible controls are visible."""
    assert text("pay \u202e50").html == "pay \u27e8U+202E\u27e950"


@given(st.text(alphabet=st.sampled_from("htps:/data;javscriptwww.mailto@x \n"), max_size=60), st.integers(2, 40))
@example("see http://127.0.0.1/picture.png", 40)
@example("DATA:image/png;base64,AAAA www.example.org //example.org mailto:a@b", 200)
def test_a_table_cell_holds_no_address(value, characters):
    """The table widget makes links of addresses and loads pictures, so a cell holds none, and one line at most."""
    cell = table_cell(value, characters)
    assert ADDRESS.search(cell) is None
    visible = cell.replace("\u2060", "")
    assert len(visible) <= characters
    assert "\n" not in cell
    line = " ".join(value.split())
    assert visible == line or (visible.endswith("…") and line.startswith(visible[:-1]))


def test_a_cut_says_how_much_is_missing():
    """What is not shown is counted."""
    assert cut("abcdef", 4) == ("abcd", 2)
    assert cut("abc", 4) == ("abc", 0)
