"""What a home lacks, in sentences that say what to do: nothing in it, events not exported yet, months not folded.

For verbs that read the lake: what they print is right for the lake and may be old, or nothing. Starts no server.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import RefoldError
from pipelines.lake.lake import Lake
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.store import Store

_NOTE = "waiting.json"
"""What the store of a home held beyond the lake when a verb last looked: for when its embedded server is not running."""
_FOLDED = "conversation_months"
_MONTHS_SHOWN = 4
_LOOK_MS = 2_000
"""How long the store may take to count; it is counted for a remark."""
FILLING = (
    "`refold demo` fills it with simulated history; `refold import chat FILE`, then `refold export` and `refold fold`, "
    "with yours"
)


@dataclass(frozen=True, slots=True)
class Behind:
    """How far the lake is behind.

    Attributes:
        is_empty: The lake holds no events, and no event of the store is known to wait.
        waiting: Month → events of the store that no export has seen; None when the store did not say.
        unfolded: Months of the lake whose folds are missing or of other events than it holds, ascending.
    """

    is_empty: bool
    waiting: dict[str, int] | None
    unfolded: list[str]

    def describe(self, settings: Settings) -> list[str]:
        """One line for each thing to do."""
        if self.is_empty:
            return [f"the lake {settings.lake} holds no events yet (REFOLD_HOME is {settings.home}): {FILLING}"]
        lines = []
        if self.waiting:
            counted = f"{sum(self.waiting.values()):,} events of the store are not in the lake yet"
            lines.append(f"{counted} ({_listed(list(self.waiting))}): run `refold export`, then `refold fold`")
        if self.unfolded:
            lines.append(f"months exported and not folded since: {_listed(self.unfolded)}; run `refold fold`")
        return lines


def find_behind(settings: Settings, lake: Lake) -> Behind:
    """Look at the store, if it is up, and at the lake."""
    waiting = _waiting(settings, lake)
    exported = lake.months("events")
    return Behind(not exported and not waiting, waiting, sorted(_unfolded(lake)) if exported else [])


def tell_behind(settings: Settings, tell: Callable[[str], None], lake: Lake | None = None) -> None:
    """Say what the lake lacks, for verbs whose answer would be another one without it; `lake` where it is open already."""
    for line in find_behind(settings, lake or Lake.from_settings(settings)).describe(settings):
        tell(f"refold: {line}")


def tell_waiting(settings: Settings, tell: Callable[[str], None], lake: Lake) -> None:
    """Say that the lake holds no events, or which of the store's it lacks, for verbs that read events and no folds."""
    waiting, is_empty = _waiting(settings, lake), not lake.months("events")
    for line in Behind(is_empty and not waiting, waiting, []).describe(settings):
        tell(f"refold: {line}")


def tell_empty(settings: Settings, tell: Callable[[str], None]) -> None:
    """Say what to do where the lake holds no events; nothing, and no look at the store, where it does."""
    if not Lake.from_settings(settings).months("events"):
        tell_behind(settings, tell)


@contextmanager
def changing_store(settings: Settings, *, must_exist: bool = False) -> Iterator[Store]:
    """The store, for a verb that changes it or the lake: what it holds beyond the lake is remembered, however the verb ends.

    Raises:
        NoStore: There is no store, and it must exist.
    """
    from pipelines.store import Store  # noqa: PLC0415 - not for verbs that only read the note

    with Store.open(settings, must_exist=must_exist) as store:
        try:
            yield store
        finally:
            if settings.dsn is None:
                _note_waiting(settings, store)


def _note_waiting(settings: Settings, store: Store) -> None:
    import psycopg  # noqa: PLC0415 - as above

    from pipelines.export.health import find_lag  # noqa: PLC0415

    with suppress(psycopg.Error, RefoldError):  # a remark is not worth an error, and hides none
        lags = {
            lag.month: lag.events for lag in find_lag(store.conn, Lake.from_settings(settings), with_accesses=False)
        }
        _note(settings).write_text(json.dumps(lags), encoding="utf-8")


def _waiting(settings: Settings, lake: Lake) -> dict[str, int] | None:
    data = settings.home / "postgres"
    if settings.dsn is None and not (data / "postmaster.pid").exists():
        return _noted(settings) if data.exists() else None
    import psycopg  # noqa: PLC0415 - half a second, only where a store may answer

    from pipelines.export.health import find_lag  # noqa: PLC0415
    from pipelines.store import EmbeddedServer  # noqa: PLC0415
    from pipelines.store.session import session_query  # noqa: PLC0415

    dsn = settings.dsn
    if dsn is None:
        server = EmbeddedServer(settings.home).status()
        if not server.is_running:
            return _noted(settings)
        dsn = server.dsn
    try:
        with psycopg.connect(dsn, connect_timeout=2, options=f"-c statement_timeout={_LOOK_MS}") as connection:
            connection.execute(session_query(is_local=True, without=["statement_timeout"]).encode())
            return {lag.month: lag.events for lag in find_lag(connection, lake, with_accesses=False)}
    except (psycopg.Error, RefoldError):
        return None


def _noted(settings: Settings) -> dict[str, int] | None:
    try:
        found = json.loads(_note(settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _note(settings: Settings) -> Path:
    return settings.home / _NOTE


def _unfolded(lake: Lake) -> Iterator[str]:
    """Months that were never folded, or before the last export and from other events; one projection stands for all."""
    exported, folded = (
        {commit.partition.removeprefix("month="): commit for commit in lake.commits(name)}
        for name in ("events", _FOLDED)
    )
    yield from exported.keys() - folded.keys()
    doubtful = [month for month, commit in folded.items() if commit.committed_at < exported[month].committed_at]
    if not doubtful:
        return
    from pipelines.folds.inputs import Inputs  # noqa: PLC0415 - the code of all folds, only where a month may be stale
    from pipelines.log.upcasters import load_upcasters  # noqa: PLC0415

    with lake.connect() as connection:
        inputs = Inputs(connection, max(doubtful), load_upcasters(), lake.snapshot_events)
        yield from (month for month in doubtful if folded[month].input_hash != inputs.hash(_FOLDED, month))


def _listed(months: list[str]) -> str:
    shown = ", ".join(sorted(months)[:_MONTHS_SHOWN])
    return shown if len(months) <= _MONTHS_SHOWN else f"{shown} and {len(months) - _MONTHS_SHOWN} more months"
