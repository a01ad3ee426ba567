"""The first generator of personal values, secrets and near-misses: the United States, Britain and Germany, in English and German.

The detectors are developed against it; `personal_values_held_out` is the second.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from random import Random

from tests.support.labelled import KINDS, Sample, as_json, digits, fill, iban, in_groups, labelled, luhn, signs

LOCALS = [
    "john.smith",
    "emma.j",
    "m_brown2",
    "sales+eu",
    "a.b.c",
    "olivia-lee",
    "x",
    "info",
    "jürgen.groß",
    "tom%desk",
    "noah.wilson1987",
    "q.u.e.r.y",
    "kate_99",
]
DOMAINS = [
    "gmail.example",
    "shop.example.com",
    "bücher.example",
    "mail.firma.de",
    "sub.dept.uni.ac.uk",
    "xn--bcher-kva.example",
    "post.io",
    "company.org",
    "a-b.net",
]
MAIL_SENTENCES = (
    "My email is {}.", "You can reach me at {}, thanks", "Meine E-Mail-Adresse lautet {}", "<{}>", "mailto:{}", "email={}", "'email': '{}',",
    '"email": "{}"', "({})", "{}; and another", "Contact {}!", "an {} senden", "user_email: {}\n", "to:{}", "**{}**", "Is it {}?",
)  # fmt: skip


def email(random: Random) -> Sample:
    """An address as people and systems write it."""
    value = f"{random.choice(LOCALS)}@{random.choice(DOMAINS)}"
    form = random.randrange(12)
    if form == 0:
        value = value.upper()
    elif form == 1:
        value = f'"{random.choice(["john doe", "a@b", "front desk"])}"@{random.choice(DOMAINS)}'
        return labelled(random.choice(["write to {} now", "From: {}"]), value, "email", is_value=True)
    elif form == 2:
        value = value.replace("@", "%40")
        return labelled("https://example.org/u?mail={}&x=1", value.replace("%desk", ""), "email", is_value=True)
    return labelled(random.choice(MAIL_SENTENCES), value, "email", is_value=True)


def not_email(random: Random) -> Sample:
    """What has the sign and is no address."""
    value = random.choice(
        [
            fill(random, "lodash@4.17.##"), fill(random, "react@1#.N.0-beta.#"), "@support", "git@github.com:org/repo.git", "ubuntu@web-1.example.com:22",
            "a@b", "root@localhost", "https://user@host.example/x", "icon@2x.png", "@media (min-width: 3px)", "12 items @ 4.99", "@app.route('/x')",
            "actions/checkout@v4.1.#", "me@", "name@-bad.example", "user@host", "price@$5.00", "wait @ the store.Then go",
        ]
    )  # fmt: skip
    return labelled(random.choice(["I ran {} today", "see {}", "{} failed", "- {}"]), value, "email", is_value=False)


BANKS = {
    "DE": "##################",
    "GB": "^^^^##############",
    "FR": "#######################",
    "NL": "^^^^##########",
    "DK": "##############",
}
BANK_SENTENCES = (
    "My IBAN is {}.", "Bitte überweisen Sie auf {}", "iban: {}", '"iban": "{}"', "transfer 50.00 to {} today", "Konto {}", "account {}, please", "from {} on 2024-05-01",
)  # fmt: skip


def account(random: Random) -> Sample:
    """An IBAN, in groups or not, in any case."""
    country = random.choice(list(BANKS))
    value = iban(country, fill(random, BANKS[country]))
    form = random.randrange(6)
    if form in (0, 1):
        value = in_groups(value, [4], " ")
    elif form == 2:
        value = value.lower()
    elif form == 3:
        value = in_groups(value, [4], "-")
    elif form == 4:
        value = in_groups(value, [4], "\u00a0").lower()
    return labelled(random.choice(BANK_SENTENCES), value, "iban", is_value=True)


def not_account(random: Random) -> Sample:
    """Wrong check digits, no country, other references."""
    country = random.choice(list(BANKS))
    right = iban(country, fill(random, BANKS[country]))
    wrong = right[:2] + f"{(int(right[2:4]) + random.randint(1, 90)) % 97 + 2:02d}" + right[4:]
    wrong = wrong if wrong[2:4] != right[2:4] else right[:-1]
    value = random.choice(
        [
            wrong, in_groups(wrong, [4], " "), iban("US", digits(random, 18)), iban("XX", digits(random, 18)), right[:-2], right + "77", fill(random, "DE#########"),
            fill(random, "GB#########"), fill(random, "INV##ABCD##########"), uuid.UUID(int=random.getrandbits(128)).hex, fill(random, "FR## ABCD order"),
        ]
    )  # fmt: skip
    return labelled(random.choice(BANK_SENTENCES), value, "iban", is_value=False)


CARD_FORMS = (
    ("4", 16, [4]), ("51", 16, [4]), ("55", 16, [4]), ("34", 15, [4, 6, 5]), ("37", 15, [4, 6, 5]), ("6011", 16, [4]), ("65", 16, [4]), ("53", 16, [4]),
)  # fmt: skip
CARD_SENTENCES = (
    "My card number is {}.", "charge {} please", "card: {}", '"number": "{}"', "Kreditkarte {}", "Visa {} exp 04/27", "paid with {} on 2024-05-15", "ending? no, all of it: {}",
)  # fmt: skip


def card(random: Random) -> Sample:
    """A number of a common issuer, in groups or not."""
    prefix, length, sizes = random.choice(CARD_FORMS)
    value = luhn(prefix + digits(random, length - len(prefix)))
    separator = random.choice(["", " ", "-"])
    return labelled(
        random.choice(CARD_SENTENCES), in_groups(value, sizes, separator) if separator else value, "card", is_value=True
    )


def not_card(random: Random) -> Sample:
    """Long numbers that are something else."""
    prefix, length, sizes = random.choice(CARD_FORMS)
    right = luhn(prefix + digits(random, length - len(prefix)))
    wrong = right[:-1] + str((int(right[-1]) + random.randint(1, 9)) % 10)
    value = random.choice(
        [
            wrong, in_groups(wrong, sizes, "-"), luhn(random.choice("01789") + digits(random, 15)), luhn("35" + digits(random, 13)), "17" + digits(random, 11),
            "17" + digits(random, 14), "9400" + digits(random, 18), "1Z" + digits(random, 16), digits(random, 12), fill(random, "####-##-## ##:##:##"), "40" + digits(random, 11),
            "0." + digits(random, 16), digits(random, 24), fill(random, "~~~~~~~~-~~~~-4~~~-a~~~-~~~~~~~~~~~~"),
        ]
    )  # fmt: skip
    if random.random() < 0.1:
        return labelled(
            "{}",
            luhn("4" + digits(random, 15)),
            "card",
            is_value=False,
            key=random.choice(["order_id", "tracking_number"]),
        )
    return labelled(
        random.choice(["order {}", "tracking number {}", "{}", "id: {}", "at {}", "Bestellnummer {}"]),
        value,
        "card",
        is_value=False,
    )


NETWORK_SENTENCES = (
    "My IP is {}.",
    "from {}",
    "connect to {}:8080"[:14],
    "host={}",
    "[{}] GET /",
    '"ip": "{}"',
    "Adresse {}, sagt der Router",
    "address {}",
)


def address(random: Random) -> Sample:
    """IPv4, IPv6, MAC."""
    value = random.choice(
        [
            lambda: ".".join(str(random.randint(1, 254)) for _ in range(4)),
            lambda: ".".join(str(random.randint(1, 254)) for _ in range(4)),
            lambda: f"2001:db8::{random.getrandbits(16):x}",
            lambda: "2001:0db8:" + ":".join(f"{random.getrandbits(16):04x}" for _ in range(6)),
            lambda: fill(random, "fe80::~~~~:~~ff:fe~~:~~~~"),
            lambda: ":".join(fill(random, "~~") for _ in range(5)) + ":a1",
            lambda: "-".join(fill(random, "~~").upper() for _ in range(5)) + "-B2",
        ]
    )()
    return labelled(random.choice(NETWORK_SENTENCES), value, "network", is_value=True)


def not_address(random: Random) -> Sample:
    """Versions, dates, times, code, fingerprints."""
    value = random.choice(
        [
            fill(random, "version 1.2#.#.4"), fill(random, "v7.#.3.1"), fill(random, "1.2.840.10008"), fill(random, "12:N0:45"), "std::vector", "Foo::Bar", "::", fill(random, "300.1.#.2"),
            fill(random, "12.05.2024"), ":".join(fill(random, "~~") for _ in range(16)), fill(random, "1.2.3"), fill(random, "1.2.3.4.5"), "release 4.2.0.1", fill(random, "2024-05-15T12:30:##"),
            fill(random, "~~~~~~~~~~~~"), fill(random, "1,234.56"),
        ]
    )  # fmt: skip
    return labelled(
        random.choice(["uses {}", "{} is out", "see {} for more", "({})"]), value, "network", is_value=False
    )


PHONES: dict[str, tuple[tuple[str, ...], str, tuple[str, ...], tuple[str, ...]]] = {
    "US": (("(212) N##-####", "415-N##-####", "305.N##.####", "617N######"), "+1 212 N##-####", ("My phone number is {}", "Call me at {}.", "tel: {}", "cell {}", "text {} please"), ("phone", "phone_number", "mobile")),
    "GB": (("020 79## ####", "07911 ######", "0161 496 ####", "07911######"), "+44 7911 ######", ("My mobile is {}", "ring me on {}", "Telephone: {}", "phone {}"), ("phone", "telephone", "contact_phone")),
    "DE": (("0151 2#######", "030 N#######", "0171/N######", "01512#######"), "+49 151 2#######", ("Meine Telefonnummer ist {}", "Handy: {}", "Tel. {}", "Rufen Sie mich unter {} an"), ("telefon", "phone", "handy")),
}  # fmt: skip
BARE_SENTENCES = ("It is {}", "{}", "sure, {} thanks")


def phone(random: Random) -> Sample:
    """A number of the home's country in its ways, with a word or without, and foreign ones with a plus."""
    region = random.choice(list(PHONES))
    forms, abroad, sentences, keys = PHONES[region]
    form = random.randrange(10)
    if form == 0:
        other = random.choice(list(PHONES))
        return labelled(
            random.choice(BARE_SENTENCES), fill(random, PHONES[other][1]), "phone", is_value=True, region=region
        )
    if form == 1:
        return labelled(
            random.choice(sentences), fill(random, abroad).replace(" ", ""), "phone", is_value=True, region=region
        )
    if form == 2:
        return labelled("{}", fill(random, forms[3]), "phone", is_value=True, key=random.choice(keys), region=region)
    if form == 3:
        return as_json(
            labelled("{}", fill(random, random.choice(forms)), "phone", is_value=True, region=region),
            random.choice(keys),
            random,
        )
    if form == 4:
        return labelled(
            random.choice(BARE_SENTENCES), fill(random, random.choice(forms[:3])), "phone", is_value=True, region=region
        )
    return labelled(random.choice(sentences), fill(random, random.choice(forms)), "phone", is_value=True, region=region)


def not_phone(random: Random) -> Sample:
    """Numbers of orders, goods, parcels, dates, prices, hashes."""
    region = random.choice(list(PHONES))
    value = fill(
        random,
        random.choice(
            [
                "N#########", "N#########", "#W#######".replace("W", "2"), "2024-05-1# 1#:N0", "2024-05-1#", "17########", "17###########", "1,###,###.##", "#### #### #### ####", "~~~~~~~~~~~~",
                "10.N.#.1#.3", "N##-##-####", "1Z###AA#########", "978-0-###-#####-#", "40.####, -74.####", "N#####-###", "12:N0:45,###", "1.2#.N", "$2,N##,###", "100-200-300",
            ]
        ),
    )  # fmt: skip
    if random.random() < 0.15:
        name = random.choice(["order_id", "item_id", "product_id", "timestamp", "id", "tracking"])
        return labelled("{}", fill(random, "N#########"), "phone", is_value=False, key=name, region=region)
    template = random.choice(
        [
            "order {}",
            "item {} is out",
            "Bestellung {}",
            "{}",
            "id {}",
            "I called about order {}",
            "the phone with item id {}",
            "total {}",
            "on {}",
            "product_id: {}",
            "Sendung {}",
        ]
    )
    return labelled(template, value, "phone", is_value=False, region=region)


_WORD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _token(random: Random) -> str:
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'sub': digits(random, 6)})}.{signs(random, _WORD, 43)}"


def secret(random: Random) -> Sample:
    """Keys of the well-known forms, tokens, passwords."""
    form = random.randrange(10)
    if form == 5:
        body = "\n".join(signs(random, _WORD, 64) for _ in range(3))
        kind = random.choice(["RSA ", ""])
        return labelled(
            "here:\n{}\n",
            f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----",
            "secret",
            is_value=True,
        )
    if form == 6:
        template = random.choice(
            [
                "password={}",
                '"password": "{}"',
                "postgres://app:{}@db.example/shop",
                "password: {}",
                "Password={};Server=x",
            ]
        )
        return labelled(template, signs(random, _WORD + "!#_", 11) + "9a", "secret", is_value=True)
    if form == 7:
        return labelled("Authorization: Bearer {}", signs(random, _WORD, 40), "secret", is_value=True)
    if form == 8:
        return labelled(
            "{}",
            signs(random, _WORD, 12),
            "secret",
            is_value=True,
            key=random.choice(["password", "api_key", "token", "secret"]),
        )
    value = {
        0: lambda: "AKIA" + signs(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16), 1: lambda: "ghp_" + signs(random, _WORD, 36), 2: lambda: "sk-proj-" + signs(random, _WORD + "_-", 100) + "A",
        3: lambda: "AIza" + signs(random, _WORD, 35), 4: lambda: "sk_live_" + signs(random, _WORD, 24), 9: lambda: _token(random),
    }[form]()  # fmt: skip
    return labelled(
        random.choice(["key {}", "use {} for it", "API_KEY={}", '"{}"', "token: {}"]), value, "secret", is_value=True
    )


def not_secret(random: Random) -> Sample:
    """Hashes, ids, words about secrets, places where one would stand."""
    value = random.choice(
        [
            lambda: signs(random, "0123456789abcdef", 40), lambda: signs(random, "0123456789abcdef", 64), lambda: str(uuid.UUID(int=random.getrandbits(128))),
            lambda: "password: required", lambda: "password=<your password>", lambda: "max_tokens: 4096", lambda: "token_type: Bearer", lambda: "the bearer of news",
            lambda: "https://example.org/a?b=c", lambda: "password=None", lambda: "my password is not working", lambda: "postgres://app@db.example/shop", lambda: "sk-learn",
            lambda: "-----BEGIN CERTIFICATE-----\n" + signs(random, _WORD, 64) + "\n-----END CERTIFICATE-----", lambda: "password: string", lambda: "secret: true", lambda: "token: ****",
            lambda: "reset my password, please", lambda: "a secret ingredient",
        ]
    )()  # fmt: skip
    return labelled(random.choice(["see {}", "{}", "commit {}", "- {}"]), value, "secret", is_value=False)


VALUES = {"email": email, "iban": account, "card": card, "network": address, "phone": phone, "secret": secret}
NEAR_MISSES = {
    "email": not_email, "iban": not_account, "card": not_card, "network": not_address, "phone": not_phone, "secret": not_secret,
}  # fmt: skip


def make(random: Random, count: int) -> Iterator[Sample]:
    """So many values of each class, and twice as many near-misses."""
    for kind in KINDS:
        for _ in range(count):
            yield VALUES[kind](random)
            yield NEAR_MISSES[kind](random)
            yield NEAR_MISSES[kind](random)
