"""`refold events` and `refold import postgres`: what they print, and what they end with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pipelines.settings import Settings
from pipelines.store import Registry
from tests.support.verbs import Verbs

PAID = {
    "event_type": "order.paid.v1",
    "description": "An order was paid.",
    "schema": {"type": "object", "properties": {"card": {"type": "string", "x-personal": True}}},
}


def write(tmp_path: Path, document: Any) -> str:
    path = tmp_path / "type.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return str(path)


def test_the_shipped_types_are_listed_and_shown(refold: Verbs) -> None:
    """`list` has every shipped type; `show` has schema, hash and personal fields, as text and as JSON."""
    code, out, _ = refold("events", "list", "--json")
    assert code == 0
    assert {each["event_type"] for each in json.loads(out)["event_types"]} == set(Registry.shipped().types)
    assert "user.utterance.v1" in refold("events", "list")[1]
    shown = json.loads(refold("events", "show", "tool.call.v1", "--json")[1])
    assert shown["personal"] == ["/arguments"]
    assert shown["schema"] == Registry.shipped().types["tool.call.v1"].schema
    code, out, _ = refold("events", "show", "tool.call.v1")
    assert (code, shown["schema_sha256"] in out, "personal: /arguments" in out) == (0, True, True)
    code, _, err = refold("events", "show", "tool.call.v99")
    assert (code, "not registered" in err) == (2, True)


def test_a_type_is_registered_once_and_never_changes(refold: Verbs, tmp_path: Path) -> None:
    """The same file again says so; a changed schema is refused with both hashes, and the old one stays."""
    code, out, _ = refold("events", "register", write(tmp_path, PAID), "--json")
    first = json.loads(out)
    assert (code, first["is_new"], first["personal"]) == (0, True, ["/card"])
    code, out, _ = refold("events", "register", write(tmp_path, PAID))
    assert (code, out.startswith("was registered already")) == (0, True)
    code, out, err = refold("events", "register", write(tmp_path, {**PAID, "schema": {"type": "object"}}), "--json")
    assert (code, json.loads(out)["error"]) == (2, "EventTypeChanged")
    assert first["schema_sha256"] in err
    assert "has schema " in err
    assert "register order.paid.v2" in err
    assert json.loads(refold("events", "show", "order.paid.v1", "--json")[1])["schema"] == PAID["schema"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not valid JSON"),
        ([], "one JSON object"),
        ({**PAID, "more": 1}, "nothing else"),
        ({**PAID, "event_type": "OrderPaid"}, "noun.verb.vN"),
        ({**PAID, "event_type": "order.paid.v0"}, "noun.verb.vN"),
        ({**PAID, "description": " "}, "description"),
        ({**PAID, "schema": {"type": "thing"}}, "not a JSON Schema"),
        ({**PAID, "schema": {"$ref": "https://example.invalid/x"}}, "whole by itself"),
    ],
)
def test_a_file_that_describes_no_type_is_refused(refold: Verbs, tmp_path: Path, document: Any, message: str) -> None:
    """Exit code 2, the file and what is wrong with it; nothing is registered."""
    code, _, err = refold("events", "register", write(tmp_path, document))
    assert code == 2
    assert message in err
    assert len(json.loads(refold("events", "list", "--json")[1])["event_types"]) == len(Registry.shipped().types)


def test_import_postgres_says_what_it_did(refold: Verbs, store_settings: Settings) -> None:
    """First all rows, then nothing, then a refusal: text, JSON and exit codes."""
    assert store_settings.dsn is not None
    with psycopg.connect(store_settings.dsn, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE public.log (id bigserial, aggregate_id uuid, aggregate_type text, event_type text, "
            "event_version int, payload jsonb, created_at timestamptz DEFAULT now())"
        )
        conn.execute(
            "INSERT INTO public.log (aggregate_id, aggregate_type, event_type, event_version, payload) "
            "SELECT lpad(n::text, 32, '0')::uuid, 'order', 'order.paid', 1, '{}' FROM generate_series(1, 3) AS n"
        )
        verb = ("import", "postgres", "--dsn", store_settings.dsn, "--table", "public.log")
        code, _, err = refold(*verb)
        assert (code, "order.paid.v1 (3 rows)" in err) == (2, True)
        assert refold(*verb, "--register")[1] == "3 of 3 rows appended, to 3 streams\nregistered order.paid.v1\n"
        assert refold(*verb)[1] == "nothing to append: the store has 3 of 3 rows, unchanged\n"
        assert json.loads(refold(*verb, "--json")[1])["already_present"] == 3
        conn.execute("UPDATE public.log SET payload = '{\"x\": 1}' WHERE id = 2")
        code, _, err = refold(*verb)
        assert (code, "row 2 of public.log has changed" in err) == (2, True)
        assert store_settings.dsn not in err
