"""What is known of a call travels with it: a stored question is judged alike by whoever asks it again."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.drift import PairVector
from promptguard.report.read import read_vectors
from promptguard.templates import rendered
from promptguard.testing import FakeClock, FakeProvider

pytestmark = pytest.mark.sdk
PROMPT = """---
name: prime
labels:
  "yes": "(?i)yes"
  "no": "(?i)no"
---
system:
You know numbers.
user:
Is {{ n }} a prime?
"""
COUNT = 3


@pytest.fixture
def prompt(tmp_path):
    (tmp_path / "prompts" / "prime").mkdir(parents=True)
    (tmp_path / "prompts" / "prime" / "1.prompty").write_text(PROMPT)
    return promptguard.prompts(tmp_path / "prompts").get("prime@1")


def replayed(guarded, prompt, meanwhile, *, ask):
    """Ask COUNT questions, let `meanwhile` happen to the process, ask them again; return their pairs' vectors."""
    clock = FakeClock()
    with FakeProvider({"m": lambda _: "Yes."}) as provider:
        client = promptguard.wrap(
            OpenAI(base_url=provider.url, api_key="k", max_retries=0),
            ledger=guarded,
            clock=clock,
            seed=1,
            replay=promptguard.Replay(share=1.0, after="1h"),
        )
        for number in range(COUNT):
            ask(client, prompt, number)
        assert promptguard.flush(60.0)
        meanwhile(prompt)
        clock.advance(7200)
        ledger = open_backgrounds()[0].ledger
        deadline = time.monotonic() + 60
        while len(ledger.pairs_after(0)) < COUNT and time.monotonic() < deadline:
            time.sleep(0.02)
        assert promptguard.flush(60.0)
        client.close()
    rows = read_vectors(guarded, "replay", 1)
    with closing(sqlite3.connect(guarded / "ledger.sqlite3")) as ledger:
        groups = {group for (group,) in ledger.execute('SELECT "group" FROM pair')}
    return [PairVector.from_bytes(packed) for _, _, packed in rows], groups


def chat(client, prompt, number):
    call = prompt.render(n=number).expect("yes")
    client.chat.completions.create(model="m", messages=call.messages)


def response(client, prompt, number):
    system, user = prompt.render(n=number).expect("yes").messages
    client.responses.create(model="m", input=[user], instructions=system["content"], store=False)


def nothing(_):
    pass


def restart(_):
    rendered.PROCESS.forget()


def busy(prompt):
    for number in range(rendered.CAPACITY):
        prompt.render(n=1000 + number)


@pytest.mark.parametrize("ask", [chat, response])
@pytest.mark.parametrize("meanwhile", [nothing, restart, busy])
def test_labels_and_reference_are_the_same_whoever_asks_again(guarded, prompt, meanwhile, ask):
    vectors, groups = replayed(guarded, prompt, meanwhile, ask=ask)
    assert [(v.labels, v.reference) for v in vectors] == [(("yes", "yes"), "yes")] * COUNT
    assert groups == {"prime@1"}


def rewrite_stored(change):
    """Let `change` edit every stored question, as an older version would have written it."""
    from sqlalchemy import select, update

    from promptguard.ledger.schema import banked

    ledger = open_backgrounds()[0].ledger
    with ledger.engine.sql.begin() as connection:
        for row in connection.execute(select(banked.c.id, banked.c.question)).all():
            question = change(json.loads(row.question))
            packed = json.dumps(question).encode()
            connection.execute(update(banked).where(banked.c.id == row.id).values(question=packed))


def without_facts(question):
    facts = {"protocol", "prompt", "label_rule", "reference"}
    assert facts <= question.keys()
    return {name: value for name, value in question.items() if name not in facts}


def test_a_row_of_an_older_version_is_recognised_by_the_process_that_rendered_it(guarded, prompt):
    vectors, _ = replayed(guarded, prompt, lambda _: rewrite_stored(without_facts), ask=chat)
    assert [(v.labels, v.reference) for v in vectors] == [(("yes", "yes"), "yes")] * COUNT


def test_a_row_of_a_protocol_that_is_gone_is_lost_and_counted(guarded, prompt):
    def renamed(question):
        return {**question, "protocol": "of another time"}

    vectors, _ = replayed(guarded, prompt, lambda _: rewrite_stored(renamed), ask=chat)
    assert vectors == []
    with closing(sqlite3.connect(guarded / "ledger.sqlite3")) as ledger:
        lost = ledger.execute("SELECT outcome, reason FROM pair WHERE stream = 'replay'").fetchall()
    assert lost == [("dropped", "unreadable")] * COUNT
