"""Verbs `refold seal`, `unseal` and `verify`: close a month for good, and show that nothing was lost or altered."""

from __future__ import annotations

from pathlib import Path

import click

from pipelines.cli.options import PATH, json_option, month_argument, months_option
from pipelines.console import Ticker, counted, print_result, tell, to_plain
from pipelines.errors import BadInputError, CheckFailedError
from pipelines.settings import Settings


@click.command()
@month_argument
@json_option
def seal(month: str, as_json: bool) -> None:
    """Close a month to writes, export it, keep its manifest."""
    from assets.verbs.months import seal_month
    from pipelines.home import tell_empty

    settings = Settings.from_env()
    tell_empty(settings, tell)
    run = seal_month(settings, month, tell)
    made = run.tables["merkle_nodes"]
    signer = made.get("public_key_id")
    lines = [
        f"{month} is sealed, generation {made['generation']}" + ("" if made["is_written"] else " (it was before)"),
        f"  {made['rows']:,} events of {made['streams']:,} streams, Merkle root {made['merkle_root']}",
        f"  manifest {made['manifest_sha256']}, " + (f"signed by key {signer}" if signer else "not signed"),
    ]
    print_result({"month": month, "run_id": run.run_id, **made}, "\n".join(lines), as_json=as_json)


@click.command()
@month_argument
@click.option("--reason", help="Why; kept in the store for good.")
@json_option
def unseal(month: str, reason: str | None, as_json: bool) -> None:
    """Open a closing or sealed month again; its manifests stay."""
    from pipelines.export.seal import unseal_month
    from pipelines.store import Store
    from pipelines.store.access import require_reason

    why = require_reason(reason, "why is it opened again?")
    with Store.open(Settings.from_env(), must_exist=True) as store:
        generation = unseal_month(store, month, why)
    text = f"{month} is open, generation {generation}; earlier manifests stay. Seal it again with `refold seal {month}`"
    print_result({"month": month, "generation": generation}, text, as_json=as_json)


@click.command()
@months_option
@click.option("--deep", is_flag=True, help="Compare every column of every event with the store.")
@click.option("--lake-only", is_flag=True, help="Without the store: against the manifests.")
@click.option(
    "--public-key",
    "public_keys",
    type=PATH,
    multiple=True,
    help="PEM file; then every ended month must be sealed, and its documents signed by one of these.",
)
@click.option(
    "--against", type=PATH, multiple=True, help="A checkpoint kept elsewhere; nothing before it may have changed."
)
@click.option(
    "--witness",
    "witnesses",
    multiple=True,
    help="Key of a witness (NAME+NUMBER+BASE64), for cosignatures of checkpoints.",
)
@json_option
def verify(
    months: tuple[str, ...],
    deep: bool,
    lake_only: bool,
    public_keys: tuple[Path, ...],
    against: tuple[Path, ...],
    witnesses: tuple[str, ...],
    as_json: bool,
) -> None:
    """Check store, lake and manifests against each other."""
    from contextlib import ExitStack

    from pipelines.audit.checkpoints import Against
    from pipelines.audit.page import render_audit
    from pipelines.audit.verify import verify as audit_months
    from pipelines.erasure.derived import find_all_unforgotten
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake
    from pipelines.proof.note import NoteError, Verifier
    from pipelines.proof.signing import key_id, read_private_key, read_public_keys
    from pipelines.store import NoStore, Store

    settings = Settings.from_env()
    tell_empty(settings, tell)
    keys = read_public_keys(public_keys or [])
    if not keys and settings.signing_key is not None:
        own = read_private_key(settings.signing_key).public_key()
        keys = {key_id(own): own}
    kept = [Against.read(file) for file in against]
    try:
        cosigners = [Verifier.read(text) for text in witnesses]
    except NoteError as error:
        raise BadInputError(f"--witness: {error}") from None
    with ExitStack() as stack:
        store = None
        if not lake_only:
            try:
                store = stack.enter_context(Store.open(settings, must_exist=True))
            except NoStore as error:
                raise NoStore(f"{error}; --lake-only audits the lake without one") from None
        lake = Lake.from_settings(settings)
        unfinished = [] if store is None else find_all_unforgotten(settings, lake, store.home_log())
        audit = audit_months(
            lake,
            store,
            months,
            deep=deep,
            public_keys=keys,
            must_be_signed=bool(keys),
            against=kept,
            witnesses=cosigners,
            unfinished=unfinished,
            on_month=lambda month: tell(f"{month} verify"),
            on_rows=Ticker("rows"),
        )
    verdicts = {"integrity": audit.integrity, "completeness": audit.completeness}
    shown = to_plain(audit)
    for plain, month in zip(shown["months"], audit.months, strict=True):
        plain |= {"integrity": month.integrity, "completeness": month.completeness}
    print_result({**verdicts, **shown}, render_audit(audit), as_json=as_json)
    if audit.all_findings:
        raise click.exceptions.Exit(CheckFailedError.exit_code)


@click.command()
@click.option("-o", "output", type=PATH, help="File to write (default: in the home's folder checkpoints).")
@json_option
def checkpoint(output: Path | None, as_json: bool) -> None:
    """Sign where the log stands now, for `refold verify --against FILE`; keep it where who can change the log cannot."""
    from pipelines.audit.checkpoints import make_checkpoint, origin_of
    from pipelines.audit.places import file_name, keep, write_checkpoint
    from pipelines.export.home_log import copy_home_log
    from pipelines.home import tell_empty
    from pipelines.lake.lake import Lake
    from pipelines.proof.note import SIGNED, Verifier
    from pipelines.proof.signing import read_private_key
    from pipelines.store import Store

    settings = Settings.from_env()
    tell_empty(settings, tell)
    if settings.signing_key is None:
        raise BadInputError(
            "a checkpoint is signed: set REFOLD_SIGNING_KEY to a PEM file with an Ed25519 key "
            "(`openssl genpkey -algorithm ed25519 -out key.pem`)"
        )
    key = read_private_key(settings.signing_key)
    with Store.open(settings, must_exist=True) as store:
        copy_home_log(store, Lake.from_settings(settings))  # so that the lake alone can be held to it
        note, made = make_checkpoint(store, origin_of(store, settings.origin), key, settings.memory_bytes)
    path = output or settings.home / "checkpoints" / file_name(made)
    write_checkpoint(path, note.write())
    kept = keep(settings.checkpoints, made, note.write())
    verifier = Verifier(made.origin, SIGNED, key.public_key()).text
    months = ", ".join(each.month for each in made.heads) or "none"
    lines = [
        f"{path}",
        f"  {counted(made.size, 'entry', 'entries')} of the home log, root {made.root.hex()}",
        f"  heads of months that are not sealed: {months}",
        f"  signed as {verifier}",
        *(
            f"  {'kept in' if each.error is None else 'NOT kept in'} {each.place}{f': {each.error}' if each.error else ''}"
            for each in kept
        ),
    ]
    told = {"file": path, "origin": made.origin, "size": made.size, "root": made.root.hex(), "key": verifier}
    print_result({**told, "places": kept}, "\n".join(lines), as_json=as_json)
    if any(each.error for each in kept):
        raise click.exceptions.Exit(1)
