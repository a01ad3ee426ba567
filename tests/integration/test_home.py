"""What a home lacks is said, with what to do, by every verb that reads it; and how far the lake is behind its store."""

from __future__ import annotations

import json
import re

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from pipelines import cli

EXPERIMENT = "experiment: x\nbaseline: {recorded: {}}\ncandidate: {echo: true}\nmode: decision\n"
FILLING = "`refold demo` fills it"
APPEND = """SELECT refold.append_events(md5('s1')::uuid, 'conversation', 'no_stream',
    ARRAY['user.utterance.v1', 'agent.utterance.v1'], ARRAY['{"text": "Where?"}', '{"text": "Here."}']::jsonb[])"""


def line(number: int, month: int) -> str:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": f"hello {number}"}]
    talk = {"source": "s", "conversation_id": f"{month}-{number}", "started_at": f"2026-{month:02}-03T10:00:00Z"}
    return json.dumps({**talk, "messages": messages}) + "\n"


VERBS = [
    ("sql", "SELECT count(*) FROM conversations"),
    ("state", "s/1"),
    ("diffs",),
    ("diffs", "x"),
    ("diffs", "a", "b"),
    ("report", "x"),
    ("replan", "s/1", "--decision", "1", "--candidate", "x.yaml"),
    ("tools", "suggest"),
    ("ab", "x.yaml"),
    ("ab", "x.yaml", "--dry-run"),
    ("export",),
    ("fold",),
    ("vacuum",),
    ("verify",),
    ("verify", "--lake-only"),
    ("storage",),
    ("seal", "2026-05"),
    ("db", "months"),
    ("events", "upcast", "--check"),
]


@pytest.mark.quick
def test_every_verb_in_an_empty_home_says_what_to_do(refold, tmp_path):
    """Nothing to read is no bare zero and no bare error: stderr says what fills the home, once; stdout is the verb's own."""
    (tmp_path / "x.yaml").write_text(EXPERIMENT, encoding="utf-8")
    for verb in VERBS:
        code, out, err = refold(*verb)
        assert code in (0, 2), verb
        assert err.count(FILLING) == 1, (verb, err)
        assert FILLING not in out
        assert "Traceback" not in err
    assert FILLING in refold("db", "status")[1]


NEEDING = [
    ("audit", "s/1", "--reason", "asked"),
    ("audit", "--customer", "c", "--reason", "asked"),
    ("checkpoint",),
    ("db", "new-epoch"),
    ("erase",),
    ("erase", "--customer", "c", "--reason", "asked"),
    ("hold",),
    ("hold", "--customer", "c", "--reason", "asked"),
    ("lines", "-o", "-"),
    ("redact",),
    ("redact", "--value", "vv", "--everywhere", "--reason", "asked"),
    ("redact", "--event", "s/1@1", "--path", "/text", "--reason", "asked"),
    ("redact", "--prove", "v"),
    ("seal", "2026-05"),
    ("storage",),
    ("unseal", "2026-05", "--reason", "asked"),
    ("verify",),
]


@pytest.mark.quick
@pytest.mark.parametrize("verb", NEEDING, ids=" ".join)
def test_a_verb_that_needs_a_store_makes_none(verb, refold, tmp_path, monkeypatch):
    """Where there is none, that is said with the folder and what makes one, and the home stays as it was: not there."""
    key = tmp_path / "key.pem"
    key.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    monkeypatch.delenv("REFOLD_DSN")
    monkeypatch.setenv("REFOLD_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REFOLD_SIGNING_KEY", str(key))
    code, out, err = refold(*verb)
    assert (code, out) == (2, "")
    assert f"there is no store in {tmp_path / 'home'} (REFOLD_HOME); `refold demo`" in err
    assert not (tmp_path / "home").exists()


def test_the_lake_behind_its_store_is_told(refold, tmp_path):
    """Events not exported and months not folded, by `sql`, `ab` and `db status`; when all is done nothing is said."""
    experiment, talks = tmp_path / "x.yaml", tmp_path / "talks.jsonl"
    experiment.write_text(EXPERIMENT, encoding="utf-8")

    def told() -> list[str]:
        ways = [refold("sql", "SELECT 1")[2], refold("ab", "x.yaml", "--dry-run")[2], refold("db", "status")[1]]
        found = [re.findall(r"(\d+) events of the store|not folded since: ([\d, -]+);", text) for text in ways]
        assert found[0] == found[1] == found[2], ways
        return [waiting or months for waiting, months in found[0]]

    talks.write_text(line(1, 4) + line(1, 5), encoding="utf-8")
    refold("import", "chat", str(talks))
    assert told() == ["6"]
    refold("export", "--month", "2026-04")
    assert told() == ["3", "2026-04"]
    refold("export")
    assert told() == ["2026-04, 2026-05"]
    refold("fold")
    assert told() == []
    talks.write_text(line(2, 4), encoding="utf-8")
    refold("import", "chat", str(talks))
    assert told() == ["3"]
    refold("export")
    assert told() == ["2026-04"]
    refold("fold")
    assert told() == []
    behind = json.loads(refold("db", "status", "--json")[1])["lake"]
    assert behind == {"is_empty": False, "waiting": {}, "unfolded": []}


def test_an_embedded_server_that_is_down_is_not_forgotten(refold, open_folder, monkeypatch, tmp_path):
    """What the last verb saw waiting is told from its note; no server is started for it."""
    monkeypatch.setenv("REFOLD_HOME", str(open_folder / "home"))
    monkeypatch.delenv("REFOLD_DSN")
    talks = tmp_path / "talks.jsonl"
    talks.write_text(line(1, 5), encoding="utf-8")
    code, _, err = refold("import", "chat", str(talks))
    assert code == 0, err
    assert "3 events of the store are not in the lake yet (2026-05)" in refold("sql", "SELECT 1")[2]
    code, out, _ = refold("db", "status")
    assert (code, out.splitlines()[0]) == (0, "the embedded server is not running")
    assert "3 events of the store" in out
    refold("export")
    assert "not folded since: 2026-05" in refold("sql", "SELECT 1")[2]
    assert refold("db", "psql", "--", "-qc", APPEND)[0] == 0
    assert "2 events of the store are not in the lake yet" in refold("sql", "SELECT 1")[2]
    refold("export")
    dsn = json.loads(refold("db", "start", "--json")[1])["dsn"]
    with psycopg.connect(dsn, autocommit=True) as writer:
        writer.execute(APPEND.replace("s1", "s2"))
    assert refold("db", "stop")[0] == 0
    assert "2 events of the store are not in the lake yet" in refold("sql", "SELECT 1")[2]


def test_help_lists_every_verb_in_its_group(refold):
    """Each verb once, in the order in which they are used; none is left for the rest."""
    code, out, _ = refold("--help")
    assert code == 0
    assert "Other:" not in out
    listed = re.findall(r"^  ([a-z]+)  ", out, re.MULTILINE)
    assert listed == sorted(set(listed), key=listed.index)
    assert listed[:5] == ["demo", "import", "receive", "export", "fold"]
    assert set(listed) == set(cli.app.commands)


def test_the_version_is_told(refold):
    """One line with the version of the package."""
    code, out, _ = refold("--version")
    assert code == 0
    assert re.fullmatch(r"refold \d+\.\d+\.\d+\S*\n", out)
