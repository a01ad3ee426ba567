"""Which endpoints may be asked, with which key, and what they cost."""

from __future__ import annotations

import json
import posixpath
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from pipelines.errors import BadInputError
from pipelines.experiment.models import read_key, require_allowed
from pipelines.experiment.prices import Price, load_prices, max_output_tokens
from pipelines.replay.asking.endpoint import retry_after
from pipelines.settings import Settings

OPENAI = "https://api.openai.com/v1"
SIDEWAYS = (
    "/%2e%2e/files",
    "/%2E%2e/files",
    "/.%2e/files",
    "/%252e%252e/files",
    "/..%2ffiles",
    "/x%2f..%2f..%2ffiles",
    "%2f..%2ffiles",
    "/%5c..%5cfiles",
    "/..\\files",
    "\\..\\files",
    "/../files",
    "/./files",
    "/..;/files",
    "/;/../files",
    "//evil.com/v1",
    "/x//y",
    "/\u2025/files",
    "/\uff0e\uff0e/files",
    "/x\n/y",
    "/x\t",
    "/x%00",
    "?x=1",
    "#x",
)
"""Paths that some client, proxy or server would read as another one."""
LOOKALIKES = (
    "https://api.openai.com@evil.com",
    "https://api.openai.com:443@evil.com",
    "https://user:secret@api.openai.com",
    "https://api.openai.com.",
    "https://api..openai.com",
    "https://api.openai.com:",
    "https://api.openai.com:0",
    "https://api.openai.com:99999",
    "https://api.openai.com:443x",
    "https://api.openai.com\\@evil.com",
    "https://api.openai.com%2eevil.com",
    "https://api.openai.com\u3002evil.com",
    "https://\u0430pi.openai.com",
    "https://api.openai.com\u200b",
    "https:/api.openai.com",
    "https:///api.openai.com",
    "HTTPS://api.openai.com",
    "ftp://api.openai.com",
    "//api.openai.com",
)
"""Addresses that look like one that is allowed."""


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://127.0.0.1:8000/v1", None),
        ("http://localhost/v1", None),
        ("http://[::1]:1/v1", None),
        (OPENAI, [OPENAI]),
        (OPENAI, ["https://api.openai.com"]),
        ("https://api.openai.com:443/v1", [OPENAI + "/"]),
        ("https://API.OpenAI.com/v1", [OPENAI]),
        ("http://[::1]/v1", ["http://[0:0:0:0:0:0:0:1]:80"]),
        ("http://127.8.9.10/v1", None),
        ("https://eu.example/v1beta1/projects/p-1/locations/x/endpoints/openapi", ["https://eu.example/v1beta1"]),
    ],
)
def test_this_machine_and_what_is_named_may_be_asked(url, allowed):
    """Loopback by default; with a list, an address of the list or below one."""
    require_allowed(url, allowed)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        (OPENAI, None),
        ("http://127.0.0.1.evil.com/v1", None),
        ("http://10.0.0.1/v1", None),
        ("http://127.0.0.1:8000/v1", [OPENAI]),
        ("http://api.openai.com/v1", [OPENAI]),
        ("https://api.openai.com.evil.com/v1", [OPENAI]),
        ("https://api.openai.com:8443/v1", [OPENAI]),
        ("https://api.openai.com/v10", [OPENAI]),
        ("https://api.openai.com/v1/../v2", [OPENAI]),
        (OPENAI, []),
        *((f"https://api.openai.com/v1{path}", [OPENAI]) for path in SIDEWAYS),
        *((f"{host}/v1", [OPENAI]) for host in LOOKALIKES),
        *((f"http://{host}/v1", None) for host in ("127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost.")),
        *(
            (f"http://{host}/v1", None)
            for host in ("[::ffff:10.0.0.1]", "[fe80::1%25lo]", "localhost.evil.com", "[::]")
        ),
    ],
)
def test_nothing_else_may_be_asked(url, allowed):
    """Another host, scheme, port or path is refused, and the message says where to name it."""
    with pytest.raises(BadInputError, match="REFOLD_ENDPOINTS"):
        require_allowed(url, allowed)


@pytest.mark.parametrize(
    "listed", ["https://api.openai.com/%2e%2e", "https://api.openai.com/v1/..", "https://u@h/v1", "x"]
)
def test_a_list_of_addresses_holds_none_that_reads_in_two_ways(listed):
    """What may be named is what may be asked; the value seen is in the message."""
    with pytest.raises(BadInputError, match="REFOLD_ENDPOINTS names"):
        Settings.from_env({"REFOLD_ENDPOINTS": f"{OPENAI} {listed}"})


segments = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@given(st.lists(segments, max_size=4), st.booleans())
def test_an_address_is_below_another_only_as_every_client_reads_it(names, is_slashed):
    """Whatever the path: what is allowed under a base stays under it once a client has normalised, decoded and joined it."""
    url = "/".join([OPENAI, *names]) + "/" * is_slashed
    try:
        require_allowed(url, [OPENAI])
    except BadInputError:
        return
    for client in (str(URL(url)), str(URL(url).human_repr()), unquote(unquote(url)), urljoin(f"{url}/chat", "files")):
        path = posixpath.normpath(urlsplit(client.replace("\\", "/")).path)
        assert urlsplit(client).hostname == "api.openai.com"
        assert path == "/v1" or path.startswith("/v1/")


def test_a_key_comes_from_the_environment_alone():
    """A variable that is not set is named; a value that is no key is not repeated."""
    assert read_key(None, {}) is None
    assert read_key("KEY", {"KEY": " sk-1\n"}) == "sk-1"
    with pytest.raises(BadInputError, match="KEY is not set"):
        read_key("KEY", {"KEY": ""})
    with pytest.raises(BadInputError) as raised:
        read_key("KEY", {"KEY": "sk-1\r\nX-Evil: 1"})
    assert "sk-1" not in str(raised.value)


def test_retry_after_in_all_its_forms():
    """Milliseconds before seconds, numbers or dates; what is neither is nothing, and nothing waits for ever."""
    assert retry_after({}) is None
    assert retry_after({"Retry-After": "2"}) == 2.0
    assert retry_after({"Retry-After": "7", "retry-after-ms": "1500"}) == 1.5
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 27 <= (retry_after({"Retry-After": date}) or 0) <= 30
    assert retry_after({"Retry-After": "Fri, 01 Jan 2021 00:00:00 GMT"}) == 0.0
    assert [retry_after({"Retry-After": text}) for text in ("soon", "", "nan", "-1")] == [None] * 4
    assert retry_after({"Retry-After": "99999999"}) == 3_600.0


def test_the_price_table_is_dated_and_can_be_overridden(tmp_path):
    """Every price is positive and has a source; a file of one's own wins, a broken one is named."""
    table = load_prices()
    assert datetime.fromisoformat(table.as_of)
    assert table.source.startswith("https://")
    assert all(price.output_usd > price.input_usd > 0 for price in table.models.values())
    assert table.find("gpt-4o-mini-2024-07-18") == table.find("gpt-4o-mini")
    assert table.find("claude-sonnet-4-5-20250929") == table.find("claude-sonnet-4-5") is not None
    assert table.find("my-model") is None
    for name, price in table.models.items():
        assert (price.cached_input_usd or 0) < price.input_usd, name
        if name.startswith(
            "claude"
        ):  # the provider's own ratios: writing 1.25 and 2 times the input, output five times, reading less
            rates = (price.cache_write_usd, price.long_cache_write_usd, price.output_usd)
            assert rates == (price.input_usd * 1.25, price.input_usd * 2, price.input_usd * 5), name
    path = tmp_path / "prices.json"
    own = {"as_of": "2026-01-01", "source": "us", "models": {"gpt-4o": {"input_usd": 1, "output_usd": 2}}}
    path.write_text(json.dumps(own), encoding="utf-8")
    merged = load_prices(path)
    assert merged.find("gpt-4o") == Price(input_usd=1, output_usd=2)
    assert merged.find("gpt-4o-mini") == table.find("gpt-4o-mini")
    path.write_text(
        '{"as_of": "x", "source": "y", "models": {"m": {"input_usd": -1, "output_usd": 1}}}', encoding="utf-8"
    )
    with pytest.raises(BadInputError, match=r"models\.m\.input_usd"):
        load_prices(path)


def test_the_longest_reply_is_bounded_by_the_request_or_by_the_model():
    """`max_completion_tokens` and `max_tokens` bound it; else what the model is known for; else nothing does."""
    price = Price(input_usd=1, output_usd=1, max_output_tokens=100)
    assert max_output_tokens({"max_tokens": 7}, price) == 7
    assert max_output_tokens({"max_tokens": 7, "max_completion_tokens": 5}, None) == 5
    assert max_output_tokens({"temperature": 0}, price) == 100
    assert max_output_tokens({}, None) is None
