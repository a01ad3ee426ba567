"""The verifier's own parts: Ed25519 against the published vectors and another implementation, trees against RFC 6962, strict JSON."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.canonical.jcs import plain_bytes
from pipelines.evidence import verify_bundle
from pipelines.evidence.verify_bundle import (
    ORDER,
    Failure,
    Unreadable,
    is_signed,
    month_of,
    plain,
    ranges_beside,
    read_base64,
    read_json,
    read_pem,
    root_of_path,
    root_of_run,
)
from pipelines.proof.merkle import Levels
from tests.oracles.merkle import tree

# RFC 8032, section 7.1: public key, message, signature
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("key", "message", "signature"), VECTORS)
def test_signatures_are_those_of_the_rfc(key: str, message: str, signature: str):
    """Each vector holds; with a bit of key, message or signature another, it does not."""
    parts = [bytes.fromhex(key), bytes.fromhex(message), bytes.fromhex(signature)]
    assert is_signed(*parts)
    for number, part in enumerate(parts):
        if part:
            wrong = [*parts]
            wrong[number] = bytes([part[0] ^ 1, *part[1:]])
            assert not is_signed(*wrong)


@settings(max_examples=60)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200), st.integers(0, 511))
def test_signatures_are_those_of_another_implementation(seed: bytes, message: bytes, bit: int):
    """What OpenSSL signs holds; a bit of the signature another does not, nor one whose second half is a multiple more."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(message)
    assert is_signed(public, message, signature)
    changed = bytearray(signature)
    changed[bit // 8] ^= 1 << bit % 8
    assert not is_signed(public, message, bytes(changed))
    more = int.from_bytes(signature[32:], "little") + ORDER
    assert not is_signed(public, message, signature[:32] + more.to_bytes(32, "little"))


@settings(max_examples=300)
@given(st.data())
def test_stretches_of_a_tree_have_its_root(data: st.DataObject):
    """The proofs of the two ends and the leaves between give the root that RFC 6962 has, and no other leaves do."""
    size = data.draw(st.integers(1, 70))
    first = data.draw(st.integers(0, size - 1))
    last = data.draw(st.integers(first, size - 1))
    leaves = [hashlib.sha256(bytes([number])).digest() for number in range(size)]
    levels = Levels(np.frombuffer(b"".join(leaves), np.uint8).reshape(-1, 32))
    root = tree(leaves)
    assert levels.root() == root
    left, right = levels.path(first), levels.path(last)
    assert root_of_path(leaves[first], first, size, left) == root_of_path(leaves[last], last, size, right) == root
    beside = dict(zip(ranges_beside(last, size), right, strict=True)) | dict(
        zip(ranges_beside(first, size), left, strict=True)
    )
    outside = {each: found for each, found in beside.items() if each[1] <= first or each[0] > last}
    assert root_of_run(leaves[first : last + 1], first, outside, 0, size) == root
    wrong = leaves[first : last + 1]
    place = data.draw(st.integers(0, len(wrong) - 1))
    wrong[place] = bytes(32)
    assert root_of_run(wrong, first, outside, 0, size) != root
    assert root_of_path(leaves[first], first, size, [*left, bytes(32)]) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        "[NaN]",
        "[1.0]",
        "[1e3]",
        "[Infinity]",
        "[ 1]",
        '["\\u0061"]',
        '{"b":1,"a":2}',
        "[1]\n",
        "[-0]",
        "",
        '["\\ud800"]',
    ],
)
def test_json_has_one_spelling(text: str):
    """What is not the canonical spelling of a value is refused."""
    with pytest.raises(Failure):
        read_json(text, "it")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.from_regex(r"[a-z_]{1,9}", fullmatch=True), each),
    max_leaves=8,
)


@settings(max_examples=300)
@given(_VALUES)
def test_what_is_written_is_read(value: object):
    """The writer's canonical JSON is the reader's, whatever characters texts have."""
    assert read_json(plain_bytes(value).decode(), "it") == value
    assert json.loads(plain_bytes(value)) == value


@settings(max_examples=300)
@given(st.binary(max_size=40), st.data())
def test_base64_has_one_spelling(content: bytes, data: st.DataObject):
    """What is read gives the same text again; anything else is not read."""
    text = base64.b64encode(content).decode()
    assert read_base64(text) == content
    changed = data.draw(st.text("AB+/=\n -_é", min_size=1, max_size=4))
    other = text + changed
    assert read_base64(other) is None or base64.b64encode(read_base64(other) or b"").decode() == other


@settings(max_examples=300)
@given(st.datetimes(timezones=st.just(UTC)))
def test_months_are_those_of_the_calendar(at: datetime):
    """A time's UTC month, also of times before 1970."""
    since = at - datetime(1970, 1, 1, tzinfo=UTC)
    assert month_of(since // timedelta(microseconds=1)) == f"{at.year:04}-{at.month:02}"


def test_what_is_printed_moves_no_cursor():
    """A text from a bundle is shown without control characters and reversals, and short."""
    assert plain("a\x1b[31m\u202eb\n") == "a\\u001b[31m\\u202eb\\u000a"
    assert len(plain("x" * 10_000)) == 120


def test_only_a_public_key_is_one(tmp_path: Path):
    """A PEM file with an Ed25519 public key, and nothing else."""
    key = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    path = tmp_path / "key.pem"
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert read_pem(str(path)) == key.public_bytes_raw()
    for content in (b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(Unreadable, match="is not a PEM file"):
            read_pem(str(path))
    with pytest.raises(Unreadable, match="cannot be read"):
        read_pem(str(tmp_path / "none"))


def test_it_is_one_file_on_the_standard_library():
    """It imports nothing else, and its syntax is that of Python 3.9."""
    source = Path(verify_bundle.__file__).read_text(encoding="utf-8")
    found = ast.parse(source, feature_version=(3, 9))
    imported = {
        name.split(".")[0]
        for node in ast.walk(found)
        for name in (
            [each.name for each in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.Match) for node in ast.walk(found))
