"""Under which system account the embedded server runs.

PostgreSQL refuses to run as root. An ordinary user runs it as themselves; root runs it as the system account `refold`,
made when absent. That account must reach the data directory: folders above it that it may not pass get the traverse bit
for others (`o+x`), never a read bit, and every such change is logged once. Nothing else about permissions is here.
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipelines.store.errors import StoreUnavailable

ACCOUNT_NAME = "refold"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """A system account: numeric user and group."""

    uid: int
    gid: int

    @property
    def is_self(self) -> bool:
        """Whether this process already runs as the account."""
        return self.uid == os.geteuid()


def server_account() -> Account:
    """The account that the embedded server runs under: this user, or `refold` when this user is root.

    Raises:
        StoreUnavailable: This is root, the account does not exist and could not be made.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)
    except KeyError:
        entry = _make_account()
    return Account(entry.pw_uid, entry.pw_gid)


def _make_account() -> pwd.struct_passwd:
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    hint = f"make an unprivileged system account named {ACCOUNT_NAME}, run as an ordinary user, or set REFOLD_DSN"
    if useradd is None:
        raise StoreUnavailable(f"PostgreSQL does not run as root and there is no useradd; {hint}")
    done = subprocess.run(  # noqa: S603 - fixed arguments, program found on PATH
        [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "--user-group", ACCOUNT_NAME],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        entry = pwd.getpwnam(ACCOUNT_NAME)  # also there when another process won the race
    except KeyError:
        raise StoreUnavailable(
            f"PostgreSQL does not run as root and useradd failed ({done.stderr.strip()}); {hint}"
        ) from None
    _log.warning("made the system account %s: PostgreSQL does not run as root", ACCOUNT_NAME)
    return entry


def let_pass(account: Account, folders: Iterable[Path]) -> list[Path]:
    """Let `account` traverse every parent of `folders`; return the parents whose mode was changed.

    Only the bit `o+x` is added, only where the account could not pass, and only by root.
    """
    if account.is_self:
        return []
    parents = {parent for folder in folders for parent in folder.resolve().parents}
    changed = []
    for parent in sorted(parents):
        status = parent.stat()
        if not _may_pass(account, status):
            parent.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
            changed.append(parent)
    if changed:
        _log.warning(
            "PostgreSQL runs as the account %s, which may now pass through, and not read: %s",
            ACCOUNT_NAME,
            ", ".join(map(str, changed)),
        )
    return changed


def _may_pass(account: Account, status: os.stat_result) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
