"""Verb `refold audit`: evidence that an outsider checks without Refold."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipelines.cli.options import PATH, TIME, json_option
from pipelines.console import counted, print_result, tell
from pipelines.errors import BadInputError
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.evidence.bundle import Bundle
    from pipelines.evidence.chosen import Chosen
    from pipelines.lake.lake import Lake
    from pipelines.store import Store

_SAID = {
    "shown": "shown",
    "redacted": "redacted: their place is proven, what is shown of them is not",
    "erased": "erased: their place is proven",
    "outside": "not of that time: their place is proven",
    "not_about": "about somebody else: their place is proven",
}


@click.command()
@click.argument(
    "stream",
    metavar="[STREAM[@VERSION]]",
    required=False,
    help="Stream id, or source/conversation_id; @VERSION: up to there.",
)
@click.option("--customer", help="All that is about this person (subject_id), of all streams, instead of one stream.")
@click.option("--from", "since", type=TIME, help="With --customer: only events from then on, UTC.")
@click.option("--to", "until", type=TIME, help="With --customer: only events before then, UTC.")
@click.option("--reason", help="Why; kept in the log for good, and not in the evidence.")
@click.option(
    "-o",
    "output",
    type=PATH,
    metavar="DIR",
    help="Folder to write, and DIR.zip (default: audit-… in this folder); evidence that is there is replaced.",
)
@json_option
def audit(
    stream: str | None,
    customer: str | None,
    since: datetime | None,
    until: datetime | None,
    reason: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write evidence of a stream, or of what is about a person: a folder and a zip that anybody checks with Python alone."""
    from pipelines.audit.checkpoints import origin_of
    from pipelines.evidence.bundle import BundleMaker
    from pipelines.evidence.bundle_files import require_place
    from pipelines.home import changing_store, tell_empty
    from pipelines.lake.lake import Lake
    from pipelines.proof.signing import read_private_key
    from pipelines.store.access import require_reason

    _check_named(stream, customer, since, until)
    why = require_reason(reason, "why is this handed out?")
    settings = Settings.from_env()
    tell_empty(settings, tell)
    key = None if settings.signing_key is None else read_private_key(settings.signing_key)
    if output is not None:
        require_place(output)
    with changing_store(settings, must_exist=True) as store:
        lake = Lake.from_settings(settings)
        chosen = _choose(store, lake, stream, customer, since, until)
        maker = BundleMaker(store, lake, origin_of(store, settings.origin), key)
        made = maker.make(chosen, output or Path(_name(chosen)), why)
    print_result(made, _tell(made), as_json=as_json)


def _check_named(stream: str | None, customer: str | None, since: datetime | None, until: datetime | None) -> None:
    if (stream is None) == (customer is None):
        raise BadInputError(
            "name what the evidence is of: one stream (an id, or source/conversation_id), or --customer ID"
            + ("" if stream is None else "; not both")
        )
    if customer is not None and not customer.strip():
        raise BadInputError("--customer is empty")
    if customer is None and (since is not None or until is not None):
        raise BadInputError("--from and --to are for --customer; a stream ends at STREAM@VERSION")


def _choose(
    store: Store,
    lake: Lake,
    stream: str | None,
    customer: str | None,
    since: datetime | None,
    until: datetime | None,
) -> Chosen:
    from pipelines.evidence.chosen import choose_customer, choose_stream

    if stream is not None:
        return choose_stream(store, lake, stream)
    assert customer is not None
    return choose_customer(store, lake, customer, since, until)


def _name(chosen: Chosen) -> str:
    """A folder's name that says nothing of a person."""
    if "stream" not in chosen.asked:
        return "audit-customer"
    version = chosen.asked["version"]
    return f"audit-{chosen.asked['stream']}" + (f"-v{version}" if version else "")


def _tell(made: Bundle) -> str:
    lines = [
        f"{made.folder}",
        f"{made.zip}",
        f"  {counted(made.events, 'event')} of {counted(made.streams, 'stream')}: "
        + "; ".join(f"{made.said[name]:,} {told}" for name, told in _SAID.items() if name in made.said),
        *([f"  sealed: {', '.join(made.sealed)}"] if made.sealed else []),
        *(f"  {month}: {counted(count, 'event')}, chain only, not sealed" for month, count in made.chain_only.items()),
        f"  signed by key {made.public_key_id}"
        if made.public_key_id
        else "  not signed: it shows damage, not forgery; REFOLD_SIGNING_KEY names a key",
        f"  access {made.access} is recorded",
        "whoever gets it runs, with nothing but Python: python3 -I verify_bundle.py"
        + (" --public-key FILE" if made.public_key_id else ""),
        f"  SHA-256 of verify_bundle.py, to be told another way: {made.verifier_sha256}",
    ]
    return "\n".join(lines)
