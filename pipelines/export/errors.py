"""What can go wrong with an export."""

from __future__ import annotations

from pipelines.errors import BadInputError, RefoldError


class ExportLossError(RefoldError):
    """The store holds less of a month than the lake does; exporting would lose events, so the lake was left as it is."""

    def __init__(self, month: str, found: str) -> None:
        self.month = month
        super().__init__(
            f"month {month}: {found}. The store was truncated, restored from an older copy, or is another store; "
            "the lake was left as it is. Point REFOLD_DSN at the right store, or move the lake away to start a new one",
        )


class ExportGapError(RefoldError):
    """A stream of the month lacks versions in its middle; the log is damaged, and the lake was left as it is."""

    def __init__(self, month: str, aggregate_id: str, found: str) -> None:
        self.month, self.aggregate_id = month, aggregate_id
        super().__init__(f"month {month}, stream {aggregate_id}: {found}; the lake was left as it is")


class ExportIncompleteError(RefoldError):
    """The server sent another number of events than it counted in the same snapshot; the lake was left as it is."""

    def __init__(self, month: str, counted: int, received: int) -> None:
        self.month = month
        super().__init__(
            f"month {month}: the server counts {counted:,} events and sent {received:,}; the lake was left as it is. "
            "Check the server's tables and indexes (amcheck), then export again"
        )


class NotSealableError(BadInputError):
    """A month cannot be sealed as it is; the message says why and what to do. Nothing was changed."""


class SealRefusedError(RefoldError):
    """A closed month was exported and does not hold together, so it was not sealed."""

    def __init__(self, month: str, found: str) -> None:
        self.month = month
        super().__init__(
            f"month {month} stays closing and was not sealed: {found}. `refold verify --month {month}` names all of it; "
            f"`refold unseal {month} --reason ...` opens the month again"
        )


class ListRefusedError(RefoldError):
    """The files of a sealed month were written anew, or are to be, and cannot be listed as they should."""

    def __init__(self, month: str, found: str) -> None:
        self.month = month
        super().__init__(f"month {month} is sealed, and the list of its files cannot be made anew: {found}")
