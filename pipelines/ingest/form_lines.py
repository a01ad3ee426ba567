"""Files of a foreign form become run lines, and what is in them is counted.

What the form reads, and what its records mean, is the form's; what their rows come to is `assemble`'s.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from pipelines.ingest.assemble.accounting import Tally
from pipelines.ingest.assemble.conversation import assemble
from pipelines.ingest.assemble.leaves import leaves
from pipelines.ingest.assemble.lines import Records
from pipelines.ingest.assemble.rows import Group, Record, Row
from pipelines.ingest.forms.form import Form, Options

_SEPARATORS = {each.encode(): b"\\u%04x" % ord(each) for each in "\x85\u2028\u2029"}
"""Characters at which some readers end a line."""
_encode = msgspec.json.Encoder().encode
_TOLD = 64
"""Conversations after which progress is told."""


@dataclass(frozen=True, slots=True)
class Read:
    """What the files of a form hold.

    Attributes:
        form: Its name.
        tally: Counts over all of them.
        places: For each run line, where the first record of its conversation stands.
        conversations: For each run line, what it is called.
    """

    form: str
    tally: Tally
    places: list[str] = field(default_factory=list)
    conversations: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Drawn:
    """Records of a group while they are read: their leaves are counted, and what no row takes is kept."""

    group: Group
    first: str = ""
    leaves: int = 0
    repeated: int = 0
    copies: int = 0
    waiting: dict[int, Record] | None = None

    def records(self) -> Iterator[Record]:
        self.waiting = {}
        for record in self.group.records:
            self.first = self.first or record.where or record.place
            self.waiting[id(record.value)] = record
            yield record

    def rows(self, form: Form, options: Options) -> Iterator[Row]:
        """The rows of the group; a row's record is no longer waited for."""
        group = replace(self.group, records=self.records())
        for row in form.adapt(group, options):
            if self.waiting and (record := self.waiting.pop(id(row.rest), None)) is not None:
                self._count(record)
            yield row

    def left(self) -> dict[str, Any]:
        """Records that gave no row."""
        records = Records()
        for record in (self.waiting or {}).values():
            self._count(record)
            records.keep(None, record.value)
        return records.by_name

    def _count(self, record: Record) -> None:
        """Count a record once its adapter is done with it; only then is it known what of it is said again."""
        self.leaves += record.leaves
        self.repeated += record.repeated
        self.copies += record.copies


def form_lines(
    form: Form, files: Sequence[Path], options: Options, tally: Tally, read: Read | None = None
) -> Iterator[dict[str, Any]]:
    """The run lines that files come to, conversation after conversation.

    Args:
        form: What reads them.
        files: All together: a conversation may stand in several.
        options: What was asked.
        tally: What is counted is added to it.
        read: For every line, what it is and where it comes from is added to it.

    Raises:
        BadInputError: A file or record cannot be read; the error names its place.
    """
    for group in form.groups(files, options):
        yield from group_lines(form, group, options, tally, read)


def group_lines(
    form: Form, group: Group, options: Options, tally: Tally, read: Read | None = None
) -> Iterator[dict[str, Any]]:
    """The run lines of one conversation; what is counted is added to `tally`, and to `read` what they are.

    Raises:
        BadInputError: As `form_lines`.
    """
    drawn = _Drawn(group)
    made = assemble(group.key, drawn.rows(form, options), source=options.source or form.name, is_named=group.is_named)
    if options.source is not None:
        for line in made.lines:
            line["source"] = options.source
    left = drawn.left()
    if left:
        made.lines[0]["records"] = {**made.lines[0].get("records", {}), **left}
    counted = made.tally
    counted.leaves += drawn.leaves
    counted.repeated += drawn.repeated
    counted.duplicates += drawn.copies
    counted.kept += leaves(left)
    tally.add(counted)
    for line in made.lines:
        if read is not None:
            read.places.append(drawn.first or group.key)
            read.conversations.append(str(line["conversation_id"]))
        yield line


def line_bytes(line: dict[str, Any]) -> bytes:
    """A run line as UTF-8 JSON with its newline; half a surrogate pair is escaped, and is refused by whoever imports it."""
    try:
        text = _encode(line)
    except (TypeError, ValueError, OverflowError):  # half a surrogate pair, beyond 64 bits, keys that are no text
        return json.dumps(line, separators=(",", ":")).encode() + b"\n"
    if not text.isascii():
        for separator, escape in _SEPARATORS.items():
            text = text.replace(separator, escape)
    return text + b"\n"


def read_form(
    form: Form,
    files: Sequence[Path],
    options: Options,
    write: Callable[[bytes], object],
    progress: Callable[[int], None] | None = None,
) -> Read:
    """Read files and give every run line to `write`.

    Raises:
        BadInputError: As `form_lines`.
    """
    read = Read(form.name, Tally())
    for number, line in enumerate(form_lines(form, files, options, read.tally, read), start=1):
        write(line_bytes(line))
        if progress is not None and number % _TOLD == 0:
            progress(number)
    return read
