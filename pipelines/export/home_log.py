"""The home log in the lake: a copy of the store's, so that the lake can be audited where the store is not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb

from pipelines.lake.datasets import HOME_LOG
from pipelines.lake.lake import Lake
from pipelines.proof.manifest import FileList, Manifest, read_file_list, read_manifest
from pipelines.store import Entry, Signed, Store


def copied_entries(lake: Lake) -> int:
    """How many entries the lake has: the first that it lacks."""
    files = lake.files(HOME_LOG.name)
    if not files:
        return 0
    with duckdb.connect() as connection:
        query = "SELECT coalesce(max(entry) + 1, 0) FROM read_parquet($files)"
        ((count,),) = connection.sql(query, params={"files": files}).fetchall()
    return int(count)


def copy_home_log(store: Store, lake: Lake) -> int:
    """Bring the entries that the lake lacks into it; how many those were. Nothing is ever replaced."""
    missing = store.home_log(copied_entries(lake))
    if missing:
        lake.append(HOME_LOG, [row_of(each) for each in missing])
    return len(missing)


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
