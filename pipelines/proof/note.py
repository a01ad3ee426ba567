"""Signed notes and their keys, as C2SP signed-note has them: a text, and lines that say who signed it.

    text, each line of it ended by a line feed
    (an empty line)
    — NAME BASE64(4 bytes that name the key, then the signature)

A key is known by a name and a number, the first 4 bytes of SHA-256(name, LF, algorithm, public key). Two algorithms are known: 1,
Ed25519 over the text, and 4, the cosignature of a witness over `cosignature/v1`, a time and the text. Lines of other keys are kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pipelines.errors import RefoldError

SIGNED, COSIGNED = 1, 4
"""Algorithms: Ed25519 over the text; a witness's over a time and the text."""
MOST_BYTES, _MOST_SIGNATURES = 2**20, 100
_DASH = "\u2014"
_NAME = re.compile(r"[^\s+]+")


class NoteError(RefoldError):
    """A text is not a signed note, or a key not one that this version reads; or the signature asked for is not there."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key as notes know it.

    Attributes:
        name: Whose it is.
        algorithm: `SIGNED` or `COSIGNED`.
        key: The key.
    """

    name: str
    algorithm: int
    key: Ed25519PublicKey

    @classmethod
    def read(cls, text: str) -> Verifier:
        """The key in its written form, `NAME+NUMBER+BASE64`.

        Raises:
            NoteError: It is none, its number is not its own, or its algorithm is not known.
        """
        try:
            name, number, encoded = text.strip().split("+", 2)
            content = base64.b64decode(encoded, validate=True)
            verifier = cls(name, content[0], Ed25519PublicKey.from_public_bytes(content[1:]))
        except (ValueError, IndexError, binascii.Error):
            raise NoteError(f"{text.strip()[:80]!r} is not a key as notes write it: NAME+NUMBER+BASE64") from None
        if not _NAME.fullmatch(name) or verifier.number.hex() != number or verifier.algorithm not in (SIGNED, COSIGNED):
            raise NoteError(f"the key of {name[:80]!r} has another number or algorithm than it says")
        return verifier

    @property
    def number(self) -> bytes:
        """The 4 bytes by which signatures name it."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._content).digest()[:4]

    @property
    def text(self) -> str:
        """Its written form."""
        return f"{self.name}+{self.number.hex()}+{base64.b64encode(self._content).decode()}"

    @property
    def _content(self) -> bytes:
        return bytes([self.algorithm]) + self.key.public_bytes_raw()

    def holds(self, text: str, signature: bytes) -> bool:
        """Whether a signature, without the key's number, is this key's over the text."""
        message = text.encode()
        if self.algorithm == COSIGNED:
            time, signature = int.from_bytes(signature[:8], "big"), signature[8:]
            message = f"cosignature/v1\ntime {time}\n".encode() + message
        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Signature:
    """One line below a note: who signed, which key of theirs, and the signature."""

    name: str
    number: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text, and who signed it; nothing is known of the signatures until they are held to keys."""

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def read(cls, content: bytes) -> Note:
        """A note in its written form.

        Raises:
            NoteError: It is none.
        """
        if len(content) > MOST_BYTES:
            raise NoteError(f"it has more than {MOST_BYTES:,} bytes, which no signed note has")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise NoteError("it is not a signed note: its bytes are not UTF-8") from None
        if any(ord(letter) < 0x20 and letter != "\n" for letter in text):
            raise NoteError("it is not a signed note: it has control characters")
        body, split, below = text.rpartition("\n\n")
        if not split or not body or not below.endswith("\n"):
            raise NoteError("it is not a signed note: no text, an empty line and signatures below it")
        lines = below[:-1].split("\n")
        if len(lines) > _MOST_SIGNATURES:
            raise NoteError(f"it has {len(lines):,} signatures; at most {_MOST_SIGNATURES} are read")
        return cls(body + "\n", tuple(map(_read_signature, lines)))

    @classmethod
    def sign(cls, text: str, name: str, key: Ed25519PrivateKey) -> Note:
        """A note of a text, signed with a key under a name."""
        number = Verifier(name, SIGNED, key.public_key()).number
        return cls(text, (Signature(name, number, key.sign(text.encode())),))

    def write(self) -> bytes:
        """Its written form."""
        lines = [
            f"{_DASH} {each.name} {base64.b64encode(each.number + each.content).decode()}\n" for each in self.signatures
        ]
        return f"{self.text}\n{''.join(lines)}".encode()

    def check(self, keys: Sequence[Verifier]) -> tuple[list[Signature], list[Signature], list[Signature]]:
        """Its signatures: those that hold, those of a given key that do not, and those of keys that are not given."""
        good: list[Signature] = []
        wrong: list[Signature] = []
        unknown: list[Signature] = []
        for each in self.signatures:
            found = [key for key in keys if (key.name, key.number) == (each.name, each.number)]
            if not found:
                unknown.append(each)
            elif any(key.holds(self.text, each.content) for key in found):
                good.append(each)
            else:
                wrong.append(each)
        return good, wrong, unknown


def _read_signature(line: str) -> Signature:
    try:
        dash, name, encoded = line.split(" ")
        content = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise NoteError("it is not a signed note: a line below the empty one is no signature") from None
    if dash != _DASH or not _NAME.fullmatch(name) or len(content) < 5:
        raise NoteError("it is not a signed note: a line below the empty one is no signature")
    return Signature(name, content[:4], content[4:])
