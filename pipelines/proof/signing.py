"""Ed25519 signatures of manifests: keys from PEM files, and who signed named by the hash of the public key.

A private key is read when something is signed and kept no longer; no message repeats what a key file holds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from pipelines.errors import BadInputError
from pipelines.proof.files import read_small

_MOST_BYTES = 2**16
"""Of a key's file; a key in PEM has some hundred."""
PublicKeys = Mapping[str, Ed25519PublicKey]
"""Public keys by their id."""


def key_id(key: Ed25519PublicKey) -> str:
    """The key's id: SHA-256 of its 32 raw bytes, in hex."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def read_private_key(path: Path) -> Ed25519PrivateKey:
    """The key in a PEM file (PKCS #8, without a passphrase), as `openssl genpkey -algorithm ed25519` writes it.

    Raises:
        BadInputError: The file cannot be read or holds something else; what it holds is never repeated.
    """
    wanted = "REFOLD_SIGNING_KEY must name a PEM file with an Ed25519 private key without a passphrase"
    try:
        key = load_pem_private_key(read_small(path, _MOST_BYTES), password=None)
    except OSError as error:
        raise BadInputError(f"{wanted}; {path}: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadInputError(f"{wanted}; {path} is none") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInputError(f"{wanted}; {path} holds a key of another kind")
    return key


def read_public_keys(paths: Iterable[Path]) -> dict[str, Ed25519PublicKey]:
    """The keys in PEM files, by id.

    Raises:
        BadInputError: A file cannot be read or holds something else.
    """
    keys = {}
    for path in paths:
        try:
            key = load_pem_public_key(read_small(path, _MOST_BYTES))
        except OSError as error:
            raise BadInputError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, UnsupportedAlgorithm):
            raise BadInputError(f"{path} is not a PEM file with a public key") from None
        if not isinstance(key, Ed25519PublicKey):
            raise BadInputError(f"{path} does not hold an Ed25519 public key")
        keys[key_id(key)] = key
    return keys


def is_signed_by(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    """Whether `signature` is that of `message` under `key`."""
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
