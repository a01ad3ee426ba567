"""The detectors beside what others published: registries, standards, numbering plans, test numbers of card issuers."""

from __future__ import annotations

import itertools

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat

from pipelines.detect import find_spans, shipped_detectors
from pipelines.detect.detector import Detector
from pipelines.errors import BadInputError

DETECTORS = shipped_detectors(None)
IBANS = [
    "AD1200012030200359100100",
    "AE070331234567890123456",
    "AL47212110090000000235698741",
    "AT611904300234573201",
    "AZ21NABZ00000000137010001944",
    "BA391290079401028494",
    "BE68539007547034",
    "BG80BNBG96611020345678",
    "BH67BMAG00001299123456",
    "BR1800360305000010009795493C1",
    "CH9300762011623852957",
    "CR05015202001026284066",
    "CY17002001280000001200527600",
    "CZ6508000000192000145399",
    "DE89370400440532013000",
    "DK5000400440116243",
    "DO28BAGR00000001212453611324",
    "EE382200221020145685",
    "ES9121000418450200051332",
    "FI2112345600000785",
    "FO6264600001631634",
    "FR1420041010050500013M02606",
    "GB29NWBK60161331926819",
    "GE29NB0000000101904917",
    "GI75NWBK000000007099453",
    "GL8964710001000206",
    "GR1601101250000000012300695",
    "HR1210010051863000160",
    "HU42117730161111101800000000",
    "IE29AIBK93115212345678",
    "IL620108000000099999999",
    "IS140159260076545510730339",
    "IT60X0542811101000000123456",
    "JO94CBJO0010000000000131000302",
    "KW81CBKU0000000000001234560101",
    "KZ86125KZT5004100100",
    "LB62099900000001001901229114",
    "LC55HEMM000100010012001200023015",
    "LI21088100002324013AA",
    "LT121000011101001000",
    "LU280019400644750000",
    "LV80BANK0000435195001",
    "MC5811222000010123456789030",
    "MD24AG000225100013104168",
    "ME25505000012345678951",
    "MK07250120000058984",
    "MR1300020001010000123456753",
    "MT84MALT011000012345MTLCAST001S",
    "MU17BOMM0101101030300200000MUR",
    "NL91ABNA0417164300",
    "NO9386011117947",
    "PK36SCBL0000001123456702",
    "PL61109010140000071219812874",
    "PS92PALS000000000400123456702",
    "PT50000201231234567890154",
    "QA58DOHB00001234567890ABCDEFG",
    "RO49AAAA1B31007593840000",
    "RS35260005601001611379",
    "SA0380000000608010167519",
    "SE4550000000058398257466",
    "SI56263300012039086",
    "SK3112000000198742637541",
    "SM86U0322509800000000270100",
    "TN5910006035183598478831",
    "TR330006100519786457841326",
    "UA213223130000026007233566001",
    "VA59001123000012345678",
    "VG96VPVG0000012345678901",
    "XK051212012345678906",
]
"""Examples of the IBAN registry."""
CARDS = [
    "4111111111111111",
    "4012888888881881",
    "378282246310005",
    "371449635398431",
    "5555555555554444",
    "5105105105105100",
    "2223003122003222",
    "6011111111111117",
    "30569309025904",
    "36227206271667",
    "3530111333300000",
    "6200000000000005",
    "6759649826438453",
]
"""Test numbers that issuers and payment services publish."""
ADDRESSES = [
    "192.0.2.1",
    "198.51.100.254",
    "203.0.113.77",
    "2001:db8::1",
    "2001:DB8:0:0:8:800:200C:417A",
    "FF01::101",
    "::FFFF:129.144.52.38",
    "fe80::1234:5678:9abc",
    "00-00-5E-00-53-AF",
    "00:00:5e:00:53:01",
    "0000.5e00.53af",
]
"""Of RFC 5737, 3849, 4291 and 7042."""
TOKEN = (
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
)
"""Of RFC 7519."""
MAILS = (
    "simple@example.com", "very.common@example.com", "FirstName.LastName@EasierReading.example", "x@example.com",
    "user.name+tag+sorting@example.com", '" "@example.org', '"john..doe"@example.org', "postmaster@[123.123.123.123]", "_test@example.org",
    "postmaster@[IPv6:2001:0db8:85a3:0000:0000:8a2e:0370:7334]", "Pelé@example.com", "δοκιμή@παράδειγμα.δοκιμή",
    "我買@屋企.香港", "二ノ宮@黒川.日本", "медведь@с-балалайкой.рф", "संपर्क@डाटामेल.भारत",
)  # fmt: skip
"""Valid addresses as encyclopaedias and RFC 6531's readers list them."""
NO_MAILS = ("abc.example.com", "a@b", "QA🦄CHOCOLATE🌈@test", 'just"not"right', "admin@mailserver1")


def found(text: str, key: str | None = None, detectors: list[Detector] = DETECTORS) -> list[tuple[str, str]]:
    """Values and classes, in order."""
    return [(text[span.start : span.end], span.kind) for span in find_spans(text, detectors, key)]


@pytest.mark.parametrize("value", IBANS)
def test_accounts_of_the_registry(value: str):
    """Found as printed, in groups of four and in lower case, with the sentence's stop left out."""
    grouped = " ".join(value[place : place + 4] for place in range(0, len(value), 4))
    for each in (value, grouped, grouped.lower(), value.lower()):
        assert found(f"to {each}.") == [(each, "iban")]


@pytest.mark.parametrize("value", CARDS)
def test_cards_of_issuers(value: str):
    """Found bare, and in the groups of their kind."""
    sizes = (4, 6, 5) if len(value) < 16 else (4, 4, 4, 4)
    places = [sum(sizes[:count]) for count in range(len(sizes) + 1)]
    grouped = " ".join(filter(None, (value[start:end] for start, end in itertools.pairwise(places))))
    for each in (value, grouped, grouped.replace(" ", "-")):
        assert found(f"I paid with {each}, thanks") == [(each, "card")]


def test_a_short_number_is_a_card_where_it_is_called_one():
    """Thirteen digits are a card beside a word or under a key, and goods otherwise."""
    assert found("my card is 4222222222222") == [("4222222222222", "card")]
    assert found("4222222222222", "card_number") == [("4222222222222", "card")]
    assert found("item 4222222222222") == found("4222222222222") == []


@pytest.mark.parametrize("value", ADDRESSES)
def test_addresses_of_documents(value: str):
    """Found in brackets and beside a port or a sentence's stop."""
    assert found(f"from [{value}] today") == found(f"is {value}.") == [(value, "network")]


def test_the_token_of_the_standard():
    """A JSON Web Token is one by its decoded head; what begins like one is not."""
    assert found(f"it was {TOKEN}, I think") == [(TOKEN, "secret")]
    assert found("eyJhIjoxfQo0NDQ0NDQ0.eyJiIjoyfQ.c2ln") == []


@pytest.mark.parametrize("value", MAILS)
def test_addresses_of_mail(value: str):
    """Found whole, after a space and before a comma."""
    assert found(f"to {value}, please") == [(value, "email")]


@pytest.mark.parametrize("value", NO_MAILS)
def test_what_is_no_address(value: str):
    """Nothing is found in texts that lists name as invalid."""
    assert [kind for _, kind in found(f"to {value} now") if kind == "email"] == []


REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)


@pytest.mark.parametrize("region", REGIONS)
def test_numbers_of_every_region(region: str):
    """The example of each numbering plan: with a plus in any home, as its people write it after a word for a phone."""
    example = phonenumbers.example_number(region)
    assert example is not None
    abroad = phonenumbers.format_number(example, PhoneNumberFormat.INTERNATIONAL)
    assert found(f"It is {abroad}.") == [(abroad, "phone")]
    home = phonenumbers.format_number(example, PhoneNumberFormat.NATIONAL)
    if sum(map(str.isdigit, home)) >= 7:
        assert found(f"my phone number is {home}.", None, shipped_detectors(region)) == [(home, "phone")]


def test_bare_digits_are_a_phone_only_where_they_are_called_one():
    """Beside a word, or under a key, also within JSON in a text; never as the number of an order or of goods, region or not."""
    digits = "2125550123"
    for detectors in (DETECTORS, shipped_detectors("US")):
        assert found(digits, "phone", detectors) == found(digits, "contactPhone", detectors) == [(digits, "phone")]
        assert found(f'{{"id": "7", "phone_number": "{digits}"}}', None, detectors) == [(digits, "phone")]
        assert found(f"call me at {digits}", None, detectors) == [(digits, "phone")]
        for text, key in (
            (digits, None),
            (digits, "item_id"),
            (f"call me about order {digits}", None),
            (f"order_id: {digits}", None),
        ):
            assert found(text, key, detectors) == []


def test_a_region_decides_about_its_national_forms():
    """A number in a home's form counts without a word; in a home elsewhere it does not. No such region is refused."""
    assert found("it is 020 7946 0018", None, shipped_detectors("GB")) == [("020 7946 0018", "phone")]
    assert found("it is 020 7946 0018") == []
    with pytest.raises(BadInputError, match="'XX'"):
        shipped_detectors("XX")


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("AKIAIOSFODNN7EXAMPLE", None, "AKIAIOSFODNN7EXAMPLE"),
        ("hunter2", "password", "hunter2"),
        ("correct horse battery staple", "db_password", "correct horse battery staple"),
        ("password=hunter2&x=1", None, "hunter2"),
        ('{"password": "hunter2"}', None, "hunter2"),
        ('{\\"password\\": \\"hunter2\\"}', None, "hunter2"),
        ("postgresql://app:s3cr3t@db/shop", None, "s3cr3t"),
        ("Authorization: Basic dXNlcjpwYXNz", None, "dXNlcjpwYXNz"),
        ("my password is Tr0ub4dor&3", None, "Tr0ub4dor&3"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\nvQIB\n", None, "-----BEGIN PRIVATE KEY-----\nMIIE\nvQIB"),
    ],
)
def test_secrets_of_named_forms(text: str, key: str | None, value: str):
    """The span is what must not be known, without its name; a private key that was cut off is one to where it ends."""
    assert found(text, key) == [(value, "secret")]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("4096", "max_tokens"),
        ("bearer", "token_type"),
        ("abcdefgh1", "next_page_token"),
        ("password: required", None),
        ("password=${PW}", None),
        ("****", "password"),
        ("", "password"),
    ],
)
def test_what_is_in_the_place_of_a_secret(text: str, key: str | None):
    """Names of other things, and signs that say that a secret would stand here, are none."""
    assert found(text, key) == []
