"""Text columns: published numbers, a plain implementation of the definitions, and the rules for nothing and empty."""

from __future__ import annotations

import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import DamerauLevenshtein, Indel, Jaro, JaroWinkler, Levenshtein

from pipelines.diff.pair import text as text_module
from pipelines.diff.pair.text import COMPARED, TEXT_SCHEMA, compare_texts
from pipelines.diff.pair.wording import TokenOp, is_format_only, normalise_text, token_ops, tokens

words = st.sampled_from(
    ["refund", "the", "order", "not", "Order", "café", "cafe\u0301", "5", "$5", "3.5", "-", "—", "."]
)
phrases = st.lists(st.one_of(words, st.sampled_from([" ", "\n", "\r\n", "\u202f"]))).map(" ".join)
texts = st.one_of(st.none(), phrases, st.text(max_size=8))


def row(a: str | None, b: str | None) -> dict[str, object]:
    """The columns of one pair."""
    (only,) = compare_texts([a], [b]).to_pylist()
    return only


def longest_common(a: list[str], b: list[str]) -> int:
    """Length of the longest common subsequence, by the textbook table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def indel(a: list[str], b: list[str]) -> float:
    """Indel similarity by its formula, 1 for two empty lists."""
    total = len(a) + len(b)
    return 1 - (total - 2 * longest_common(a, b)) / total if total else 1.0


def test_published_string_distances() -> None:
    """The distances that textbooks and DuckDB's documentation print are what the library in use computes."""
    assert Levenshtein.distance("kitten", "sitting") == 3
    assert Levenshtein.distance("duck", "db") == 3
    assert DamerauLevenshtein.distance("duckdb", "udckbd") == 2
    for a, b, jaro, winkler in (
        ("MARTHA", "MARHTA", 0.9444, 0.9611),
        ("DWAYNE", "DUANE", 0.8222, 0.8400),
        ("DIXON", "DICKSONX", 0.7667, 0.8133),
    ):
        assert Jaro.similarity(a, b) == pytest.approx(jaro, abs=5e-5)
        assert JaroWinkler.similarity(a, b) == pytest.approx(winkler, abs=5e-5)
    assert JaroWinkler.similarity("duck", "duckdb") == pytest.approx(0.9333, abs=5e-5)
    assert Indel.normalized_similarity("duck", "duckdb") == pytest.approx(0.8)
    assert row("duck", "duckdb")["sim_char"] == pytest.approx(0.8)


@given(st.lists(st.tuples(texts, texts), max_size=6))
def test_columns_follow_their_definitions(pairs: list[tuple[str | None, str | None]]) -> None:
    """Each column equals a plain computation of its definition, whatever else is in the batch."""
    table = compare_texts([a for a, _ in pairs], [b for _, b in pairs])
    assert table.schema == TEXT_SCHEMA
    for (a, b), found in zip(pairs, table.to_pylist(), strict=True):
        if a is None or b is None:
            assert found["text_class"] is found["sim_tok"] is found["sim_char"] is found["text_equal"] is None
            assert (
                found["text_reason"]
                == {
                    (True, True): "missing_both",
                    (True, False): "missing_a",
                    (False, True): "missing_b",
                }[a is None, b is None]
            )
            continue
        x, y = (re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip() for text in (a, b))
        assert found["text_reason"] is None
        assert (found["text_equal"], found["text_equal_norm"]) == (a == b, x == y)
        assert (found["len_chars_a"], found["len_chars_b"]) == (len(a), len(b))
        p, q = (re.findall(r"\w+|[^\w\s]", text) for text in (x, y))
        assert (found["len_tok_a"], found["len_tok_b"]) == (len(p), len(q))
        assert found["len_ratio"] == (len(b) / len(a) if a else None)
        assert found["sim_tok"] == pytest.approx(indel(p, q))
        assert found["sim_char"] == pytest.approx(indel(list(x), list(y)))
        by_similarity = "minor" if found["sim_tok"] >= 0.9 else "moderate" if found["sim_tok"] >= 0.45 else "rewrite"
        is_form = x == y or is_format_only(a, b)
        assert found["text_class"] == ("identical" if a == b else "format_only" if is_form else by_similarity)


@pytest.mark.parametrize(
    ("a", "b", "similarity", "text_class"),
    [
        ("", "", 1.0, "identical"),
        ("", " \n", 1.0, "format_only"),
        ("", "x", 0.0, "rewrite"),
        ("", "...", 0.0, "format_only"),
        (None, "", None, None),
        ("x", None, None, None),
    ],
)
def test_empty_is_not_missing(a: str | None, b: str | None, similarity: float | None, text_class: str | None) -> None:
    """Two empty texts are equal, an empty one and another are wholly different, and nothing is not the empty text."""
    found = row(a, b)
    assert (found["sim_tok"], found["sim_char"], found["text_class"]) == (similarity, similarity, text_class)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Your refund is on its way.", "**Your refund** is on its way!"),
        ("check-in at 10-12", "check\u2011in at 10\u201312"),
        ("12 000 €", "12\u202f000\u00a0€"),
        ("caf\u00e9", "cafe\u0301"),
        ("# Total\n- one\n- two", "Total: one, two"),
        ("> quoted", "quoted"),
        ("`code`", "code"),
        ("STRASSE", "straße"),
        ("soft\u00adware\u200b", "software"),
        ("a\r\nb", "a\nb"),
        ("(see order #W123)", "See order W123."),
        ("*hello* there, ***very*** good", "hello there, very good"),
        ("* one\n* two\n* * *\nend", "- one\n- two\n---\nend"),
        ("(1) Look up\n(2) Refund", "1. Look up\n2. Refund"),
        ("(555) 123-4567", "555-123-4567"),
        ("GPT-5, pre-order 5", "GPT 5, pre order 5"),
        ("**Total:** -$5", "Total: \u2212$5"),
        ("node.js... Done.", "node js. Done"),
        ("it’s", "it's"),
    ],
)
def test_form_alone(a: str, b: str) -> None:
    """Case, white space, hyphens, quotes, punctuation and markdown are form."""
    assert row(a, b)["text_class"] == "format_only"
    assert row(b, a)["text_class"] == "format_only"


# A sign that is lost, before the currency, behind it, or as brackets around the amount.
AMOUNTS = [
    *(
        (f"{before}-{amount}{after}", f"{before}{amount}{after}")
        for before in ("", "You get ")
        for amount in ("$5", "€20", "£5.50", "US$5", "¥500", ".5", "USD 5", "5 USD")
        for after in ("", " back.")
    ),
    *((f"{sign}-20", f"{sign}20") for sign in ("$", "€", "€ ", "US$", "USD ", "USD")),
    ("\u221220 €", "20 €"),
    ("\u2212€20", "€20"),
    ("(5)", "5"),
    ("a balance of ($5.00)", "a balance of $5.00"),
]
OPERATORS = [
    ("a != b", "a = b"),
    ("a == b", "a = b"),
    ("x <= 3", "x < 3"),
    (">= 5", "= 5"),
    ("x := 1", "x = 1"),
    ("x += 1", "x = 1"),
    ("2*3", "2 3"),
    ("price * qty", "price qty"),
    ("2**3", "2 3"),
    ("6 / 2", "6 2"),
    ("a -> b", "a > b"),
    ("!ok", "ok"),
]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("3.5", "35"),
        ("3.5", "3,5"),
        ("-5", "5"),
        ("\u22125", "5"),
        ("1/11/2024", "11/1/2024"),
        ("$5", "5"),
        ("$5", "€5"),
        ("5%", "5"),
        ("user-12", "user1-2"),
        ("10\u00b2", "102"),
        ("a+b", "a b"),
        ("email", "e-mail"),
        ("yes \U0001f44d", "yes"),
        ("5 > 3", "5 < 3"),
        ("do", "do not"),
        *AMOUNTS,
        *OPERATORS,
        *((name, name.strip("#+.*&@~")) for name in ("C#", "F#", "C++", ".NET", "@bob", "+1", "~5")),
        ("R&D", "R D"),
    ],
)
def test_meaning_is_not_form(a: str, b: str) -> None:
    """Signs, decimals, dates, currencies, ids, operators, pictures and words count as content."""
    assert row(a, b)["text_class"] not in ("identical", "format_only")


@given(texts, texts)
def test_sides_can_be_swapped(a: str | None, b: str | None) -> None:
    """Class and similarity are symmetric."""
    forward, back = row(a, b), row(b, a)
    for column in ("text_class", "text_equal", "text_equal_norm", "numbers_jaccard"):
        assert forward[column] == back[column]
    assert forward["sim_tok"] == pytest.approx(back["sim_tok"])


def test_inserting_not_is_a_minor_change() -> None:
    """Similarity is of the surface: one "not" in a paragraph stays above .98, which is why it is no quality."""
    paragraph = " ".join(f"word{i}" for i in range(70))
    changed = paragraph.replace("word35", "not word35")
    assert row(paragraph, changed)["sim_tok"] == pytest.approx(140 / 141)
    assert row(paragraph, changed)["text_class"] == "minor"


def test_bounds_of_the_classes_belong_to_the_milder_one() -> None:
    """9 of 10 tokens in common is exactly .90 and minor; 9 of 20 is exactly .45 and moderate; 8 of 20 is a rewrite."""
    kept, other = [f"k{i}" for i in range(20)], [f"o{i}" for i in range(20)]

    def keeping(count: int, size: int) -> dict[str, object]:
        return row(" ".join(kept[:size]), " ".join(kept[:count] + other[count:size]))

    found = [keeping(9, 10), keeping(9, 20), keeping(8, 20)]
    assert [(one["sim_tok"], one["text_class"]) for one in found] == [
        (0.9, "minor"),
        (0.45, "moderate"),
        (0.4, "rewrite"),
    ]


def test_structure_is_noticed() -> None:
    """Code blocks and lists that appear, links and numbers that change, are seen; equal texts change nothing."""
    plain = "Order 17 costs 20.50. See https://example.com/a."
    rich = "```\nOrder 17\n```\n- costs 21\n- see <https://example.com/b>"
    found = row(plain, rich)
    assert (found["is_code_changed"], found["is_list_changed"], found["is_links_changed"]) == (True, True, True)
    assert found["numbers_jaccard"] == pytest.approx(1 / 3)
    assert row("see https://example.com/a. Then", "see (https://example.com/a), then")["is_links_changed"] is False
    same = row(plain, plain)
    assert (same["is_code_changed"], same["is_list_changed"], same["is_links_changed"]) == (False, False, False)
    assert same["numbers_jaccard"] is None
    assert row("a", "b")["numbers_jaccard"] is None


def test_columns_do_not_depend_on_form_batch_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists, Arrow arrays and chunked arrays, one batch or many, one thread or more: the same table."""
    left = ["one two", None, "", "three four five", "x" * 50, "same"] * 20
    right = ["one three", "a", "b", "three five", "y" * 50, "same"] * 20
    expected = compare_texts(left, right)
    assert expected.num_rows == len(left)
    chunked = pa.chunked_array([left[:7], left[7:]], type=pa.string())
    assert compare_texts(chunked, pa.array(right, pa.large_string()), workers=-1) == expected
    monkeypatch.setattr(text_module, "_BATCH_CHARACTERS", 30)
    assert compare_texts(left, right).combine_chunks() == expected.combine_chunks()
    assert compare_texts([], []).num_rows == 0
    with pytest.raises(ValueError, match="1 texts on side A but 2"):
        compare_texts(["a"], ["a", "b"])


def test_endless_texts_are_compared_by_their_beginning() -> None:
    """Only the first 100,000 characters are compared, and the row says so; equality looks at all."""
    long = "word " * (COMPARED // 5)
    found = row(long + "alpha", long + "beta")
    assert (found["is_cut"], found["text_equal"], found["text_class"]) == (True, False, "minor")
    assert found["sim_tok"] == 1.0
    assert found["len_tok_a"] == COMPARED // 5 + 1
    assert row(long + "alpha", long + "alpha")["is_cut"] is False


def test_more_distinct_tokens_than_the_first_plane_holds() -> None:
    """A batch with more than 70,000 distinct tokens still compares them one by one (codes skip the surrogates)."""
    many = " ".join(f"t{i}" for i in range(70_000))
    halves = [" ".join(f"t{i}" for i in range(start, start + 20_000, 2)) for start in (0, 20_000, 40_000)]
    wholes = [" ".join(f"t{i}" for i in range(start, start + 20_000)) for start in (0, 20_000, 40_000)]
    table = compare_texts([many, *halves], [many, *wholes])
    assert table["sim_tok"].to_pylist()[0] == 1
    assert all(2 / 3 - 0.1 < value < 2 / 3 + 0.1 for value in table["sim_tok"].to_pylist()[1:])


@given(phrases, phrases)
def test_token_operations_rebuild_both_texts(a: str, b: str) -> None:
    """The runs of each side join to its text; equal runs have equal tokens; what is equal is a longest common part."""
    ops = token_ops(a, b)
    assert "".join(op.text_a for op in ops) == a
    assert "".join(op.text_b for op in ops) == b
    common = 0
    for op in ops:
        if op.op == "equal":
            assert tokens(op.text_a) == tokens(op.text_b)
            common += len(tokens(op.text_a))
        else:
            assert (op.text_a, op.text_b)[op.op == "delete"] == ""
    assert common == longest_common(tokens(a), tokens(b))


def test_token_operations_by_hand() -> None:
    """What is shown side by side: runs of equal, deleted and inserted tokens with their white space."""
    assert token_ops("Refund of $5 sent.", "Refund of $7 sent.") == (
        TokenOp("equal", "Refund of $", "Refund of $"),
        TokenOp("delete", "5 ", ""),
        TokenOp("insert", "", "7 "),
        TokenOp("equal", "sent.", "sent."),
    )
    assert token_ops("", "") == ()
    assert token_ops("", "x ") == (TokenOp("insert", "", "x "),)
    long = "a " * 20_001
    assert token_ops(long, long) == (TokenOp("equal", long, long),)
    assert token_ops(long, "b") == (TokenOp("delete", long, ""), TokenOp("insert", "", "b"))


def test_normal_text() -> None:
    """NFC, one blank for any white space, no margins."""
    assert normalise_text(" e\u0301\r\n\u202f x\t") == "\u00e9 x"
