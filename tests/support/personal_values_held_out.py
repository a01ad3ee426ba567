"""The second generator: other countries, formats and sentences than the first. Written before the detectors were tuned, and run for the
table that is published and as a bound in the tests; nobody tunes on it.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from random import Random

from tests.support.labelled import KINDS, Sample, as_json, digits, fill, iban, in_groups, labelled, luhn, signs

NAMES = [
    "giulia.rossi",
    "n.okafor",
    "zoe_w",
    "marie-claire",
    "jpdupont",
    "hanako1984",
    "andre.silva",
    "p.van.dijk",
    "łukasz",
    "søren.k",
    "anaïs",
    "b2b+returns",
]
DOMAINS = [
    "posteo.example",
    "correo.com.mx",
    "uol.com.br",
    "wanadoo.fr",
    "mail.co.jp",
    "ziggo.nl",
    "onet.pl",
    "xn--caf-dma.example",
    "café.example",
    "пример.рф",
    "例え.テスト",
    "museum.travel",
    "kundenservice.shop.ch",
]
MAIL_SENTENCES = (
    "Vous pouvez m'écrire à {}.",
    "Mi correo es {}, gracias",
    "Meu e-mail: {}",
    "ご連絡は{}までお願いします",
    "From: Someone <{}>",
    "cc={};bcc=",
    "(reply to {})",
    "Contatto: {}!",
    "user {} logged in at 10:14",
    "mailto:{}?body=hi",
    "…{}…",
    "[{}](https://example.org)",
    "owner=\"{}\" role='x'",
)


def email(random: Random) -> Sample:
    """Locals and domains of other scripts, quoted locals, tags."""
    local = random.choice([*NAMES, *NAMES, fill(random, "¤¤¤¤.¤¤##"), '"ventas norte"', "o'neill", "用户"])
    value = f"{local}@{random.choice(DOMAINS)}"
    template = random.choice(MAIL_SENTENCES)
    if not value.isascii() and "ご連絡" in template:
        template = "宛先 {} です"
    return labelled(template, value, "email", is_value=True)


def not_email(random: Random) -> Sample:
    """Package versions, remotes, handles, prompts, images, decorators."""
    value = random.choice(
        [
            fill(random, "¤¤¤¤¤¤-¤¤¤@N.#.##"),
            fill(random, "vite@N.#.#"),
            fill(random, "@angular/core@1#.0.0-rc.#"),
            "git@gitlab.example.org:team/app.git",
            fill(random, "deploy@build#.example.net:/srv/www"),
            "@" + random.choice(NAMES),
            "@decorator.method",
            fill(random, "logo@#x.png"),
            "meet @ cafe.example",
            "user@localhost",
            "https://bot@ci.example.com/hook",
            "SELECT @@version.number",
            fill(random, "5 @ 3.## each"),
            "pip install pkg @ file:///tmp/x",
            "alice@",
            "@bob@social.example",
        ]
    )
    return labelled(
        random.choice(["Siehe {} bitte", "run {} then wait", "log: {}", "{} was shipped"]),
        value,
        "email",
        is_value=False,
    )


BANKS = {
    "ES": "####################", "IT": "^######################", "PL": "########################", "BE": "############",
    "AT": "################", "CH": "#################", "SE": "####################", "NO": "###########", "PT": "#####################",
    "MT": "^^^^#####^^^^^^^^^^^^^^^^^^", "SA": "##^^^^^^^^^^^^^^^^^^", "IE": "^^^^##############", "LT": "################", "AE": "###################",
}  # fmt: skip
BANK_SENTENCES = (
    "Veuillez rembourser sur {} svp.", "Mi cuenta: {}", "Bonifico su {}, grazie", "account_iban={}", "Numer konta {} w banku",
    "IBAN {} / BIC ABCDEFGH", "pay to {} by Friday", "konto:{};", "«{}»", "She moved 40.00 to {}",
)  # fmt: skip


def account(random: Random) -> Sample:
    """An IBAN, in groups or not, in any case."""
    country = random.choice(list(BANKS))
    value = iban(country, fill(random, BANKS[country]))
    form = random.randrange(7)
    if form in (1, 2):
        value = in_groups(value, [4], " ")
    elif form == 3:
        value = in_groups(value, [4], "\u00a0")
    elif form == 4:
        value = in_groups(value, [4], "-")
    elif form == 5:
        value = value.lower()
    elif form == 6:
        value = in_groups(value.lower(), [4], " ")
    return labelled(random.choice(BANK_SENTENCES), value, "iban", is_value=True)


def not_account(random: Random) -> Sample:
    """Accounts with a wrong digit, of no country, of a wrong length, tax numbers, references."""
    country = random.choice(list(BANKS))
    right = iban(country, fill(random, BANKS[country]))
    wrong = right[:-1] + str((int(right[-1], 36) + random.randint(1, 8)) % 10)
    value = random.choice(
        [
            wrong,
            in_groups(wrong, [4], " "),
            iban("ZZ", digits(random, 18)),
            iban(country, fill(random, BANKS[country]) + "4"),
            iban("AU", digits(random, 14)),
            fill(random, "ESB########"),
            fill(random, "PL##########"),
            fill(random, "PO## #### #### ####"),
            fill(random, "RMA##ABCD################"),
            uuid.UUID(int=random.getrandbits(128)).hex.upper(),
            fill(random, "BE0###.###.###"),
        ]
    )
    return labelled(random.choice(BANK_SENTENCES), value, "iban", is_value=False)


CARD_FORMS = (
    ("2221 ", 16, [4]), ("2720", 16, [4]), ("2500", 16, [4]), ("3530", 16, [4]), ("3566", 16, [4]), ("3056", 14, [4, 6, 4]), ("36", 14, [4, 6, 4]),
    ("62", 16, [4]), ("6212", 19, [6, 13]), ("6759", 16, [4]), ("6763", 18, [4]), ("4", 16, [4]), ("5018", 16, [4]), ("378", 15, [4, 6, 5]), ("2202", 16, [4]),
)  # fmt: skip
CARD_SENTENCES = (
    "Cargue a {} por favor", "J'ai payé avec {} hier.", "Kartennummer {}", "pan={}", "La carta {} è scaduta", "card on file: {}, exp 09/27",
    "{} declined", "use my other one, {}", "cartão {} cvv 123", "Karte({})",
)  # fmt: skip


def card(random: Random) -> Sample:
    """Numbers of issuers that the first generator does not have, in groups or not."""
    prefix, length, sizes = random.choice(CARD_FORMS)
    prefix = prefix.strip()
    value = luhn(prefix + digits(random, length - len(prefix)))
    separator = random.choice(["", " ", " ", "-", "\u00a0", "\u2011"])
    return labelled(
        random.choice(CARD_SENTENCES), in_groups(value, sizes, separator) if separator else value, "card", is_value=True
    )


def not_card(random: Random) -> Sample:
    """Numbers with a wrong check digit or no issuer, times, parcels, goods, telephones, decimals."""
    prefix, length, sizes = random.choice(CARD_FORMS)
    right = luhn(prefix.strip() + digits(random, length - len(prefix.strip())))
    wrong = right[:-1] + str((int(right[-1]) + random.randint(1, 9)) % 10)
    value = random.choice(
        [
            wrong,
            in_groups(wrong, sizes, " "),
            luhn(random.choice("0178") + digits(random, 15)),
            luhn("9" + digits(random, 15)),
            luhn("35" + digits(random, 13)),
            luhn("86" + digits(random, 13)),
            "17" + digits(random, 11),
            "17" + digits(random, 14),
            "17" + digits(random, 17),
            in_groups("9205" + digits(random, 18), [4], " "),
            "JD" + digits(random, 18),
            "0." + luhn("4" + digits(random, 15)),
            luhn("4" + digits(random, 15)) + digits(random, 6),
            "3" + digits(random, 10),
            fill(random, "978-#-####-####-#"),
            fill(random, "############:###############"),
            "11" + digits(random, 17),
        ]
    )
    template = random.choice(["Envío {}", "ticket {}", "{}", "ref. {} ok", "at {} the job ended", "IMEI: {}", "id={}"])
    return labelled(template, value, "card", is_value=False)


NETWORK_SENTENCES = (
    "Zugriff von {}", "src={} dst=-", "peer [{}] lost", "connexion depuis {}.", "{} - - [10/May/2025]", "ping {}: timeout", "host {};", "dirección {}, puerto 443",
)  # fmt: skip


def address(random: Random) -> Sample:
    """IPv4, IPv6, MAC."""

    def octet():
        return str(random.randint(1, 254))

    value = random.choice(
        [
            lambda: ".".join(octet() for _ in range(4)),
            lambda: ".".join(octet() for _ in range(4)),
            lambda: ":".join(f"{random.getrandbits(16):x}" for _ in range(8)),
            lambda: f"2a02:{random.getrandbits(16):x}::{random.getrandbits(16):x}:{random.randint(1, 99)}",
            lambda: fill(random, "fd##:~~~~:~~~~::1"),
            lambda: fill(random, "::ffff:10.#.1#.2#"),
            lambda: fill(random, "a~:~~:~~:~~:~~:~~").upper(),
            lambda: fill(random, "~c-~~-~~-~~-~~-~~"),
            lambda: fill(random, "~~a~.~~~~.~~~~"),
        ]
    )()
    return labelled(random.choice(NETWORK_SENTENCES), value, "network", is_value=True)


def not_address(random: Random) -> Sample:
    """Versions, numbers of things and sections, times, fingerprints, scopes of code."""
    value = random.choice(
        [
            fill(random, "versión 1#.#.#.2"),
            fill(random, "v1#.#.##.#"),
            fill(random, "Chrome/1##.0.####.1##"),
            fill(random, "1.3.6.1.4.1.#####"),
            fill(random, "§ 4.#.#.1"),
            fill(random, "10.##.2024"),
            fill(random, "999.3##.1.1"),
            fill(random, "1N:N#:##.###"),
            "std::chrono::seconds",
            "a::before",
            ":".join(fill(random, "~~").upper() for _ in range(20)),
            fill(random, "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~"),
            fill(random, "1.234.567.##"),
            fill(random, "12.3.4"),
            fill(random, "kernel 5.1#.0.1##"),
            fill(random, "~~:~~:~~"),
            fill(random, "2025-0N-1#T1#:N0:00"),
        ]
    )
    return labelled(
        random.choice(["Se usa {}", "{} installé", "siehe {} unten", "log {}", "({})"]),
        value,
        "network",
        is_value=False,
    )


PHONES: dict[str, tuple[tuple[str, ...], str, tuple[str, ...], tuple[str, ...]]] = {
    "FR": (("06 N# ## ## ##", "07.6#.##.##.##", "01 4# ## ## ##", "06########"), "+33 6 N# ## ## ##", ("Mon téléphone : {}", "Appelez-moi au {} demain", "joignable au {}", "tél. {}"), ("telephone", "numero_tel", "portable")),
    "ES": (("6## ## ## ##", "6## ### ###", "91 N## ## ##", "6########"), "+34 6## ### ###", ("Mi teléfono es el {}", "Llámame al {}.", "móvil: {}", "Tel: {}"), ("telefono", "movil", "phone_number")),
    "BR": (("(11) 9N###-####", "(21) 9N### ####", "11 9N###-####", "119N#######"), "+55 11 9N###-####", ("Meu celular é {}", "Ligue para {} por favor", "telefone {}", "WhatsApp {}"), ("celular", "telefone", "whatsapp")),
    "IN": (("98### #####", "+91-98###-#####", "099#########"[:11], "98########"), "+91 98### #####", ("My mobile number is {}", "Please call on {} after six", "contact no. {}", "whatsapp me at {}"), ("mobile", "contact_number", "phoneNo")),
    "JP": (("090-N###-####", "03-3###-####", "080-N###-####", "090########"), "+81 90-N###-####", ("電話番号は{}です", "携帯 {}", "TEL: {}", "お電話は{}まで"), ("tel", "phone", "denwa")),
    "AU": (("04N# ### ###", "(02) 9### ####", "04N#-###-###", "04N#######"), "+61 4N# ### ###", ("Give me a ring on {}", "my mobile is {}", "Phone {} any time", "ph: {}"), ("mobile_phone", "phone", "contactPhone")),
    "NL": (("06-N#######", "06 N### ####", "020 N## ####", "06N#######"), "+31 6 N#######", ("Bel me op {}", "mijn telefoonnummer is {}", "Tel.: {}", "mobiel {}"), ("telefoon", "mobiel", "phone")),
    "MX": (("55 N### ####", "(55) N###-####", "55-N###-####", "55N#######"), "+52 55 N### ####", ("Mi número de teléfono es {}", "Márcame al {}", "celular {}", "llame al {}"), ("telefono", "celular", "phone")),
}  # fmt: skip
BARE_SENTENCES = ("{} gracias", "c'est le {}", "It's {}", "{}", "sim, {}")


def phone(random: Random) -> Sample:
    """Numbers of a home's country in its ways, with a word or without, and foreign ones with a plus."""
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
            random.choice(sentences),
            fill(random, abroad).replace(" ", "").replace("-", ""),
            "phone",
            is_value=True,
            region=region,
        )
    if form == 2:
        return labelled(random.choice(BARE_SENTENCES), fill(random, abroad), "phone", is_value=True, region=region)
    if form in (3, 4):
        return labelled("{}", fill(random, forms[3]), "phone", is_value=True, key=random.choice(keys), region=region)
    if form == 5:
        return as_json(
            labelled("{}", fill(random, random.choice(forms)), "phone", is_value=True, region=region),
            random.choice(keys),
            random,
        )
    if form == 6:
        return labelled(
            random.choice(BARE_SENTENCES), fill(random, random.choice(forms[:3])), "phone", is_value=True, region=region
        )
    return labelled(random.choice(sentences), fill(random, random.choice(forms)), "phone", is_value=True, region=region)


def not_phone(random: Random) -> Sample:
    """Numbers of orders, goods, parcels, dates, prices, hashes; one's own words around them, and a word for a phone farther away."""
    region = random.choice(list(PHONES))
    value = random.choice(
        [
            "N#########", "N#########", "1#######", "#W#########".replace("W", "7"), "2025-0N-1# 1#:N0", "1N.0N.2025", "#.###.###,##", "N### ###,## €",
            "978-3-16-######-#", "~~~~~~~~~~~~~~~~", "FR## ### ### ###", "17########", "17###########", "10.N.1#.7.2", "#### #### #### #### ####", "N##-##-####",
            "4N.#####, 2.#####", "N#-N#-N#", "1 2 3 4 5 6 7", "20250N1#1#N000", "N#,### – N#,###", "R$ N.###,##", "N####-###", "v2.1#.#######", "#####-####",
        ]
    )  # fmt: skip
    value = fill(random, value)
    if random.random() < 0.15:
        name = random.choice(
            ["order_id", "pedido", "sku", "transaction", "created_ms", "total_cents", "num_commande", "isbn"]
        )
        return labelled("{}", fill(random, "N#########"), "phone", is_value=False, key=name, region=region)
    template = random.choice(
        [
            "Mi pedido {} no llegó", "la commande n° {}", "Please call me about order {}", "Artikelnummer {}", "pedido: {}", "ISBN {}", "{} total",
            "tracking {}", "注文番号{}", "rastreamento {}", "Phone case, item {}", "{}", "el lote {} y nada más", "due {}",
        ]
    )  # fmt: skip
    return labelled(template, value, "phone", is_value=False, region=region)


_WORD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _token(random: Random) -> str:
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'typ': 'JWT', 'alg': random.choice(['RS256', 'ES256'])})}.{part({'iss': 'x', 'n': digits(random, 9)})}.{signs(random, _WORD + '_-', 86)}"


def secret(random: Random) -> Sample:
    """Keys and tokens of the well-known forms, passwords in other sentences."""
    form = random.randrange(12)
    if form == 0:
        value = "ASIA" + signs(random, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)
    elif form == 1:
        value = "github_pat_" + signs(random, _WORD, 22) + "_" + signs(random, _WORD, 59)
    elif form == 2:
        value = "glpat-" + signs(random, _WORD + "-", 19) + "x"
    elif form == 3:
        value = "sk-ant-api03-" + signs(random, _WORD + "-_", 92) + "AA"
    elif form == 4:
        value = "rk_live_" + signs(random, _WORD, 24)
    elif form == 5:
        value = "hf_" + signs(random, _WORD, 34)
    elif form == 6:
        value = "xoxp-" + digits(random, 12) + "-" + digits(random, 12) + "-" + signs(random, "abcdef0123456789", 32)
    elif form == 7:
        value = _token(random)
    elif form == 8:
        kind = random.choice(["EC ", "OPENSSH ", "ENCRYPTED "])
        body = "\n".join(signs(random, _WORD + "+/", 64) for _ in range(random.randint(2, 8)))
        return labelled(
            "la clé :\n{}\nvoilà",
            f"-----BEGIN {kind}PRIVATE KEY-----\n{body}\n-----END {kind}PRIVATE KEY-----",
            "secret",
            is_value=True,
        )
    elif form == 9:
        value = signs(random, _WORD + "!.*$", random.randint(9, 20)) + "7"
        template = random.choice(
            [
                "PGPASSWORD={} psql",
                "mysql://app:{}@db.example:3306/x",
                "amqp://svc:{}@mq/",
                "--password={} -v",
                '"db_password": "{}"',
                "pwd={};Server=x",
                "mongodb+srv://u:{}@c.example.net",
            ]
        )
        return labelled(template, value, "secret", is_value=True)
    elif form == 10:
        return labelled(
            "{}",
            signs(random, _WORD, 24),
            "secret",
            is_value=True,
            key=random.choice(["client_secret", "apiKey", "refresh_token", "passwd"]),
        )
    else:
        return labelled(
            random.choice(["Authorization: Bearer {}", "curl -H 'authorization: bearer {}' x"]),
            signs(random, _WORD + "-._", 39) + "k",
            "secret",
            is_value=True,
        )
    return labelled(
        random.choice(["ma clé {} svp", "export TOKEN_X={}", "he usado {} ayer", "key `{}`", "{}", '"{}"']),
        value,
        "secret",
        is_value=True,
    )


def not_secret(random: Random) -> Sample:
    """Hashes, ids, public keys, words about secrets, places where one would stand."""
    value = random.choice(
        [
            lambda: signs(random, "0123456789abcdef", 40),
            lambda: signs(random, "0123456789abcdef", 64),
            lambda: str(uuid.UUID(int=random.getrandbits(128))),
            lambda: "sha256:" + signs(random, "0123456789abcdef", 64),
            lambda: "-----BEGIN PUBLIC KEY-----\n" + signs(random, _WORD, 64) + "\n-----END PUBLIC KEY-----",
            lambda: "password: obligatoire",
            lambda: "password=${DB_PASSWORD}",
            lambda: "PASSWORD=<votre mot de passe>",
            lambda: f"total_tokens={digits(random, 4)}",
            lambda: "token_type: bearer",
            lambda: "bearer shares were sold",
            lambda: "https://example.org/reset-password?lang=fr",
            lambda: "postgresql://app@db.example/shop",
            lambda: "the password must have 12 characters",
            lambda: "sk-toolkit-for-everyone",
            lambda: "data:image/png;base64," + signs(random, _WORD, 80),
            lambda: "password=os.environ['PW']",
            lambda: "api_key: null",
            lambda: "secret: ********",
            lambda: "forgot your password? reset it",
        ]
    )()
    return labelled(random.choice(["Voir {}", "{}", "note {}", "- {}"]), value, "secret", is_value=False)


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
