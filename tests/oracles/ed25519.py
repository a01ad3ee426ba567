"""Ed25519 of RFC 8032, word by word, over Python's integers: a second route to signatures; slow, and not for secrets."""

from __future__ import annotations

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def add(a: Point, b: Point) -> Point:
    """The sum of two points in extended coordinates."""
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    w, x, y, z = f - e, h - g, h + g, f + e
    return w * x % P, y * z % P, x * y % P, w * z % P


def multiply(scalar: int, point: Point) -> Point:
    """A point added to itself."""
    found: Point = (0, 1, 1, 0)
    while scalar:
        found, point, scalar = add(found, point) if scalar & 1 else found, add(point, point), scalar >> 1
    return found


def decode(text: bytes) -> Point | None:
    """The point in 32 bytes; None where they are none."""
    y = int.from_bytes(text, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if (x * x - square) % P == 0 else x * ROOT % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def encode(point: Point) -> bytes:
    """A point as 32 bytes."""
    inverse = pow(point[2], P - 2, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def number(*parts: bytes) -> int:
    """SHA-512 of the parts, as a number below the group's order."""
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little") % ORDER


BASE = decode((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))
assert BASE is not None


def expand(secret: bytes) -> tuple[int, bytes]:
    """The scalar and the prefix of a secret of 32 bytes."""
    digest = hashlib.sha512(secret).digest()
    return int.from_bytes(digest[:32], "little") & (2**254 - 8) | 2**254, digest[32:]


def sign(secret: bytes, message: bytes) -> bytes:
    """The signature, 64 bytes."""
    assert BASE is not None
    scalar, prefix = expand(secret)
    public, nonce = encode(multiply(scalar, BASE)), number(prefix, message)
    first = encode(multiply(nonce, BASE))
    return first + ((nonce + number(first, public, message) * scalar) % ORDER).to_bytes(32, "little")


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is that of the message."""
    assert BASE is not None
    first, key, scalar = decode(signature[:32]), decode(public), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or first is None or key is None or scalar >= ORDER:
        return False
    right = add(first, multiply(number(signature[:32], public, message), key))
    return encode(multiply(scalar, BASE)) == encode(right)
