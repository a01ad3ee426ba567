"""A stream's events as `events.jsonl` has them: each with what it says, or with its digest where that is not to be shown.

Read from the lake as they are recorded, stretch by stretch, so that a long stream is never in memory whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Literal

from pipelines.canonical.jcs import plain_bytes
from pipelines.evidence.chosen import ChosenStream, Period
from pipelines.folds.one_stream import Stretch, as_time, find_stretches
from pipelines.folds.state import read_redactions
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Lake
from pipelines.log.erased import is_erased
from pipelines.log.redaction import Redaction, redact_text
from pipelines.proof.chain import digest
from pipelines.proof.parts import COLUMNS

Says = Literal["shown", "redacted", "erased", "outside", "not_about"]
"""What a bundle says of an event: all, what redactions leave, or only that it was there."""
_READ = tuple(name for name in COLUMNS if name != "aggregate_id")


@dataclass(slots=True)
class Chain:
    """What was written of a stream.

    Attributes:
        chosen: Which stream, and up to where.
        kind: Of the stream.
        head: Link of the last event.
        said: What is said of each event, by version.
        months: First and last version of each UTC month, in order.
    """

    chosen: ChosenStream
    kind: str = ""
    head: bytes = b""
    said: dict[int, Says] = field(default_factory=dict)
    months: dict[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def counts(self) -> Counter[Says]:
        """Of how many events each is said."""
        return Counter(self.said.values())

    def describe(self) -> dict[str, Any]:
        """The stream as `proof.json` has it."""
        return {
            "stream": self.chosen.stream,
            "kind": self.kind,
            "last": self.chosen.last,
            "head": self.head.hex(),
            "stood_at": self.chosen.stood_at,
        }


def write_chain(lake: Lake, chosen: ChosenStream, period: Period, output: BinaryIO) -> Chain:
    """Write the lines of a stream's events, from its first to the last chosen.

    Args:
        lake: Holds them.
        chosen: Which stream, up to where, and what of it is about whom was asked for.
        period: What of it is shown.
        output: Gets the lines.
    """
    chain = Chain(chosen)
    with ExitStack() as opened:
        stretches = find_stretches(lake.files(EVENTS.name), [chosen.stream], opened)
        hidden: dict[int, list[Redaction]] = {}
        for each in read_redactions(stretches):
            if each["target_version"] is not None:
                hidden.setdefault(each["target_version"], []).append(Redaction.from_json(each["payload"]))
        for row in _rows(stretches, chosen.last):
            version = row["stream_version"]
            says = _says(row, version in hidden, chosen, period)
            output.write(plain_bytes(_line(chosen.stream, row, says, hidden.get(version, []))) + b"\n")
            chain.kind, chain.head, chain.said[version] = row["aggregate_type"], row["hash"], says
            month = f"{as_time(row['created_at']):%Y-%m}"
            chain.months[month] = (chain.months.get(month, (version, version))[0], version)
    return chain


def _rows(stretches: list[Stretch], last: int) -> Iterator[dict[str, Any]]:
    """The stream's events up to a version, in order."""
    first = [stretch.read(["stream_version"])["stream_version"][0].as_py() for stretch in stretches]
    for _, stretch in sorted(zip(first, stretches, strict=True), key=lambda pair: pair[0]):
        for row in stretch.read(_READ).to_pylist():
            if row["stream_version"] <= last:
                yield row


def _says(row: Mapping[str, Any], has_redaction: bool, chosen: ChosenStream, period: Period) -> Says:
    if is_erased(row):
        return "erased"
    if chosen.about is not None and row["stream_version"] not in chosen.about:
        return "not_about"
    if not period.holds(row["created_at"]):
        return "outside"
    return "redacted" if has_redaction else "shown"


def _line(stream: str, row: Mapping[str, Any], says: Says, redactions: list[Redaction]) -> dict[str, Any]:
    line = {
        "stream": stream,
        "kind": row["aggregate_type"],
        "version": row["stream_version"],
        "type": row["event_type"],
        "type_version": row["event_version"],
        "time_us": row["created_at"],
        "epoch": row["epoch"],
        "xid": row["xid"],
        "position": row["position"],
        "hash": row["hash"].hex(),
        "is": says,
    }
    if says == "shown":
        return line | {"salt": row["salt"].hex(), "payload": row["payload"], "metadata": row["metadata"]}
    if says == "redacted":
        line["unproven_payload"] = redact_text(row["payload"], redactions)[0]
    return line | {"digest": (digest(row) or b"").hex()}
