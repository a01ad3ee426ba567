"""How two texts differ, in columns, for many pairs at once.

Surface only: one inserted "not" leaves two texts 99 % alike, so nothing here says which text is better. Similarity is
Indel, `1 - d / (len(a) + len(b))` with d the insertions and deletions that turn a into b, over word tokens and over
characters; over tokens unrelated English paragraphs reach .41 at most (99th percentile of 3,215), which is where
`rewrite` ends. Tool calls live in `align`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pyarrow as pa
from rapidfuzz import process
from rapidfuzz.distance import Indel

from pipelines.diff.pair.token_codes import COMPARED, token_codes
from pipelines.diff.pair.wording import count_tokens, is_format_only, normalise_text

TextClass = Literal["identical", "format_only", "minor", "moderate", "rewrite"]
TextReason = Literal["missing_a", "missing_b", "missing_both"]

Texts: TypeAlias = "Sequence[str | None] | pa.Array[Any] | pa.ChunkedArray[Any]"
"""Texts in order, None where there is none: a sequence or an Arrow column."""

MINOR = 0.90
"""Token similarity from which a change of text is minor."""

MODERATE = 0.45
"""Token similarity below which the text was written anew."""

_COLUMNS: list[tuple[str, pa.DataType]] = [
    ("text_class", pa.string()),
    ("text_reason", pa.string()),
    ("text_equal", pa.bool_()),
    ("text_equal_norm", pa.bool_()),
    ("len_chars_a", pa.int64()),
    ("len_chars_b", pa.int64()),
    ("len_tok_a", pa.int64()),
    ("len_tok_b", pa.int64()),
    ("len_ratio", pa.float64()),
    ("sim_tok", pa.float64()),
    ("sim_char", pa.float64()),
    ("is_cut", pa.bool_()),
    ("is_code_changed", pa.bool_()),
    ("is_list_changed", pa.bool_()),
    ("is_links_changed", pa.bool_()),
    ("numbers_jaccard", pa.float64()),
]
TEXT_SCHEMA = pa.schema(_COLUMNS)
"""One row per pair, in the order given.

`text_class` is null when a side is missing, and `text_reason` then says which. `text_equal`: the same characters.
`text_equal_norm`: the same after NFC, with white space collapsed and stripped. Lengths are in code points of the
text as given, and in tokens. `len_ratio`: characters of B / of A; null when A is empty. `sim_tok`, `sim_char`: 0 to 1, of the
normalised texts, 1 for two empty ones and 0 for one; `is_cut`: only their first 100,000 characters were compared.
`is_code_changed`, `is_list_changed`: one side has a fenced code block, a list, and the other has none.
`is_links_changed`: other links. `numbers_jaccard`: shared share of all distinct numbers. The last four are looked at only
where the normalised texts differ: otherwise nothing changed, and `numbers_jaccard` is null, as when there are no numbers.
"""

_NOT_LINK_END = r"[^\s<>()\[\]\"'`]"
_LINK = re.compile(rf"https?://{_NOT_LINK_END}*[^\s<>()\[\]\"'`.,;:!?]", re.IGNORECASE)
_CODE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_LIST = re.compile(r"^[ \t]*(?:[-*+\u2022]|[0-9]{1,3}[.)])[ \t]+\S", re.MULTILINE)
_DIGITS = b"0123456789"
_NUMBER = re.compile(r"[0-9]+(?:[.,:/][0-9]+)*")
# Bounds the memory of one batch, and keeps its distinct tokens (at least two characters each, or one of the 150,000
# assigned characters) below the 1.1 million code points that stand for them.
_BATCH_CHARACTERS = 2_000_000


@dataclass(frozen=True, slots=True)
class Surface:
    """How pairs of texts that are not identical differ on the surface; one entry per pair, in order.

    Attributes:
        text_class: Never `identical`.
        sim_tok: Similarity over word tokens.
        sim_char: Similarity over characters.
        normal: Both sides' normalised texts.
        token_counts: Both sides' numbers of tokens.
    """

    text_class: list[TextClass]
    sim_tok: list[float]
    sim_char: list[float]
    normal: tuple[list[str], list[str]]
    token_counts: tuple[list[int], list[int]]


def compare_texts(
    a: Texts,
    b: Texts,
    *,
    workers: int = 1,
) -> pa.Table:
    """Compare many pairs of texts.

    Args:
        a: Side A's texts; None where there is none, which is not the empty text.
        b: Side B's texts, as many.
        workers: Threads for the distances; -1 for one per core. The result is the same.

    Returns:
        A table of `TEXT_SCHEMA`, one row per pair, in order.

    Raises:
        ValueError: The two differ in length.
    """
    left, right = _as_list(a), _as_list(b)
    if len(left) != len(right):
        raise ValueError(f"{len(left)} texts on side A but {len(right)} on side B; give one of each per pair")
    batches = [_compare_batch(left[start:end], right[start:end], workers) for start, end in _batches(left, right)]
    return pa.Table.from_batches(batches, schema=TEXT_SCHEMA)


def compare_surface(a: Sequence[str], b: Sequence[str], *, workers: int = 1) -> Surface:
    """Compare pairs of texts that are not identical, without looking at their structure.

    Args:
        a: Side A's texts; some millions of characters at most, for all are held at once.
        b: Side B's texts, as many.
        workers: Threads for the distances. The result is the same.
    """
    normal = ([normalise_text(text) for text in a], [normalise_text(text) for text in b])
    codes, token_counts = token_codes(a, b, normal)
    sim_tok = _similarities(codes[0], codes[1], workers)
    compared = [[text[:COMPARED] for text in side] for side in normal]
    sim_char = _similarities(compared[0], compared[1], workers)
    classes: list[TextClass] = []
    for index, (text_a, text_b) in enumerate(zip(a, b, strict=True)):
        if normal[0][index] == normal[1][index]:
            sim_tok[index] = sim_char[index] = 1.0
            classes.append("format_only")
        elif is_format_only(text_a, text_b):
            classes.append("format_only")
        else:
            alike = sim_tok[index]
            classes.append("minor" if alike >= MINOR else "moderate" if alike >= MODERATE else "rewrite")
    return Surface(classes, sim_tok, sim_char, normal, token_counts)


_CHANGE_COLUMNS = (
    "text_class",
    "sim_tok",
    "sim_char",
    "text_equal_norm",
    "len_tok_a",
    "len_tok_b",
    "is_cut",
    "is_code_changed",
    "is_list_changed",
    "is_links_changed",
    "numbers_jaccard",
)
CHANGE_SCHEMA = pa.schema([field for field in TEXT_SCHEMA if field.name in _CHANGE_COLUMNS])
"""What `compare_changed` says of a pair; as in `TEXT_SCHEMA`."""


def compare_changed(a: Sequence[str], b: Sequence[str]) -> pa.Table:
    """Compare pairs of texts that are not identical: a table of `CHANGE_SCHEMA`, one row per pair, in order."""
    surface = compare_surface(a, b)
    rows = [
        _equal_row(surface.text_class[place], x, y, surface.token_counts[0][place])
        if surface.normal[0][place] == surface.normal[1][place]
        else _changed_row(x, y, surface, place)
        for place, (x, y) in enumerate(zip(a, b, strict=True))
    ]
    columns = dict(zip(TEXT_SCHEMA.names, zip(*rows, strict=True), strict=True)) if rows else {}
    arrays = [pa.array(columns.get(field.name, ()), field.type) for field in CHANGE_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=CHANGE_SCHEMA)


def _as_list(texts: Texts) -> list[str | None]:
    return texts.to_pylist() if isinstance(texts, pa.Array | pa.ChunkedArray) else list(texts)


def _batches(left: list[str | None], right: list[str | None]) -> Iterable[tuple[int, int]]:
    start, size = 0, 0
    for index, (a, b) in enumerate(zip(left, right, strict=True)):
        size += len(a or "") + len(b or "")
        if size >= _BATCH_CHARACTERS:
            yield start, index + 1
            start, size = index + 1, 0
    if start < len(left):
        yield start, len(left)


def _compare_batch(left: list[str | None], right: list[str | None], workers: int) -> pa.RecordBatch:
    changed = [(a, b) for a, b in zip(left, right, strict=True) if a is not None and b is not None and a != b]
    surface = compare_surface([a for a, _ in changed], [b for _, b in changed], workers=workers)
    rows = []
    place = 0
    for a, b in zip(left, right, strict=True):
        if a is None or b is None:
            rows.append(_missing_row(a, b))
        elif a == b:
            rows.append(_equal_row("identical", a, b, count_tokens(a)))
        else:
            if surface.normal[0][place] == surface.normal[1][place]:
                rows.append(_equal_row("format_only", a, b, surface.token_counts[0][place]))
            else:
                rows.append(_changed_row(a, b, surface, place))
            place += 1
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, TEXT_SCHEMA, strict=True)], schema=TEXT_SCHEMA
    )


def _similarities(a: Sequence[str], b: Sequence[str], workers: int) -> list[float]:
    if not a:
        return []
    distances = process.cpdist(a, b, scorer=Indel.distance, dtype=np.int64, workers=workers)
    totals = np.array([len(x) + len(y) for x, y in zip(a, b, strict=True)])
    # One division of integers, so that 18 of 40 is .45 and not the .4499… of 1 - 22/40. Two texts without tokens are
    # the same text, or differ only in what no token holds.
    found: list[float] = np.where(totals > 0, (totals - distances) / np.maximum(totals, 1), 1.0).tolist()
    return found


def _missing_row(a: str | None, b: str | None) -> tuple[Any, ...]:
    reason: TextReason = "missing_both" if a is None and b is None else "missing_a" if a is None else "missing_b"
    lengths = [None if text is None else len(text) for text in (a, b)]
    counts = [None if text is None else count_tokens(text) for text in (a, b)]
    return (None, reason, None, None, *lengths, *counts, *(None,) * 8)


def _equal_row(text_class: TextClass, a: str, b: str, count: int) -> tuple[Any, ...]:
    lengths = (len(a), len(b), count, count, len(b) / len(a) if a else None)
    return (text_class, None, a == b, True, *lengths, 1.0, 1.0, False, False, False, False, None)


def _changed_row(a: str, b: str, surface: Surface, place: int) -> tuple[Any, ...]:
    counts = (surface.token_counts[0][place], surface.token_counts[1][place])
    lengths = (len(a), len(b), *counts, len(b) / len(a) if a else None)
    is_cut = max(len(side[place]) for side in surface.normal) > COMPARED
    alike = (surface.sim_tok[place], surface.sim_char[place])
    return (surface.text_class[place], None, False, False, *lengths, *alike, is_cut, *_structure(a, b))


def _structure(a: str, b: str) -> tuple[bool, bool, bool, float | None]:
    numbers_a, numbers_b = _numbers(a), _numbers(b)
    either = numbers_a | numbers_b
    return (
        _has_code(a) != _has_code(b),
        _has_list(a) != _has_list(b),
        _links(a) != _links(b),
        len(numbers_a & numbers_b) / len(either) if either else None,
    )


def _numbers(text: str) -> set[str]:
    data = text.encode("utf-8", "surrogatepass")
    # most texts have none, and looking for a digit this way takes a tenth of the time
    return set(_NUMBER.findall(text)) if len(data.translate(None, _DIGITS)) < len(data) else set()


def _has_code(text: str) -> bool:
    return ("```" in text or "~~~" in text) and _CODE.search(text) is not None


def _has_list(text: str) -> bool:
    return (_LIST.search(text) if "\n" in text else _LIST.match(text)) is not None


def _links(text: str) -> set[str]:
    return set(_LINK.findall(text)) if "://" in text else set()
