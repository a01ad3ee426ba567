"""The key is found in whatever an endpoint makes of it."""

from __future__ import annotations

import base64
import html
import json
import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.replay.asking.secret import Secret

KEY = "sk-Test_0123+456/789=abcdef"


def escaped(form: str) -> str:
    return "".join(form.format(ord(each)) for each in KEY)


SPELLINGS = {
    "plain": KEY,
    "json": escaped("\\u{:04x}"),
    "json, capital": escaped("\\u{:04X}"),
    "one character": KEY.replace("s", "\\u0073", 1),
    "json in json": json.dumps(json.dumps(KEY).replace("s", "\\u0073")),
    "json in json in json": json.dumps(json.dumps(escaped("\\u{:04x}"))),
    "slash": KEY.replace("/", "\\/"),
    "url": quote(KEY, safe=""),
    "url, all": escaped("%{:02x}"),
    "url twice": quote(escaped("%{:02X}")),
    "html": escaped("&#{};"),
    "html, hexadecimal": escaped("&#x{:x};"),
    "html, zeros": escaped("&#0{};"),
    "python": escaped("\\x{:02x}"),
    "folded": KEY[:9] + "\r\n " + KEY[9:],
    "folded in json": KEY[:9] + "\\r\\n\\t" + KEY[9:],
    "base64": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    "base64, url": base64.urlsafe_b64encode(f"x:{KEY}!".encode()).decode(),
    "base64 in json": base64.b64encode(f"ab{KEY}".encode()).decode().replace("/", "\\/"),
    "hexadecimal": KEY.encode().hex(),
    "hexadecimal, capital": KEY.encode().hex().upper(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_the_key_is_cut_out_however_it_is_spelt(spelling):
    """Nothing that a reader could turn back into the key stays, and what is around it does, as JSON where it was JSON."""
    secret = Secret(KEY)
    body = f'{{"before": "it is", "key": "{SPELLINGS[spelling]}", "after": "gr\u00fc\u00df 100% \\u00e9"}}'.encode()
    hidden = secret.hide(body)
    assert hidden.startswith(b'{"before": "it is", "key": "')
    assert hidden.endswith('", "after": "gr\u00fc\u00df 100% \\u00e9"}'.encode())
    assert b"[api key]" in hidden
    kept = hidden.decode()
    for _ in range(4):
        assert KEY not in kept
        kept = html.unescape(unquote(kept)).replace("\\\\", "\\")
        kept = re.sub(
            r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})", lambda found: chr(int(found[1] or found[2], 16)), kept
        )
    assert secret.hide(hidden) == hidden
    assert KEY not in repr(secret)


@given(st.binary(max_size=200))
def test_what_holds_no_key_stays_as_it_is(body):
    """Escapes, blanks and halves of UTF-8 of anything else are nobody's secret."""
    assert Secret(KEY).hide(body) == body
    assert Secret(None).hide(body) == body


def test_a_short_key_is_cut_out_as_it_is():
    """Other spellings of a few characters would be found anywhere."""
    assert Secret("abc").hide(b"abc a%62c") == b"[api key] a%62c"
