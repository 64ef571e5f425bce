"""flush() beside a stream that the application still reads: it waits for it, and commits what it can."""

from __future__ import annotations

import threading
import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.testing import FakeProvider

pytestmark = pytest.mark.sdk


@pytest.fixture
def client(guarded):
    words = "an answer of several words, sent in a few chunks"
    with FakeProvider({"gpt-4": lambda _: words, "other": lambda _: words}) as provider:
        bare = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        with promptguard.wrap(
            bare, ledger=guarded, shadow=promptguard.Shadow("other", sample=1.0, repeat=0.0)
        ) as wrapped:
            yield wrapped


def ask(client, number, **more):
    messages = [{"role": "user", "content": f"question {number}"}]
    return client.chat.completions.create(model="gpt-4", messages=messages, **more)


def held():
    return sum(each.pairing.places.held for each in open_backgrounds())


def test_a_stream_that_is_read_to_its_end_meanwhile_is_waited_for(client, guarded):
    stream = ask(client, 1, stream=True)
    next(iter(stream))
    ask(client, 2)
    background = open_backgrounds()[0]
    assert background.worker.flush(20.0)
    assert held() == 1, "the second call's pair waits for the first's"
    reader = threading.Timer(0.3, lambda: list(stream))
    reader.start()
    assert promptguard.flush(100.0)
    reader.join()
    assert [each.pairs for each in promptguard.verdicts(guarded)] == [2]


def test_pairs_before_an_open_stream_are_judged_though_flush_is_false(client, guarded):
    ask(client, 1)
    stream = ask(client, 2, stream=True)
    next(iter(stream))
    ask(client, 3)
    assert open_backgrounds()[0].worker.flush(20.0)
    began = time.monotonic()
    assert not promptguard.flush(1.0)
    assert time.monotonic() - began >= 0.6
    assert promptguard.flush(1.0) is False
    assert sum(each.pairs for each in promptguard.verdicts(guarded)) == 1
    stream.close()
    assert promptguard.flush(100.0)
