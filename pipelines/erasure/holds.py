"""Place and lift holds, each with the access that it is: what is on hold is not erased until the hold is lifted."""

from __future__ import annotations

from uuid import UUID

from pipelines.erasure.reason import refuse_naming
from pipelines.erasure.selection import select_customer
from pipelines.errors import BadInputError
from pipelines.store import Store
from pipelines.store.access import Accessed, record_access
from pipelines.store.erasures import lift_hold, list_holds, place_hold


def place(store: Store, reason: str, *, customer: str | None = None, stream: UUID | None = None) -> UUID:
    """Place a hold on a person or on a stream, and record it; its id.

    Raises:
        BadInputError: The reason names the person.
    """
    if customer is not None:
        refuse_naming(reason, customer)
    with store.transaction():
        placed = place_hold(store.conn, customer=customer, stream=stream, reason=reason)
        record_access(store, "hold", reason, _about(store, customer, stream))
    return placed


def lift(store: Store, hold: UUID, reason: str) -> None:
    """Lift a hold, and record it.

    Raises:
        BadInputError: There is no such hold, or the reason names the person.
    """
    with store.transaction():
        held = next((each for each in list_holds(store.conn) if each.hold == hold), None)
        if held is not None and held.customer is not None:
            refuse_naming(reason, held.customer)
        if held is None or not lift_hold(store.conn, hold):
            raise BadInputError(f"there is no hold {hold}; `refold hold` lists them")
        record_access(store, "hold", reason, _about(store, held.customer, held.stream))


def _about(store: Store, customer: str | None, stream: UUID | None) -> list[Accessed]:
    """What a hold is of, by stream: of a person, the events about them that there are."""
    if customer is None:
        return [] if stream is None else [Accessed(stream)]
    return [Accessed(each.stream, each.first, each.last) for each in select_customer(store, customer).targets]
