"""A hit can be told on whatever the SDK returned."""

from __future__ import annotations

import asyncio
import gzip
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import AsyncOpenAI, OpenAI

import promptguard
from promptguard import cache_status, deliveries
from promptguard.deliveries import CAPACITY, PENDING, delivered
from promptguard.testing import FakeProvider, Served

pytestmark = pytest.mark.sdk
ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def nothing_delivered_yet():
    """The provider of every test numbers its answers from 1."""
    deliveries._pending.clear()
    deliveries._known.clear()
    deliveries._last.set(None)


@pytest.fixture
def provider():
    with FakeProvider({"m": lambda _: "fine", "z": lambda _: Served("fine", gzip=True)}) as running:
        yield running


@pytest.fixture
def client(provider, guarded):
    with OpenAI(base_url=provider.url, api_key="k", max_retries=0) as made:
        yield promptguard.wrap(made, ledger=guarded, cache="memory")


def twice(call):
    return [cache_status(call()) for _ in range(2)]


def test_parsed_raw_streamed_and_packed_answers(client):
    chat = client.chat.completions
    assert twice(lambda: chat.create(**ASK)) == ["miss", "hit"]
    assert twice(lambda: chat.create(**{**ASK, "model": "z"})) == ["miss", "hit"]
    assert twice(lambda: chat.with_raw_response.create(**ASK, seed=1)) == ["miss", "hit"]
    assert twice(lambda: chat.with_raw_response.create(**ASK, seed=2).http_response) == ["miss", "hit"]
    assert twice(lambda: chat.with_raw_response.create(**ASK, seed=3).parse()) == ["miss", "hit"]
    assert twice(lambda: client.responses.create(model="m", input="hi")) == ["miss", "hit"]
    assert twice(lambda: client.chat.completions.parse(**ASK, seed=4)) == ["miss", "hit"]

    def stream():
        opened = chat.create(**ASK, stream=True)
        seen = cache_status(opened)
        chunks = list(opened)
        assert cache_status(chunks[0]) == seen
        return opened

    assert twice(stream) == ["miss", "hit"]


def test_the_miss_keeps_its_status_where_its_headers_are_at_hand(client):
    raw = client.chat.completions.with_raw_response
    first, second = raw.create(**ASK), raw.create(**ASK)
    assert (cache_status(first), cache_status(second)) == ("miss", "hit")
    assert (cache_status(first), cache_status(second)) == ("miss", "hit")


def test_a_bypass_is_a_miss(client):
    client.chat.completions.create(**ASK)
    with promptguard.bypass():
        assert cache_status(client.chat.completions.create(**ASK)) == "miss"


def test_nothing_is_said_without_a_cache(provider, guarded):
    with OpenAI(base_url=provider.url, api_key="k") as bare:
        assert cache_status(bare.chat.completions.create(**ASK, seed=9)) is None
        promptguard.wrap(bare, ledger=guarded)
        assert cache_status(bare.chat.completions.create(**ASK, seed=10)) is None


class Odd:
    @property
    def id(self):
        raise RuntimeError("odd")

    @property
    def headers(self):
        return {"x-request-id": []}


@pytest.mark.parametrize(
    "response", [None, 1, "x", {}, [], object(), Odd(), {"ResponseMetadata": 3}, {"id": 3}]
)
def test_anything_else_is_not_known_and_never_raises(response):
    assert cache_status(response) is None


def test_the_dictionaries_of_boto3_are_read():
    headers = {"x-promptguard-cache": "hit", "x-amzn-requestid": "r-1"}
    assert cache_status({"ResponseMetadata": {"HTTPHeaders": headers}}) == "hit"
    delivered("miss", [(b"x-amzn-RequestId", b"r-2")])
    assert cache_status({"ResponseMetadata": {"HTTPHeaders": {"x-amzn-requestid": "r-2"}}}) == "miss"


def test_threads_do_not_mix_up_the_leader_and_those_who_waited(client):
    """All of them have one id, at one moment."""

    def ask(seed):
        return cache_status(client.chat.completions.create(**ASK, seed=seed))

    for seed in range(5):
        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(ask, [seed] * 8))
        assert sorted(told) == ["hit"] * 7 + ["miss"], told


async def test_tasks_do_not_either(provider, guarded):
    async with AsyncOpenAI(base_url=provider.url, api_key="k", max_retries=0) as client:
        promptguard.wrap(client, ledger=guarded, cache="memory")

        async def ask():
            return cache_status(await client.chat.completions.create(**ASK))

        assert sorted(await asyncio.gather(*(ask() for _ in range(6)))) == ["hit"] * 5 + ["miss"]


def test_what_is_remembered_is_bounded_and_packed_bodies_are_read():
    class Answer:
        def __init__(self, number):
            self.id = f"answer-{number}"

    class Later:
        def __init__(self, number):
            self.id = f"later-{number}"

    for number in range(CAPACITY + 10):
        delivered("miss", (), b'{"id": "answer-%d"}' % number)
        if number % 500 == 0:
            cache_status(Answer(-1))
    assert cache_status(Answer(0)) is None
    assert cache_status(Answer(CAPACITY)) == "miss"
    for number in range(PENDING + 10):  # nobody asks meanwhile
        delivered("hit", (), b'{"id": "later-%d"}' % number)
    assert len(deliveries._pending) == PENDING
    assert (cache_status(Later(0)), cache_status(Later(10))) == (None, "hit")
    assert len(deliveries._known) == CAPACITY
    packed = [(b"content-encoding", b"gzip")]
    delivered("hit", packed, gzip.compress(b'{"id": "answer-x"}'))
    delivered("hit", packed, b"\x00")
    delivered("hit", (), b'{"id": 3}')
    assert cache_status(Answer("x")) == "hit"
