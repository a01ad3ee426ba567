"""Where checkpoints are kept: a file, and places out of reach of who can change the log, as `REFOLD_CHECKPOINTS` names them.

A place takes a checkpoint once, under a name made of its size and root; one that is there stays, byte for byte.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import psycopg

from pipelines.errors import BadInputError
from pipelines.proof.checkpoint import Checkpoint

_TABLE = """
CREATE TABLE IF NOT EXISTS refold_checkpoints (
    origin text NOT NULL,
    size bigint NOT NULL,
    note bytea NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (origin, size, note)
)
"""
_SECONDS = 60
"""That git may take for one step."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of a checkpoint at one place; `error` is None where it is kept."""

    place: str
    error: str | None


def file_name(checkpoint: Checkpoint) -> str:
    """A name that sorts by size and is another for another root."""
    return f"checkpoint-{checkpoint.size:012d}-{checkpoint.root.hex()[:12]}.txt"


def write_checkpoint(path: Path, content: bytes) -> None:
    """Write a checkpoint to a file, whole and to disk, private; one that is there must be the same.

    Raises:
        BadInputError: The file is there with another content, or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            if path.read_bytes() != content:
                raise BadInputError(f"{path} is there and holds something else; nothing was written over it")
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        with beside.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.chmod(0o600)
        beside.rename(path)
    except OSError as error:
        raise BadInputError(f"{path} cannot be written: {error.strerror}") from None


def keep(places: Sequence[str], checkpoint: Checkpoint, content: bytes) -> list[Kept]:
    """Bring a checkpoint to all places; one that cannot be reached does not hold back the others."""
    kept = []
    for place in places:
        try:
            _keep(place, checkpoint, content)
            kept.append(Kept(shown(place), None))
        except (BadInputError, OSError, subprocess.SubprocessError, psycopg.Error) as error:
            kept.append(Kept(shown(place), _reason(error, place)))
    return kept


def shown(place: str) -> str:
    """A place without what is secret in it."""
    if "://" not in place:
        return place
    parts = urlsplit(place)
    host = parts.hostname or ""
    return parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host, query="").geturl()


def _keep(place: str, checkpoint: Checkpoint, content: bytes) -> None:
    if place.startswith("git+"):
        _push(place.removeprefix("git+"), file_name(checkpoint), content)
    elif place.startswith(("postgresql://", "postgres://")):
        with psycopg.connect(place, autocommit=True, connect_timeout=10) as connection:
            connection.execute(_TABLE)
            connection.execute(
                "INSERT INTO refold_checkpoints (origin, size, note) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
                [checkpoint.origin, checkpoint.size, content],
            )
    elif "://" in place:
        raise BadInputError("it is neither a folder, nor git+URL, nor postgresql://…")
    else:
        write_checkpoint(Path(place).expanduser() / file_name(checkpoint), content)


def _push(address: str, name: str, content: bytes) -> None:
    """Commit the file to a branch (behind `#`; default: the remote's own) and push; what is there already is pushed no more."""
    url, _, branch = address.partition("#")
    with TemporaryDirectory(prefix="refold-checkpoint-") as folder:
        chosen = ["--branch", branch] if branch else []
        _git(folder, "clone", "--quiet", "--depth", "1", *chosen, "--", url, "log")
        clone = Path(folder) / "log"
        if (clone / name).exists():
            return
        write_checkpoint(clone / name, content)
        _git(clone, "add", "--", name)
        author = ["-c", "user.name=refold", "-c", "user.email=refold@localhost", "-c", "commit.gpgsign=false"]
        _git(clone, *author, "commit", "--quiet", "--message", f"Checkpoint {name}")
        _git(clone, "push", "--quiet", "origin", "HEAD")


def _git(folder: Path | str, *arguments: str) -> None:
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "LC_ALL": "C"}
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and an address stands behind `--`
            ["git", *arguments],  # noqa: S607 - whatever git the user has
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except FileNotFoundError:
        raise BadInputError("git is not installed") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BadInputError(
            f"git {next(each for each in arguments if not each.startswith('-') and '=' not in each)}: {last}"
        )


def _reason(error: BaseException, place: str) -> str:
    """One line that repeats no password."""
    text = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(re.escape(place), shown(place), text)
