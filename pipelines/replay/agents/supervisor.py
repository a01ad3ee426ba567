"""A program: runs a command, and ends it with everything that it started.

`python supervisor.py LIFE SCRATCH COMMAND …`. `LIFE` is a file descriptor, the reading end of a pipe: once nobody holds the other end, be it
that the replay let go of it or that it was killed, nothing that the command started lives on. Input, output and errors are the command's.
`SCRATCH` is a folder that goes with it; empty for none. It ends as the command did: with its exit code, or by its signal. On Linux what
left the command's process group ends with it, too.

It is started by its path for each process of a candidate, and imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import sys
import time

_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
_PAGE = resource.getpagesize()
_ROUNDS = 400
"""How often those that are left are looked for: who forks faster than it is killed does not keep this waiting for ever."""
_BETWEEN = 0.005
"""Seconds between two rounds."""
NOT_FOUND, NOT_ALLOWED = 127, 126
"""Exit codes where the command could not be started, as a shell has them."""


def supervise(life: int, command: list[str]) -> int:
    """Run the command until it ends or `life` does.

    Returns:
        What to end with: an exit code, or a signal as a negative number.
    """
    os.set_inheritable(life, False)
    _control(_SET_CHILD_SUBREAPER, 1)  # who loses their parent becomes a child of this one: nobody gets away
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    child = os.fork()
    if child == 0:
        _become(command)
    for number in (0, 1):  # the pipes are the command's alone: they end with it
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    status = None
    while status is None:
        ready, _, _ = select.select([life, woken], [], [])
        if life in ready:
            break
        os.read(woken, 4096)
        status = _reap(child)
    _end_all(child)
    return os.waitstatus_to_exitcode(status) if status is not None else -signal.SIGKILL


def running() -> dict[int, tuple[int, int]]:
    """Parent and resident bytes of each process that runs, as /proc has them; none where there is no /proc."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):  # noqa: PTH208 -- pathlib takes as long to import as this program to start
            if name.isdigit() and (process := _look_at(name)) is not None:
                found[int(name)] = process
    return found


def below(root: int, processes: dict[int, tuple[int, int]]) -> set[int]:
    """The processes that `root` started, and those that these started."""
    children: dict[int, list[int]] = {}
    for number, (parent, _) in processes.items():
        children.setdefault(parent, []).append(number)
    found: set[int] = set()
    ahead = [root]
    while ahead:
        started = children.get(ahead.pop(), [])
        found.update(started)
        ahead += started
    return found


def _look_at(name: str) -> tuple[int, int] | None:
    """Parent and resident bytes of one process; None for one that has ended."""
    try:
        with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123 -- as above
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(fields[1]), int(fields[21]) * _PAGE) if fields[0] not in (b"Z", b"X") else None


def _control(option: int, value: int) -> None:
    """`prctl`, where there is one."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 -- elsewhere there is nothing to call

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _become(command: list[str]) -> None:
    """Be the command, in a session of its own; in the child."""
    code = NOT_FOUND
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        _control(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        os.setsid()
        os.execvp(command[0], command)  # noqa: S606 -- what the experiment names
    except OSError as error:
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_ALLOWED
        os.write(2, f"{command[0]}: {error.strerror}\n".encode(errors="backslashreplace"))
    finally:
        os._exit(code)


def _reap(child: int) -> int | None:
    """Take leave of all that have ended; the status of `child` if it is one of them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                status = ended[1]
    return status


def _end_all(child: int) -> None:
    """Kill what is left, and what that started meanwhile."""
    for _ in range(_ROUNDS):
        with contextlib.suppress(OSError):
            os.killpg(child, signal.SIGKILL)
        left = below(os.getpid(), running())
        for each in left:
            with contextlib.suppress(OSError):
                os.kill(each, signal.SIGKILL)
        _reap(child)
        if not left:
            return
        time.sleep(_BETWEEN)


def main() -> None:
    """Run what the arguments name."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    code = supervise(int(sys.argv[1]), sys.argv[3:])
    if scratch := sys.argv[2]:
        import shutil  # noqa: PLC0415 -- only where there is something to remove

        shutil.rmtree(scratch, ignore_errors=True)
    if code < 0:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
