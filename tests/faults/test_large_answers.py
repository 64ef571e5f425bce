"""Answers of many megabytes are recorded whole, within a memory that all answers under way share."""

from __future__ import annotations

import asyncio
import inspect

import pytest
from openai import OpenAI

import promptguard
from promptguard.http import streams
from promptguard.http.streams import FREELY_RECORDED, MAX_RECORDED, RecordedChunks, Recorder
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk
MIB = b"x" * 1024 * 1024


@pytest.fixture
def told():
    return []


def record(told, mebibytes):
    recorder = Recorder(told.append)
    for _ in range(mebibytes):
        recorder.add(MIB)
    return recorder


@pytest.mark.parametrize(("mebibytes", "clipped"), [(8, False), (9, False), (64, False), (65, True)])
def test_one_answer_is_kept_up_to_its_bound(mebibytes, clipped, told):
    record(told, mebibytes).finish("eof")
    assert told[0].clipped is clipped
    assert sum(map(len, told[0].chunks)) <= MAX_RECORDED
    assert streams._LARGE._held == 0


def test_large_answers_share_one_memory_and_small_ones_need_none(told):
    under_way = [record(told, 45), record(told, 45)]
    small = record(told, FREELY_RECORDED // len(MIB))
    for recorder in (*under_way, small):
        recorder.finish("eof")
    assert [body.clipped for body in told] == [False, True, False]
    assert streams._LARGE._held == 0
    record(told, 45).finish("eof")  # what was given back is there again
    assert not told[-1].clipped


def test_memory_is_given_back_whatever_happens_to_the_answer(told):
    def fail(_):
        raise RuntimeError

    recorder = Recorder(fail)
    for _ in range(20):
        recorder.add(MIB)
    recorder.finish("cut")
    recorder.finish("eof")
    recorder.add(MIB)  # after the end: nobody would give it back
    assert streams._LARGE._held == 0


def test_after_the_first_chunk_too_many_none_is_kept(told):
    recorder = record(told, 64)
    recorder.add(MIB)
    recorder.add(b"small")
    recorder.finish("eof")
    assert b"small" not in told[0].chunks


def test_an_answer_of_nine_megabytes_is_cached_and_no_loss(guarded):
    with FakeProvider({"m": lambda _: "word " * 1_900_000, "other": lambda _: "word"}) as provider:
        client = OpenAI(base_url=provider.url, api_key="k")
        shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
        promptguard.wrap(client, ledger=guarded, cache="memory", shadow=shadow)
        for _ in range(2):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
        assert promptguard.flush(60.0)
        assert provider.asked("m") == 1
        ledger = Ledger(guarded)
        assert [(row.outcome, row.reason) for row in ledger.pairs_after(0)] == [("compared", "")]
        ledger.close()
        client.close()


def test_an_asynchronous_stream_is_no_generator_for_the_loop_to_close(told):
    """A loop that ends closes all generators at once; one of ours would be closed by two at a time."""

    async def pieces():
        yield b"a"
        yield b"b"

    async def read():
        recorder = Recorder(told.append)
        chunks = RecordedChunks(pieces(), recorder)
        assert not inspect.isasyncgen(chunks)
        return [chunk async for chunk in chunks]

    assert asyncio.run(read()) == [b"a", b"b"]
    assert (told[0].chunks, told[0].end) == ((b"a", b"b"), "eof")
