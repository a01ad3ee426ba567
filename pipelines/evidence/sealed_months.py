"""What proves the events of sealed months: manifest, trees and their checkpoints, each read once however many bundles ask.

Months are as the home log says they are when this is made; what is proven of them is in the lake.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import duckdb
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pipelines.errors import RefoldError
from pipelines.export.home_log import last_seal
from pipelines.lake.datasets import EVENTS, MERKLE_NODES, STREAM_MONTHS
from pipelines.lake.lake import Lake
from pipelines.proof.checkpoint import Checkpoint, log_leaves
from pipelines.proof.heads import head_leaves
from pipelines.proof.inclusion import KeptTree, MonthTree, read_nodes
from pipelines.proof.manifest import Manifest
from pipelines.proof.merkle import Hashes, Levels, ProofError, Subtree
from pipelines.proof.note import Note
from pipelines.proof.parts import lay_out
from pipelines.proof.states import final_states
from pipelines.proof.tlog_proof import write_proof
from pipelines.store.home_log import Entry, Signed

_HEADS = """
SELECT aggregate_id, last_version, last_hash FROM read_parquet($files, hive_partitioning = false) ORDER BY aggregate_id
"""


class NotProvenError(RefoldError):
    """What the lake holds of a sealed month is not what its manifest says, so nothing of it can be proven: `refold verify` says what is wrong."""


class Signatures:
    """The log's name and key, and the checkpoints of its trees: notes with a key, their bodies alone without one.

    Attributes:
        origin: The log's name.
        key: Signs; None leaves everything unsigned.
    """

    def __init__(self, origin: str, key: Ed25519PrivateKey | None) -> None:
        self.origin = origin
        self.key = key

    def note(self, text: str, name: str | None = None) -> str:
        """A text as it is written: signed under a name, the log's own by default."""
        return text if self.key is None else Note.sign(text, name or self.origin, self.key).write().decode()

    def checkpoint(self, origin: str, size: int, root: bytes) -> str:
        """The checkpoint of a tree."""
        return self.note(Checkpoint(origin, size, root, ()).text(), origin)


class SealedMonths:
    """The sealed months of a home, and the home log that binds them.

    Args:
        lake: Holds their events.
        entries: The home log.
        signatures: Under which name, and by which key, checkpoints are made.
    """

    def __init__(self, lake: Lake, entries: Sequence[Entry], signatures: Signatures) -> None:
        self._lake = lake
        self._entries = entries
        self._signatures = signatures
        self._states = final_states(entries)
        self._log = Levels(log_leaves([each.signed.text for each in entries]))
        self._months: dict[str, SealedMonth] = {}
        self.checkpoint = signatures.checkpoint(signatures.origin, self._log.size, self._log.root())

    def is_sealed(self, month: str) -> bool:
        """Whether a month is."""
        return self._states.get(month, ("", 0))[0] == "sealed"

    def month(self, month: str) -> SealedMonth:
        """A month that is sealed.

        Raises:
            NotProvenError: The lake's month is not that of the manifest.
        """
        if month not in self._months:
            found = last_seal(self._entries, month)
            assert found is not None
            entry = max(each.entry for each in self._entries if each.signed == found[0])
            proof = write_proof(entry, self._log.path(entry), self.checkpoint)
            self._months[month] = SealedMonth(self._lake, *found, proof, self._signatures)
        return self._months[month]


class SealedMonth:
    """One sealed month: what proves single events and ends of streams of it."""

    def __init__(self, lake: Lake, signed: Signed, manifest: Manifest, proof: str, signatures: Signatures) -> None:
        self._signed = signed
        self._proof = proof
        self.manifest = manifest
        partition = {"month": manifest.month}
        origin = f"{signatures.origin}/{manifest.month}/{manifest.generation}"
        roots = bytes.fromhex(manifest.merkle_root), bytes.fromhex(manifest.heads_root)
        self._events_checkpoint = signatures.checkpoint(f"{origin}/events", manifest.rows, roots[0])
        self._heads_checkpoint = signatures.checkpoint(f"{origin}/heads", manifest.streams, roots[1])
        try:
            self._events = MonthTree(
                lay_out(lake.files(EVENTS.name, partition)), read_nodes(lake.files(MERKLE_NODES.name, partition))
            )
            self._heads = _Heads(
                lake.files(STREAM_MONTHS.name, partition),
                read_nodes(lake.files(MERKLE_NODES.name, partition), "heads"),
            )
        except (ProofError, duckdb.Error, OSError) as error:
            raise self._refusal(str(error).strip().splitlines()[0]) from None
        if (self._events.size, self._heads.size) != (manifest.rows, manifest.streams):
            raise self._refusal("the lake has another number of events or streams than its manifest")

    def _refusal(self, why: str) -> NotProvenError:
        return NotProvenError(
            f"{self.manifest.month} is sealed, and what the lake holds of it cannot be proven: {why}. No evidence was written; "
            "`refold verify` says what is wrong"
        )

    def describe(self, streams: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The month as `proof.json` has it."""
        signature = self._signed.signature
        return {
            "month": self.manifest.month,
            "manifest": self._signed.text,
            "signature": None if signature is None else base64.b64encode(signature).decode(),
            "proof": self._proof,
            "streams": list(streams),
        }

    def prove(self, stream: str, first: int, last: int) -> dict[str, Any]:
        """What proves a stream's events of the month from `first` to `last`, and where the stream ends in it, as `proof.json` has it.

        Raises:
            NotProvenError: They are not in the month.
        """
        try:
            at, end = (self._prove_event(stream, version) for version in (first, last))
            head_version, head, index, path = self._heads.prove(stream)
        except (ProofError, OSError) as error:
            raise self._refusal(str(error)) from None
        return {
            "stream": stream,
            "first": first,
            "last": last,
            "first_proof": at,
            "last_proof": end,
            "head_version": head_version,
            "head": head.hex(),
            "head_proof": write_proof(index, path, self._heads_checkpoint),
        }

    def _prove_event(self, stream: str, version: int) -> str:
        proof = self._events.prove(stream, version)
        return write_proof(proof.index, proof.path, self._events_checkpoint)


class _Heads:
    """The tree over a month's heads; all of it in memory where its nodes were not kept."""

    def __init__(self, files: Sequence[str], nodes: Sequence[Subtree]) -> None:
        with duckdb.connect() as connection:
            self._rows = connection.sql(_HEADS, params={"files": list(files)}).to_arrow_table()
        self.size = self._rows.num_rows
        self._streams: list[Any] = self._rows["aggregate_id"].to_pylist()
        self._path = KeptTree(self.size, self._leaves, nodes).path if nodes else Levels(self._leaves(0, self.size)).path

    def _leaves(self, start: int, stop: int) -> Hashes:
        with duckdb.connect() as connection:
            connection.register("heads", self._rows.slice(start, stop - start))
            return head_leaves(connection, "heads")

    def prove(self, stream: str) -> tuple[int, bytes, int, list[bytes]]:
        """The last version of a stream, its link, the number of its leaf, and the path.

        Raises:
            ProofError: The month does not know the stream, or nodes are missing.
        """
        index = bisect_left(self._streams, stream)
        if index == self.size or self._streams[index] != stream:
            raise ProofError(f"`stream_months` does not know stream {stream}")
        row = self._rows.slice(index, 1).to_pylist()[0]
        return row["last_version"], row["last_hash"], index, self._path(index)
