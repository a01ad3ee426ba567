"""The recorder: where recorded conversations go, how much may wait, and what happens when it is too much.

One recorder serves a process, its threads included; make it after a fork, not before. What a conversation records is
`talk`'s, how it is sent is `sender`'s.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pipelines.errors import BadInputError, RefoldError
from pipelines.log.context import Context
from pipelines.recorder.opening import Known, Opening
from pipelines.recorder.packet import Packet, write_line
from pipelines.recorder.sender import Sender
from pipelines.recorder.status import RecorderStatus, WhenFull
from pipelines.recorder.storable import text_of_any
from pipelines.recorder.talk import Talk
from pipelines.store import NewEvent, Store, connect, stream_id

CLOSE_SECONDS = 5.0
_REMEMBERED = 10_000
"""Hashes of registered prompts and tools kept in mind; one forgotten is offered again and found to be there."""
_TYPES = {"prompt": "prompt.registered.v1", "tools": "tools.registered.v1"}


class Recorder:
    """Records conversations into a store, in the background.

    Args:
        store: The store, or its connection string; the recorder opens a connection of its own.
        source: Name of what is recorded; `source/conversation_id` names a stream in every verb.
        when_full: When more than the buffer holds waits for the store: `block` until there is room, `raise`
            `RecorderFull`, or `spill` to files in the folder `spill`. With `raise`, a recording call also raises for a
            value that it cannot record; otherwise that is logged once.
        spill: Folder for what finds no room, and for what still waits when the recorder is closed. What an earlier
            recorder left there is sent first.
        buffer_packets: Calls that may wait in memory. 0 with `spill` writes each to disk before it returns.
        buffer_bytes: Bytes that may wait in memory; a single longer call still fits when nothing else waits.

    Raises:
        BadInputError: `when_full` is `spill` and there is no folder, or it is none of the three words; or the connection
            string is none. Whether a store answers is not looked at here.
    """

    def __init__(
        self,
        store: Store | str,
        *,
        source: str = "live",
        when_full: WhenFull = "block",
        spill: Path | str | None = None,
        buffer_packets: int = 10_000,
        buffer_bytes: int = 64_000_000,
    ) -> None:
        if when_full not in ("block", "raise", "spill"):
            raise BadInputError(f"when_full is {when_full!r}; give 'block', 'raise' or 'spill'")
        if when_full == "spill" and spill is None:
            raise BadInputError("when_full='spill' needs a folder: spill='…'")
        if when_full != "spill" and buffer_packets < 1:
            raise BadInputError(
                f"buffer_packets is {buffer_packets}; only a recorder that spills can do without memory"
            )
        self._dsn = store.dsn if isinstance(store, Store) else _checked(store)
        self._source = source
        self._raises = when_full == "raise"
        self._sender = Sender(
            self._dsn, when_full, None if spill is None else Path(spill), buffer_packets, buffer_bytes
        )
        self._registered: set[str] = set()
        self._lock = threading.Lock()
        atexit.register(self.close)

    def conversation(
        self,
        conversation_id: str,
        *,
        agent: str | None = None,
        channel: str | None = None,
        subject_id: str | None = None,
        system: Sequence[Any] | None = None,
        variant: str | None = None,
        vertical: str | None = None,
        task: str | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        variables: Mapping[str, Any] | None = None,
        trace_id: str | None = None,
        aggregate_type: Literal["conversation", "call"] = "conversation",
        resume: bool = False,
    ) -> Talk:
        """A conversation to record.

        Args:
            conversation_id: Its id in the source.
            agent: Who serves it.
            channel: Through what.
            subject_id: The person it is about.
            system: System messages as the agent gets them, texts or messages; None takes those that the first request
                begins with, if that is the first thing recorded.
            variant: Which version of the agent.
            vertical: Which line of business.
            task: What it is for.
            prompt: The prompt's text before it was filled in, to be registered by its hash; None registers the first
                system message as sent, which is right when it says nothing personal.
            prompt_name: Under which name; the agent's by default.
            variables: What the prompt was filled in with, by name; another prompt is filled in with the same in a replay.
            trace_id: Its id in a tracing system.
            aggregate_type: `call` for a voice call.
            resume: Continue a conversation recorded earlier: what is in the store is read first. When the store is
                away, decisions are recorded without what the request says beyond them.
        """
        envelope = {"source": self._source, "source_id": str(conversation_id), "time_source": "message"}
        envelope |= {k: v for k, v in (("subject_id", subject_id), ("trace_id", trace_id)) if v is not None}
        labels = {"agent": agent, "variant": variant, "task": task, "channel": channel, "vertical": vertical}
        started: dict[str, Any] = {
            name: None if label is None else text_of_any(label) for name, label in labels.items()
        }
        if variables is not None:
            started["variables"] = variables if isinstance(variables, Mapping) else {"value": variables}
        opening = Opening(
            stream=stream_id(self._source, str(conversation_id)),
            aggregate_type=aggregate_type,
            envelope=envelope,
            started=started,
            system=None if system is None else list(system) if isinstance(system, list | tuple) else [system],
            prompt=prompt,
            prompt_name=text_of_any(prompt_name or agent or "system"),
        )
        return Talk(self, opening, self._known(opening.stream) if resume else Known())

    def send(self, aggregate_id: UUID, aggregate_type: str, expected: int, events: list[NewEvent]) -> None:
        """Keep the events of one stream until the store has them; for `Talk`."""
        self._sender.put(Packet(write_line(aggregate_id, aggregate_type, events), expected))

    def register(self, kind: str, sha256: str, payload: dict[str, Any]) -> None:
        """Record a prompt or a list of tools, once, known by its hash; for `Talk`."""
        with self._lock:
            if sha256 in self._registered:
                return
            metadata = {"actor": "system", "source": self._source, "source_id": sha256, "time_source": "message"}
            event = NewEvent(_TYPES[kind], payload, metadata, datetime.now(UTC))
            stream = stream_id(f"{self._source}/{kind}", sha256)
            self._sender.put(Packet(write_line(stream, kind, [event], is_once=True), 0))
            if len(self._registered) >= _REMEMBERED:
                self._registered.clear()
            self._registered.add(sha256)

    def report(self, error: Exception) -> None:
        """Log an error of a recording call, once a kind; with `when_full="raise"`, raise it."""
        if self._raises:
            raise error
        self._sender.count(failed=1)
        kind = f"{type(error).__name__} {str(error)[:80]}"
        self.tell_once(kind, "something was not recorded: %s: %s", type(error).__name__, error)

    def count_described(self, values: int) -> None:
        """Count values that are kept as a description; for `Talk`."""
        self._sender.count(described=values)
        self.tell_once(
            "described", "something that no JSON can be made of is kept as a description; its event says where"
        )

    def tell_once(self, about: str, message: str, *values: object, level: int = logging.ERROR) -> None:
        """Log a message the first time it is about this."""
        self._sender.tell_once(about, message, *values, level=level)

    def status(self) -> RecorderStatus:
        """How much waits, was sent, refused or lost."""
        return self._sender.status()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the store has everything recorded so far; false when `timeout` seconds were not enough."""
        return self._sender.flush(timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Send what waits for up to `timeout` seconds, keep the rest in the spill folder, and stop.

        Returns:
            Whether the store has everything that was to be recorded. Without a folder, what it does not have is lost, and
            the log says so; `status` says how much, and what is kept as a description alone.
        """
        atexit.unregister(self.close)
        return self._sender.close(timeout) and not self.status().failed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _known(self, stream: UUID) -> Known:
        """What the store has of a stream."""
        unknown = Known(context=None, has_started=True)
        if self.status().is_away or not self.flush(CLOSE_SECONDS):
            return unknown
        try:
            with closing(connect(self._dsn)) as conn:
                known = Known(context=(context := Context()))
                for event in Store(conn, self._dsn).read_stream(stream):
                    known.version, known.has_started = event.stream_version, True
                    if event.is_erased:
                        context.add_erased(event.event_type)
                        continue
                    known.follow(event.event_type, event.payload, event.metadata)
                known.context = None if context.is_erased else context
                return known
        except RefoldError as error:
            self.tell_once("resume", "a conversation cannot be read from the store: %s", error)
            return unknown


def _checked(dsn: str) -> str:
    """A connection string that can be read; one that cannot would never come back like a store that is away."""
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise BadInputError(
            "the recorder's store is not a PostgreSQL connection string; write postgresql://user@host:5432/database"
        ) from None
    return dsn
