"""How what is typed is cut: as DuckDB's own parser cuts it, whatever stands in texts, names and comments."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.shell.script import Part, cut, is_blank, is_inside, is_whole, parts, tokens

PIECES = (
    "SELECT ",
    "1",
    "'a;b'",
    "'é;'",
    '"x;y"',
    " AS ü",
    "$$;$$",
    "/* ; */",
    "-- ;\n",
    ";",
    "\n",
    ", 2",
    " ",
    "'it''s;'",
    "E'\\';'",
)


@settings(max_examples=60)
@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_as_many_statements_as_duckdb_finds(pieces):
    """Of what DuckDB can parse, each statement is one of those that it parses, in order."""
    text = "".join(pieces)
    try:
        expected = duckdb.extract_statements(text)
    except duckdb.Error:
        return
    found = [part.text for part in parts(text)]
    assert [is_blank(each) for each in found] == [False] * len(found)
    again = [duckdb.extract_statements(each) for each in found]
    assert [len(each) for each in again] == [1] * len(expected)


@given(st.text(max_size=40))
def test_words_stand_where_they_are_said_to(text):
    """Whatever is typed, halves of pairs and controls too: each word is the text at its place, and nothing is lost in cutting."""
    for token in tokens(text):
        assert text[token.start :].startswith(token.text)
    statements, rest = cut(text)
    assert sum(map(len, statements)) + len(rest) <= len(text)
    assert is_whole(f"{text}\n*/'\";") in (True, False)


def test_commands_stand_between_statements():
    """At the beginning of a line, or after a statement on its line; never inside of one."""
    text = "-- first ;\n\\timing\nSELECT '\n\\x\n';\\x\nSELECT 1; SELECT\n2\n  \\d tool_calls\n"
    assert list(parts(text)) == [
        Part("\\timing", is_command=True),
        Part("SELECT '\n\\x\n'"),
        Part("\\x", is_command=True),
        Part("SELECT 1"),
        Part("SELECT\n2\n  \\d tool_calls"),
    ]
    assert list(parts(" \n-- nothing\n")) == []


@pytest.mark.parametrize(
    ("text", "whole", "inside"),
    [
        ("", True, False),
        ("SELECT 1", False, False),
        ("SELECT 1;", True, False),
        ("SELECT ';", False, True),
        ("SELECT 'a' ", False, False),
        ('SELECT "a', False, True),
        ("SELECT 1 -- ;", False, True),
        ("SELECT 1 -- a\n", False, False),
        ("/* ;", False, True),
        ("SELECT $$;", False, True),
        ("\\d", True, False),
    ],
)
def test_what_goes_on(text, whole, inside):
    """A statement goes on until its `;`; within a text, a name or a comment nothing is to be completed."""
    assert (is_whole(text), is_inside(text)) == (whole, inside)
