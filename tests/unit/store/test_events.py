"""How streams are named, and how errors are told, without a database."""

from __future__ import annotations

from uuid import UUID, uuid5

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import BadInputError, RefoldError
from pipelines.settings import Settings
from pipelines.store import NewEvent, Store, StoreUnavailable, VersionConflict, connect, stream_id
from pipelines.store.events import STREAM_NAMESPACE
from pipelines.store.sqlstate import typed

NAMES = st.text(min_size=1, max_size=8)


def test_a_known_stream_id() -> None:
    """The id of one conversation, so that the rule cannot change unnoticed: its text is the compact JSON array."""
    assert stream_id("tau2", 'ä"1') == uuid5(STREAM_NAMESPACE, '["tau2","ä\\"1"]')
    assert stream_id("tau2", "1") == UUID("15ca81a0-7f3d-5ca1-9c33-258c1448cdc4")
    assert stream_id("tau2", "1").version == 5


@given(NAMES, NAMES, NAMES, NAMES)
def test_different_conversations_have_different_streams(a: str, b: str, c: str, d: str) -> None:
    """Equal ids mean equal source and equal conversation, wherever a separator may stand."""
    assume_text = all(ch < "\ud800" or ch > "\udfff" for name in (a, b, c, d) for ch in name)
    if assume_text:
        assert (stream_id(a, b) == stream_id(c, d)) == ((a, b) == (c, d))


def test_events_without_metadata_share_nothing_writable() -> None:
    """The default envelope is empty and cannot be written to."""
    event = NewEvent("a.b.v1", {})
    assert dict(event.metadata) == {}
    with pytest.raises(TypeError):
        event.metadata["x"] = 1  # type: ignore[index] # that is the test


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:s3cret@127.0.0.1:1/db?connect_timeout=2",
        "host=127.0.0.1 port=1 password=s3cret",
        "password s3cret",
        "postgresql://u:s3cret@127.0.0.1:1/db?no_such=1",
        "postgresql://u:s3cret@[::1/db",
    ],
)
def test_errors_never_show_the_password(dsn: str, settings: Settings) -> None:
    """A connection string that fails is told without its secrets, also in the chain of causes."""
    with pytest.raises(StoreUnavailable) as caught:
        connect(dsn)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in str(error)
        error = error.__cause__
    with pytest.raises(StoreUnavailable), Store.open(Settings(home=settings.home, dsn=dsn, lake=settings.lake)):
        pass


def test_exit_codes() -> None:
    """What the writer got wrong ends with 2, everything else of the store with 1."""
    from pipelines.store import InvalidEvent, InvalidPayload, PayloadTooLarge, UnknownEventType  # noqa: PLC0415 - only here

    assert {e.exit_code for e in (InvalidEvent, InvalidPayload, PayloadTooLarge, UnknownEventType)} == {2}
    assert all(issubclass(e, BadInputError) for e in (InvalidEvent, InvalidPayload))
    assert VersionConflict("", expected=1, actual=2).exit_code == 1


def test_any_other_database_error_is_typed() -> None:
    """An error that nobody foresaw is a RefoldError with its SQLSTATE."""
    error = typed(psycopg.errors.DivisionByZero("division by zero"))
    assert isinstance(error, RefoldError)
    assert "22012" in str(error)
