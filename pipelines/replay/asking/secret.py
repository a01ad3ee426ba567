"""An API key, and how it is taken out of what an endpoint repeats, however that spells it.

A body can hold a key as it is, in JSON or URL escapes, in HTML entities, folded over lines, in base64 or in hexadecimal digits;
what is kept or shown holds none of them.
"""

from __future__ import annotations

import base64
import re

_HIDDEN = b"[api key]"
_SHORTEST_SPELT = 8
"""Characters of a key below which its other spellings are looked for no more: they would be found anywhere."""
_FOLDS = (rb"\r", rb"\n", rb"\t")
_BLANK = b"\\ \t\r\n\v\f"
_DECIMAL = re.compile(rb"&#0{0,6}(3[2-9]|[4-9][0-9]|1[01][0-9]|12[0-7]);")
_HEXADECIMAL = re.compile(rb"x([2-7][0-9a-fA-F])")
_ESCAPES = (
    (b"u00", re.compile(rb"u00([2-7][0-9a-fA-F])")),
    (b"%", re.compile(rb"%(?:25){0,4}([2-7][0-9a-fA-F])")),
    (b"&#", _DECIMAL),
    (b"&#", re.compile(rb"&#[xX]0{0,6}([2-7][0-9a-fA-F]);")),
)
"""Escapes as they are once backslashes are gone; each pattern begins with plain characters, which are found at once."""
_FOLD = rb"(?:\\{1,8}[rnt]|\s){0,4}?"
"""What may stand between two characters where a line was folded. All runs are bounded: a body is made to be slow to search."""


class Secret:
    """One API key, or none.

    Args:
        key: The key.
    """

    def __init__(self, key: str | None) -> None:
        self.key = key
        self._plain = key.encode() if key is not None else b""
        is_long = len(self._plain) >= _SHORTEST_SPELT
        self._spelt = _spellings(self._plain) if is_long else None
        self._encoded = _encodings(self._plain) if is_long else []

    def __repr__(self) -> str:  # the key is in no traceback, log or assertion
        return f"{type(self).__name__}({'…' if self.key is not None else None})"

    def hide(self, content: bytes) -> bytes:
        """The content without the key."""
        if not self._plain:
            return content
        content = content.replace(self._plain, _HIDDEN)
        if self._spelt is None or not self._is_in(content):
            return content
        content = self._spelt.sub(_HIDDEN, content)
        return _HIDDEN if self._is_in(content) else content  # a spelling that nobody thought of: nothing of it is kept

    def hide_text(self, text: str) -> str:
        """The text without the key."""
        return self.hide(text.encode("utf-8", "replace")).decode("utf-8", "replace")

    def _is_in(self, content: bytes) -> bool:
        """Whether the content spells the key, told without a search, which takes a hundred times as long."""
        if any(text in content for text in self._encoded):
            return True
        joined = content
        for fold in _FOLDS:
            joined = joined.replace(fold, b"")
        wanted = self._plain.translate(None, _BLANK)
        texts = [content] if joined == content else [content, joined]
        return any(wanted in _unescaped(text) for text in texts)


def _unescaped(content: bytes) -> bytes:
    """A text without backslashes and blanks, with escapes of printable ASCII undone."""
    flat = content.translate(None, _BLANK)
    for mark, escape in _ESCAPES:
        if mark in flat:
            flat = escape.sub(_unescape, flat)
    if b"\\x" in content:
        flat = _HEXADECIMAL.sub(_unescape, flat)
    return flat.translate(None, _BLANK)


def _unescape(match: re.Match[bytes]) -> bytes:
    digits = match[1]
    return bytes([int(digits, 16) if match.re is not _DECIMAL else int(digits)])


def _spellings(key: bytes) -> re.Pattern[bytes]:
    """Everything that a body can spell the key as."""
    escaped = _FOLD.join(_character(code) for code in key)
    return re.compile(b"|".join([escaped, *map(re.escape, _encodings(key))]))


def _character(code: int) -> bytes:
    """One character, plain or escaped; a backslash may itself be escaped, in JSON within JSON."""
    plain, digits = re.escape(bytes([code])), b"(?i:%02x)" % code
    after_backslash = plain + rb"|u00" + digits + rb"|u\{0{0,4}" + digits + rb"\}|x" + digits
    entity = rb"0{0,6}%d|[xX]0{0,6}" % code + digits
    return rb"(?:%s|\\{1,8}(?:%s)|%%(?:25){0,4}%s|&\#(?:%s);)" % (plain, after_backslash, digits, entity)


def _encodings(key: bytes) -> list[bytes]:
    """The key in hexadecimal digits, and what of it is the same in every base64 text, at each of three places in a group."""
    pieces = [key.hex().encode(), key.hex().upper().encode()]
    for before in range(3):
        whole = base64.b64encode(bytes(before) + key)
        piece = whole[(before * 8 + 5) // 6 : (before + len(key)) * 8 // 6]
        pieces += [piece, piece.replace(b"+", b"-").replace(b"/", b"_"), piece.replace(b"/", rb"\/")]
    return list(dict.fromkeys(pieces))
