"""Where background calls run: every call ends by its deadline, and whatever one raises is its own affair."""

from __future__ import annotations

import asyncio
import os
import threading
import time

import pytest

from promptguard.runtime import event_loop_thread, spare_threads
from promptguard.runtime.event_loop_thread import await_within, release_after, retain
from promptguard.runtime.idle_close import CloseWhenIdle
from promptguard.runtime.lost import CallLost
from promptguard.runtime.spare_threads import call_within, seconds_left
from tests.cache.replies import until

RAISED = [ValueError("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]


def in_thread(seconds, call):
    return call_within(seconds, call)


def on_loop(seconds, call):
    async def calling():
        return call()

    return await_within(seconds, calling)


@pytest.fixture(params=[in_thread, on_loop])
def within(request):
    if request.param is on_loop:
        retain()
    yield request.param
    if request.param is on_loop:
        release_after(nothing)


async def nothing():
    pass


def loops():
    return [each for each in threading.enumerate() if each.name == "promptguard-loop"]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_a_call_raises_is_told_and_the_next_one_runs(error, within):
    def fail():
        raise error

    with pytest.raises(CallLost) as lost:
        within(5.0, fail)
    assert type(lost.value.cause) is type(error)
    assert within(5.0, lambda: 42) == 42


def test_no_call_runs_where_it_was_made(within):
    assert within(5.0, threading.get_ident) != threading.get_ident()


def test_a_thread_that_hangs_is_left_behind():
    release = threading.Event()
    began = time.monotonic()
    with pytest.raises(CallLost) as lost:
        call_within(0.05, release.wait)
    assert isinstance(lost.value.cause, TimeoutError)
    assert time.monotonic() - began < 5.0
    assert call_within(5.0, lambda: "next") == "next"
    release.set()


def test_no_more_threads_are_left_behind_than_there_may_be(monkeypatch):
    monkeypatch.setattr(spare_threads, "MAX_THREADS", 2)
    monkeypatch.setattr(spare_threads, "_threads", spare_threads._SpareThreads())
    release = threading.Event()
    for _ in range(2):
        with pytest.raises(CallLost):
            call_within(0.01, release.wait)
    with pytest.raises(CallLost) as lost:
        call_within(5.0, lambda: "one more")
    assert isinstance(lost.value.cause, spare_threads.TooManyHangingCallsError)
    release.set()
    until(lambda: len(spare_threads._threads._idle) == 2)
    assert call_within(5.0, lambda: "again") == "again"


def test_idle_threads_end(monkeypatch):
    monkeypatch.setattr(spare_threads, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(spare_threads, "_threads", spare_threads._SpareThreads())
    thread = call_within(5.0, threading.current_thread)
    thread.join(10.0)
    assert not thread.is_alive()
    assert spare_threads._threads._count == 0
    assert call_within(5.0, lambda: "anew") == "anew"


def test_one_thread_after_the_other_is_one_thread():
    assert len({call_within(5.0, threading.get_ident) for _ in range(20)}) <= 2


def test_a_call_knows_how_long_it_has():
    assert seconds_left() == float("inf")
    assert 4.0 < call_within(5.0, seconds_left) <= 5.0
    assert seconds_left() == float("inf")


def test_a_coroutine_that_hangs_is_cancelled():
    cancelled = threading.Event()

    async def hang():
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    retain()
    with pytest.raises(CallLost) as lost:
        await_within(0.05, hang)
    assert isinstance(lost.value.cause, TimeoutError)
    assert cancelled.wait(5.0)
    release_after(nothing)


def test_what_a_library_lets_loose_on_the_loop_does_not_end_it():
    """A task of its own making that raises SystemExit, or a callback, escapes from every handler but the loop's."""

    async def loose():
        async def task():
            raise SystemExit(1)

        made = asyncio.ensure_future(task())
        asyncio.get_running_loop().call_soon(os.fspath, None)  # logged by the loop
        del made
        await asyncio.sleep(0.01)
        return "done"

    retain()
    asyncio.run_coroutine_threadsafe(nothing(), event_loop_thread._shared._running()).result(5.0)
    loop = event_loop_thread._shared._running()
    loop.set_exception_handler(lambda *_: None)
    assert await_within(5.0, loose) == "done"
    assert await_within(5.0, loose) == "done"
    release_after(nothing)


def test_something_that_blocks_the_loop_does_not_block_who_waits(monkeypatch):
    monkeypatch.setattr(event_loop_thread, "GRACE_SECONDS", 0.05)
    release = threading.Event()

    async def block():
        release.wait()

    retain()
    with pytest.raises(CallLost) as lost:
        await_within(0.05, block)
    assert isinstance(lost.value.cause, TimeoutError)
    release.set()
    assert await_within(5.0, answer) == 42
    release_after(nothing)


async def answer():
    return 42


def test_there_is_one_loop_and_it_ends_with_its_last_user():
    retain(), retain()
    threads = {await_within(5.0, thread_of_mine) for _ in range(3)}
    assert len(threads) == 1
    thread = threads.pop()
    closed = []

    async def close():
        closed.append(threading.current_thread())

    release_after(close)
    until(lambda: closed)
    assert closed == [thread]
    assert await_within(5.0, thread_of_mine) is thread
    release_after(close)
    thread.join(10.0)
    assert not thread.is_alive()
    retain()
    assert await_within(5.0, thread_of_mine) is not thread
    release_after(close)


async def thread_of_mine():
    return threading.current_thread()


def test_closing_that_raises_or_hangs_still_lets_go(monkeypatch):
    monkeypatch.setattr(event_loop_thread, "CLOSE_SECONDS", 0.05)

    async def fail():
        raise SystemExit

    async def hang():
        await asyncio.sleep(60)

    for close in (fail, hang):
        retain()
        thread = await_within(5.0, thread_of_mine)
        release_after(close)
        thread.join(10.0)
        assert not thread.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_has_threads_and_a_loop_of_its_own():
    retain()
    assert await_within(5.0, answer) == call_within(5.0, lambda: 42)
    child = os.fork()
    if child == 0:
        retain()
        fine = await_within(5.0, answer) == call_within(5.0, lambda: 42)
        os._exit(0 if fine else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert await_within(5.0, answer) == 42  # the parent's loop is still woken
    release_after(nothing)


def test_connections_are_closed_when_the_last_call_on_them_has_ended():
    closed = []
    connections = CloseWhenIdle(lambda: closed.append(1))
    with connections:
        connections.close()
        with pytest.raises(ConnectionError):
            connections.__enter__()
        assert not closed
    assert closed == [1]
    connections.close()
    assert closed == [1]
    idle = CloseWhenIdle(lambda: closed.append(2))
    idle.close()
    assert closed == [1, 2]
