"""Answers that depend on each other give one pair between them, in every process and across restarts."""

from __future__ import annotations

import pytest
from openai import OpenAI

import promptguard
from promptguard.background.engine import open_backgrounds
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider


def ask(client, text, **more):
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}], **more)


def outcomes():
    assert promptguard.flush(60.0)
    return [(row.stream, row.outcome) for row in open_backgrounds()[0].ledger.pairs_after(0)]


@pytest.mark.sdk
def test_a_conversation_gives_one_pair_a_stream(guarded):
    with FakeProvider({"m": lambda _: "fine", "n": lambda _: "fine"}) as provider:
        client = OpenAI(base_url=provider.url, api_key="k")
        promptguard.wrap(client, ledger=guarded, shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0))
        with promptguard.cluster("conversation 17"):
            for turn in range(3):
                ask(client, f"turn {turn}", temperature=1)
        with promptguard.cluster("conversation 18"):
            ask(client, "turn 0", temperature=1)
        ask(client, "on its own", temperature=1)
        found = outcomes()
        assert [outcome for _, outcome in found].count("compared") == 3
        assert [outcome for _, outcome in found].count("not_paired") == 2
        client.close()
    assert b"conversation 17" not in (guarded / "ledger.sqlite3").read_bytes()


@pytest.mark.sdk
def test_an_equal_question_at_temperature_0_is_paired_once_whatever_its_cluster(guarded):
    with FakeProvider({"m": lambda _: "fine", "n": lambda _: "fine"}) as provider:
        client = OpenAI(base_url=provider.url, api_key="k")
        promptguard.wrap(client, ledger=guarded, shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0))
        for name in ("a", "b"):
            with promptguard.cluster(name):
                ask(client, "the same", temperature=0)
        assert sorted(outcomes()) == [("candidate", "compared"), ("candidate", "not_paired")]
        client.close()


def test_of_two_processes_one_takes_the_pair(tmp_path):
    first, second = Ledger(tmp_path), Ledger(tmp_path)
    assert first.claim("candidate", 1, ("question", "conversation"))
    assert not second.claim("candidate", 1, ("another", "conversation"))
    assert second.claim("candidate", 1, ("another",)), "a refused claim takes nothing"
    assert second.claim("candidate", 2, ("question",))
    assert second.claim("replay", 1, ("question",))


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_cluster_has_a_name(name):
    with pytest.raises(ValueError, match="cluster"), promptguard.cluster(name):
        pass
