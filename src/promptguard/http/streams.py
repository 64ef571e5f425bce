"""Byte streams that stand in for a library's own: one that records what passes, one that plays it again.

Each works for threads and for asyncio, because both families tell the two apart by method, not by state. The classes
are made once a family, as the libraries check `isinstance` of their own SyncByteStream and AsyncByteStream.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any

from promptguard.core.effects import Body
from promptguard.core.model import BodyEnd

MAX_RECORDED = 8 * 1024 * 1024
"""Bytes of one answer that are kept for caching and comparing; what comes after passes unrecorded."""


_ABANDONED: deque[Callable[[], object]] = deque()


def finish_abandoned() -> None:
    """Finish the answers whose streams were dropped without being closed.

    Not done where they are collected: that can happen within any allocation, also one made while holding a lock that
    finishing would take.
    """
    while _ABANDONED:
        try:
            finish = _ABANDONED.popleft()
        except IndexError:
            return  # another thread was first
        finish()


def finish_later(finish: Callable[[], object]) -> None:
    """Have `finish` called by the next `finish_abandoned`; safe where objects are collected."""
    _ABANDONED.append(finish)


_HELD: set[Recorder] = set()


class Recorder:
    """What one answer's body was, told exactly once to `done` when the caller is finished with it."""

    __slots__ = ("_chunks", "_clipped", "_done", "_size")

    def __init__(self, done: Callable[[Body], None]) -> None:
        self._chunks: list[bytes] = []
        self._size = 0
        self._clipped = False
        self._done: Callable[[Body], None] | None = done

    def add(self, chunk: bytes) -> None:
        """Keep one chunk as it passes, up to MAX_RECORDED bytes in all."""
        if self._size + len(chunk) > MAX_RECORDED:
            chunk, self._clipped = chunk[: MAX_RECORDED - self._size], True
        if chunk:
            self._size += len(chunk)
            self._chunks.append(chunk)

    def hold(self) -> None:
        """Be kept until finished, apart from the stream that records, which tells when it is collected.

        SDKs and botocore put their streams into reference cycles. Were this in the cycle with them, the flow that waits
        behind `done` would be closed by the collector before it could be told.
        """
        _HELD.add(self)

    @property
    def finished(self) -> bool:
        """Whether `done` has been told."""
        return self._done is None

    def finish(self, end: BodyEnd) -> None:
        """Tell `done` how the body ended; only the first call counts."""
        _HELD.discard(self)
        done, self._done = self._done, None
        if done is not None:
            done(Body(tuple(self._chunks), end, self._clipped))


@functools.cache
def recorded_stream_class(family: ModuleType) -> Any:  # noqa: C901 - one class that needs its family
    """Return the class of recording streams for one family; instances take (inner stream, Recorder)."""

    class RecordedStream(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[name-defined,misc]
        def __init__(self, inner: Any, recorder: Recorder) -> None:
            self._inner = inner
            self._recorder = recorder
            # One iterator for all: the openai SDK iterates a second time to drain what follows [DONE].
            self._iterator: Any = None
            recorder.hold()

        def __iter__(self) -> Iterator[bytes]:
            if self._iterator is None:
                self._iterator = iter(self._inner)
            try:
                for chunk in self._iterator:
                    self._recorder.add(chunk)
                    yield chunk
            except GeneratorExit:
                raise  # the caller stopped reading; close() follows and tells
            except BaseException:
                self._recorder.finish("cut")
                raise
            self._recorder.finish("eof")

        async def __aiter__(self) -> AsyncIterator[bytes]:
            if self._iterator is None:
                self._iterator = self._inner.__aiter__()
            try:
                async for chunk in self._iterator:
                    self._recorder.add(chunk)
                    yield chunk
            except GeneratorExit:
                raise
            except BaseException:
                self._recorder.finish("cut")
                raise
            self._recorder.finish("eof")

        def close(self) -> None:
            try:
                self._inner.close()
            finally:
                self._recorder.finish("closed")

        async def aclose(self) -> None:
            try:
                await self._inner.aclose()
            finally:
                self._recorder.finish("closed")

        def __del__(self) -> None:
            # A stream that nobody closes is an outcome too; interpreter shutdown may have taken the rest away.
            recorder = getattr(self, "_recorder", None)
            if recorder is not None and not recorder.finished:
                finish_later(functools.partial(recorder.finish, "closed"))

    return RecordedStream


@functools.cache
def replayed_stream_class(family: ModuleType) -> Any:
    """Return the class of streams that play recorded chunks; instances take the chunks."""

    class ReplayedStream(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[name-defined,misc]
        def __init__(self, chunks: tuple[bytes, ...]) -> None:
            self._left = iter(chunks)  # resumed, never restarted, for the same reason as above

        def __iter__(self) -> Iterator[bytes]:
            yield from self._left

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self._left:
                yield chunk

    return ReplayedStream
