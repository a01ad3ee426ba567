"""The home log in the lake: a copy of the store's, so that the lake can be audited where the store is not."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from pipelines.duck import scratch
from pipelines.lake.datasets import HOME_LOG
from pipelines.lake.lake import Lake
from pipelines.proof.erasure import read_erasure
from pipelines.proof.manifest import FileList, Manifest, read_file_list, read_manifest
from pipelines.proof.scrub import Scrub, read_scrub
from pipelines.store import Entry, Signed, Store
from pipelines.store.erasures import erase_events, erasure_waits, record_erasure


def copied_entries(lake: Lake) -> int:
    """How many entries the lake has: the first that it lacks."""
    files = lake.files(HOME_LOG.name)
    if not files:
        return 0
    with scratch() as connection:
        query = "SELECT coalesce(max(entry) + 1, 0) FROM read_parquet($files)"
        ((count,),) = connection.sql(query, params={"files": files}).fetchall()
    return int(count)


def copy_home_log(store: Store, lake: Lake) -> int:
    """Bring the entries that the lake lacks into it; how many those were. Nothing is ever replaced."""
    missing = store.home_log(copied_entries(lake))
    if missing:
        lake.append(HOME_LOG, [row_of(each) for each in missing])
    return len(missing)


def finish_erasures(store: Store, lake: Lake) -> int:
    """Do the erasures that wait in the store, those too that only the lake's log knows: the store came back from a backup.

    Returns:
        How many erasures, or parts of one, were recorded again.

    Raises:
        PermissionDenied: The store's role may not erase.
    """
    kept = _erasures(lake)
    known = {each.signed.sha256 for each in store.home_log() if each.kind == "erased"} if kept else set()
    lost = [signed for signed in kept if signed.sha256 not in known]
    for signed in lost:
        record_erasure(store.conn, signed, is_again=True)
    if erasure_waits(store.conn):
        deque(erase_events(store.conn), maxlen=0)
    return len(lost)


def _erasures(lake: Lake) -> list[Signed]:
    """The erasures that the lake knows, in order."""
    files = lake.files(HOME_LOG.name)
    if not files:
        return []
    with scratch() as connection:
        query = (
            "SELECT DISTINCT entry, document, signature FROM read_parquet($files) WHERE kind = 'erased' ORDER BY entry"
        )
        return [
            Signed(text, signature) for _, text, signature in connection.sql(query, params={"files": files}).fetchall()
        ]


def row_of(entry: Entry) -> dict[str, Any]:
    """An entry as a row of the lake's table."""
    return {
        "entry": entry.entry,
        "kind": entry.kind,
        "month": entry.month,
        "generation": entry.generation,
        "document": entry.signed.text,
        "document_sha256": entry.signed.sha256,
        "signature": entry.signed.signature,
        "noted_at": entry.noted_at,
    }


def last_seal(entries: Iterable[Entry], month: str) -> tuple[Signed, Manifest] | None:
    """The month's newest manifest; None where it was never sealed."""
    found = [each.signed for each in entries if each.kind == "sealed" and each.month == month]
    return (found[-1], read_manifest(found[-1].text)) if found else None


def last_files(entries: Iterable[Entry], month: str) -> tuple[Signed, FileList] | None:
    """The month's newest list of files; None where it was never sealed."""
    found = [each.signed for each in entries if each.kind == "files" and each.month == month]
    return (found[-1], read_file_list(found[-1].text)) if found else None


def last_scrub(entries: Iterable[Entry]) -> Scrub | None:
    """The newest scrub; None where there was none."""
    found = [each.signed for each in entries if each.kind == "scrubbed"]
    return read_scrub(found[-1].text) if found else None


def unscrubbed(entries: Sequence[Entry]) -> int:
    """How many erasures are newer than what the last scrub covers: PostgreSQL may keep what they took."""
    covers = covered(last_scrub(entries))
    return len(
        {read_erasure(each.signed.text).erasure for each in entries if each.kind == "erased" and each.entry > covers}
    )


def covered(scrub: Scrub | None) -> int:
    """Up to which entry of the home log erasures are covered by a scrub; -1 for none."""
    return -1 if scrub is None or scrub.covers is None else scrub.covers
