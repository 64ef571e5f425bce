"""What happens to one side of a pair must happen to the other by the same rule."""

from __future__ import annotations

import pytest
from openai import OpenAI

import promptguard
from promptguard.testing import FakeProvider, Fault

pytestmark = pytest.mark.sdk
ASK = [{"role": "user", "content": "hi"}]


def read(client, pieces=None):
    stream = client.chat.completions.create(model="m", messages=ASK, stream=True)
    with stream:
        for number, _ in enumerate(stream, 1):
            if number == pieces:
                return


def until(condition):
    import time

    deadline = time.monotonic() + 60.0
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_replay_compares_as_much_as_the_application_read_and_outlives_a_busy_server(guarded):
    now = [1_000_000.0]
    answers = ["one two three four five six", Fault("status", 503), "one two three four five six"]
    with FakeProvider({"m": lambda _: answers.pop(0)}) as provider:
        client = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
        promptguard.wrap(
            client,
            ledger=guarded,
            replay=promptguard.Replay(share=1.0, after="1h"),
            record_content=True,
            clock=lambda: now[0],
        )
        read(client, pieces=4)
        assert promptguard.flush(60.0)
        now[0] += 7200.0
        until(lambda: not answers)
        assert promptguard.flush(60.0)
        from sqlalchemy import select

        from promptguard.background.engine import open_backgrounds
        from promptguard.ledger import schema

        ledger = open_backgrounds()[0].ledger
        assert [row.outcome for row in ledger.pairs_after(0)] == ["compared"]
        with ledger.engine.sql.connect() as connection:
            kept = connection.execute(select(schema.content)).one()
        assert kept.control == kept.candidate != b""
        client.close()
