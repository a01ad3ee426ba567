"""Files of one JSON document a session: its head, and the list of what was said, a record each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.rows import Record
from pipelines.ingest.forms.reading import expect

HEAD, ITEM = "head", "item"


def parts(document: Record, field: str) -> Iterator[Record]:
    """A document without its list, and then what is on it.

    Raises:
        BadInputError: The field is no list of objects.
    """
    items: list[Any] = expect(document.value.get(field), list, document.place, field)
    document.value[field] = []
    yield Record(
        document.place, document.value, document.leaves - leaves(items), HEAD, document.copies, document.repeated
    )
    joint = "." if "#" in document.place else "#$."
    for index, item in enumerate(items):
        place = f"{document.place}{joint}{field}[{index}]"
        yield Record(place, expect(item, dict, document.place, field, index), leaves(item), ITEM)
