"""Clients dropped without being closed: what is collected in the background loop's thread leaves the loop alone."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import openai
import pytest
from openai._base_client import AsyncHttpxClientWrapper

import promptguard as pg
from promptguard.runtime import finalizers
from promptguard.runtime.event_loop_thread import await_within, release_after, retain
from promptguard.testing import FakeProvider
from tests.cache.replies import until

DESCRIPTORS = Path("/proc/self/fd")


@pytest.fixture(autouse=True)
def _only_collected_on_purpose():
    gc.collect()
    gc.disable()
    retain()
    collect_on_our_loop()  # the loop has begun, with its own descriptors, and the hook is there
    yield
    release_after(nothing)
    gc.enable()


async def nothing():
    pass


async def collect():
    gc.collect()


def collect_on_our_loop():
    await_within(10.0, collect)


def descriptors():
    return len(list(DESCRIPTORS.iterdir()))


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not DESCRIPTORS.is_dir(), reason="descriptors are counted in /proc")
def test_a_dropped_client_is_not_closed_by_a_foreign_loop_and_keeps_no_socket(monkeypatch):
    closed_on = []

    async def aclose(_):
        closed_on.append(asyncio.get_running_loop())

    monkeypatch.setattr(AsyncHttpxClientWrapper, "aclose", aclose)
    with FakeProvider({"gpt-4": lambda _: "fine"}) as provider:

        async def ask_and_drop():
            client = pg.wrap(
                openai.AsyncOpenAI(base_url=provider.url, api_key="k", max_retries=0), cache="memory"
            )
            question = [{"role": "user", "content": "Hello"}]
            await client.chat.completions.create(model="gpt-4", messages=question)

        async def application():
            await ask_and_drop()
            connected = descriptors()
            await asyncio.to_thread(collect_on_our_loop)
            until(lambda: descriptors() < connected)

        asyncio.run(application())
    assert closed_on == []


class Dropped:
    """What asks for a loop as it is collected, as the SDKs' clients do."""

    def __init__(self, found):
        self.itself = self
        self.found = found

    def __del__(self):
        self.found.append(asyncio._get_running_loop())


def test_what_is_collected_there_finds_no_loop_and_what_goes_on_finds_it_again():
    found = []

    async def drop_and_collect():
        loop = asyncio.get_running_loop()
        Dropped(found)
        gc.collect()
        return asyncio.get_running_loop() is loop

    assert await_within(10.0, drop_and_collect)
    assert found == [None]


def test_what_is_collected_on_the_applications_loop_finds_that():
    found = []

    async def application():
        Dropped(found)
        gc.collect()
        return asyncio.get_running_loop()

    loop = asyncio.run(application())
    assert found == [loop]


def test_a_child_process_forgets_the_threads_of_its_parent():
    assert finalizers._threads
    threads = set(finalizers._threads)
    finalizers._after_fork()
    assert not finalizers._threads
    finalizers._threads.update(threads)
