"""E-mail addresses, by their structure: domains and locals of any script, quoted locals, addresses of hosts in brackets.

Taken too: `%40` for the sign, `name [at] example [dot] com`, and `name at example dot com` where a word of mail stands before it. Not taken:
a domain of one label, a version after a package (`lodash@4.17.21`), who logs in where (`https://user@host`, `git@host:path`), a handle
(`@user`, `@user@host`), an image at a resolution (`icon@2x.png`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.detect.detector import Span
from pipelines.detect.plain import plain

_SURE, _SPOKEN = 0.99, 0.8
_MAX_LOCAL = 64
_MAX_DOMAIN = 255
_LETTER = (
    "A-Za-z0-9"
    "\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u060b\u060d-\u061a\u061c-\u061e\u0620-\u0963\u0966-\u1fff"
    "\u200c\u200d\u2c00-\u2dff\u3005-\u3007\u3021-\u3029\u3031-\ud7ff\uf900-\ufdff\ufe70-\ufefe\uff66-\uffdc\U00020000-\U0003ffff"
)
"""Letters, marks and digits of all scripts, without punctuation, arrows and pictures."""
_AT = re.compile(r"@|%40")
_LOCAL_REVERSED = re.compile(rf"[{_LETTER}_+~!#$*'-](?:\.?[{_LETTER}_%+~!#$*'?-]){{0,{_MAX_LOCAL}}}")
_LEADING = re.compile(r"[-~!#$*'?%.]+")
_ESCAPED = re.compile(r"[nrtbf]|u[0-9a-fA-F]{4}")
_BEFORE_QUOTED = re.compile(r"[^\w.\\]|\Z")
_LABEL = rf"[{_LETTER}](?:[{_LETTER}_-]{{0,61}}[{_LETTER}])?"
_DOMAIN = re.compile(
    rf"((?:{_LABEL}\.){{1,10}})([A-Za-z]{{2,63}}|xn--[A-Za-z0-9-]{{2,59}}|[^\W\d_A-Za-z][{_LETTER}]{{0,62}})"
)
_HOST = re.compile(r"\[(?:\d{1,3}(?:\.\d{1,3}){3}|IPv6:[0-9A-Fa-f:.]{2,45})\]")
_GLUED = re.compile(r"(?<=\.[a-z]{3})\.[A-Z][a-z]+\Z|(?<=\.[a-z]{2})\.[A-Z][a-z]+\Z")
"""A sentence that begins without a space after an address."""
_VERSION = re.compile(r"v?\d+\.\d+(?:\.|\Z)|v?\d+\.(?:x|beta|alpha|rc|dev)\b")
_FILE = re.compile(
    r"\.(?:png|jpe?g|gif|svg|webp|bmp|ico|pdf|txt|json|ya?ml|xml|html?|css|exe|dll|csv|tsx?|jsx?|tar|gz|log|ini|conf|cfg|lock|whl|jar)\Z",
    re.IGNORECASE,
)
_LOGIN_PATH = re.compile(r":(?:\d{1,5}(?![\w@])|~|/(?!/)|[\w.~-]+/[\w./~-]*|[\w.-]+\.git\b)")
"""What follows the host to which somebody logs in: a port, a path, a prompt."""
_USER_INFO = re.compile(r"://[^\s/@\"'<>]*\Z")
_CLOSE_SCRIPT = re.compile(
    "[\u0e00-\u0e7f\u1100-\u11ff\u3005-\u30ff\u3131-\u318e\u3400-\u9fff\uac00-\ud7ff\uf900-\ufaff]"
)
"""Scripts that are written without spaces, or that bind particles to a word: an ASCII address may touch them."""
_BRACKETED = re.compile(
    r"(?<![\w.+-])[\w+-]{1,30}(?:(?:\.|\s?[\[({]\s?dot\s?[\])}]\s?)[\w+-]{1,30}){0,4}"
    r"\s?[\[({]\s?at\s?[\])}]\s?"
    r"[\w-]{1,40}(?:(?:\.|\s?[\[({]\s?dot\s?[\])}]\s?|\sdot\s)[A-Za-z][\w-]{1,40}){1,4}",
    re.IGNORECASE,
)
_SPOKEN_ADDRESS = re.compile(
    r"(?<![\w.@])[\w+-]{1,30}(?:(?:\.|\s(?:dot|underscore|dash|plus)\s)[\w+-]{1,30}){0,4}\sat\s[\w-]{1,40}(?:\s(?:dot|dash)\s[\w-]{1,40}){0,3}\sdot\s[a-z]{2,6}\b",
    re.IGNORECASE,
)
_MAIL_WORD = re.compile(r"\b(?:e-?mails?|mail|address|inbox|reach|write)\b", re.IGNORECASE)
_NEAR = 60


class EmailDetector:
    """E-mail addresses; needs no region and no key."""

    name = "email"

    def find(self, text: str, key: str | None = None) -> Iterator[Span]:  # noqa: ARG002 -- an address proves itself
        """Spans of addresses, in the order of the text; without `mailto:`, angle brackets and punctuation after them."""
        if "@" in text or "%40" in text or "\uff20" in text:
            line = plain(text)
            for sign in _AT.finditer(line):
                span = _around(line, sign.start(), sign.end())
                if span is not None:
                    yield span
        lower = text.lower() if "dot" in text or "DOT" in text or "at" in text else ""
        if "dot" in lower or "[at]" in lower or "(at)" in lower:
            yield from _written_out(plain(text))


def _around(line: str, at: int, after: int) -> Span | None:
    """The address whose sign is at this place, if it is one."""
    local = _local_before(line, at)
    domain = _domain_after(line, after)
    if local is None or domain is None:
        return None
    start, end = at - len(local), after + len(domain)
    before = line[max(start - 200, 0) : start]
    if before.endswith("@") or _USER_INFO.search(before) or _LOGIN_PATH.match(line, end):
        return None
    if local[0] == "_" and line[end : end + 1] == "_" and len(local) > 1:
        start += 1  # emphasis in Markdown
    return Span(start, end, "email", _SURE)


def _local_before(line: str, at: int) -> str | None:
    """What stands before the sign and may be the local part."""
    if line[at - 1 : at] == '"':
        begin = line.rfind('"', max(at - _MAX_LOCAL, 0), at - 1)
        quoted = line[begin:at]
        is_one = (
            begin >= 0
            and len(quoted) > 2
            and "\n" not in quoted
            and (not begin or _BEFORE_QUOTED.match(line[begin - 1]))
        )
        return quoted if is_one else None
    window = line[max(at - 2 * _MAX_LOCAL - 1, 0) : at]
    match = _LOCAL_REVERSED.match(window[::-1])
    if match is None:
        return None
    local = match[0][::-1]
    before = line[max(at - len(local) - 2, 0) : at - len(local)]
    escaped = _ESCAPED.match(local) if before.endswith("\\") and before != "\\\\" else None
    if escaped is not None:
        local = local[escaped.end() :]
    leading = _LEADING.match(local)
    if leading is not None:
        local = local[leading.end() :]
    if not local.isascii() and local[-1:].isascii():
        close = list(_CLOSE_SCRIPT.finditer(local))
        local = local[close[-1].end() :] if close else local
    return local if 0 < len(local) <= _MAX_LOCAL else None


def _domain_after(line: str, after: int) -> str | None:
    """What stands after the sign and may be the domain."""
    match = _HOST.match(line, after) or _DOMAIN.match(line, after, after + _MAX_DOMAIN)
    if match is None:
        return None
    domain = match[0]
    following = line[match.end() : match.end() + 1]
    if following.isalnum() and following.isascii() and domain[0] != "[":
        return None
    if _VERSION.match(domain) or _FILE.search(domain):
        return None
    glued = _GLUED.search(domain)
    return domain[: glued.start()] if glued else domain


def _written_out(line: str) -> Iterator[Span]:
    """Addresses with words for their signs."""
    for match in _BRACKETED.finditer(line):
        yield Span(match.start(), match.end(), "email", _SPOKEN)
    for match in _SPOKEN_ADDRESS.finditer(line):
        if _MAIL_WORD.search(line, max(match.start() - _NEAR, 0), match.start()):
            yield Span(match.start(), match.end(), "email", _SPOKEN)
