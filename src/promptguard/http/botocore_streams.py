"""Responses of urllib3's beneath botocore: one that records what passes, one that plays it again.

botocore reads them in several ways: `stream()` for whole bodies and event streams, `read()`, `readinto()` and `readlines()`
for what InvokeModel returns. Both are subclasses of urllib3's own class, so that all else about them is urllib3's.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Generator, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, TypeVar

from promptguard.http.streams import Recorder
from promptguard.runtime.finishing import finish_later


def record(raw: object, recorder: Recorder) -> None:
    """Have `raw`, a response of urllib3's, tell `recorder` what passes from now on.

    The object stays and gets a class of ours: everything of its own, down to the socket, is where others look for it.
    Raises TypeError for what is no such response: nobody knows how that is read.
    """
    from urllib3.response import HTTPResponse

    if not isinstance(raw, HTTPResponse):
        raise TypeError(f"a response of {type(raw).__qualname__}")
    vars(raw).update(_promptguard_recorder=recorder, _promptguard_reading=False)
    raw.__class__ = _recorded_class(type(raw))
    recorder.hold()


T = TypeVar("T")

if TYPE_CHECKING:
    from urllib3.response import HTTPResponse as _Base
else:
    _Base = object


class _Recording(_Base):
    """The ways of reading. They call each other, and only the outermost one tells, or all would be told twice."""

    _promptguard_recorder: Recorder
    _promptguard_reading: bool

    def stream(self, amt: int | None = 2**16, decode_content: bool | None = None) -> Generator[bytes]:
        yield from self._passing(super().stream(amt, decode_content))

    def read_chunked(self, amt: int | None = None, decode_content: bool | None = None) -> Generator[bytes]:
        yield from self._passing(super().read_chunked(amt, decode_content))

    def read(
        self, amt: int | None = None, decode_content: bool | None = None, cache_content: bool = False
    ) -> bytes:
        whole = super().read
        return self._told(
            lambda: whole(amt, decode_content, cache_content),
            lambda got: amt is None or amt < 0 or (amt > 0 and not got),
        )

    def readinto(self, b: bytearray | memoryview[int]) -> int:
        got = self.read(len(b))
        b[: len(got)] = got
        return len(got)

    def close(self) -> None:
        try:
            super().close()
        finally:
            if not self._promptguard_reading:  # urllib3 closes by itself where the data end
                self._promptguard_recorder.finish("closed")

    def __del__(self) -> None:
        # IOBase closes what is collected. Our part of that is put off: see `runtime.finishing`.
        recorder = self.__dict__.get("_promptguard_recorder")
        if recorder is not None and not recorder.finished:
            finish_later(functools.partial(recorder.finish, "closed"))
            self._promptguard_reading = True
        super().__del__()

    def _passing(self, chunks: Iterator[bytes]) -> Generator[bytes]:
        while True:
            got = self._told(lambda: next(chunks, None), lambda got: got is None)
            if got is None:
                return
            yield got

    def _told(self, read: Callable[[], T], is_end: Callable[[T], bool]) -> T:
        if self._promptguard_reading:
            return read()
        self._promptguard_reading = True
        try:
            got = read()
        except BaseException:
            self._promptguard_recorder.finish("cut")
            raise
        finally:
            self._promptguard_reading = False
        if isinstance(got, bytes) and got:
            self._promptguard_recorder.add(got)
        if is_end(got):
            self._promptguard_recorder.finish("eof")
        return got


class _RecordingOne(_Recording):
    """The same where urllib3 has `read1`, which others look for: from its major 2 on."""

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        some = super().read1
        return self._told(lambda: some(amt, decode_content), lambda got: amt != 0 and not got)


@functools.cache
def _recorded_class(cls: type[_Base]) -> type[_Base]:
    kind = _RecordingOne if hasattr(cls, "read1") else _Recording
    return type(cls.__name__, (kind, cls), {"__module__": cls.__module__, "__qualname__": cls.__qualname__})


def replayed(chunks: tuple[bytes, ...], status: int, headers: dict[str, str]) -> _Base:
    """Return a response of urllib3's that plays recorded chunks."""
    from urllib3.response import HTTPResponse

    raw = _replayed_class(HTTPResponse)(
        body=_Played(b"".join(chunks)),
        headers=headers,
        status=status,
        version=11,
        preload_content=False,
        decode_content=False,
        enforce_content_length=False,
    )
    vars(raw)["_promptguard_sizes"] = iter([len(chunk) for chunk in chunks])
    return raw


class _Replayed(_Base):
    """A response that plays recorded chunks, as far as it is ours."""

    _promptguard_sizes: Iterator[int]


@functools.cache
def _replayed_class(cls: type[_Base]) -> type[_Base]:
    def stream(
        self: _Replayed, amt: int | None = 2**16, decode_content: bool | None = None
    ) -> Iterator[bytes]:
        """Give the chunks as they came, once; what was read in another way before is not given again."""
        for size in self._promptguard_sizes:
            if chunk := self.read(size, decode_content):
                yield chunk
        yield from cls.stream(self, amt, decode_content)

    members = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "stream": stream}
    return type(cls.__name__, (cls,), members)


class _Played(io.BytesIO):
    """Bytes in memory, where botocore looks for the socket beneath: a timeout for what is there already does nothing."""

    fp = SimpleNamespace(raw=SimpleNamespace(_sock=SimpleNamespace(settimeout=lambda _seconds: None)))
