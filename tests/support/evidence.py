"""Bundles of evidence for tests: a small home with everything that one can say of an event, bundles damaged and made anew."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pipelines.evidence.bundle import BundleMaker
from pipelines.evidence.verify_bundle import Failure, Report, verify
from pipelines.export.month import export_month
from pipelines.export.seal import seal_month
from pipelines.lake.lake import Lake
from pipelines.store import NewEvent, Store
from tests.support.erasing import erase_events

ORIGIN = "logs.example.org/desk"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
REASON = "ticket 4711"
JANUARY, MARCH = "2026-01", "2026-03"
TALK = UUID("00000000-0000-4000-8000-000000000001")
"""Six events in January, which is sealed, three in March, which is open; version 2 redacted in part, version 4 erased."""
SHARED = UUID("00000000-0000-4000-8000-000000000002")
"""About Ada and about Bob, an event each in turn."""
ADA, BOB = "customer ada", "customer bob"
SECRET = "4111 1111 1111 1111"
OF_OTHERS = "what Bob said"


def raw(key: Ed25519PrivateKey) -> bytes:
    """The public key, 32 bytes."""
    return key.public_key().public_bytes_raw()


def pem(key: Ed25519PrivateKey, path: Path) -> Path:
    """The public key as a PEM file."""
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return path


def say(store: Store, stream: UUID, at: datetime, *said: tuple[str, str]) -> None:
    """Append what persons said, a minute apart."""
    events = [
        NewEvent("user.utterance.v1", {"text": text}, {"actor": "user", "subject_id": who}, at + timedelta(minutes=n))
        for n, (who, text) in enumerate(said)
    ]
    store.ensure_months([at])
    store.append(stream, "conversation", events, "any")


def make_home(store: Store, lake: Lake, key_file: Path | None = None) -> None:
    """Fill a store and a lake; January sealed and signed with a key, if there is one, March open and exported."""
    january, march = (datetime(2026, month, 10, tzinfo=UTC) for month in (1, 3))
    say(store, TALK, january, *((ADA, text) for text in ("hello <b>", f"card {SECRET}", "ü\u2028", "gone", "x", "y")))
    redaction = {
        "target": {"stream_version": 2},
        "span": {"path": "/text", "start": 5, "end": 24},
        "method": "card",
        "reason": "PCI",
    }
    store.append(
        TALK, "conversation", [NewEvent("redaction.applied.v1", redaction, {}, january + timedelta(days=1))], "any"
    )
    erase_events(store, f"{TALK}@4")
    say(
        store,
        SHARED,
        january,
        *((who, f"what Ada said {n}" if who == ADA else OF_OTHERS) for n, who in enumerate([ADA, BOB] * 3)),
    )
    for number in range(12):
        say(store, UUID(int=number << 64), january, *([(f"person {number}", "words")] * (number + 1)))
    seal_month(store, lake, JANUARY, signing_key=key_file)
    say(store, TALK, march, (ADA, "again"), (ADA, "and again"), (ADA, "bye"))
    export_month(store.dsn, lake, MARCH)


def make_maker(store: Store, lake: Lake, key: Ed25519PrivateKey | None) -> BundleMaker:
    """What makes bundles of that home."""
    return BundleMaker(store, lake, ORIGIN, key)


def fails(path: Path, *keys: bytes) -> str | None:
    """What the verifier says does not fit; None when everything fits."""
    try:
        verify(str(path), keys)
    except Failure as error:
        return str(error)
    return None


def report_of(path: Path, *keys: bytes) -> Report:
    """What the verifier found."""
    return verify(str(path), keys)


def list_anew(folder: Path, key: Ed25519PrivateKey | None = None) -> None:
    """Make the list of files of a bundle anew, as the format says: what anybody can do who has no key, or another."""
    proof = json.loads((folder / "proof.json").read_text(encoding="utf-8"))
    names = sorted(each.name for each in folder.iterdir() if each.name != "files.txt")
    lines = ["refold-audit-files/1", proof["origin"]]
    for name in names:
        content = (folder / name).read_bytes()
        lines.append(f"{hashlib.sha256(content).hexdigest()} {len(content)} {name}")
    text = "".join(f"{line}\n" for line in lines)
    (folder / "files.txt").write_text(text if key is None else sign(text, proof["origin"], key), encoding="utf-8")


def sign(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """A signed note, by its specification."""
    number = hashlib.sha256(name.encode() + b"\n\x01" + raw(key)).digest()[:4]
    return f"{text}\n\u2014 {name} {base64.b64encode(number + key.sign(text.encode())).decode()}\n"


def written_key(name: str, key: Ed25519PrivateKey) -> str:
    """A key as `proof.json` has it."""
    number = hashlib.sha256(name.encode() + b"\n\x01" + raw(key)).digest()[:4]
    encoded = base64.b64encode(b"\x01" + raw(key)).decode()
    return f"{name}+{number.hex()}+{encoded}"


def edit_proof(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what `proof.json` says."""
    path = folder / "proof.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    change(said)
    path.write_text(canonical(said) + "\n", encoding="utf-8")


def edit_events(folder: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change the lines of `events.jsonl`."""
    path = folder / "events.jsonl"
    said = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    change(said)
    path.write_text("".join(f"{canonical(each)}\n" for each in said), encoding="utf-8")


def canonical(value: Any) -> str:
    """The canonical JSON of the format."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def flips(folder: Path, count: int, seed: int, names: Sequence[str] | None = None) -> Iterator[tuple[str, int]]:
    """Files of a bundle and places of a bit in them, at random; each file has its turn."""
    rng = random.Random(seed)
    found = sorted(names or (each.name for each in folder.iterdir()))
    for number in range(count):
        name = found[number % len(found)]
        yield name, rng.randrange((folder / name).stat().st_size * 8)


def flipped(folder: Path, name: str, bit: int, *keys: bytes) -> str | None:
    """What the verifier says of a bundle in which one bit is another; the bundle is as it was afterwards."""
    path = folder / name
    before = path.read_bytes()
    content = bytearray(before)
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    try:
        return fails(folder, *keys)
    finally:
        path.write_bytes(before)


def copied(folder: Path, target: Path) -> Path:
    """A copy of a bundle, to damage."""
    shutil.copytree(folder, target)
    return target
