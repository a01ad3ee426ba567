"""Texts as strings of one character per token, which RapidFuzz compares fastest.

Cutting a text into tokens costs more than comparing it, so ASCII texts, most of all, are cut many at a time by array
operations; others by the expression that defines a token. Both give every token of a pair one code. What a token is, is
`wording`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.diff.pair.wording import count_tokens, tokens

COMPARED = 100_000
"""Characters of one text that similarity looks at: its cost grows with the square."""

Sides = tuple[list[str], list[str]]

_FIRST_SURROGATE, _AFTER_SURROGATES = 0xD800, 0xE000
_SPACE, _WORD, _SIGN = 0, 1, 2
_ASCII = 128
_KIND = bytes(
    _SPACE if chr(c).isspace() else _WORD if chr(c).isalnum() or chr(c) == "_" else _SIGN for c in range(_ASCII)
).ljust(256, b"\0")
"""Kind of each byte, as `bytes.translate` takes it: faster than indexing an array."""
_CHUNK = 8  # bytes of a word that are one number
_FIRST_BYTES = np.array([2 ** (8 * n) - 1 for n in range(_CHUNK + 1)], dtype=np.uint64)


def token_codes(a: Sequence[str], b: Sequence[str], normal: Sides) -> tuple[Sides, tuple[list[int], list[int]]]:
    """Write pairs of texts as strings of one character per token of their first `COMPARED` characters.

    Args:
        a: Side A's texts.
        b: Side B's texts.
        normal: Both sides' texts, normalised.

    Returns:
        Both sides' strings, in which two characters of one pair are equal exactly when the tokens are; and both sides'
        numbers of tokens of the whole texts.
    """
    codes: Sides = ([""] * len(a), [""] * len(a))
    counts = ([0] * len(a), [0] * len(a))
    plain = [
        index
        for index, (x, y) in enumerate(zip(a, b, strict=True))
        if len(x) <= COMPARED and len(y) <= COMPARED and x.isascii() and y.isascii()
    ]
    cut = _cut_ascii([a[index] for index in plain] + [b[index] for index in plain])
    for place, index in enumerate(plain):
        for side in (0, 1):
            codes[side][index] = code = cut[place + side * len(plain)]
            counts[side][index] = len(code)
    code_of = _Vocabulary().__getitem__
    for index in sorted(set(range(len(a))).difference(plain)):
        for side in (0, 1):
            text = normal[side][index]
            words = tokens(text[:COMPARED])
            codes[side][index] = "".join(map(code_of, words))
            counts[side][index] = len(words) if len(text) <= COMPARED else count_tokens(text)
    return codes, counts


class _Vocabulary(dict[str, str]):
    """One character per distinct token."""

    def __missing__(self, token: str) -> str:
        code = len(self)
        if code >= _FIRST_SURROGATE:
            code += _AFTER_SURROGATES - _FIRST_SURROGATE
        self[token] = chr(code)
        return self[token]


def _cut_ascii(texts: Sequence[str]) -> list[str]:
    """Cut ASCII texts into tokens, all at once, and write each token as one character."""
    if not texts:
        return []
    raw = "\n".join([*texts, " " * _CHUNK]).encode("ascii")
    data = np.frombuffer(raw, dtype=np.uint8)
    kind = np.frombuffer(raw.translate(_KIND), dtype=np.uint8)
    is_word = kind == _WORD
    is_first = is_word.copy()
    is_first[1:] &= ~is_word[:-1]
    starts = np.flatnonzero(is_first | (kind == _SIGN))
    is_last = is_word.copy()
    is_last[:-1] &= ~is_word[1:]
    lengths = np.ones(starts.size, dtype=np.intp)
    words = is_word[starts]
    lengths[words] = np.flatnonzero(is_last) + 1 - starts[words]
    codes = data[starts].astype(np.uint32)  # a token of one character is its own code
    longer = np.flatnonzero(lengths > 1)
    codes[longer] = _ASCII + _number_words(data, starts[longer], lengths[longer])
    codes[codes >= _FIRST_SURROGATE] += _AFTER_SURROGATES - _FIRST_SURROGATE
    whole = codes.astype("<u4").tobytes().decode("utf-32-le")
    limits = np.cumsum([0] + [len(text) + 1 for text in texts])
    bounds = np.searchsorted(starts, limits).tolist()
    return [whole[start:stop] for start, stop in pairwise(bounds)]


def _number_words(data: NDArray[np.uint8], starts: NDArray[np.intp], lengths: NDArray[np.intp]) -> NDArray[np.uint32]:
    """A number for every word, equal for equal words: eight bytes at a time are looked up as one integer."""
    chunks: NDArray[np.uint64] = np.ndarray((data.size - _CHUNK + 1,), dtype="<u8", buffer=data, strides=(1,))
    numbers = _number(chunks[starts] & _FIRST_BYTES[np.minimum(lengths, _CHUNK)]).copy()
    rest = np.flatnonzero(lengths > _CHUNK)
    offset = _CHUNK
    while rest.size:
        left = np.minimum(lengths[rest] - offset, _CHUNK)
        tail = _number(chunks[starts[rest] + offset] & _FIRST_BYTES[left])
        both = numbers[rest].astype(np.uint64) << np.uint64(32) | tail.astype(np.uint64)
        numbers[rest] = int(numbers.max()) + 1 + _number(both)
        offset += _CHUNK
        rest = rest[lengths[rest] > offset]
    return numbers


def _number(values: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The place of each value among the different ones."""
    # by their buffers: the usual ways between the two libraries import pandas where it is installed, for a second
    buffer: Any = np.ascontiguousarray(values)
    encoded: Any = pa.Array.from_buffers(pa.uint64(), values.size, [None, pa.py_buffer(buffer)]).dictionary_encode()
    return np.frombuffer(encoded.indices.buffers()[1], dtype=np.uint32, count=values.size)
