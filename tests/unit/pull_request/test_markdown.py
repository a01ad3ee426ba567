"""Texts in Markdown stay texts, as GitHub's own reader of Markdown reads it."""

from __future__ import annotations

import re
from html import unescape

import cmarkgfm
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.console import on_one_line
from pipelines.pull_request.markdown import block, code, prose, table

HOSTILE = (
    "<script>alert(1)</script>",
    "![x](http://evil.test/x.png)",
    "@octocat, a@b.test and #12, GH-12, acme/shop#3",
    "http://evil.test www.evil.test ftp://x.test mailto:a@b.test xmpp:a@b.test",
    "`code` ``two`` ```\nthree\n```",
    "| a | b |\n|---|---|",
    "- [ ] task\n# head\n> quote\n1. one",
    "<!-- refold ab: x -->",
    "&lt;b&gt; &#64;octocat \\@ \\",
    "\u202eevil\u2066 \x00\x1b[31m\r\n",
    "*a* _b_ ~~c~~ [^1] :smile: $x$",
    "    indented",
    "",
    " ",
)
PIECES = st.lists(
    st.sampled_from([*"`|<>@#\\*_[]()!&;:/.-~ \n", "www.", "http://", "x", "1", "é", "```"]), max_size=24
).map("".join)


def read(text: str) -> str:
    return cmarkgfm.github_flavored_markdown_to_html(text, options=0)


def shown(html: str) -> str:
    """What somebody reads of it."""
    return unescape(re.sub(r"<[^>]*>", "", html)).replace("\u2060", "").strip()


def tags(html: str) -> set[str]:
    return set(re.findall(r"<(?!!--)/?([a-z0-9]+)", html))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_only_text(text):
    """As prose, as code and as a block it is read letter by letter, with no element of its own."""
    assert tags(read(f"- a {prose(text)}")) <= {"ul", "li"}
    assert shown(read(f"- a {prose(text)}")) == f"a {on_one_line(text).strip()}".strip()
    in_code = read(f"- a {code(text)}")
    assert tags(in_code) == {"ul", "li", "code"}
    assert shown(in_code) == f"a {on_one_line(text)}".strip()
    assert tags(read(block([f"- {text}"], "diff"))) == {"pre", "code"}


@settings(max_examples=300)
@given(PIECES)
def test_no_text_leaves_its_place(text):
    """Whatever marks it is made of."""
    assert tags(read(f"a {prose(text)}")) == {"p"}
    assert tags(read(f"- b {code(text)} c")) == {"ul", "li", "code"}
    assert read(block([text, "end"], "diff")).count("<pre") == 1
    assert read(f"{block([text])}\n\nafter").rstrip().endswith("<p>after</p>")
    html = read(table(("a", "b"), [(prose(text), "1")]))
    assert tags(html) == {"table", "thead", "tbody", "tr", "th", "td"}
    assert html.count("<td") == 2


@given(PIECES)
def test_nothing_in_prose_is_linked_after_it_was_read(text):
    """GitHub looks for mentions, numbers and addresses in the words that are shown."""
    words = unescape(re.sub(r"<[^>]*>", "", read(f"a {prose(text)}")))
    assert not re.search(r"@\w|#\d|\w://|www\.\w|GH-\d", words, re.IGNORECASE)
