"""Signed notes and checkpoints: a published note, a reader that is not ours, and Ed25519 by a second route."""

from __future__ import annotations

import base64

import metamorphic_log
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.proof.checkpoint import Checkpoint, MonthHeads, log_leaves, log_root
from pipelines.proof.merkle import consistency_path, inclusion_path
from pipelines.proof.note import COSIGNED, SIGNED, Note, NoteError, Signature, Verifier
from tests.oracles import ed25519

# The example of the library that signed notes come from.
PUBLISHED_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PUBLISHED = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# RFC 8032, section 7.1, tests 1 to 3.
VECTORS = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
ORIGIN = "logs.example.org/refold"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
VERIFIER = Verifier(ORIGIN, SIGNED, KEY.public_key())


def checkpoint(documents: list[str]) -> Checkpoint:
    heads = MonthHeads("2026-11", 1, 4711, 12, bytes(range(32)))
    return Checkpoint(ORIGIN, len(documents), log_root(documents), (heads,))


def test_the_published_note() -> None:
    """The example of the format is read, and its signature holds under its key; a changed letter does not hold."""
    key = Verifier.read(PUBLISHED_KEY)
    assert key.text == PUBLISHED_KEY
    note = Note.read(PUBLISHED.encode())
    assert note.write() == PUBLISHED.encode()
    assert [each.name for each in note.check([key])[0]] == ["PeterNeumann"]
    forged = Note.read(PUBLISHED.replace("answer", "Answer").encode())
    assert [len(part) for part in forged.check([key])] == [0, 1, 0]
    assert metamorphic_log.verify_signed_note(PUBLISHED, [PUBLISHED_KEY]) == 1


@pytest.mark.parametrize(("secret", "public", "message", "signature"), VECTORS, ids=["empty", "one byte", "two bytes"])
def test_signatures_by_a_second_route(secret: str, public: str, message: str, signature: str) -> None:
    """The published vectors, by the library that signs and by the rule of the RFC."""
    given_secret, given_message = bytes.fromhex(secret), bytes.fromhex(message)
    key = Ed25519PrivateKey.from_private_bytes(given_secret)
    assert key.public_key().public_bytes_raw().hex() == public
    assert key.sign(given_message).hex() == ed25519.sign(given_secret, given_message).hex() == signature
    assert ed25519.verify(bytes.fromhex(public), given_message, bytes.fromhex(signature))
    assert not ed25519.verify(bytes.fromhex(public), given_message + b"x", bytes.fromhex(signature))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=30), st.data())
def test_a_reader_that_is_not_ours_takes_checkpoints(documents: list[str], data: st.DataObject) -> None:
    """Checkpoint, inclusion of an entry and consistency with an earlier checkpoint hold there; of a changed log they do not."""
    note = Note.sign(checkpoint(documents).text(), ORIGIN, KEY)
    text = note.write().decode()
    head = metamorphic_log.checkpoint_verify(text, [VERIFIER.text])
    assert (head.origin, head.size, bytes(head.root)) == (ORIGIN, len(documents), log_root(documents))
    leaves, at = log_leaves(documents), data.draw(st.integers(0, len(documents) - 1))
    leaf, path = leaves[at].tobytes(), inclusion_path(leaves, at)
    metamorphic_log.checkpoint_verify_inclusion(text, [VERIFIER.text], at, leaf, path)
    earlier = Note.sign(checkpoint(documents[: at + 1]).text(), ORIGIN, KEY).write().decode()
    proof = consistency_path(leaves, at + 1)
    metamorphic_log.checkpoint_verify_consistency(earlier, text, [VERIFIER.text], proof)
    forged = Note.sign(checkpoint(["another", *documents[1:]]).text(), ORIGIN, KEY).write().decode()
    if documents[0] != "another":
        with pytest.raises(metamorphic_log.VerifyError):
            metamorphic_log.checkpoint_verify_inclusion(forged, [VERIFIER.text], at, leaf, path)
        with pytest.raises(metamorphic_log.VerifyError):
            metamorphic_log.checkpoint_verify_consistency(earlier, forged, [VERIFIER.text], proof)
    assert Checkpoint.read(Note.read(text.encode()).text) == checkpoint(documents)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_byte_is_found(data: st.DataObject) -> None:
    """Whatever byte of a checkpoint is changed: it is no note any more, or its signature holds no more, here and there."""
    content = bytearray(Note.sign(checkpoint(["a", "b", "c"]).text(), ORIGIN, KEY).write())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((metamorphic_log.VerifyError, UnicodeDecodeError, metamorphic_log.InternalError)):
        metamorphic_log.checkpoint_verify(bytes(content).decode(), [VERIFIER.text])
    try:
        note = Note.read(bytes(content))
    except NoteError:
        return
    good, _, _ = note.check([VERIFIER])
    assert good == []


def test_who_signed_besides() -> None:
    """A witness's cosignature is checked with its key; signatures of keys that are not known are kept, and told apart."""
    text = checkpoint(["a"]).text()
    witness = Verifier("witness.example.net", COSIGNED, OTHER.public_key())
    time = 1_790_000_000
    cosigned = time.to_bytes(8, "big") + OTHER.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
    unknown = Signature("someone.example.net", b"\x01\x02\x03\x04", b"of a kind that is not known")
    own = Note.sign(text, ORIGIN, KEY).signatures[0]
    note = Note.read(Note(text, (own, Signature(witness.name, witness.number, cosigned), unknown)).write())
    assert Verifier.read(witness.text) == witness
    good, wrong, left = note.check([VERIFIER, Verifier.read(witness.text)])
    assert ([each.name for each in good], wrong, left) == ([ORIGIN, witness.name], [], [unknown])
    late = (time + 1).to_bytes(8, "big") + cosigned[8:]
    forged = Note(text, (own, Signature(witness.name, witness.number, late)))
    assert [each.name for each in forged.check([witness])[1]] == [witness.name]
    assert metamorphic_log.verify_signed_note(note.write().decode(), [VERIFIER.text]) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"\n\xe2\x80\x94 a AAAAAAA=\n",
        b"text\n\n- a AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 a+b AAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 a AAA*AAAA\n",
        b"text\n\n\xe2\x80\x94 a AAAA\n",
        b"text\n\n\xe2\x80\x94 a AAAAAAAA",
        b"te\x1bxt\n\n\xe2\x80\x94 a AAAAAAAA\n",
        b"te\xffxt\n\n\xe2\x80\x94 a AAAAAAAA\n",
        b"x" * (2**20 + 1),
        b"text\n\n" + b"\xe2\x80\x94 a AAAAAAAA\n" * 101,
    ],
    ids=range(13),
)
def test_what_is_no_note(content: bytes) -> None:
    """It is refused by what is wrong with it."""
    with pytest.raises(NoteError, match=r"^it (is not|has)"):
        Note.read(content)


@pytest.mark.parametrize(
    "text",
    [
        "a\n1\n",
        "a\n01\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "a\n-1\n" + base64.b64encode(bytes(32)).decode() + "\n",
        "a\n1\nAAAA\n",
        "a\n1\n" + base64.b64encode(bytes(32)).decode() + "\n\nb\n",
        "a\n1\n"
        + base64.b64encode(bytes(32)).decode()
        + "\nrefold-heads/1 2026-13 1 1 1 "
        + base64.b64encode(bytes(32)).decode()
        + "\n",
        "a\n1\n"
        + base64.b64encode(bytes(32)).decode()
        + "\nrefold-heads/1 2026-12 1 x 1 "
        + base64.b64encode(bytes(32)).decode()
        + "\n",
    ],
    ids=range(7),
)
def test_what_is_no_checkpoint(text: str) -> None:
    """A note of something else is refused."""
    with pytest.raises(NoteError, match="not a checkpoint"):
        Checkpoint.read(text)


@pytest.mark.parametrize(
    "text", ["", "a", "a+b+c", PUBLISHED_KEY.replace("c74f20a3", "c74f20a4"), PUBLISHED_KEY[:-4], "a+b+AA=="]
)
def test_what_is_no_key(text: str) -> None:
    """It is refused, whatever is wrong with it."""
    with pytest.raises(NoteError, match="key"):
        Verifier.read(text)


def test_lines_of_others_stay() -> None:
    """A checkpoint with lines that are not ours is read and written as it was."""
    text = checkpoint(["a"]).text() + "something else\n"
    read = Checkpoint.read(text)
    assert (read.others, read.text()) == (("something else",), text)
