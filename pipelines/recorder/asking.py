"""One call of a model under way: what it answers is handed on at once and recorded when it has ended.

An answer that is streamed goes to the caller as the stream it was, in pieces that are heard on the way. The helpers of the SDKs
(`….stream(…)`) give streams of events of their own, made of those of the wire: it is these that are heard.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from pipelines.recorder.chunks import Assembler, assembler_of
from pipelines.recorder.exchange import Api, Course
from pipelines.recorder.storable import fields_of, member_of
from pipelines.recorder.wire import api_of_answer

_RAW = "_raw_stream"
"""Where the helpers of both SDKs have the events of the wire; they read it once they are read themselves."""
_WAITING = frozenset({"queued", "in_progress"})
"""States of a response that is not there yet."""


class Asking:
    """One call."""

    def __init__(
        self,
        request: Mapping[str, Any],
        api: Api | None,
        record: Callable[[Any, Any, Course, Api | None], object],
        tell: Callable[[str, str], object],
        left: deque[Asking],
    ) -> None:
        """Begin.

        Args:
            request: What the method is called with.
            api: Which API it is of, where that is known.
            record: Records the call.
            tell: Logs, once, that something is not recorded.
            left: Takes the calls whose stream was dropped before its end.
        """
        self._request, self._api = request, api
        self._record, self._tell, self._left = record, tell, left
        self._start = time.perf_counter()
        self._ttft_ms: float | None = None
        self._assembler: Assembler | None = None
        self._has_ended = False

    def failed(self, error: BaseException) -> None:
        """It was refused, or nothing came."""
        self._end(None, Course(self._ms(), error=type(error).__name__))

    def answered(self, response: Any) -> Any:
        """It was answered; what the caller gets."""
        kind = type(response)
        if hasattr(kind, "__anext__"):
            return HeardAsync(response, self)
        if hasattr(kind, "__next__"):
            return Heard(response, self)
        if api_of_answer(response) is None and (hasattr(kind, "__enter__") or hasattr(kind, "__aenter__")):
            return HeardManager(response, self)
        retries, parse = member_of(response, "retries_taken"), member_of(response, "parse")
        if isinstance(retries, int) and callable(parse):
            self._raw(parse, retries)
        elif str(member_of(response, "status")) in _WAITING:
            self._tell(
                "background", "a response that is not there yet is not recorded; give it to Talk.decision when it is"
            )
        else:
            self._end(response, Course(self._ms()))
        return response

    def _raw(self, parse: Callable[[], Any], retries: int) -> None:
        """A response as it came over the wire, with what it says when it is read; who reads it again gets the same."""
        if self._request.get("stream"):
            self._tell("raw", "a raw response that is streamed is not recorded; give its pieces to Talk.decision")
            return
        try:
            response = parse()
        except Exception as error:  # noqa: BLE001 -- it is raised to the caller, who reads it, too
            self.failed(error)
        else:
            self._end(response, Course(self._ms(), retries=retries))

    def hear(self, piece: Any) -> None:
        """The next piece of a stream came."""
        try:
            if self._ttft_ms is None:
                self._ttft_ms = self._ms()
            if self._assembler is None:
                self._assembler = assembler_of(piece)
            if self._assembler is not None:
                self._assembler.add(fields_of(piece) or {})
        except Exception:  # noqa: BLE001 -- a piece that is none is the caller's, too
            self._tell("piece", "a piece of a stream could not be read; what it says is not recorded")

    def end(self, error: BaseException | None = None) -> None:
        """The stream ended, or will not be read on."""
        made = self._assembler
        is_cut = made is None or not made.is_whole
        name = None if error is None or not is_cut else type(error).__name__
        try:
            response = None if made is None else made.response()
        except Exception:  # noqa: BLE001 -- of pieces that are none
            response, is_cut = None, True
        self._end(response, Course(self._ms(), self._ttft_ms, error=name, is_cut=is_cut))

    def unheard(self) -> None:
        """The answer comes in a way that is not known."""
        self._has_ended = True
        self._tell("stream", "a stream of an unknown kind is not recorded; give its pieces to Talk.decision")

    def leave(self) -> None:
        """The stream was dropped: the call is recorded later, as this may be anywhere."""
        if not self._has_ended:
            self._left.append(self)

    def _end(self, response: Any, course: Course) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._record(self._request, response, course, self._api)

    def _ms(self) -> float:
        return round((time.perf_counter() - self._start) * 1000, 3)


class _Heard:
    """A stream whose pieces are heard; everything else is the stream's own."""

    def __init__(self, stream: Any, asking: Asking) -> None:
        self._stream, self._asking = stream, asking
        weakref.finalize(self, asking.leave).atexit = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> Any:
        """Close the stream, and record what came of it; of an asynchronous one the answer is to be awaited."""
        self._asking.end()
        return self._stream.close()


class Heard(_Heard):
    """A synchronous stream."""

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            piece = next(self._stream)
        except StopIteration:
            self._asking.end()
            raise
        except BaseException as error:
            self._asking.end(error)
            raise
        self._asking.hear(piece)
        return piece

    def __enter__(self) -> Self:
        self._stream.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._asking.end(error)
        return self._stream.__exit__(kind, error, trace)


class HeardAsync(_Heard):
    """An asynchronous stream."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            piece = await anext(self._stream)
        except StopAsyncIteration:
            self._asking.end()
            raise
        except BaseException as error:
            self._asking.end(error)
            raise
        self._asking.hear(piece)
        return piece

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._asking.end(error)
        return await self._stream.__aexit__(kind, error, trace)


class HeardManager:
    """What a helper of an SDK gives for a `with`: the call is made as it is entered, and its stream is the SDK's own."""

    def __init__(self, manager: Any, asking: Asking) -> None:
        self._manager, self._asking = manager, asking

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def __enter__(self) -> Any:
        try:
            stream = self._manager.__enter__()
        except BaseException as error:
            self._asking.failed(error)
            raise
        return self._listen(stream, Heard)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._asking.end(error)
        return self._manager.__exit__(kind, error, trace)

    async def __aenter__(self) -> Any:
        entered: Awaitable[Any] = self._manager.__aenter__()
        try:
            stream = await entered
        except BaseException as error:
            self._asking.failed(error)
            raise
        return self._listen(stream, HeardAsync)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._asking.end(error)
        return await self._manager.__aexit__(kind, error, trace)

    def _listen(self, stream: Any, kind: type[_Heard]) -> Any:
        raw = getattr(stream, _RAW, None)
        if raw is None:
            self._asking.unheard()
        else:
            setattr(stream, _RAW, kind(raw, self._asking))
        return stream
