"""Parts of a message's content, in whatever dialect they were recorded: text, pictures, papers, and what is neither.

Which of them a wire can say, and how, is the wire's matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipelines.canonical.content import is_text_part, text_of

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w=.+-]+)*;base64,(.*)", re.ASCII | re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,40}", re.ASCII)
_PLAIN = 2
"""Members of a message that is a speaker and a text."""
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_text")


class Text(NamedTuple):
    """Text that was said."""

    text: str


class Medium(NamedTuple):
    """A picture or a paper: by its bytes, by an address, or by the name under which its provider keeps it.

    Attributes:
        kind: What it is.
        media_type: Such as `image/png`; None where only an address is known.
        data: Base64; None without bytes.
        url: Address; None without one.
        file_id: The provider's name for it; None without one.
        name: Of the file; None for none.
        detail: How closely it is to be looked at; None: as the endpoint likes.
    """

    kind: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None
    name: str | None = None
    detail: str | None = None

    @property
    def address(self) -> str | None:
        """Its address, or its bytes as one."""
        return f"data:{self.media_type};base64,{self.data}" if self.data is not None else self.url


class Other(NamedTuple):
    """Something else.

    Attributes:
        kind: The type that it gives itself, or what it is.
        part: As it was recorded.
    """

    kind: str
    part: Any


Part = Text | Medium | Other


def only_text(message: Mapping[str, Any]) -> str | None:
    """The text of a message that is nothing but a speaker and a text, as most are; None for every other."""
    content = message.get("content")
    is_plain = type(content) is str and len(message) == _PLAIN and message.get("role", "tool") != "tool"
    return content if is_plain else None


def read_parts(content: Any) -> Iterator[Part]:
    """What a content says, in order. Reasoning is not said: it is `thoughts`' matter."""
    if isinstance(content, str):
        yield Text(content)
        return
    for part in content if isinstance(content, list) else () if content is None else (content,):
        if isinstance(part, str):
            yield Text(part)
        elif not isinstance(part, Mapping):
            yield Other("value", part)
        elif is_text_part(part):
            yield Text(text_of([part]))
        elif part.get("type") not in _THOUGHTS:
            yield _medium(part) or Other(_kind(part), part)


def _kind(part: Mapping[str, Any]) -> str:
    kind = part.get("type")
    return kind if isinstance(kind, str) and _NAME.fullmatch(kind) else "part"


def _medium(part: Mapping[str, Any]) -> Medium | None:
    kind = part.get("type")
    if kind in ("image_url", "input_image"):
        return _picture(part)
    if kind in ("image", "document") and isinstance(part.get("source"), Mapping):
        return _sourced(str(kind), part, part["source"])
    if kind in ("file", "input_file"):
        return _file(part)
    return None


def _picture(part: Mapping[str, Any]) -> Medium | None:
    """As chat completions and Responses have them."""
    given = part.get("image_url")
    inner = given if isinstance(given, Mapping) else part
    url, detail = inner.get("url") if inner is given else given, inner.get("detail")
    medium = _at("image", url if isinstance(url, str) else None, _text(part, "file_id"))
    return medium and medium._replace(detail=detail if isinstance(detail, str) else None)


def _sourced(kind: str, part: Mapping[str, Any], source: Mapping[str, Any]) -> Medium | None:
    """As Anthropic's messages have them."""
    name = _text(part, "title")
    if source.get("type") == "base64" and isinstance(source.get("data"), str):
        return Medium(kind, _text(source, "media_type"), source["data"], name=name)
    medium = _at(kind, _text(source, "url"), _text(source, "file_id"))
    return medium and medium._replace(name=name)


def _file(part: Mapping[str, Any]) -> Medium | None:
    inner = part["file"] if isinstance(part.get("file"), Mapping) else part
    url = _text(inner, "file_data") or _text(inner, "file_url")
    medium = _at("document", url, _text(inner, "file_id"))
    return medium and medium._replace(name=_text(inner, "filename"))


def _at(kind: str, url: str | None, file_id: str | None) -> Medium | None:
    match = _DATA_URL.fullmatch(url) if url is not None else None
    if match is not None:
        return Medium(kind, match[1], match[2])
    return Medium(kind, url=url, file_id=file_id) if url or file_id else None


def _text(holder: Mapping[str, Any], name: str) -> str | None:
    value = holder.get(name)
    return value if isinstance(value, str) and value else None
