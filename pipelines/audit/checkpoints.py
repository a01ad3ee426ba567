"""Checkpoints of the home log: made, kept, and held to what the log says later. One that is kept elsewhere proves that nothing before it changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.audit.findings import Finding, Place
from pipelines.audit.reading import read_store, scratch
from pipelines.errors import BadInputError
from pipelines.export.snapshot import month_condition
from pipelines.proof.checkpoint import Checkpoint, MonthHeads, log_root
from pipelines.proof.files import read_small
from pipelines.proof.heads import heads_root
from pipelines.proof.note import MOST_BYTES, SIGNED, Note, NoteError, Verifier
from pipelines.proof.signing import PublicKeys
from pipelines.store import Entry, Store

_HEADS = """
SELECT DISTINCT ON (aggregate_id) aggregate_id::text AS aggregate_id, stream_version AS last_version, hash AS last_hash
FROM refold.events
WHERE {month} AND (epoch, order_xid) < ({epoch}, '{xid}'::xid8)
ORDER BY aggregate_id, stream_version DESC
"""


@dataclass(frozen=True, slots=True)
class Against:
    """A checkpoint that somebody kept, and where it was read.

    Attributes:
        file: Its file.
        note: As it was signed.
        checkpoint: What it says.
    """

    file: Path
    note: Note
    checkpoint: Checkpoint

    @classmethod
    def read(cls, file: Path) -> Against:
        """The checkpoint in a file.

        Raises:
            BadInputError: The file cannot be read, or holds none.
        """
        try:
            note = Note.read(read_small(file, MOST_BYTES))
            return cls(file, note, Checkpoint.read(note.text))
        except OSError as error:
            raise BadInputError(f"{file} cannot be read: {error.strerror}") from None
        except NoteError as error:
            raise BadInputError(f"{file} is no checkpoint: {error}") from None


def origin_of(store: Store, origin: str | None) -> str:
    """The log's name: as set, else `refold/` and the store's own id."""
    return origin or f"refold/{store.home_id()}"


def make_checkpoint(store: Store, origin: str, key: Ed25519PrivateKey, memory_bytes: int) -> tuple[Note, Checkpoint]:
    """Sign where the log stands now: its entries, and the heads of months that are not sealed.

    Args:
        store: Whose log.
        origin: Its name, which is the key's, too.
        key: Signs.
        memory_bytes: Bound on the process.
    """
    mark = store.watermark()
    months = [status.month for status in store.months() if status.events and status.state != "sealed"]
    heads = []
    with scratch(memory_bytes) as (connection, _):
        for month in months:
            streams, root = _read_heads(connection, store, month, mark.epoch, mark.xid)
            heads.append(MonthHeads(month, mark.epoch, mark.xid, streams, root))
    documents = [each.signed.text for each in store.home_log()]
    checkpoint = Checkpoint(origin, len(documents), log_root(documents), tuple(heads))
    return Note.sign(checkpoint.text(), origin, key), checkpoint


def _read_heads(
    connection: duckdb.DuckDBPyConnection, store: Store, month: str, epoch: int, xid: int
) -> tuple[int, bytes]:
    """Streams of a month with events before (epoch, xid), and the root over their heads."""
    query = _HEADS.format(month=month_condition(month), epoch=int(epoch), xid=int(xid))
    with read_store(store.dsn, query) as rows:
        connection.register("read", rows)
        connection.execute("CREATE OR REPLACE TEMP TABLE heads AS SELECT * FROM read")
        connection.unregister("read")
    ((streams,),) = connection.sql("SELECT count(*) FROM heads").fetchall()
    return streams, heads_root(connection, "heads")


def audit_against(
    against: Against,
    entries: Sequence[Entry],
    store: Store | None,
    keys: Sequence[Verifier],
    memory_bytes: int,
    notes: list[str],
) -> Iterator[Finding]:
    """Hold the log to a checkpoint: what does not fit.

    Args:
        against: The checkpoint.
        entries: The home log, of the store where there is one: the lake's is held to that.
        store: For the heads of months that were open; None leaves them.
        keys: Who may have signed it.
        memory_bytes: Bound on the process.
        notes: Gets what could not be looked at.
    """
    checkpoint = against.checkpoint
    place: Place = "lake" if store is None else "store"
    yield from _audit_signatures(against, keys, notes)
    documents = [each.signed.text for each in entries if each.entry < checkpoint.size]
    if len(documents) < checkpoint.size:
        detail = (
            f"{against.file} is over {checkpoint.size:,} entries of the home log, there are {len(documents):,} of them"
        )
        yield Finding("entry_missing", None, place, detail)
    elif log_root(documents) != checkpoint.root:
        detail = f"the first {checkpoint.size:,} entries of the home log are not those that {against.file} is over"
        yield Finding("checkpoint_differs", None, place, detail)
    notes += [f"{against.file}: the line {line[:80]!r}, which this version does not know" for line in checkpoint.others]
    if store is None:
        notes += [f"heads of {each.month} in {against.file}: the store has them" for each in checkpoint.heads]
        return
    with scratch(memory_bytes) as (connection, _):
        for each in checkpoint.heads:
            streams, root = _read_heads(connection, store, each.month, each.epoch, each.xid)
            before = f"of events before epoch {each.epoch}, transaction {each.xid}"
            if streams != each.streams:
                detail = f"{before} the store has {streams:,} streams, {against.file} says {each.streams:,}"
                yield Finding("tail_missing", each.month, "store", detail)
            elif root != each.root:
                detail = f"{before} the last ones of the streams are not those that {against.file} is over"
                yield Finding("tail_missing", each.month, "store", detail)


def _audit_signatures(against: Against, keys: Sequence[Verifier], notes: list[str]) -> Iterator[Finding]:
    """The log's own signature must hold where a key is given; others are checked where theirs are, and told where not."""
    good, wrong, unknown = against.note.check(keys)
    origin = against.checkpoint.origin
    for each in wrong:
        detail = f"{against.file}: the signature of {each.name} is not over this checkpoint"
        yield Finding("signature_wrong", None, "manifest", detail)
    has_own_key = any(key.algorithm == SIGNED and key.name == origin for key in keys)
    if has_own_key and not any(each.name == origin for each in [*good, *wrong]):
        detail = f"{against.file} is not signed by a key that was given, as {origin}"
        yield Finding("signature_missing", None, "manifest", detail)
    notes += [
        f"{against.file}: the signature of {each.name}, whose key {each.number.hex()} was not given" for each in unknown
    ]


def verifiers(keys: PublicKeys, origin: str) -> list[Verifier]:
    """Public keys, under the name of the log."""
    return [Verifier(origin, SIGNED, key) for key in keys.values()]
