"""All findings of a home, in the order in which they are worth knowing. Nothing is changed, whatever is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from pipelines.doctor.finding import Diagnosis, Finding, ask, diagnose
from pipelines.settings import Settings


def examine(settings: Settings) -> Diagnosis:
    """Look at a home; an embedded server that is made and not running is started for it and stopped again, as for every verb.

    The schema is not migrated and no month is made for it: what a look finds is what the last command left.
    """
    with ExitStack() as stack:
        findings = [*ask("PostgreSQL", lambda: _store(settings, stack))]
        findings += ask("lake", lambda: _lake(settings))
        findings += ask("machine", lambda: _machine(settings))
    return diagnose(str(settings.home), findings)


def _store(settings: Settings, stack: ExitStack) -> Iterator[Finding]:
    from pipelines.doctor.store import examine_store  # noqa: PLC0415 - a part that cannot be imported is a finding
    from pipelines.store import EmbeddedServer, Store, connect  # noqa: PLC0415

    dsn = settings.dsn
    if dsn is None:
        server = EmbeddedServer(settings.home)
        if not server.is_made:
            todo = "run `refold demo` or `refold import`, or let REFOLD_DSN name a server"
            yield Finding("PostgreSQL", "ok", f"there is no store yet in {settings.home}", todo)
            return
        dsn = stack.enter_context(server).dsn
    store = Store(stack.enter_context(connect(dsn)), dsn)
    yield from examine_store(store, settings)


def _lake(settings: Settings) -> Iterator[Finding]:
    from pipelines.doctor.lake import examine_lake  # noqa: PLC0415

    yield from examine_lake(settings)


def _machine(settings: Settings) -> Iterator[Finding]:
    from pipelines.doctor.machine import examine_machine  # noqa: PLC0415

    yield from examine_machine(settings)
