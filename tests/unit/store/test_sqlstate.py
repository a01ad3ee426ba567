"""What the database says, as the store's exceptions."""

from __future__ import annotations

import psycopg
import pytest

from pipelines.store import StoreUnavailable, VersionConflict
from pipelines.store.errors import InvalidPayload, SchemaOutdated, StoreBusy, StoreError
from pipelines.store.sqlstate import typed, typed_errors


def of(state: str | None, text: str = "said so") -> psycopg.Error:
    """An error as psycopg raises it for a code; None: the connection's own, without one."""
    return psycopg.OperationalError(text) if state is None else psycopg.errors.lookup(state)(text)


@pytest.mark.parametrize(
    ("state", "kind", "told"),
    [
        ("3F000", SchemaOutdated, "the database lacks what this Refold needs (said so); run `refold db migrate`"),
        ("42P01", SchemaOutdated, "the database lacks what this Refold needs (said so); run `refold db migrate`"),
        ("42883", SchemaOutdated, "the database lacks what this Refold needs (said so); run `refold db migrate`"),
        ("40001", StoreBusy, "said so"),
        ("22P05", InvalidPayload, "a character that PostgreSQL cannot store: said so"),
        ("57P01", StoreUnavailable, "the store's database does not answer: said so"),
        ("53300", StoreUnavailable, "the store's database does not answer: said so"),
        (None, StoreUnavailable, "the store's database does not answer: said so"),
        ("22012", StoreError, "the store's database refused: said so (SQLSTATE 22012)"),
    ],
)
def test_a_code_is_an_exception_that_says_what_to_do(state: str | None, kind: type[Exception], told: str) -> None:
    """Each code has one exception; what has none is the store's own error, with its code."""
    error = typed(of(state))
    assert type(error) is kind
    assert told in str(error)


class Diagnosis:
    """The part of psycopg's diagnosis that is read."""

    message_primary, message_hint, message_detail = "moved", "read it again", ""


class Moved(psycopg.Error):
    """A conflict as the function raises it, or as something in between made of it."""

    sqlstate = "RF001"
    diag = Diagnosis()  # type: ignore[assignment]  # what is read of it


@pytest.mark.parametrize(
    ("detail", "expected", "actual"),
    [
        ('{"expected": "3", "actual": 5}', 3, 5),
        ('{"expected": "no_stream", "actual": 1}', "no_stream", 1),
        ("", "None", 0),
        ("not JSON", "None", 0),
        ("[1]", "None", 0),
    ],
)
def test_a_conflict_carries_both_versions(detail: str, expected: int | str, actual: int) -> None:
    """What was expected and what is there come from the error's detail; a detail that is none is no second error."""
    Moved.diag.message_detail = detail  # type: ignore[misc]  # likewise
    with pytest.raises(VersionConflict, match="moved read it again") as caught, typed_errors():
        raise Moved
    assert (caught.value.expected, caught.value.actual) == (expected, actual)
