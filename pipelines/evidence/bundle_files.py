"""The files of a bundle: the folder and the zip, whole or not at all, and never in the place of something else."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipelines.errors import BadInputError
from pipelines.lake.errors import told_when_full
from pipelines.proof.files import hash_file, read_small

LIST_FORMAT = "refold-audit-files/1"
README, REPORT, EVENTS, PROOF, VERIFIER, LIST = (
    "README.txt",
    "report.html",
    "events.jsonl",
    "proof.json",
    "verify_bundle.py",
    "files.txt",
)
_LISTED = tuple(sorted((README, REPORT, EVENTS, PROOF, VERIFIER)))
_TOP = "audit"
"""The folder in the zip."""
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)
"""Of the zip's entries: the first that it can hold, so that the zip follows from the files."""
_ABOUT = """Evidence of what a log of an agent holds, written by `refold audit`.

report.html        the story, to be read
events.jsonl       the events, and what of them is shown
proof.json         what binds them
files.txt          the list of these files, signed where there is a key
verify_bundle.py   checks all of it, with Python 3.9 or newer and nothing else:

    python3 -I verify_bundle.py
    python3 -I verify_bundle.py --public-key key.pem

With --public-key it demands the signature of that key; get the key, and better the verifier too, from somewhere other than this bundle.
What the files hold is told in docs/audit-format.md of Refold; SHA-256 of this bundle's verify_bundle.py:

    {sha256}
"""


def zip_of(folder: Path) -> Path:
    """Where the zip of a bundle is written."""
    return folder.with_name(f"{folder.name}.zip")


def require_place(folder: Path) -> Path:
    """The folder as an absolute path, if a bundle may be written there.

    Raises:
        BadInputError: Something else is there.
    """
    place = Path(os.path.abspath(folder))  # noqa: PTH100 - links are not followed
    if not place.name or place.suffix == ".zip":
        raise BadInputError(f"-o {folder}: name the folder; the zip is written beside it, under its name and .zip")
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise BadInputError(f"-o {folder} is there and is no folder; nothing was written")
    if place.is_dir() and any(place.iterdir()) and not _is_bundle(place):
        raise BadInputError(f"-o {folder} is there and holds something else than a bundle; nothing was written over it")
    target = zip_of(place)
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise BadInputError(f"{target} is there and is no file; nothing was written")
    if target.exists() and not _is_zip(target):
        raise BadInputError(f"{target} is there and is no bundle; nothing was written over it")
    return place


def list_text(folder: Path, origin: str) -> str:
    """The text of the list of files that are in a folder."""
    lines = [f"{hash_file(folder / name)} {(folder / name).stat().st_size} {name}" for name in _LISTED]
    return "".join(f"{line}\n" for line in [LIST_FORMAT, origin, *lines])


def readme_text(verifier: bytes) -> str:
    """What `README.txt` says."""
    return _ABOUT.format(sha256=hashlib.sha256(verifier).hexdigest())


@contextmanager
def building(place: Path, check: Callable[[Path], object]) -> Iterator[Path]:
    """A new folder that becomes `place`, with its zip, once all is written and `check` has passed.

    Args:
        place: As `require_place` gave it.
        check: Raises where what was written must not be handed out; called with the zip.

    Raises:
        BadInputError: It cannot be written.
        DiskFullError: The disk is full.
    """
    beside = place.with_name(f".{place.name[:100]}.audit.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        with told_when_full(place.parent):
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _remove_left(place)
            made, packed = beside / _TOP, beside / "zip"
            made.mkdir(parents=True, mode=0o700)
            yield made
            _pack(made, packed)
            check(packed)  # which holds what the folder holds
            require_place(place)  # what was not there when it began may be now
            if place.is_dir():
                place.rename(beside / "old")
            made.rename(place)
            packed.replace(zip_of(place))
    except OSError as error:
        raise BadInputError(f"{place}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _pack(folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED) as packed:
        for name in sorted((*_LISTED, LIST)):
            entry = zipfile.ZipInfo(f"{_TOP}/{name}", _FIRST_TIME)
            entry.external_attr, entry.create_system = (stat.S_IFREG | 0o600) << 16, 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.file_size = (folder / name).stat().st_size
            with (folder / name).open("rb") as source, packed.open(entry, "w") as output:
                shutil.copyfileobj(source, output, 2**20)


def _is_bundle(folder: Path) -> bool:
    """Whether a folder holds the files of a bundle and nothing else."""
    names = sorted(each.name for each in folder.iterdir())
    is_plain = all(each.is_file() and not each.is_symlink() for each in folder.iterdir())
    head = f"{LIST_FORMAT}\n".encode()
    return is_plain and names == sorted((*_LISTED, LIST)) and read_small(folder / LIST, len(head) - 1) == head


def _is_zip(path: Path) -> bool:
    with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as packed:
        return sorted(packed.namelist()) == sorted(f"{_TOP}/{name}" for name in (*_LISTED, LIST))
    return False


def _remove_left(place: Path) -> None:
    """Remove what killed processes left beside a place: it holds what somebody said."""
    pattern = re.compile(re.escape(f".{place.name[:100]}.audit.") + r"(\d{1,9})\.[0-9a-f]{8}")
    for each in place.parent.iterdir():
        found = pattern.fullmatch(each.name)
        if found and each.is_dir() and not each.is_symlink() and not _is_alive(int(found[1])):
            shutil.rmtree(each, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
