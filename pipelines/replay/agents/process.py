"""One process of a candidate's command: a line in, a line out, and everything that it started ended with it.

What the lines mean, and which process a unit goes to, is the caller's matter.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.console import on_one_line
from pipelines.replay.agents import supervisor
from pipelines.replay.agents.stage import AgentFailedError
from pipelines.replay.failure import Reason

MAX_LINE_BYTES = 4 * 2**20
"""The longest answer that is read: a final text of a million words is none."""
_MAX_ERRORS = 2_000
"""Bytes of what a process wrote to its standard error that are kept while it runs, and shown if it fails: the last ones."""
_TO_END = 5.0
"""Seconds in which a process that was told to end is gone: it is killed, and a machine can be slow."""
_FOR_THE_REST = 1.0
"""Seconds after a process has ended for what it wrote to be read, where others hold its pipes."""


class Process(asyncio.SubprocessProtocol):
    """A process under its supervisor. It is asked about one unit at a time.

    Attributes:
        number: The supervisor's process id; the command and what it started are below it.
        has_answered: Whether a line of its was an answer; whoever reads them says so.
        is_usable: Whether it may be asked again: it runs, and wrote nothing that nobody had asked for.
    """

    def __init__(self, life: int) -> None:
        loop = asyncio.get_running_loop()
        self.number = 0
        self.has_answered = False
        self.is_usable = True
        self._life: int | None = life
        self._transport: asyncio.SubprocessTransport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._ended: asyncio.Future[None] = loop.create_future()
        self._read = bytearray()
        self._errors = bytearray()

    async def ask(self, line: bytes, seconds: float) -> bytes:
        """Write a line and wait for the next one.

        Raises:
            AgentFailedError: It ended or was ended before, the time was over, or the answer was too long. It is not usable any more.
        """
        assert self._transport is not None
        if self.has_answered:  # what it wrote as it began is of its first unit
            self._errors.clear()
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        clock = loop.call_later(seconds, self.fail, "agent_timeout", f"no answer within {seconds:g} s")
        try:
            if self._ended.done():
                self._give_up()
            else:
                pipe = self._transport.get_pipe_transport(0)
                assert isinstance(pipe, asyncio.WriteTransport)
                pipe.write(line)
            answer = await self._answer
        except BaseException:
            self.is_usable = False
            raise
        finally:
            clock.cancel()
            self._answer = None
        return answer

    def fail(self, reason: Reason, detail: str) -> None:
        """Say why it does not answer, and kill it; nothing where it has answered."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(AgentFailedError(reason, f"{detail}{self.errors}"))
        self.kill()

    @property
    def errors(self) -> str:
        """What it wrote to its standard error of late, for the end of a sentence; empty for nothing."""
        text = on_one_line(self._errors.decode("utf-8", "replace").strip())
        return f"; it wrote: {text}" if text else ""

    def kill(self) -> None:
        """Have it and all that it started end."""
        self.is_usable = False
        if self._life is not None:
            os.close(self._life)
            self._life = None

    async def end(self, patience: float = 0.0) -> None:
        """Wait until it and all that it started are gone.

        Args:
            patience: Seconds for it to end by itself, now that it gets no more lines.
        """
        self.is_usable = False
        if self._transport is None:
            return
        if pipe := self._transport.get_pipe_transport(0):
            pipe.close()
        if patience and not self._ended.done():
            await asyncio.wait([self._ended], timeout=patience)
        self.kill()
        if not self._ended.done():
            await asyncio.wait([self._ended], timeout=_TO_END)
        if not self._ended.done():  # its supervisor was stopped or is stuck
            for number in (*supervisor.below(self.number, supervisor.running()), self.number):
                try:
                    os.kill(number, 9)
                except OSError:
                    continue
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It was started."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport, self.number = transport, transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """It wrote something."""
        if fd == 2:
            self._errors += data
            del self._errors[:-_MAX_ERRORS]
            return
        if self._answer is None or self._answer.done():  # nobody asked
            self.is_usable = self.is_usable and not data.strip()
            return
        line, end, more = data.partition(b"\n")
        self._read += line
        if len(self._read) > MAX_LINE_BYTES:
            self.fail("candidate_error", f"its answer is longer than {MAX_LINE_BYTES:,} bytes")
        elif end:
            self._answer.set_result(bytes(self._read))
            self._read.clear()
            self.is_usable = self.is_usable and not more.strip()  # whose would the next line be

    def process_exited(self) -> None:
        """It ended; what it wrote may not all be read yet."""
        asyncio.get_running_loop().call_later(_FOR_THE_REST, self.connection_lost, None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 -- as asyncio calls it
        """It ended, and all that it wrote is read."""
        if not self._ended.done():
            self._ended.set_result(None)
            self._give_up()
            self.kill()

    def _give_up(self) -> None:
        if self._answer is None or self._answer.done():
            return
        self._answer.set_exception(AgentFailedError("agent_ended", f"the command ended {self._how()}{self.errors}"))

    def _how(self) -> str:
        code = self._transport.get_returncode() if self._transport is not None else None
        if code is not None and code < 0:
            return f"by signal {-code}"
        return f"with exit code {code}" + (" and was to read on" if code == 0 else "")


async def start(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    inherited: Sequence[int] = (),
    scratch: Path | None = None,
) -> Process:
    """Start a command under a supervisor.

    Args:
        command: What to run, and its arguments.
        folder: Where.
        environment: All that it finds there.
        inherited: File descriptors that it gets beside its three.
        scratch: A folder that is removed once it has ended, also where nobody lives to do it.
    """
    life, held = os.pipe()
    try:
        process = Process(held)
    except BaseException:
        os.close(held)
        os.close(life)
        raise
    program: list[Any] = [sys.executable, "-I", "-S", supervisor.__file__, str(life), str(scratch or ""), *command]
    try:
        await asyncio.get_running_loop().subprocess_exec(
            lambda: process,
            *program,
            cwd=folder,
            env=dict(environment),
            pass_fds=(life, *inherited),
            start_new_session=True,  # an interrupt from the terminal is this process's to pass on
        )
    except BaseException:
        process.kill()
        raise
    finally:
        os.close(life)
    return process
