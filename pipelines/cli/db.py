"""Verbs of `refold db`: the event store's server, schema and months."""

from __future__ import annotations

from typing import Any

import click

from pipelines.cli.help import Verbs
from pipelines.cli.options import json_option
from pipelines.console import print_result, render_table, tell, to_plain
from pipelines.errors import BadInputError
from pipelines.settings import Settings

db = Verbs("db", help="The event store: server, schema, months.")


@db.command("start")
@json_option
def db_start(as_json: bool) -> None:
    """Start the embedded server and keep it up."""
    server = _embedded()
    server.keep()
    status = server.status()
    print_result(status, f"running, pid {status.pid}; {status.dsn}", as_json=as_json)


@db.command("stop")
@click.option("--force", is_flag=True, help="Also while commands use it.")
@json_option
def db_stop(force: bool, as_json: bool) -> None:
    """Stop the embedded server."""
    from pipelines.home import changing_store

    server = _embedded()
    if server.status().is_running:
        with changing_store(Settings.from_env()):  # what was written since: nobody can ask a server that is down
            pass
    is_stopped = server.stop(force=force)
    text = (
        "stopped" if is_stopped else "in use; it stops when the last command that uses it ends (--force stops it now)"
    )
    print_result({"is_stopped": is_stopped}, text, as_json=as_json)


@db.command("status")
@json_option
def db_status(as_json: bool) -> None:
    """Show server, schema, guard, what holds followers back and what the lake lacks; start nothing."""
    from pipelines.home import find_behind
    from pipelines.lake.lake import Lake
    from pipelines.store import EmbeddedServer

    settings = Settings.from_env()
    behind = find_behind(settings, Lake.from_settings(settings))
    told = behind.describe(settings) or ["the lake has what is known of the store, folded"]
    if settings.dsn is None:
        server = EmbeddedServer(settings.home).status()
        if not server.is_running:
            text = "\n".join(["the embedded server is not running", *told])
            print_result({"server": server, "lake": behind}, text, as_json=as_json)
            return
        lines = [f"embedded server, pid {server.pid}{', kept up' if server.is_kept else ''}; {server.dsn}"]
        found: dict[str, Any] = {"server": server}
    else:
        lines, found = ["server of your own (REFOLD_DSN)"], {"server": None}
    found |= _look(settings.dsn or server.dsn)
    if found["pending"]:
        lines.append(f"schema: {len(found['pending'])} files not applied; run `refold db migrate`")
    else:
        lines.append("schema: up to date")
        lines += [f"DDL not guarded: {problem}" for problem in found["guard_problems"]] or ["append-only: guarded"]
        lines += [f"followers wait for {to_plain(stall)}" for stall in found["stalls"]]
    print_result({**found, "lake": behind}, "\n".join([*lines, *told]), as_json=as_json)


def _look(dsn: str) -> dict[str, Any]:
    """What a store says of itself; nothing is changed."""
    from pipelines.store import Store, connect, pending

    with connect(dsn) as connection:
        todo = [path.name for path in pending(connection)]
        if todo:
            return {"pending": todo, "guard_problems": [], "stalls": []}
        store = Store(connection, dsn)
        return {"pending": [], "guard_problems": store.guard_problems(), "stalls": store.stalls()}


@db.command("migrate")
@json_option
def db_migrate(as_json: bool) -> None:
    """Bring the store's schema up to date; idempotent."""
    from pipelines.store import Store, connect

    settings = Settings.from_env()
    if settings.dsn is None:
        with Store.open(settings, migrate=True):
            pass
    else:
        with connect(settings.dsn) as connection:
            Store(connection, settings.dsn).migrate()
    print_result({"migrated": True}, "the schema is up to date", as_json=as_json)


@db.command("months")
@click.option("--make", multiple=True, help="First make this month, YYYY-MM, and move its strays into it.")
@json_option
def db_months(make: tuple[str, ...], as_json: bool) -> None:
    """List the store's months: state, events, span, and how many of the events the lake holds."""
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake
    from pipelines.store import Store

    settings = Settings.from_env()
    tell_empty(settings, tell)
    lake = Lake.from_settings(settings)
    with Store.open(settings) as store:
        for month in make or []:
            store.make_month(month)
        months = store.months()
    exported = {commit.partition.removeprefix("month="): commit.row_count for commit in lake.commits("events")}
    listed = [{**to_plain(month), "exported": exported.get(month.month)} for month in months]
    columns = ["month", "state", "generation", "events", "exported", "bytes", "first_created_at", "last_created_at"]
    table = render_table(columns, [[month[column] for column in columns] for month in listed])
    print_result({"months": listed}, table, as_json=as_json)


@db.command("new-epoch")
@json_option
def db_new_epoch(as_json: bool) -> None:
    """Allow appends after the data moved to another cluster."""
    from pipelines.store import Store

    with Store.open(Settings.from_env(), must_exist=True) as store:
        epoch = store.new_epoch()
    print_result({"epoch": epoch}, f"the store writes in epoch {epoch} now", as_json=as_json)


@db.command("psql")
@click.argument("arguments", nargs=-1, help="Passed to psql.")
def db_psql(arguments: tuple[str, ...]) -> None:
    """Open psql on the store."""
    from pipelines.home import changing_store
    from pipelines.store.psql import run_psql

    with changing_store(Settings.from_env()) as store:
        code = run_psql(store.dsn, arguments or [])
    raise click.exceptions.Exit(code)


def _embedded() -> Any:
    from pipelines.store import EmbeddedServer

    settings = Settings.from_env()
    if settings.dsn is not None:
        raise BadInputError(
            "REFOLD_DSN names a server of your own; `refold db start` and `stop` are for the embedded one"
        )
    return EmbeddedServer(settings.home)
