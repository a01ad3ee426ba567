"""Imports of what was received: a round takes every conversation that is due, and sets aside the one that is refused.

A round that is cut short is made again: what was imported is there already, and appends nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from pipelines.console import counted
from pipelines.errors import BadInputError, RefoldError
from pipelines.ingest.assemble.rows import Group
from pipelines.ingest.form_files import import_form
from pipelines.ingest.forms.form import Options
from pipelines.ingest.forms.otel.files import documents
from pipelines.ingest.forms.otel.filling import entry_of, fill, session_ranks
from pipelines.ingest.forms.otel.groups import groups
from pipelines.ingest.forms.otel.values import as_specified, blocks_of
from pipelines.ingest.forms.otlp import Otlp
from pipelines.ingest.reading.room import Room
from pipelines.output import open_output
from pipelines.receive.folder import Folder
from pipelines.receive.sound import Rejected, sound_part
from pipelines.receive.traces import Conversation, Entries, Traces, Waits
from pipelines.store.connect import Store
from pipelines.store.errors import MonthSealed

_REFUSED = (BadInputError, MonthSealed)
"""What is wrong with what was received, and will be the next time."""
_PASSING = (RefoldError, psycopg.Error, OSError, MemoryError)
"""What is wrong with the machine, and may be right the next time."""
_DAY = 86_400 * 10**9


class _Chosen(Otlp):
    """The form `otlp`, of some traces alone: not that of whole files, of which an import is noted."""

    def __init__(self, traces: frozenset[str]) -> None:
        self._traces = traces

    def groups(self, files: Sequence[Path], options: Options) -> Iterator[Group]:
        """The conversations of these traces."""
        return groups(files, options, lambda entry: entry.trace in self._traces)


@dataclass(frozen=True, slots=True)
class Rounds:
    """What is imported, whither and how.

    Attributes:
        folder: The bodies.
        traces: What they hold.
        home: REFOLD_HOME.
        opened: Opens the store for one round.
        options: Of the import.
        waits: How long conversations are waited for.
        kept_days: Days for which bodies are kept after the last that came of their conversations.
        tell: Told in a line what was done.
    """

    folder: Folder
    traces: Traces
    home: Path
    opened: Callable[[], AbstractContextManager[Store]]
    options: Options
    waits: Waits
    kept_days: float
    tell: Callable[[str], None]

    def load(self) -> None:
        """Read what the bodies hold that are kept.

        Raises:
            BadInputError: One of them cannot be read.
        """
        for name, is_imported in self.folder.kept():
            self.traces.add(name, self.look(self.folder.file(name)).found, is_imported=is_imported)

    def look(self, path: Path) -> Entries:
        """What a body holds.

        Raises:
            BadInputError: The form cannot read it; the error says where.
        """
        entries = Entries()
        fill(entries, path, 0, self.options)
        return entries

    def keep(self, line: bytes) -> Rejected | None:
        """Keep a body durably, but for records that the form cannot read; one that holds no records is not kept.

        Returns:
            What was rejected of it; None where that is nothing.

        Raises:
            BadInputError: The form can read none of it; nothing is kept.
            OSError: It cannot be written; nothing is kept.
        """
        try:
            self._keep(line)
        except BadInputError as error:
            if (part := sound_part(line, self.options)) is None:
                raise
            self._keep(part[0])
            return Rejected(part[1], str(error))
        return None

    def _keep(self, line: bytes) -> None:
        found = Entries()

        def check(path: Path) -> bool:
            try:
                found.found = self.look(path).found
            except BadInputError as error:  # whoever sent it knows no file of ours
                raise BadInputError(str(error).removeprefix(f"{path.name}:1: ")) from error
            return bool(found.found)

        name = self.folder.keep(line, check)
        if name is not None:
            self.traces.add(name, found.found)

    def unsettled(self) -> float:
        """Seconds for which to go on receiving at the end."""
        return self.traces.unsettled(time.time_ns(), self.waits)

    def run(self, *, is_ending: bool = False) -> None:
        """Import what is due, and remove bodies that are not needed any more; what fails is told, and tried again the next time."""
        try:
            if due := self.traces.due(time.time_ns(), self.waits, is_ending=is_ending):
                with self.opened() as store:
                    self._import(store, due)
            for name in self.traces.forget(time.time_ns() - int(self.kept_days * _DAY)):
                self.folder.remove(name)
        except _PASSING as error:
            self.tell(f"refold: not imported now, and tried again: {error}")

    def _import(self, store: Store, due: list[Conversation]) -> None:
        """Import conversations in one transaction; where that is refused, halves of them, until it is one."""
        try:
            self._import_all(store, due)
        except _REFUSED as error:
            self._divide(store, due, str(error))
        except _PASSING:
            raise
        except Exception as error:  # noqa: BLE001 -- what one conversation brings about must not stop the others
            self._divide(store, due, f"{type(error).__name__}: {error}")
        else:
            self._done(due)

    def _divide(self, store: Store, due: list[Conversation], reason: str) -> None:
        if len(due) == 1:
            aside = self._set_aside(due[0], reason)
            self.tell(f"refold: set aside as {aside}: {reason}")
            self._done(due)
            return
        middle = len(due) // 2
        self._import(store, due[:middle])
        self._import(store, due[middle:])

    def _import_all(self, store: Store, due: list[Conversation]) -> None:
        names = sorted({name for each in due for name in each.bodies})
        form = _Chosen(frozenset(trace for each in due for trace in each.traces))
        room = Room(self.options.memory_bytes, self.options.taken_bytes)
        files = [self.folder.file(name) for name in names]
        done = import_form(store, form, files, self.options, home=self.home, room=room)
        if done.result is not None and done.result.events:
            streams = done.result.conversations + done.result.grown
            self.tell(f"refold: {counted(streams, 'stream')}, {counted(done.result.events, 'event')} appended")

    def _done(self, conversations: Iterable[Conversation]) -> None:
        for name in self.traces.imported(conversations):
            self.folder.mark_imported(name)

    def _set_aside(self, conversation: Conversation, reason: str) -> Path:
        """Write the records of a conversation to a file that the form reads, and beside it why they are there."""
        names = " ".join(sorted(conversation.traces))
        path = self.home / "set_aside" / f"received-{hashlib.sha256(names.encode()).hexdigest()[:16]}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open_output(path, is_private=True) as file:
            for name in conversation.bodies:
                for line in self._chosen_lines(self.folder.file(name), conversation):
                    file.write(line)
        with open_output(path.with_suffix(".reason.txt"), is_private=True) as file:
            file.write(f"{reason}\n".encode(errors="backslashreplace"))
        return path

    def _chosen_lines(self, path: Path, conversation: Conversation) -> Iterator[bytes]:
        ranks = session_ranks(self.options)
        for _, _, value in documents(path):
            document = as_specified(value)
            for block in blocks_of(document):
                block.records[:] = [
                    record for record in block.records if entry_of(block, record, ranks).trace in conversation.traces
                ]
            yield json.dumps(document, separators=(",", ":")).encode() + b"\n"
