"""The list of the files that hold a sealed month: made with the manifest, made again when they were written anew.

Files of a sealed month are written anew only because events in it were erased. The manifest stays: it proves rows, and these have
the hashes that they had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from pipelines.export.errors import ListRefusedError
from pipelines.export.home_log import copy_home_log, last_files, last_seal
from pipelines.lake.datasets import EVENTS
from pipelines.lake.lake import Commit, Lake
from pipelines.proof.erasure import read_erasure
from pipelines.proof.files import hash_file
from pipelines.proof.manifest import FileList, ListedFile
from pipelines.proof.parts import Layout, lay_out
from pipelines.proof.signing import key_id, read_private_key
from pipelines.store import Entry, Signed, Store, sign
from pipelines.store.erasures import erasures_of

ERASED = "events of the month were erased"
"""The reason of every list but the first."""


@dataclass(frozen=True, slots=True)
class MonthFiles:
    """The files of one commit of a month of `events`.

    Attributes:
        month: UTC month, YYYY-MM.
        files: In the order of their rows.
        delta_version: Version of the Delta table that has them.
        commit_number: Number of that commit of the month.
    """

    month: str
    files: tuple[ListedFile, ...]
    delta_version: int
    commit_number: int

    @classmethod
    def of(cls, lake: Lake, month: str, layout: Layout, commit: Commit) -> MonthFiles:
        """Hash the files."""
        root = lake.table(EVENTS.name).path
        rows: dict[str, int] = {}
        for part in layout.parts:
            rows[part.file] = rows.get(part.file, 0) + part.rows
        files = tuple(
            ListedFile(str(Path(file).relative_to(root)), hash_file(file), Path(file).stat().st_size, count)
            for file, count in rows.items()
        )
        return cls(month, files, commit.delta_version, commit.number)

    def first(self, manifest: Signed, generation: int, entries: Sequence[Entry], public_key_id: str | None) -> FileList:
        """The list that goes with a manifest."""
        return self._list(manifest.sha256, generation, 1, None, (), entries, public_key_id)

    def again(
        self, before: FileList, causes: Sequence[str], entries: Sequence[Entry], public_key_id: str | None
    ) -> FileList:
        """The list that follows another one."""
        number = before.number + 1
        return self._list(
            before.manifest_sha256, before.generation, number, ERASED, tuple(causes), entries, public_key_id
        )

    def _list(
        self,
        manifest_sha256: str,
        generation: int,
        number: int,
        reason: str | None,
        causes: tuple[str, ...],
        entries: Sequence[Entry],
        public_key_id: str | None,
    ) -> FileList:
        before = last_files(entries, self.month)
        return FileList(
            month=self.month,
            generation=generation,
            number=number,
            manifest_sha256=manifest_sha256,
            files=self.files,
            delta_version=self.delta_version,
            commit_number=self.commit_number,
            reason=reason,
            causes=causes,
            code_version=metadata.version("refold"),
            listed_at=datetime.now(UTC).isoformat(),
            supersedes=before[0].sha256 if before else None,
            public_key_id=public_key_id,
        )


def find_outdated(store: Store, lake: Lake, months: Iterable[str]) -> dict[str, FileList]:
    """The newest lists of those of the months that are sealed and whose files were written anew since."""
    commits = {month: lake.last_commit(EVENTS.name, {"month": month}) for month in months}
    rewritten = [month for month, commit in commits.items() if commit is not None and commit.provenance.get("erased")]
    sealed = [month for month in rewritten if (store.month_state(month) or ("",))[0] == "sealed"]
    entries = store.home_log() if sealed else []
    found = {}
    for month in sealed:
        listed, commit = last_files(entries, month), commits[month]
        if listed is not None and commit is not None and commit.number > listed[1].commit_number:
            found[month] = listed[1]
    return found


def list_files_again(store: Store, lake: Lake, month: str, signing_key: Path | None) -> bool:
    """Sign and note which files hold a sealed month now, if they were written anew; whether they were.

    Raises:
        ListRefusedError: The list before was signed, and there is no key to sign this one with; or the files lack rows.
    """
    before = find_outdated(store, lake, [month]).get(month)
    if before is None:
        return False
    entries = store.home_log()
    commit, seal = lake.last_commit(EVENTS.name, {"month": month}), last_seal(entries, month)
    assert commit is not None
    assert seal is not None
    _require_key(month, before, signing_key)
    key = read_private_key(signing_key) if signing_key else None
    files = MonthFiles.of(lake, month, lay_out(lake.files(EVENTS.name, {"month": month})), commit)
    rows = sum(file.row_count for file in files.files)
    if rows != seal[1].rows:
        raise ListRefusedError(month, f"its files hold {rows:,} events, the manifest says {seal[1].rows:,}")
    causes = _causes(entries, month, store)
    again = files.again(before, causes, entries, key_id(key.public_key()) if key else None)
    store.note_files(month, sign(again.text(), key))
    copy_home_log(store, lake)
    return True


def require_keys(store: Store, months: Iterable[str], signing_key: Path | None) -> None:
    """Refuse to write files of sealed months anew whose list was signed, where there is no key to sign the next one with.

    Raises:
        ListRefusedError: So it is.
    """
    entries = store.home_log()
    for month in months:
        listed = last_files(entries, month)
        if listed is not None and (store.month_state(month) or ("",))[0] == "sealed":
            _require_key(month, listed[1], signing_key)


def _require_key(month: str, before: FileList, signing_key: Path | None) -> None:
    """What was signed is signed again."""
    if before.public_key_id is not None and signing_key is None:
        raise ListRefusedError(
            month,
            f"the list of its files is signed by key {before.public_key_id}, and the next one must be signed too: "
            "set REFOLD_SIGNING_KEY",
        )


def _causes(entries: Sequence[Entry], month: str, store: Store) -> list[str]:
    """The erasures that wrote the month's files anew since the list before, as the events that say so."""
    last = max(each.entry for each in entries if each.kind == "files" and each.month == month)
    of_month = {str(erasure) for erasure in erasures_of(store.conn, month)}
    versions: dict[str, int] = {}
    causes = []
    for each in entries:
        if each.kind == "erased":
            erasure = read_erasure(each.signed.text).erasure
            versions[erasure] = versions.get(erasure, 0) + 1
            if each.entry > last and erasure in of_month:
                causes.append(f"{erasure}@{versions[erasure]}")
    return causes
