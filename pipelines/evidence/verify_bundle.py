"""Check a bundle of evidence that `refold audit` wrote: with this file, Python 3.9 or newer, and nothing else.

    python3 verify_bundle.py [BUNDLE] [--public-key FILE]

BUNDLE is the folder or the zip; by default the folder that this file lies in. FILE is the PEM file of the key whose signature is demanded;
get it from somewhere else than the bundle. Exit code 0: everything fits; 1: something does not, and the first such thing is named; 2: it could
not be read, or the call was wrong.

Written from docs/audit-format.md, which says what each file holds, and how it is bound. It knows nothing of Refold, makes no connection and
writes nothing.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import io
import json
import os
import re
import stat
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import IO, Any

FORMAT = "refold-audit/1"
LIST, LIST_FORMAT = "files.txt", "refold-audit-files/1"
EVENTS, PROOF = "events.jsonl", "proof.json"
LISTED = ("README.txt", EVENTS, PROOF, "report.html", "verify_bundle.py")
MANIFEST = "refold-manifest/2"
TLOG_PROOF = "c2sp.org/tlog-proof@v1"
MOST_BYTES = 2**28
"""Of each file but the events, which are read line by line, and of each of their lines."""

HASH = re.compile(r"[0-9a-f]{64}")
SALT = re.compile(r"[0-9a-f]{32}")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
NAME = re.compile(r"[^\s+]{1,200}")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z")
DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")

HEADER = ("stream", "kind", "version", "type", "type_version", "time_us", "epoch", "xid", "position", "hash", "is")
SAYS = {
    "shown": ("salt", "payload", "metadata"),
    "redacted": ("digest", "unproven_payload"),
    "erased": ("digest",),
    "outside": ("digest",),
    "not_about": ("digest",),
}
TOLD = {
    "shown": "shown with what they say",
    "redacted": "redacted in part: their place is proven, the text shown of them is not",
    "erased": "erased: their place is proven, what they said is gone",
    "outside": "not of the time that was asked for: their place is proven, what they say is not shown",
    "not_about": "about somebody else: their place is proven, what they say is not shown",
}


class Failure(Exception):
    """What does not fit, in words."""


class Unreadable(Exception):
    """What cannot be read, or was called wrongly."""


def plain(text: object) -> str:
    """A text from the bundle as it may be printed: short, and without a character that is not seen."""
    cut = str(text)[:120]
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in cut)


def counted(number: int, one: str) -> str:
    """A number with its noun."""
    return "{:,} {}".format(number, one if number == 1 else one + "s")


# Ed25519, as RFC 8032 has it ---------------------------------------------------------------------------------------------------------

Point = tuple[int, int, int, int]
"""A point of the curve, in extended coordinates."""

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)
NEUTRAL = (0, 1, 1, 0)


def point_add(a: Point, b: Point) -> Point:
    """The sum of two points of the curve, in extended coordinates."""
    left, right = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = right - left, d - c, d + c, right + left
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def point_read(encoded: bytes) -> Point | None:
    """The point that 32 bytes encode; None for no point, and for a second encoding of one."""
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    squared = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(squared, (P + 3) // 8, P)
    if (x * x - squared) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if (x * x - squared) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


def point_write(point: Point) -> bytes:
    """The 32 bytes of a point."""
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE: Any = point_read((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def is_signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether 64 bytes are the Ed25519 signature of a message under a key of 32 bytes."""
    point = point_read(key) if len(key) == 32 else None
    if point is None or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    if s >= ORDER:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    minus = (P - point[0], point[1], 1, P - point[3])
    both = {(1, 0): BASE, (0, 1): minus, (1, 1): point_add(BASE, minus)}
    found: Point = NEUTRAL
    for bit in range(max(s.bit_length(), k.bit_length()) - 1, -1, -1):
        found = point_add(found, found)
        pair = (s >> bit & 1, k >> bit & 1)
        if pair != (0, 0):
            found = point_add(found, both[pair])
    return point_write(found) == signature[:32]


# Keys and notes ----------------------------------------------------------------------------------------------------------------------


def read_base64(text: str) -> bytes | None:
    """The bytes of a text that is base64 and no other spelling of it; None for what is not."""
    try:
        content = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        return None
    return content if base64.b64encode(content).decode() == text else None


def key_number(name: str, key: bytes) -> bytes:
    """The 4 bytes by which signatures under a name refer to a key."""
    return hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4]


def read_pem(path: str) -> bytes:
    """The Ed25519 public key of a PEM file."""
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            text = stream.read(2**16)
    except OSError as error:
        raise Unreadable(f"{plain(path)} cannot be read: {error.strerror}")
    found = re.search(r"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----", text)
    content = read_base64("".join(found.group(1).split())) if found else None
    prefix = bytes.fromhex("302a300506032b6570032100")
    if content is None or len(content) != 44 or not content.startswith(prefix):
        raise Unreadable(f"{plain(path)} is not a PEM file with an Ed25519 public key (openssl pkey -pubout)")
    return content[12:]


def read_key(text: str, origin: str) -> bytes:
    """The key that `proof.json` names, written NAME+NUMBER+BASE64."""
    parts = text.split("+", 2)
    content = read_base64(parts[2]) if len(parts) == 3 else None
    if content is None or len(content) != 33 or content[0] != 1 or parts[0] != origin:
        raise Failure("proof.json: its key is not an Ed25519 key under the name of the log")
    if parts[1] != key_number(origin, content[1:]).hex():
        raise Failure("proof.json: the number of its key is not that of the key")
    return content[1:]


class Signer:
    """Checks notes with the bundle's one key, each text once; without a key a note is its text alone."""

    def __init__(self, key: bytes | None) -> None:
        self.key = key
        self.checked: set[tuple[str, str]] = set()

    def text_of(self, note: str, name: str, where: str) -> str:
        """The text of a note that a name signed."""
        if (note, name) in self.checked:
            return note.rpartition("\n\n")[0] + "\n" if self.key else note
        if self.key is None:
            if "\n\n" in note or not note.endswith("\n"):
                raise Failure(f"{where}: there is something below the text, and the bundle has no key")
            return note
        text, _, below = note.rpartition("\n\n")
        found = re.fullmatch("\u2014 ([^ \n]+) ([A-Za-z0-9+/=]+)\n", below)
        content = read_base64(found.group(2)) if found else None
        if found is None or content is None or len(content) != 68:
            raise Failure(f"{where}: it does not end with exactly one signature")
        if found.group(1) != name or content[:4] != key_number(name, self.key):
            raise Failure(f"{where}: it is signed under another name or by another key")
        if not is_signed(self.key, (text + "\n").encode(), content[4:]):
            raise Failure(f"{where}: the signature is not over this text")
        self.checked.add((note, name))
        return text + "\n"


# The files ---------------------------------------------------------------------------------------------------------------------------


class Folder:
    """The files of a bundle in a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def names(self) -> list[str]:
        """All that is there, in order."""
        found = []
        for name in sorted(os.listdir(self.path)):
            if not stat.S_ISREG(os.lstat(os.path.join(self.path, name)).st_mode):
                raise Failure(f"{plain(name)} is not a regular file")
            found.append(name)
        return found

    def open(self, name: str) -> IO[bytes]:
        """A file's bytes."""
        return open(os.path.join(self.path, name), "rb")


class Zip:
    """The files of a bundle in a zip; nothing is unpacked."""

    def __init__(self, path: str) -> None:
        self.zip = zipfile.ZipFile(path)
        self.top = ""

    def names(self) -> list[str]:
        """All that is there, in order, without the folder that they stand in."""
        found: list[str] = []
        for info in self.zip.infolist():
            top, slash, name = info.filename.partition("/")
            if not slash or top in ("", ".", "..") or name not in LISTED + (LIST,):
                raise Failure(f"the zip holds {plain(info.filename)}, which is no file of a bundle")
            if found and top != self.top:
                raise Failure(f"the zip holds the folders {plain(self.top)} and {plain(top)}")
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG) or info.flag_bits & 1:
                raise Failure(f"{plain(info.filename)} is not a regular file, or is encrypted")
            if name in found:
                raise Failure(f"the zip holds {name} twice")
            self.top = top
            found.append(name)
        return sorted(found)

    def open(self, name: str) -> IO[bytes]:
        """A file's bytes."""
        return self.zip.open(f"{self.top}/{name}")


def read_all(files: Folder | Zip, name: str) -> bytes:
    """A file that is not large."""
    with files.open(name) as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise Failure(f"{name} has more than {MOST_BYTES} bytes")
    return content


def text_of(content: bytes, name: str) -> str:
    """The text of a file."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Failure(f"{name} is not UTF-8")


def measure(files: Folder | Zip, name: str) -> tuple[str, int]:
    """SHA-256 and bytes of a file."""
    found, size = hashlib.sha256(), 0
    with files.open(name) as stream:
        for chunk in iter(lambda: stream.read(2**20), b""):
            found.update(chunk)
            size += len(chunk)
    return found.hexdigest(), size


def check_files(files: Folder | Zip) -> tuple[str, str]:
    """That exactly the files of a bundle are there, and are those that the list names; the note of the list."""
    names = files.names()
    for name in names:
        if name not in LISTED + (LIST,):
            raise Failure(f"{plain(name)} is no file of a bundle")
    for name in sorted(LISTED + (LIST,)):
        if name not in names:
            raise Failure(f"{name} is missing")
    note = text_of(read_all(files, LIST), LIST)
    lines = note.split("\n")
    if lines[0] != LIST_FORMAT or len(lines) < 3 + len(LISTED):
        raise Failure(f"{LIST}: it is not a list of the format {LIST_FORMAT}")
    for name, line in zip(sorted(LISTED), lines[2:]):
        parts = line.split(" ")
        if len(parts) != 3 or parts[2] != name:
            raise Failure(f"{LIST}: the line of {name} is not in its place")
        if parts[:2] != [str(each) for each in measure(files, name)]:
            raise Failure(f"{name} is not the file that {LIST} names: its bytes are others")
    text = "".join(line + "\n" for line in lines[: 2 + len(LISTED)])
    if not (note == text or note.startswith(text + "\n")):
        raise Failure(f"{LIST}: there is something between the list and the signature")
    return note, lines[1]


# JSON, strictly ----------------------------------------------------------------------------------------------------------------------


def read_json(text: str, where: str) -> Any:
    """The value of a canonical JSON text without fractions."""

    def refuse(found: str) -> Any:
        raise ValueError(f"a number that is no integer: {plain(found)}")

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            raise ValueError("a member that is given twice")
        return dict(pairs)

    try:
        value = json.loads(text, parse_float=refuse, parse_constant=refuse, object_pairs_hook=members)
        written = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise Failure(f"{where}: it is not the JSON that the format has: {plain(error)}")
    if written != text:
        raise Failure(f"{where}: its JSON is not in the canonical form")
    return value


def is_int(value: object, least: int, most: int) -> bool:
    """Whether a value is an integer, no boolean, within bounds, both included."""
    return type(value) is int and least <= value <= most


def is_text(value: object, pattern: re.Pattern[str] | None = None) -> bool:
    """Whether a value is a text, and all of it as the pattern says."""
    return isinstance(value, str) and (pattern is None or pattern.fullmatch(value) is not None)


def require(value: object, names: Sequence[str], where: str) -> None:
    """That a value is an object with exactly these members."""
    if not isinstance(value, dict):
        raise Failure(f"{where} is no object")
    for name in names:
        if name not in value:
            raise Failure(f"{where}: the member {name} is missing")
    for name in sorted(value):
        if name not in names:
            raise Failure(f"{where}: the member {plain(name)} is not one of this format")


def demand(holds: object, where: str, name: str) -> None:
    """That a member is as the format says."""
    if not holds:
        raise Failure(f"{where}: the member {name} is not as the format says")


def read_proof(text: str) -> dict[str, Any]:
    """What `proof.json` says, its form checked."""
    if not text.endswith("\n"):
        raise Failure("proof.json: it does not end with a line feed")
    proof: dict[str, Any] = read_json(text[:-1], PROOF)
    names = ("format", "origin", "key", "made_at", "code_version", "access", "asked", "streams", "months", "checkpoint")
    require(proof, names, PROOF)
    if proof["format"] != FORMAT:
        raise Failure("proof.json: its format is {}; this reads {}".format(plain(proof["format"]), FORMAT))
    for name, holds in (
        ("origin", is_text(proof["origin"], NAME) and proof["origin"].isprintable()),
        ("key", proof["key"] is None or is_text(proof["key"])),
        ("made_at", is_text(proof["made_at"], TIME)),
        ("code_version", is_text(proof["code_version"])),
        ("access", proof["access"] is None or is_text(proof["access"], UUID)),
        ("streams", isinstance(proof["streams"], list) and proof["streams"]),
        ("months", isinstance(proof["months"], list)),
        ("checkpoint", is_text(proof["checkpoint"]) if proof["months"] else proof["checkpoint"] is None),
    ):
        demand(holds, PROOF, name)
    read_asked(proof["asked"])
    for number, each in enumerate(proof["streams"]):
        read_stream(each, f"proof.json, stream {number + 1}")
    ids = [each["stream"] for each in proof["streams"]]
    demand(ids == sorted(set(ids)), PROOF, "streams")
    return proof


def read_asked(asked: Any) -> None:
    """The form of what was asked for."""
    where = "proof.json, asked"
    if isinstance(asked, dict) and "stream" in asked:
        require(asked, ("stream", "version"), where)
        demand(is_text(asked["stream"], UUID), where, "stream")
        demand(asked["version"] is None or is_int(asked["version"], 1, 2**31 - 1), where, "version")
        return
    require(asked, ("customer", "from", "to"), where)
    demand(asked["customer"] is True, where, "customer")
    for name in ("from", "to"):
        demand(asked[name] is None or is_text(asked[name], TIME), where, name)


def read_stream(each: Any, where: str) -> None:
    """The form of what is said of a stream."""
    require(each, ("stream", "kind", "last", "head", "stood_at"), where)
    demand(is_text(each["stream"], UUID), where, "stream")
    demand(is_text(each["kind"]), where, "kind")
    demand(is_int(each["last"], 1, 2**31 - 1), where, "last")
    demand(is_text(each["head"], HASH), where, "head")
    demand(is_int(each["stood_at"], each["last"], 2**31 - 1), where, "stood_at")


# Trees -------------------------------------------------------------------------------------------------------------------------------


def leaf_of(data: bytes) -> bytes:
    """A leaf of a tree."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_of(left: bytes, right: bytes) -> bytes:
    """A node over two."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def ranges_beside(index: int, size: int) -> list[tuple[int, int]]:
    """The leaves [from, to) that each hash of a leaf's path stands for, from the leaf's sibling up."""
    found, start, stop = [], 0, size
    while stop - start > 1:
        split = start + (1 << (stop - start - 1).bit_length() - 1)
        if index < split:
            found.append((split, stop))
            stop = split
        else:
            found.append((start, split))
            start = split
    return found[::-1]


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that a leaf and its path give, by RFC 9162, 2.1.3.2; None where the path is too short or too long."""
    place, last, found = index, size - 1, leaf
    for each in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            found = node_of(each, found)
            while place & 1 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_of(found, each)
        place, last = place >> 1, last >> 1
    return found if last == 0 else None


def root_of_run(
    leaves: Sequence[bytes], first: int, beside: dict[tuple[int, int], bytes], start: int, stop: int
) -> bytes | None:
    """The root over the leaves [start, stop) of a tree of which a stretch is known from `first` on, and the nodes beside it."""
    if (start, stop) in beside and (stop <= first or start >= first + len(leaves)):
        return beside[start, stop]
    if stop - start == 1:
        return leaves[start - first] if first <= start < first + len(leaves) else None
    split = start + (1 << (stop - start - 1).bit_length() - 1)
    left = root_of_run(leaves, first, beside, start, split)
    right = root_of_run(leaves, first, beside, split, stop)
    return None if left is None or right is None else node_of(left, right)


class Tree:
    """A tree that a checkpoint stands for: its name, and size and root once they are known.

    `said` is what a manifest says of them; the home log's are what its checkpoint says.
    """

    def __init__(self, signer: Signer, origin: str, what: str, said: tuple[int, bytes] | None = None) -> None:
        self.signer = signer
        self.origin = origin
        self.what = what
        self.said = said
        self.note: str | None = None

    def read_checkpoint(self, note: str) -> tuple[int, bytes]:
        """Take a checkpoint; each that is given must be the same."""
        if self.note is not None:
            if note != self.note:
                raise Failure(f"{self.what}: its proofs stand under two checkpoints")
            return self.said or (0, b"")
        where = f"the checkpoint of {self.what}"
        lines = self.signer.text_of(note, self.origin, where).split("\n")
        if len(lines) != 4 or lines[3] or not DECIMAL.fullmatch(lines[1]):
            raise Failure(f"{where}: it is not origin, size and root")
        if lines[0] != self.origin:
            raise Failure(f"{where}: it is of another log")
        root = read_base64(lines[2])
        if root is None or len(root) != 32:
            raise Failure(f"{where}: its root is not 32 bytes in base64")
        found = (int(lines[1]), root)
        if self.said is not None and found != self.said:
            raise Failure(f"{where}: its size or root is not what the manifest says")
        self.note, self.said = note, found
        return found

    def prove(self, leaf: bytes, text: Any, what: str) -> tuple[int, list[bytes]]:
        """That a leaf is in the tree: (its number, its path)."""
        where = f"the proof of {what}"
        head, split, note = text.partition("\n\n") if is_text(text) else ("", "", "")
        lines = head.split("\n")
        if not split or lines[0] != TLOG_PROOF or len(lines) < 2 or not lines[1].startswith("index "):
            raise Failure(f"{where}: it is not a tlog-proof")
        size, root = self.read_checkpoint(note)
        path = [each for each in map(read_base64, lines[2:]) if each is not None and len(each) == 32]
        if not DECIMAL.fullmatch(lines[1][6:]) or len(path) != len(lines) - 2:
            raise Failure(f"{where}: its number or a hash of it cannot be read")
        index = int(lines[1][6:])
        if index >= size or root_of_path(leaf, index, size, path) != root:
            raise Failure(f"{where} does not hold: it is not in {self.what} as its root says")
        return index, path


# Months ------------------------------------------------------------------------------------------------------------------------------


class Month:
    """A sealed month of the bundle: its manifest, its two trees, and what is proven of its streams."""

    def __init__(self, said: Any, log: Tree, signer: Signer) -> None:
        self.said = said
        self.name = said["month"]
        self.manifest = read_manifest(said)
        log.prove(leaf_of(said["manifest"].encode()), said["proof"], f"the manifest of {self.name}")
        origin = f"{log.origin}/{self.name}/{self.manifest['generation']}/"
        rows, streams = self.manifest["rows"], self.manifest["streams"]
        roots = (bytes.fromhex(self.manifest[name]) for name in ("merkle_root", "heads_root"))
        self.events = Tree(signer, origin + "events", f"the events of {self.name}", (rows, next(roots)))
        self.heads = Tree(signer, origin + "heads", f"the streams of {self.name}", (streams, next(roots)))
        self.streams = {each["stream"]: each for each in said["streams"]}
        self.ends = {each["stream"]: each["head_version"] for each in said["streams"]}
        self.signed_by: bytes | None = None

    def check_signature(self, keys: Iterable[bytes]) -> None:
        """Hold the manifest's own signature to the keys that are known; a key that is not known is told at the end."""
        number, signature = self.manifest["public_key_id"], self.said["signature"]
        if (number is None) != (signature is None):
            raise Failure(f"the manifest of {self.name}: it names a key and has no signature, or the other way about")
        content = read_base64(signature) if signature is not None else b""
        if content is None:
            raise Failure(f"the manifest of {self.name}: its signature is not base64")
        for key in keys:
            if hashlib.sha256(key).hexdigest() == number:
                if not is_signed(key, self.said["manifest"].encode(), content):
                    raise Failure(f"the manifest of {self.name}: the signature is not over this manifest")
                self.signed_by = key

    def check_stretch(self, stream: str, versions: tuple[int, int], leaves: Sequence[bytes]) -> dict[str, Any]:
        """That a stream's events of the month are adjacent leaves of its tree, between the two that have a proof."""
        said: dict[str, Any] | None = self.streams.pop(stream, None)
        what = f"stream {stream} in {self.name}"
        if said is None:
            raise Failure(f"{what}: the bundle has events of it, and no proof")
        first, last = versions
        if (said["first"], said["last"]) != versions:
            raise Failure(
                f"{what}: the proofs are of versions {said['first']} to {said['last']}, the events are {first} to {last}"
            )
        at, left = self.events.prove(leaves[0], said["first_proof"], f"event {stream}@{first}")
        end, right = self.events.prove(leaves[-1], said["last_proof"], f"event {stream}@{last}")
        if end - at != last - first:
            raise Failure(f"{what}: versions {first} and {last} are not as far apart in the month as in the stream")
        size, root = self.events.said or (0, b"")
        beside = dict(zip(ranges_beside(end, size), right))
        beside.update(zip(ranges_beside(at, size), left))
        beside = {each: found for each, found in beside.items() if each[1] <= at or each[0] > end}
        if root_of_run(leaves, at, beside, 0, size) != root:
            raise Failure(f"{what}: its events between versions {first} and {last} are not those of the month")
        return said

    def check_head(self, said: dict[str, Any], last: int, link: bytes, may_go_on: bool) -> None:
        """That the stream ends in the month where the bundle says it does."""
        stream, head = said["stream"], said["head_version"]
        what = f"the end of stream {stream} in {self.name}"
        self.heads.prove(
            leaf_of((f"{stream}\n{head}\n").encode() + bytes.fromhex(said["head"])), said["head_proof"], what
        )
        if head == last and said["head"] != link.hex():
            raise Failure(f"{what}: the month has another event as version {head}")
        if head < last or (head > last and not may_go_on):
            raise Failure(f"{what} is version {head}, and the bundle ends with version {last}")


def read_manifest(said: Any) -> dict[str, Any]:
    """The manifest of a month, and the form of what is said beside it."""
    where = "proof.json, month {}".format(plain(said.get("month") if isinstance(said, dict) else said))
    require(said, ("month", "manifest", "signature", "proof", "streams"), where)
    demand(is_text(said["month"], MONTH), where, "month")
    demand(is_text(said["manifest"]), where, "manifest")
    demand(said["signature"] is None or is_text(said["signature"]), where, "signature")
    demand(isinstance(said["streams"], list) and said["streams"], where, "streams")
    for number, each in enumerate(said["streams"]):
        read_proven(each, f"{where}, stream {number + 1}")
    ids = [each["stream"] for each in said["streams"]]
    demand(ids == sorted(set(ids)), where, "streams")
    where = "the manifest of {}".format(said["month"])
    manifest: dict[str, Any] = read_json(said["manifest"], where)
    ours = ("format", "month", "generation", "rows", "streams", "merkle_root", "heads_root", "public_key_id")
    require(manifest, ours + ("first", "last", "code_version", "sealed_at", "supersedes"), where)
    demand(manifest["format"] == MANIFEST, where, "format")
    if manifest["month"] != said["month"]:
        raise Failure("{}: it is the manifest of {}".format(where, plain(manifest["month"])))
    for name in ("generation", "rows", "streams"):
        demand(is_int(manifest[name], 0, 2**53), where, name)
    for name in ("merkle_root", "heads_root"):
        demand(is_text(manifest[name], HASH), where, name)
    demand(manifest["public_key_id"] is None or is_text(manifest["public_key_id"], HASH), where, "public_key_id")
    return manifest


def read_proven(each: Any, where: str) -> None:
    """The form of what is proven of a stream in a month."""
    names = ("stream", "first", "last", "first_proof", "last_proof", "head_version", "head", "head_proof")
    require(each, names, where)
    demand(is_text(each["stream"], UUID), where, "stream")
    for name in ("first", "last", "head_version"):
        demand(is_int(each[name], 1, 2**31 - 1), where, name)
    demand(is_text(each["head"], HASH), where, "head")


# Events ------------------------------------------------------------------------------------------------------------------------------


def read_event(line: bytes, where: str) -> dict[str, Any]:
    """The event of a line, its form checked."""
    if not line.endswith(b"\n"):
        raise Failure(f"{where}: it does not end with a line feed")
    event: dict[str, Any] = read_json(text_of(line[:-1], where), where)
    said = event.get("is") if isinstance(event, dict) else None
    says = SAYS.get(said) if isinstance(said, str) else None
    if says is None:
        raise Failure(f"{where}: what it says of its event (the member is) is not of this format")
    require(event, HEADER + says, where)
    for name in ("kind", "type", "payload", "metadata", "unproven_payload"):
        demand(name not in event or (is_text(event[name]) and "\x00" not in event[name]), where, name)
    for name, pattern in (("stream", UUID), ("hash", HASH), ("salt", SALT), ("digest", HASH)):
        demand(name not in event or is_text(event[name], pattern), where, name)
    for name, least, most in (
        ("version", 1, 2**31 - 1),
        ("type_version", 1, 2**31 - 1),
        ("time_us", -(2**62), 2**62),
        ("epoch", 0, 2**31 - 1),
        ("xid", 0, 2**63 - 1),
        ("position", 0, 2**63 - 1),
    ):
        demand(is_int(event[name], least, most), where, name)
    return event


def digest_of(event: dict[str, Any]) -> bytes:
    """The digest of what an event says: computed of one that is shown, given of another."""
    if event["is"] != "shown":
        return bytes.fromhex(event["digest"])
    content = event["payload"] + "\n" + event["metadata"]
    return hashlib.sha256(bytes.fromhex(event["salt"]) + content.encode()).digest()


def link_of(before: bytes, event: dict[str, Any]) -> bytes:
    """The link of an event to the one before it."""
    names = ("stream", "kind", "version", "type", "type_version", "time_us")
    header = "".join(f"{each}\n" for each in ["2"] + [event[name] for name in names])
    return hashlib.sha256(before + header.encode() + digest_of(event)).digest()


def leaf_of_event(event: dict[str, Any], link: bytes) -> bytes:
    """The leaf of an event in its month."""
    place = ((event["epoch"], 4), (event["xid"], 8), (event["position"], 8))
    return leaf_of(link + b"".join(value.to_bytes(width, "big") for value, width in place))


def month_of(time_us: int) -> str:
    """The UTC month of a time."""
    days = time_us // 86_400_000_000
    try:
        return datetime.fromordinal(days + 719_163).strftime("%Y-%m").zfill(7)
    except (ValueError, OverflowError):
        return "a month beyond 9999"


class Stretch:
    """A stream's events of one sealed month."""

    def __init__(self, month: str, first: int) -> None:
        self.month = month
        self.first = self.last = first
        self.link = b""
        self.leaves: list[bytes] = []

    def add(self, version: int, link: bytes, leaf: bytes) -> None:
        """Take the next event."""
        self.last, self.link = version, link
        self.leaves.append(leaf)


class Stream:
    """One stream of the bundle, followed event by event."""

    def __init__(self, said: dict[str, Any], may_go_on: bool) -> None:
        self.said = said
        self.id = said["stream"]
        self.may_go_on = may_go_on
        self.version = 0
        self.time: int | None = None
        self.link = bytes(32)
        self.months: list[Stretch] = []
        self.unsealed: dict[str, int] = {}

    def add(self, event: dict[str, Any], months: dict[str, Month], where: str) -> None:
        """Take the next event."""
        version = event["version"]
        if event["kind"] != self.said["kind"]:
            raise Failure(f"{where}: stream {self.id} is of another kind here than in proof.json")
        if version != self.version + 1:
            raise Failure(
                f"{where}: stream {self.id} goes on with version {version}, and version {self.version + 1} belongs there"
            )
        if self.time is not None and event["time_us"] < self.time:
            raise Failure(f"{where}: event {self.id}@{version} is earlier than the one before it")
        link = link_of(self.link, event)
        if link.hex() != event["hash"]:
            raise Failure(
                f"{where}: event {self.id}@{version} was changed, or the one before it is another: its content, header and the link before it do not give its hash"
            )
        month = month_of(event["time_us"])
        if month in months:
            if not self.months or self.months[-1].month != month:
                self.months.append(Stretch(month, version))
            self.months[-1].add(version, link, leaf_of_event(event, link))
        else:
            self.unsealed[month] = self.unsealed.get(month, 0) + 1
        self.version, self.time, self.link = version, event["time_us"], link

    def finish(self, months: dict[str, Month]) -> None:
        """What is known once all events were seen: the end, and each sealed month."""
        if (self.version, self.link.hex()) != (self.said["last"], self.said["head"]):
            raise Failure(
                f"stream {self.id}: it ends with version {self.version} here, and proof.json says that it ends with version {self.said['last']}, or with another hash"
            )
        for each in self.months:
            month = months[each.month]
            said = month.check_stretch(self.id, (each.first, each.last), each.leaves)
            month.check_head(said, each.last, each.link, self.may_go_on and each.last == self.said["last"])


class Report:
    """What was found."""

    def __init__(self, proof: dict[str, Any], key: bytes | None, months: Sequence[Month], is_demanded: bool) -> None:
        self.proof = proof
        self.key = key
        self.months = months
        self.is_demanded = is_demanded
        self.said = dict.fromkeys(SAYS, 0)
        self.streams: list[Stream] = []

    @property
    def events(self) -> int:
        """How many events the bundle has."""
        return sum(self.said.values())

    def lines(self) -> Iterator[str]:
        """What was proven and what not, in sentences."""
        yield "Everything fits: {} of {}.".format(counted(self.events, "event"), counted(len(self.streams), "stream"))
        for name, told in TOLD.items():
            if self.said[name]:
                yield "  {} {}".format(format(self.said[name], ","), told)
        yield ""
        yield "Proven:"
        yield "  No byte of the bundle was changed since its list of files was made."
        for stream in self.streams:
            yield from self.told_stream(stream)
        yield from map("  {}".format, self.told_key())
        yield ""
        yield "Not proven:"
        for stream in self.streams:
            for month, count in stream.unsealed.items():
                yield "  stream {}: {} of {}: chain only, not sealed.".format(stream.id, counted(count, "event"), month)
        yield from map("  {}".format, self.told_unproven())

    def told_stream(self, stream: Stream) -> Iterator[str]:
        """What is proven of a stream."""
        asked = self.proof["asked"].get("version")
        up_to = f"up to version {asked}, where the bundle was asked to end" if asked else "to its end in the bundle"
        yield f"  Stream {stream.id}: versions 1 to {stream.version}, {up_to}, follow each other without a gap."
        for stretch in stream.months:
            name, first, last = stretch.month, stretch.first, stretch.last
            month = next(each for each in self.months if each.name == name)
            head = month.ends[stream.id]
            what = f"versions {first} to {last} are" if first < last else f"version {first} is"
            yield f"    {what} as sealed in {name} (generation {month.manifest['generation']}, {counted(month.manifest['rows'], 'event')}, sealed at {plain(month.manifest['sealed_at'])})."
            if head == last:
                yield f"    None was left out up to the end of {name}: version {last} was the last."
            else:
                yield f"    At the end of {name} the stream had {counted(head, 'event')}; the bundle ends with version {last}."

    def told_key(self) -> Iterator[str]:
        """Who signed, where that is proven."""
        if self.key is not None and self.is_demanded:
            yield f"The list and every checkpoint are signed by the key that was demanded, {hashlib.sha256(self.key).hexdigest()}."

    def told_unproven(self) -> Iterator[str]:
        """What nobody can take for proven."""
        if self.key is None:
            yield "Who made it: nothing is signed. This shows damage, not forgery: whoever can make files can make these."
        elif not self.is_demanded:
            yield (
                f"Who made it: it is signed by the key that lies in it, {hashlib.sha256(self.key).hexdigest()}, which proves nothing about whose that is. Get the key from "
                "whom you trust, and run this again with --public-key FILE."
            )
        for month in self.months:
            if month.manifest["public_key_id"] is None:
                yield f"The manifest of {month.name} was not signed when it was sealed."
            elif month.signed_by is None:
                yield "The signature of the manifest of {}: it is by the key {}, which is not here.".format(
                    month.name,
                    month.manifest["public_key_id"],
                )
        if self.said["redacted"]:
            yield "What is shown of redacted events (unproven_payload)."
        yield "report.html and what was asked for: they are the words of who made the bundle. What is proven is in events.jsonl."
        yield "What happened to these streams after the bundle was made ({}), and that the log was told the truth.".format(
            plain(self.proof["made_at"])
        )


def verify(path: str, keys: Sequence[bytes] = ()) -> Report:
    """Check a bundle.

    Args:
        path: Its folder, or its zip.
        keys: Public keys (32 bytes) of which one must have signed it; none: any, or nobody.

    Raises:
        Failure: Something does not fit; it says what.
        Unreadable: It cannot be read.
    """
    try:
        if os.path.isdir(path):
            return verify_files(Folder(path), keys)
        with zipfile.ZipFile(path):
            pass
        return verify_files(Zip(path), keys)
    except OSError as error:
        raise Unreadable(f"{plain(path)} cannot be read: {error.strerror or plain(error)}")
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise Failure(f"the zip is damaged: {plain(error)}")


def verify_files(files: Folder | Zip, keys: Sequence[bytes]) -> Report:
    """The same of files that are open."""
    note, origin = check_files(files)
    proof = read_proof(text_of(read_all(files, PROOF), PROOF))
    if proof["origin"] != origin:
        raise Failure(f"{LIST} is of another log than proof.json")
    key = read_key(proof["key"], origin) if proof["key"] is not None else None
    if keys and key is None:
        raise Failure("the bundle is not signed, and a key was demanded")
    if keys and key not in keys:
        raise Failure("the bundle is signed by another key than the one that was demanded")
    signer = Signer(key)
    signer.text_of(note, origin, LIST)
    log = Tree(signer, origin, "the home log")
    if proof["checkpoint"] is not None:
        log.read_checkpoint(proof["checkpoint"])
    months: dict[str, Month] = {}
    for said in proof["months"]:
        month = Month(said, log, signer)
        if months and month.name <= max(months):
            raise Failure("proof.json: its months are not in order, each once")
        month.check_signature(set(keys) | ({key} if key is not None else set()))
        months[month.name] = month
    report = Report(proof, key, list(months.values()), bool(keys))
    check_events(files, report, months)
    for month in months.values():
        for stream in month.streams:
            raise Failure(f"stream {stream} in {month.name}: there is a proof of it, and no event")
    return report


def check_events(files: Folder | Zip, report: Report, months: dict[str, Month]) -> None:
    """Follow every stream of the bundle through its events."""
    asked = report.proof["asked"]
    waiting = list(reversed(report.proof["streams"]))
    now: Stream | None = None
    with files.open(EVENTS) as stream:
        for number, line in enumerate(iter(lambda: stream.readline(MOST_BYTES), b"")):
            where = f"events.jsonl, line {number + 1}"
            event = read_event(line, where)
            if now is None or event["stream"] != now.id:
                if now is not None:
                    now.finish(months)
                if not waiting or waiting[-1]["stream"] != event["stream"]:
                    raise Failure("{}: stream {} is not the next of proof.json".format(where, event["stream"]))
                said = waiting.pop()
                now = Stream(said, asked.get("version") == said["last"])
                report.streams.append(now)
            now.add(event, months, where)
            report.said[event["is"]] += 1
    if now is not None:
        now.finish(months)
    if waiting:
        raise Failure("stream {}: proof.json names it, and no event of it is there".format(waiting[-1]["stream"]))


def main(arguments: Sequence[str] | None = None) -> int:
    """What the command does; its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = argparse.ArgumentParser(description="Check a bundle of evidence that `refold audit` wrote.")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument(
        "bundle", nargs="?", default=here, help="its folder or its zip (default: the folder of this file)"
    )
    parser.add_argument(
        "--public-key", action="append", default=[], metavar="FILE", help="PEM file of the key that must have signed it"
    )
    given = parser.parse_args(arguments)
    try:
        report = verify(given.bundle, [read_pem(path) for path in given.public_key])
    except Unreadable as error:
        print(f"cannot be checked: {error}", file=sys.stderr)
        return 2
    except Failure as error:
        print(f"DOES NOT FIT: {error}")
        print("This bundle is not what was handed out, or was not made by `refold audit`. Nothing in it is proven.")
        return 1
    for line in report.lines():
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
