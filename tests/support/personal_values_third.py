"""The third generator: telephone numbers of further countries and what resembles them, written when the second had shown a fault of the
detectors of phones and the fault was not mended yet. It has one class; like the second, it is run for the table and as a bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from tests.support.labelled import Sample, as_json, fill, labelled

PHONES: dict[str, tuple[tuple[str, ...], str, tuple[str, ...], tuple[str, ...]]] = {
    "IT": (("347 ### ####", "06 4### ####", "349-#######", "338#######"), "+39 347 ### ####", ("Il mio telefono è {}", "chiamami al {}", "cellulare: {}"), ("cellulare", "telefono")),
    "PL": (("601 ### ###", "22 6## ## ##", "502-###-###", "601######"), "+48 601 ### ###", ("Mój telefon to {}", "tel. {}", "komórka {}"), ("telefon", "phone")),
    "TR": (("0532 ### ## ##", "(0212) 2## ## ##", "0 542 ### ## ##", "0532#######"), "+90 532 ### ## ##", ("Telefonum {}", "cep telefonu: {}", "Tel {}"), ("telefon", "mobile")),
    "SE": (("070-### ## ##", "08-50# ### ##", "073 ### ## ##", "070#######"), "+46 70 ### ## ##", ("Ring mig på {}", "mitt mobilnummer är {}", "Tel: {}"), ("mobil", "telefon")),
    "KR": (("010-N###-####", "02-N##-####", "010 N### ####", "010N#######"), "+82 10-N###-####", ("전화번호는 {}입니다", "휴대폰 {}", "TEL {}"), ("phone", "tel")),
    "CN": (("138 #### ####", "139-####-####", "010-6### ####", "138########"), "+86 138 #### ####", ("我的手机是{}", "电话:{}", "请打电话 {}"), ("mobile", "phone")),
    "ZA": (("082 ### ####", "021 4## ####", "(011) 4##-####", "083#######"), "+27 82 ### ####", ("my cell is {}", "phone me on {}", "WhatsApp: {}"), ("cell", "phone")),
    "CA": (("(416) N##-####", "604-N##-####", "514.N##.####", "416N######"), "+1 416-N##-####", ("My number is {}, call any time", "Tél. : {}", "fax {}"), ("phone", "fax")),
}  # fmt: skip
PLAIN = ("{}", "sì, {}", "here you go: {}", "{}?", "— {} —")
NEAR_MISSES = (
    "N########", "N#########", "N###########", "N### #### ####", "N####-#####", "##.###.###/####-##", "###.###.###-##", "N##,###,###", "12.0N.2024 1N:30", "20240N1#", "1N/0N/2025",
    "N#.#.#.##", "N:#N:##", "(N###)", "[N######]", "N##-N##", "N#°#N'##", "N##/N##", "#-####-####-#", "17######## 17########", "N######:N######", "0x~~~~~~~~", "~~~~~~~~~~", "NN x NN x NN", "1-2-3-4-5-6-7",
    "N##### N#####", "0.########", "N###-N###-N###-N###", "N#### km", "N### ### ### ###", "-N##.######",
)  # fmt: skip
ABOUT = (
    "ordine {}", "zamówienie {}", "sipariş {}", "订单{}", "주문 {}", "{} kr", "parcel {}", "{} points", "row {}", "Order no. {} was called in", "IMEI {}", "{}", "PNR {}", "batch {} done", "size {}",
)  # fmt: skip


def phone(random: Random) -> Sample:
    """A number in a home of its country, or a foreign one with a plus."""
    region = random.choice(list(PHONES))
    forms, abroad, sentences, keys = PHONES[region]
    form = random.randrange(8)
    if form == 0:
        return labelled(
            random.choice(PLAIN),
            fill(random, PHONES[random.choice(list(PHONES))][1]),
            "phone",
            is_value=True,
            region=region,
        )
    if form == 1:
        return labelled(
            "{}", fill(random, random.choice(forms)), "phone", is_value=True, key=random.choice(keys), region=region
        )
    if form == 2:
        return as_json(
            labelled("{}", fill(random, random.choice(forms)), "phone", is_value=True, region=region),
            random.choice(keys),
            random,
        )
    if form in (3, 4):
        return labelled(
            random.choice(PLAIN), fill(random, random.choice(forms[:3])), "phone", is_value=True, region=region
        )
    return labelled(
        random.choice(sentences), fill(random, random.choice([*forms, abroad])), "phone", is_value=True, region=region
    )


def not_phone(random: Random) -> Sample:
    """Numbers of other things."""
    region = random.choice(list(PHONES))
    return labelled(
        random.choice(ABOUT), fill(random, random.choice(NEAR_MISSES)), "phone", is_value=False, region=region
    )


def make(random: Random, count: int) -> Iterator[Sample]:
    """So many numbers, and twice as many near-misses."""
    for _ in range(count):
        yield phone(random)
        yield not_phone(random)
        yield not_phone(random)
