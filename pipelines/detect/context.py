"""What a value is called where it stands: the key of its JSON member, and the words before it, nearest last.

A number alone seldom says whether it is a telephone's, a card's or an order's; the words do.
"""

from __future__ import annotations

import re

_NEAR = 48
_END = re.compile(r"[\n,;|{}]|[.!?](?=\s)|(?<=[^\W\d_]{5})[.!?]\Z")
"""Where a clause ends; what is before it speaks of something else."""
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_OTHER = re.compile(
    r"(?i:(?<![^\W\d_])(?:orders?|items?|products?|tracking|shipment|parcels?|invoices?|tickets?|transactions?|sku|isbn|ean|imei|imsi|iccid|"
    r"serial|reservations?|booking|confirmation|reference|refs?|timestamp|created|updated|version|total|cents|amount|price|lot|batch|ids?|uuid|"
    r"customer|user_?id|bestell\w*|artikel\w*|sendung\w*|rechnung\w*|auftrag\w*|commande|colis|facture|pedidos?|envío|rastreamento|factura|"
    r"lote|ordine|articolo|spedizione|zam[oó]wieni\w*|bestelling|factuur)(?![^\W\d_])|(?:注文|订单|運單|追跡|주문)\w{0,3})"
)

_IN_ACCOUNT = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}[ -](?:[A-Za-z0-9]{4}[ -]){0,7}\Z")


def clause_before(line: str, start: int) -> str:
    """The words before a value, back to the end of the clause before, at most 48 code points."""
    before = line[max(start - _NEAR, 0) : start]
    ends = list(_END.finditer(before.rstrip(" \t\"'(\\")))
    return before[ends[-1].end() :] if ends else before


def is_called(line: str, start: int, key: str | None, words: re.Pattern[str]) -> bool:
    """Whether key or words call the value so, and no nearer word calls it a number of something else.

    Args:
        line: The text.
        start: Where the value begins.
        key: Name of the JSON member whose value it is or is in, or None.
        words: What it may be called.
    """
    if key is not None:
        name = spelled_out(key)
        return words.search(name) is not None and _last(_OTHER, name) <= _last(words, name)
    clause = spelled_out(clause_before(line, start))
    place = _last(words, clause)
    return place >= 0 and _last(_OTHER, clause) < place


def is_other(line: str, start: int, key: str | None) -> bool:
    """Whether key or words say that it is the number of an order, of goods, a time or the like."""
    return _OTHER.search(spelled_out(key if key is not None else clause_before(line, start))) is not None


def is_in_account(line: str, start: int) -> bool:
    """Whether what is before a value are the first groups of an IBAN, whether or not its check digits are right."""
    return _IN_ACCOUNT.search(line, max(start - _NEAR, 0), start) is not None


def spelled_out(name: str) -> str:
    """A name's words: `contactPhone` and `contact_phone` as `contact Phone`, `contact phone`."""
    return _CAMEL.sub(" ", name).replace("_", " ").replace("-", " ")


def _last(words: re.Pattern[str], text: str) -> int:
    place = -1
    for match in words.finditer(text):
        place = match.start()
    return place
