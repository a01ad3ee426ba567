"""Secrets by their named forms: API keys, private keys, tokens, values of passwords and headers, passwords in connection strings.

A span is what must not be known: the password without its name, the token without `Bearer`, a private key from its first line to its last.
What stands in the place of a secret (`<your password>`, `${PASSWORD}`, `required`, `****`) is none.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect
from collections.abc import Iterator

from pipelines.detect.context import spelled_out
from pipelines.detect.detector import Span

_NAMED = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"A(?:KIA|SIA)[A-Z2-7]{16}"
    r"|gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"
    r"|gl(?:pat|dt|rt|ptt|oas|cbt|soat|ft)-[A-Za-z0-9_-]{20,}"
    r"|sk-(?:proj-|svcacct-|admin-|ant-(?:api|admin|oat)\d\d-|or-v1-)[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9]{32,64}"
    r"|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{24,}"
    r"|AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{20,}"
    r"|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|pypi-AgEI[A-Za-z0-9_-]{50,}"
    r"|SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}|SK[0-9a-f]{32}|key-[0-9a-f]{32}"
    r"|do[opr]_v1_[0-9a-f]{64}|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|dapi[0-9a-f]{32}|hvs\.[A-Za-z0-9_-]{24,}"
    r"|sq0(?:csp|atp)-[A-Za-z0-9_-]{22,}|lin_api_[A-Za-z0-9]{40}|PMAK-[0-9a-f]{24}-[0-9a-f]{34}|NRAK-[A-Z0-9]{27}"
    r"|glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}|gsk_[A-Za-z0-9]{40,}|r8_[A-Za-z0-9]{37}|xai-[A-Za-z0-9]{60,}|pplx-[A-Za-z0-9]{40,}"
    r"|ATATT3[A-Za-z0-9_=-]{60,}|ntn_[A-Za-z0-9]{40,}|AGE-SECRET-KEY-1[A-Z0-9]{58}|\d{8,10}:AA[A-Za-z0-9_-]{33}"
    r")(?![A-Za-z0-9])"
)
_HINTS = (
    "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "gldt-", "glrt-", "glptt-", "gloas-", "glcbt-", "glsoat-", "glft-", "sk-",
    "k_live_", "k_test_", "whsec_", "AIza", "GOCSPX-", "ya29.", "xox", "xapp-", "hf_", "npm_", "pypi-", "SG.", "SK", "key-", "dop_v1", "doo_v1", "dor_v1", "shp", "dapi", "hvs.", "sq0",
    "lin_api_", "PMAK-", "NRAK-", "glsa_", "gsk_", "r8_", "xai-", "pplx-", "ATATT3", "ntn_", "AGE-SECRET", ":AA",
)  # fmt: skip
"""With one of these each named form begins."""
_WEBHOOK = re.compile(r"(?<=hooks\.slack\.com/services/)T[A-Z0-9]{6,}/B[A-Z0-9]{6,}/[A-Za-z0-9]{16,}")
_PEM_BEGIN = re.compile(r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY = re.compile(r"(?:[A-Za-z0-9+/=:,. -]|\\[nr]|\s)*")
"""What a private key that was cut off has after its first line."""
_MAX_PEM = 20_000
_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)?"
)
_BEARER = re.compile(r"(?i:\bbearer\s+)([A-Za-z0-9._~+/-]{16,}={0,2})(?![A-Za-z0-9])")
_BASIC = re.compile(r"(?i:\bauthorization[\"']?\s*[:=]\s*[\"']?basic\s+)([A-Za-z0-9+/]{8,}={0,2})")
_CONNECTION = re.compile(
    r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s:/@\"'<>]{0,64}:([^\s/\"'<>]{1,128}?)@(?=[\w.\[-])"
)
_ASSIGNED = re.compile(
    r"(?P<name>pass(?:word|wd|phrase)?|pwd|passwort|kennwort|contrase[nñ]a|senha|mot ?de ?passe|token|credentials?"
    r"|(?:api|secret|access|account|private|signing)[_-]?key|secret)"
    r"(?:\\?[\"'])?(?P<sign>\s?[=:]\s?|\s?=>\s?)"
    r"(?:(?P<quote>\\?[\"'])(?P<quoted>[^\"'\\\r\n]{4,200})(?=\\?[\"'])|(?P<value>[^\s\"'\\,;&<>(){}\[\]]{4,200}))"
)
"""In lower case; what is before the name is looked at afterwards."""
_ASSIGNED_HINTS = ("pass", "pwd", "secret", "token", "key", "kennwort", "contrase", "senha", "credential")
_SAID = re.compile(
    r"(?:pass(?:word|phrase|code|wort)|contraseña|senha|mot de passe|(?:secret|api) key)(?: (?:is|to|ist|es|est|é|:))+ [\"'`]?(?P<said>[^\s\"'`,;\\]{5,64})"
)
_PLACEHOLDER = re.compile(
    r"(?i:none|null|nil|undefined|true|false|required|optional|string|str|bool|boolean|integer|number|text|hidden|redacted|masked|removed|empty|changed|updated|"
    r"invalid|incorrect|wrong|missing|expired|bearer|basic|obligatoire|requis\w*|erforderlich|obligatori[oa]|example|placeholder|your\w*|the|not|a|an|enter|reset|"
    r"[x*•.#_-]+|\$.*|%.*%|\{.*|<.*|\[.*|https?://.*|os\.\w.*|process\.\w.*|env\.\w.*|getenv.*|\d{1,5})"
)
_WORDS_ONLY = re.compile(r"[^\W\d_]+[.!?…]*|[a-z_.]+\(?")
_NAME_BEFORE = re.compile(r"[\w.-]*\Z")
_PASSWORD_KEY = re.compile(
    r"(?i:(?:\w+ )?(?:password|passwd|pwd|passphrase|passcode|pass|contraseña|senha|passwort|kennwort|mot de passe)(?: \w+)?)"
)
_SECRET_KEY = re.compile(
    r"(?i:(?:\w+ ){0,2}(?:api ?key|secret|client secret|secret key|private key|access key|account key|signing key|credential|token)|authorization)"
)
_NO_SECRET_KEY = re.compile(r"(?i:\b(?:next|page|continuation|max|total|num|count|type|stop|prompt|completion)\b)")
_SURE, _NAMED_SCORE, _ASSIGNED_SCORE, _SAID_SCORE = 0.99, 0.97, 0.85, 0.7
_FEWEST_OF_TOKEN, _FEWEST_SAID, _LONG_NAME = 8, 4, 40


class SecretDetector:
    """Secrets of named forms, and what a key or a sign of assignment calls one; needs no region."""

    name = "secret"

    def find(self, text: str, key: str | None = None) -> Iterator[Span]:
        """Spans of secrets, in no order; one may be in another."""
        if key is not None and _is_secret_under(key, text):
            yield Span(0, len(text), "secret", _ASSIGNED_SCORE)
            return
        if any(hint in text for hint in _HINTS):
            yield from (Span(*match.span(), "secret", _NAMED_SCORE) for match in _NAMED.finditer(text))
        if "-----BEGIN " in text:
            yield from _private_keys(text)
        if "eyJ" in text:
            yield from (Span(*match.span(), "secret", _SURE) for match in _TOKEN.finditer(text) if _is_token(match[0]))
        if "://" in text:
            yield from _groups(_CONNECTION, text, _ASSIGNED_SCORE)
            yield from (Span(*match.span(), "secret", _NAMED_SCORE) for match in _WEBHOOK.finditer(text))
        lower = text.lower()
        yield from _headers(text, lower)
        if any(hint in lower for hint in _ASSIGNED_HINTS):
            yield from _assigned(text, lower)


def _headers(text: str, lower: str) -> Iterator[Span]:
    if "bearer" in lower:
        for match in _BEARER.finditer(text):
            if not _WORDS_ONLY.fullmatch(match[1]):
                yield Span(*match.span(1), "secret", _ASSIGNED_SCORE)
    if "basic" in lower:
        yield from _groups(_BASIC, text, _ASSIGNED_SCORE)


def _groups(pattern: re.Pattern[str], text: str, score: float) -> Iterator[Span]:
    """Spans of the first group, where it is a secret and not the place of one."""
    for match in pattern.finditer(text):
        if not _PLACEHOLDER.fullmatch(match[1]):
            yield Span(*match.span(1), "secret", score)


def _private_keys(text: str) -> Iterator[Span]:
    ends = [end.end() for end in _PEM_END.finditer(text)]
    after = 0
    for begin in _PEM_BEGIN.finditer(text):
        if begin.start() < after:
            continue
        place = bisect(ends, begin.end())
        if place < len(ends) and ends[place] - begin.end() <= _MAX_PEM:
            after = ends[place]
        else:
            body = _PEM_BODY.match(text, begin.end(), begin.end() + _MAX_PEM)
            after = begin.end() + len(body[0].rstrip() if body else "")
        yield Span(begin.start(), after, "secret", _SURE)


def _is_token(found: str) -> bool:
    """Whether the first part of a token is a JSON object that names an algorithm (RFC 7519)."""
    head = found.split(".", 1)[0]
    try:
        decoded = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except (binascii.Error, ValueError):
        return False
    return decoded.startswith(b"{") and (b'"alg"' in decoded or b'"typ"' in decoded or b'"enc"' in decoded)


def _assigned(text: str, lower: str) -> Iterator[Span]:
    line = lower if len(lower) == len(text) else text
    for match in _ASSIGNED.finditer(line):
        group = "quoted" if match["quoted"] is not None else "value"
        start, end = match.span(group)
        before = _NAME_BEFORE.search(line, max(match.start() - _LONG_NAME, 0), match.start())
        name = spelled_out((before[0] if before else "") + match["name"])
        if _PLACEHOLDER.fullmatch(line, start, end) or _NO_SECRET_KEY.search(name):
            continue
        is_loose = group == "value" and "=" not in match["sign"]
        if is_loose:
            if _WORDS_ONLY.fullmatch(text, start, end):
                continue
            end = start + len(text[start:end].rstrip(".:"))
        yield Span(start, end, "secret", _ASSIGNED_SCORE)
    for match in _SAID.finditer(line):
        start = match.start("said")
        said = text[start : match.end("said")].rstrip(".!?)")
        if len(said) > _FEWEST_SAID and not (_PLACEHOLDER.fullmatch(said) or _WORDS_ONLY.fullmatch(said)):
            yield Span(start, start + len(said), "secret", _SAID_SCORE)


def _is_secret_under(key: str, text: str) -> bool:
    """Whether a JSON member's name says that its value is a secret."""
    name = spelled_out(key)
    if not text or _PLACEHOLDER.fullmatch(text) or _NO_SECRET_KEY.search(name):
        return False
    if _PASSWORD_KEY.fullmatch(name):
        return True
    return _SECRET_KEY.fullmatch(name) is not None and len(text) >= _FEWEST_OF_TOKEN and not any(map(str.isspace, text))
