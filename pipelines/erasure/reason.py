"""A reason stays for good, in the home log and in an event: it must not say what is being erased.

It is refused if it contains a person's id, or a word of five characters or more that stands anywhere in what is erased, or two
shorter ones beside each other that do (a name: "Ana Li"), in any case of letters. Words that reasons are made of are free.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise

from pipelines.erasure.selection import columns_of
from pipelines.errors import BadInputError
from pipelines.proof.erasure import Target
from pipelines.store import Store
from pipelines.store.sqlstate import typed_errors

_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')
"""Characters that stand otherwise in the JSON text of what is erased, so that no word with one would be found there."""
_WORD = re.compile(r"[^\s,;:!?()\[\]{}\"'`<>]+")
_MIN_CHARACTERS = 5
FREE = frozenset(
    """
    a account after age an and any applied apply are art article as asked at be because been before by can case ccpa claim closed
    closure consent contract court customer customers data date days delete deleted deletion due duty end ended erase erased erasure
    eu expired for forgotten from gdpr had has have he her his in is it its legal longer month months more must no not of office older
    on or order our own para paragraph period person personal policy privacy purpose reason received request requested requests
    retention right rights section she since state subject than that the their them they this ticket time to under user users was we
    were when which who whom will with withdrawal withdrawn withdrew year years your
    """.split()  # noqa: SIM905 - a text of words is read more easily than a list of strings
)
"""Words that say why, and nothing of whom."""
_CONTENT = """
SELECT concat(e.payload, E'\\n', e.metadata), coalesce(e.metadata ->> 'subject_id', '')
FROM unnest(%s::uuid[], %s::integer[], %s::integer[]) AS t (stream, first, last)
INNER JOIN refold.events AS e ON t.stream = e.aggregate_id AND e.stream_version BETWEEN t.first AND t.last
"""


def refuse_telling(store: Store, reason: str, targets: Sequence[Target], customer: str | None) -> None:
    """Refuse a reason that says something of what is erased.

    Raises:
        BadInputError: It does.
    """
    told = _plain(reason)
    if customer is not None:
        refuse_naming(reason, customer)
    words = list(_suspects(told))
    subjects: set[str] = set()
    with typed_errors(), store.conn.transaction(), store.conn.cursor("erased_content") as contents:
        contents.execute(_CONTENT, columns_of(targets))
        for text, subject in contents:
            if subject not in subjects and _names(told, subject):
                raise _telling("a person's id")
            subjects.add(subject)
            content = _plain(text) if words else ""
            for word in words:
                if word in content:
                    raise _telling(f"{word!r}, which stands in what is to be erased")


def refuse_naming(reason: str, person: str) -> None:
    """Refuse a reason that contains a person's id.

    Raises:
        BadInputError: It does.
    """
    if _names(_plain(reason), person):
        raise _telling("the person's id")


def _names(told: str, person: str) -> bool:
    """Whether a reason contains a person's id; a short one as a word of its own."""
    name = _plain(person)
    return bool(name) and (name in told if len(name) >= _MIN_CHARACTERS else name in re.split(r"[^\w]+", told))


def _plain(text: str) -> str:
    """One form for all spellings of a text: case, width, composed characters, spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _suspects(told: str) -> Iterator[str]:
    """What of a reason, in small letters, could say something of a person."""
    words = [word.strip(".-/") for word in _WORD.findall(_ESCAPED.sub(" ", told))]
    parts = [part for word in words for part in (word, *re.split(r"[^\w]+", word)) if part and part not in FREE]
    yield from dict.fromkeys(part for part in parts if len(part) >= _MIN_CHARACTERS)
    for word, following in pairwise(words):
        if word and following and word not in FREE and following not in FREE:
            pair = f"{word} {following}"
            if len(pair) >= _MIN_CHARACTERS:
                yield pair


def _telling(what: str) -> BadInputError:
    return BadInputError(
        f"--reason contains {what}; it stays for good, so say why without saying whom (a ticket number, a paragraph of law). "
        "Nothing was done"
    )
