"""A client whose calls are stored for replay, and what became of them."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from types import SimpleNamespace

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.ledger.store import Ledger

ASK = [{"role": "user", "content": "hi"}]


def storing(provider, ledger, **more):
    """Return a client whose calls are all stored, and its background."""
    replay = promptguard.Replay(share=1.0, **more, budget=promptguard.Budget(calls_per_minute=None))
    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), ledger=ledger, replay=replay)
    return client, open_backgrounds()[0]


def slowly(monkeypatch, seconds=0.3):
    """Have each answer take some time to be stored."""
    bank = Ledger.bank

    def slow(*args):
        time.sleep(seconds)
        return bank(*args)

    monkeypatch.setattr(Ledger, "bank", slow)


def counted(ledger):
    """Return how many answers are stored, and what became of calls that are not."""
    with contextlib.closing(sqlite3.connect(ledger / "ledger.sqlite3")) as file:
        (stored,) = file.execute("SELECT count(*) FROM banked").fetchone()
        return stored, file.execute("SELECT stream, outcome, reason FROM pair").fetchall()


def ask(client, *, is_lost=False):
    """Make a call; one whose answer is lost is given up by the application while it waits."""
    if not is_lost:
        client.chat.completions.create(model="m", messages=ASK)
        return
    transport = client._client._transport
    inner = transport._promptguard_inner
    transport._promptguard_inner = SimpleNamespace(handle_request=interrupted)
    with pytest.raises(KeyboardInterrupt):
        client.chat.completions.create(model="m", messages=ASK)
    transport._promptguard_inner = inner


def interrupted(_):
    raise KeyboardInterrupt
