"""Compare texts and tool calls in other processes, or in this one.

Python runs on one core per process, so large diffs give their batches to helpers: `python -m pipelines.diff.worker`,
which read a task from standard input and write its answer to standard output, as Arrow tables. They hold nothing but a
cache; the answers are the same wherever they are computed.
"""

from __future__ import annotations

import gc
import io
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import BinaryIO, Literal, Self, cast

import pyarrow as pa

from pipelines.canonical.calls import Canonicaliser
from pipelines.canonical.rules import ToolRules
from pipelines.diff.pair.align import Aligner
from pipelines.diff.pair.calls import diff_calls, flag_calls
from pipelines.diff.pair.rules import Flagger
from pipelines.diff.pair.text import compare_changed
from pipelines.errors import RefoldError

Task = Literal["texts", "calls", "flags"]

_SIZE = struct.Struct("<Q")


class Comparer:
    """Does one task after the other; remembers tool calls between them.

    Args:
        rules: The tools' rules.
    """

    def __init__(self, rules: Mapping[str, ToolRules]) -> None:
        self._aligner = Aligner(Canonicaliser(rules))
        self._flagger = Flagger(rules)

    def run(self, task: Task, given: pa.Table) -> tuple[pa.Table, ...]:
        """Do one task.

        Args:
            task: `texts`, `calls` or `flags`.
            given: `unit_row` with `text_a, text_b` or `tool_calls_a, tool_calls_b`; for flags, `name, arguments`.

        Returns:
            For texts, one table of `unit_row` and `CHANGE_SCHEMA`; for calls, what `diff_calls` returns;
            for flags, what was given and `flags`.
        """
        if task == "calls":
            return diff_calls(given, self._aligner)
        if task == "flags":
            return (flag_calls(given, self._flagger),)
        a, b = (cast("list[str]", given.column(name).to_pylist()) for name in ("text_a", "text_b"))
        found = compare_changed(a, b)
        return (found.add_column(0, "unit_row", given.column("unit_row")),)


class Comparers:
    """As many comparers as there is work for: one here, or one per core in processes of their own.

    Args:
        rules: The tools' rules.
        processes: Processes to use once there is a batch of work; 0 compares here.
    """

    def __init__(self, rules: Mapping[str, ToolRules], processes: int) -> None:
        self._rules = dict(rules)
        self._here = Comparer(rules)
        self._processes = processes
        self._threads: ThreadPoolExecutor | None = None
        self._helpers: list[_Helper] = []
        self._idle: SimpleQueue[_Helper] = SimpleQueue()

    @property
    def schema_tools(self) -> list[str]:
        """Tools whose calls a schema judges."""
        return sorted(name for name, rule in self._rules.items() if rule.schema)

    def __enter__(self) -> Self:
        """Begin; processes start with the first batch given to them."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the processes."""
        for helper in self._helpers:
            helper.stop()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def submit(self, task: Task, given: pa.Table, *, is_small: bool) -> Future[tuple[pa.Table, ...]]:
        """Do a task, here if all there is to do is small.

        Raises:
            RefoldError: (by the future) a process ended.
        """
        if self._processes == 0 or (is_small and not self._helpers):
            done: Future[tuple[pa.Table, ...]] = Future()
            done.set_result(self._here.run(task, given))
            return done
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._processes)
            for _ in range(self._processes):
                helper = _Helper(self._rules)
                self._helpers.append(helper)
                self._idle.put(helper)
        return self._threads.submit(self._ask, task, given)

    def _ask(self, task: Task, given: pa.Table) -> tuple[pa.Table, ...]:
        helper = self._idle.get()
        try:
            return helper.ask(task, given)
        finally:
            self._idle.put(helper)


class _Helper:
    """One process."""

    def __init__(self, rules: Mapping[str, ToolRules]) -> None:
        package = str(Path(__file__).resolve().parents[2])
        found = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(  # noqa: S603 -- this module, by this interpreter
            # -P: what lies in the current folder is not imported in place of this package
            [sys.executable, "-P", "-m", __spec__.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        _write(self._to, pickle.dumps(rules))

    def ask(self, task: Task, given: pa.Table) -> tuple[pa.Table, ...]:
        try:
            _write(self._to, task.encode())
            _write(self._to, _to_bytes(given))
            count = int(_read(self._from))
            return tuple(_to_table(_read(self._from)) for _ in range(count))
        except (OSError, EOFError, ValueError) as error:
            raise RefoldError(
                f"a process that compared {task} ended with code {self._process.poll()}; what it said is above"
            ) from error

    def stop(self) -> None:
        with suppress(BrokenPipeError):  # it ended before it read all, which is told where it was asked
            self._to.close()
        try:
            self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:  # in the middle of a batch that nobody waits for
            self._process.kill()
            self._process.wait()
        self._from.close()


def _write(stream: BinaryIO | object, data: bytes | memoryview) -> None:
    assert isinstance(stream, io.BufferedIOBase | io.RawIOBase)
    stream.write(_SIZE.pack(len(data)))
    stream.write(data)
    stream.flush()


def _read(stream: BinaryIO | object) -> bytes:
    assert isinstance(stream, io.BufferedIOBase | io.RawIOBase)
    head = stream.read(_SIZE.size)
    if len(head) < _SIZE.size:
        raise EOFError
    (size,) = _SIZE.unpack(head)
    data: bytes = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _to_bytes(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def _to_table(data: bytes) -> pa.Table:
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.read_all()


def _serve(tasks: BinaryIO, answers: BinaryIO) -> None:
    """Do tasks until there are no more."""
    gc.disable()  # nothing here refers to itself, and looking for it in all that is remembered takes a quarter of the time
    comparer = Comparer(pickle.loads(_read(tasks)))  # noqa: S301 -- from the process that started this one
    while True:
        try:
            task = cast("Task", _read(tasks).decode())
        except EOFError:
            return
        results: Sequence[pa.Table] = comparer.run(task, _to_table(_read(tasks)))
        _write(answers, str(len(results)).encode())
        for table in results:
            _write(answers, _to_bytes(table))


if __name__ == "__main__":
    _serve(sys.stdin.buffer, sys.stdout.buffer)
