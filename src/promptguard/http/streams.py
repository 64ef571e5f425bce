"""Byte streams that stand in for a library's own: one that records what passes, one that plays it again.

Each works for threads and for asyncio, because both families tell the two apart by method, not by state. The classes
are made once a family, as the libraries check `isinstance` of their own SyncByteStream and AsyncByteStream.
"""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Self

from promptguard.core.effects import Body
from promptguard.core.http_types import ByteStream
from promptguard.core.model import BodyEnd
from promptguard.runtime.finishing import finish_later

MAX_RECORDED = 64 * 1024 * 1024
"""Bytes of one answer that are kept for caching and comparing; what comes after passes unrecorded.

As many as the queue of background work holds in all, so that an answer that is recorded whole can also be paired.
"""
FREELY_RECORDED = 8 * 1024 * 1024
"""Bytes of each answer that are recorded whatever else is. What goes beyond, all answers under way share MAX_RECORDED for:
a hundred downloads of 60 MB at a time must not take 6 GB."""


_HELD: set[Recorder] = set()


class _LargeAnswers:
    """The memory that answers under way share for what goes beyond FREELY_RECORDED bytes of each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = 0

    def take(self, size: int) -> bool:
        """Reserve `size` bytes; False when there are not so many left."""
        with self._lock:
            if self._held + size > MAX_RECORDED:
                return False
            self._held += size
            return True

    def give_back(self, size: int) -> None:
        """End a reservation."""
        with self._lock:
            self._held -= size

    def after_fork(self) -> None:
        """Have a lock of the child's own: a thread of the parent's may have held it."""
        self._lock = threading.Lock()


_LARGE = _LargeAnswers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_LARGE.after_fork)


class Recorder:
    """What one answer's body was, told exactly once to `done` when the caller is finished with it."""

    __slots__ = ("_arrivals", "_chunks", "_clipped", "_done", "_reserved", "_size")

    def __init__(self, done: Callable[[Body], None]) -> None:
        self._chunks: list[bytes] = []
        self._arrivals: list[float] = []
        self._size = 0
        self._clipped = False
        self._reserved = 0
        """bytes of `_LARGE`"""
        self._done: Callable[[Body], None] | None = done

    def add(self, chunk: bytes) -> None:
        """Keep one chunk as it passes; from the first one that is too much on, none. Never raises."""
        try:
            self._keep(chunk)
        except Exception:  # noqa: BLE001 - no memory, say: the answer passes, and is not recorded
            self._clipped = True

    def _keep(self, chunk: bytes) -> None:
        if self._clipped or not chunk or self._done is None:
            return
        if self._size + len(chunk) > FREELY_RECORDED and not self._may_hold(len(chunk)):
            self._clipped = True
            return
        self._size += len(chunk)
        self._chunks.append(chunk)
        self._arrivals.append(time.monotonic())

    def _may_hold(self, more: int) -> bool:
        if self._size + more > MAX_RECORDED or not _LARGE.take(more):
            return False
        self._reserved += more
        return True

    def _tell(self, done: Callable[[Body], None], end: BodyEnd) -> None:
        done(Body(tuple(self._chunks), end, self._clipped, tuple(self._arrivals)))

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
        """Tell `done` how the body ended; only the first call counts. Never raises."""
        _HELD.discard(self)
        done, self._done = self._done, None
        if done is None:
            return
        try:
            self._tell(done, end)
        except Exception:  # noqa: BLE001 - whoever waits for the end of this answer must be told of it
            with contextlib.suppress(Exception):
                done(Body((), "cut", clipped=True))
        finally:
            self._chunks = []
            if self._reserved:
                _LARGE.give_back(self._reserved)
                self._reserved = 0


class RecordedChunks:
    """The chunks of an asynchronous stream, recorded as they pass.

    No asynchronous generator: an event loop that ends closes all of these at once, and one between two others would then be
    closed from outside while it is being closed by its reader.
    """

    __slots__ = ("_chunks", "_recorder")

    def __init__(self, chunks: AsyncIterator[bytes], recorder: Recorder) -> None:
        self._chunks = chunks
        self._recorder = recorder

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await self._chunks.__anext__()
        except StopAsyncIteration:
            self._recorder.finish("eof")
            raise
        except GeneratorExit:
            raise  # the caller stopped reading; aclose() follows and tells
        except BaseException:
            self._recorder.finish("cut")
            raise
        self._recorder.add(chunk)
        return chunk


@functools.cache
def recorded_stream_class(family: ModuleType) -> Callable[[ByteStream, Recorder], ByteStream]:  # noqa: C901 - one class that needs its family
    """Return the class of recording streams for one family; instances take (inner stream, Recorder)."""

    class RecordedStream(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[name-defined,misc]
        def __init__(self, inner: ByteStream, recorder: Recorder) -> None:
            self._inner = inner
            self._recorder = recorder
            # One iterator for all: the openai SDK iterates a second time to drain what follows [DONE].
            self._chunks: Iterator[bytes] | None = None
            self._async_chunks: RecordedChunks | None = None
            recorder.hold()

        def __iter__(self) -> Iterator[bytes]:
            if self._chunks is None:
                self._chunks = iter(self._inner)
            try:
                for chunk in self._chunks:
                    self._recorder.add(chunk)
                    yield chunk
            except GeneratorExit:
                raise  # the caller stopped reading; close() follows and tells
            except BaseException:
                self._recorder.finish("cut")
                raise
            self._recorder.finish("eof")

        def __aiter__(self) -> AsyncIterator[bytes]:
            if self._async_chunks is None:
                self._async_chunks = RecordedChunks(self._inner.__aiter__(), self._recorder)
            return self._async_chunks

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
def replayed_stream_class(family: ModuleType) -> Callable[[tuple[bytes, ...]], ByteStream]:
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
