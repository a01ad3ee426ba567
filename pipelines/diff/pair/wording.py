"""The words of one text: what they are, what they mean apart from their form, and how two texts' words line up.

Columns over many pairs of texts, and the distances in them, live in `text`.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Indel

_TOKEN = re.compile(r"\w+|[^\w\s]")
_HYPHENS = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d", "-"))
_INVISIBLE = str.maketrans(dict.fromkeys("\u00ad\u200b\u2060\ufeff", None))
_CURRENCY = "$\u00a2\u00a3\u00a5\u20a0-\u20cf"
_CODE = "usd|eur|gbp|chf|jpy|cny|inr|cad|aud|sek|nok|dkk|pln|brl|mxn"
# What is left of a text without its form: a minus sign before a number or an amount of money, an amount in brackets (which is
# a negative one in accounts), operators that begin with a mark, names with a mark (C#, .NET), numbers whole (3.5 is not 35,
# 1/11 not 11/1), words, and signs that mean something (currency, percent, operators, pictures).
_CONTENT = re.compile(
    rf"(?:(?<![\w)])|(?<=(?:{_CODE})))-(?=(?:(?:[a-z]{{0,3}}[{_CURRENCY}]|(?:{_CODE}))[ ]?)?\.?[0-9])"
    rf"|(?<!\w)\((?:[a-z]{{0,3}}[{_CURRENCY}])?[ ]?[0-9][0-9.,]*\)(?![ ]?[0-9])"
    r"|[-!*/:~+&|^]=|->|<-|(?<=[0-9)][ ])/(?=[ ][0-9(])|(?<!~)~(?=[0-9])|(?<![\w!?.])!(?=\w)"
    r"|(?<=[^\W\d_])\#(?![\w#])|(?<![\w.])\.(?=[^\W\d_])"
    r"|[0-9]+(?:[.,:/][0-9]+)*|[^\W_]+|(?P<sign>[^\w\s-])"
)
_BRACKETED_ITEM = re.compile(r"^([ \t]*)\(([0-9]{1,3})\)(?=[ \t]+\S)", re.MULTILINE)
# Stars in pairs around words are emphasis, at the start of a line a bullet, alone on it a rule; all others mean something.
_EMPHASIS = re.compile(r"(?<!\w)\*(?=[^\s*])([^\n*]+)(?<=\S)\*(?![\w*])|(\*{2,3})(?=[^\s*])([^\n*]+)(?<=\S)\2")
_BULLET = re.compile(r"^[ \t]*(?:\*[ \t]*){3,}$|^[ \t]*\*(?:[ \t]+|$)", re.MULTILINE)
_QUOTE_MARK = re.compile(r"^[ \t]*>+(?!=)", re.MULTILINE)
_NESTED = 2
_NO_CONTENT = re.compile(r"[\W_]+")
_NO_CONTENT_ASCII = bytes(byte for byte in range(128) if not chr(byte).isalnum())
_MARKUP_SYMBOLS = frozenset("`|~")
_MEANT = frozenset("%*&@\u00a7\u2030")
"""Signs that Unicode counts as punctuation and that are content; stars that are markup are gone by then."""
_HELD_AT_ONCE = 1_000_000  # characters; counting a list is faster, for as long as it is short
_SHOWN_TOKENS = 20_000  # opcodes need a bit per pair of tokens; this is 50 MB


@dataclass(frozen=True, slots=True)
class TokenOp:
    """One run of tokens that two texts share or do not share.

    Attributes:
        op: `equal`, `delete` (A alone) or `insert` (B alone); between two equal runs a deletion comes first.
        text_a: The run as written in A, with the white space after it; "" when inserted.
        text_b: The run as written in B; "" when deleted. The runs of a side join to the whole text.
    """

    op: Literal["equal", "delete", "insert"]
    text_a: str
    text_b: str


def tokens(text: str) -> list[str]:
    r"""Split a text into words and signs: `\w+|[^\w\s]`, case kept."""
    return _TOKEN.findall(text)


def count_tokens(text: str) -> int:
    """Return the number of tokens of the normalised text."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    return sum(1 for _ in _TOKEN.finditer(text)) if len(text) > _HELD_AT_ONCE else len(_TOKEN.findall(text))


def normalise_text(text: str) -> str:
    """Return the text in NFC, with every run of white space as one blank, and none at the ends."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    elif text.isprintable() and "  " not in text and text[:1] != " " and text[-1:] != " ":
        return text  # most one-line texts
    return " ".join(text.split())


def is_format_only(a: str, b: str) -> bool:
    """Return whether two texts differ only in form: case, white space, hyphens, punctuation and markdown.

    Numbers are compared whole and with their sign, and words with their limits: `3.5` is not `35`, `-5` not `5`,
    `1/11` not `11/1`, `$5` not `5` and not `-$5`. Operators and the marks of names are content: `!=` is not `=`, `C#` not `C`.
    """
    a, b = unicodedata.normalize("NFC", a), unicodedata.normalize("NFC", b)
    return _skeleton(a) == _skeleton(b) and _content(a) == _content(b)


def token_ops(a: str, b: str) -> tuple[TokenOp, ...]:
    """Return what turns text A into text B, token by token, for showing the two side by side.

    Args:
        a: Text A. Beyond 20,000 tokens on a side a changed text is shown as one deletion and one insertion.
        b: Text B.
    """
    spans_a, spans_b = _spans(a), _spans(b)
    if max(len(spans_a), len(spans_b)) > _SHOWN_TOKENS:
        return (TokenOp("equal", a, b),) if a == b else (TokenOp("delete", a, ""), TokenOp("insert", "", b))
    words_a, words_b = ([span.strip() for span in spans] for spans in (spans_a, spans_b))
    ops: list[TokenOp] = []
    # Opcodes come in order without overlap, so what lies between two equal runs is one deletion and one insertion.
    at_a, at_b = 0, 0
    equal_runs = [code for code in Indel.opcodes(words_a, words_b) if code.tag == "equal"]
    bounds = [(code.src_start, code.src_end, code.dest_start, code.dest_end) for code in equal_runs]
    for start_a, end_a, start_b, end_b in [*bounds, (len(spans_a), len(spans_a), len(spans_b), len(spans_b))]:
        if at_a < start_a:
            ops.append(TokenOp("delete", "".join(spans_a[at_a:start_a]), ""))
        if at_b < start_b:
            ops.append(TokenOp("insert", "", "".join(spans_b[at_b:start_b])))
        if start_a < end_a:
            ops.append(TokenOp("equal", "".join(spans_a[start_a:end_a]), "".join(spans_b[start_b:end_b])))
        at_a, at_b = end_a, end_b
    return tuple(ops)


def _spans(text: str) -> list[str]:
    """Cut a text at the starts of its tokens; the parts join to the text."""
    starts = [match.start() for match in _TOKEN.finditer(text)]
    if not starts:
        return [text] if text else []
    starts[0] = 0
    return [text[start:end] for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]


def _skeleton(text: str) -> bytes:
    """Return letters and digits alone: what two texts that differ only in form must share, found cheaply."""
    folded = text.casefold()
    if not folded.isascii():
        folded = _NO_CONTENT.sub("", folded)
    return folded.encode("utf-8", "surrogatepass").translate(None, _NO_CONTENT_ASCII)


def _content(text: str) -> list[str]:
    plain = _QUOTE_MARK.sub("", text.translate(_HYPHENS).translate(_INVISIBLE).casefold())
    plain = _BRACKETED_ITEM.sub(r"\1\2", plain)
    if "*" in plain:
        plain = _BULLET.sub("", plain)
        for _ in range(_NESTED):
            plain = _EMPHASIS.sub(lambda match: match[1] or match[3], plain)
    return [
        match[0] for match in _CONTENT.finditer(plain) if match.lastgroup != "sign" or _means_something(match["sign"])
    ]


def _means_something(sign: str) -> bool:
    """Whether a sign that is no part of a number, a name or an operator is content; not punctuation or markup."""
    if sign in _MEANT:
        return True
    return not unicodedata.category(sign).startswith("P") and sign not in _MARKUP_SYMBOLS
