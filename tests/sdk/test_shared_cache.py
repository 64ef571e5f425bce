"""A cache on Redis or Valkey as an application has it: real SDK, real server, several processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.cache import redis_server
from promptguard.cache.outside import outside
from promptguard.cache.tiered import Tiered
from promptguard.cli import main
from promptguard.testing import Served
from tests.servers import until

PASSWORD = "correct-horse-battery"


@pytest.fixture(autouse=True)
def _closed(monkeypatch):
    for name in ("BUDGET_S", "WRITE_S", "OPEN_S"):
        monkeypatch.setattr(redis_server, name, 20.0)  # what is tested here is no machine's speed
    yield
    outside.close_all(time.monotonic() + 5.0)


def cache_of(client):
    found = client._client._transport._promptguard_ports.cache
    until(lambda: found._reading is not None)
    return found


def ask(client, text="?"):
    answer = client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content


def test_an_unreachable_server_is_told_once_and_calls_go_on(provider, guarded, caplog):
    url = f"redis://:{PASSWORD}@127.0.0.1:1/0"
    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), cache=url, ledger=guarded)
    for _ in range(3):
        answer = client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "?"}])
        assert answer.choices
    until(lambda: "cannot be reached" in caplog.text)
    told = [each.getMessage() for each in caplog.records if "redis://" in each.getMessage()]
    assert told == ["the cache on redis://127.0.0.1:1/0 cannot be reached; calls go on without it"]
    assert PASSWORD not in caplog.text


def test_a_process_that_cannot_share_its_secret_is_told(monkeypatch, guarded, provider, caplog):
    for variable, address, warned in (("", "redis://cache.example:1", True), ("", "redis://127.0.0.1:1", False),
                                      ("x" * 16, "redis://cache.example:1", False)):  # fmt: skip
        caplog.clear()
        monkeypatch.setenv("PROMPTGUARD_SECRET", variable)
        promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), cache=address, ledger=guarded)
        assert ("PROMPTGUARD_SECRET" in caplog.text) is warned
        outside.close_all(time.monotonic() + 5.0)


def test_tiers_of_two_clients_are_one(valkey, guarded, provider):
    clients = [promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), cache=valkey.url, ledger=guarded)
               for _ in range(2)]  # fmt: skip
    caches = {id(client._client._transport._promptguard_ports.cache) for client in clients}
    assert len(caches) == 1
    assert isinstance(clients[0]._client._transport._promptguard_ports.cache, Tiered)


ASKING = """
import json, sys, threading, time
import promptguard
from openai import OpenAI
from promptguard.cache import redis_server
redis_server.BUDGET_S = redis_server.WRITE_S = redis_server.OPEN_S = 20.0
url, cache, ledger, threads, rounds = *sys.argv[1:4], *map(int, sys.argv[4:])
client = promptguard.wrap(OpenAI(base_url=url, api_key="k", max_retries=0, timeout=120), cache=cache, ledger=ledger)
held = client._client._transport._promptguard_ports.cache
while held._reading is None: time.sleep(0.01)
print("ready", flush=True)
sys.stdin.readline()
answers = []
def run():
    for _ in range(rounds):
        got = client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "the same"}])
        answers.append(got.choices[0].message.content)
running = [threading.Thread(target=run) for _ in range(threads)]
[each.start() for each in running]; [each.join() for each in running]
print(json.dumps([len(answers), sorted(set(answers))]), flush=True)
"""


@pytest.fixture
def asking(provider, valkey, tmp_path):
    """Start a process that asks one question in many threads, once it is told to."""
    environment = {**os.environ, "PROMPTGUARD_SECRET": "the secret of all hosts"}
    started = []

    def start(threads=8, rounds=5):
        ledger = tmp_path / f"ledger{len(started)}"  # as on another host
        words = [provider.url, valkey.url, ledger, threads, rounds]
        process = subprocess.Popen(
            [sys.executable, "-c", ASKING, *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def begin(process):
    process.stdin.write("\n")
    process.stdin.flush()


def test_equal_calls_of_two_hosts_go_upstream_once(asking, provider):
    provider.models["gpt-4"] = lambda question: Served(f"said: {question.text}", delay=0.3)
    processes = [asking(), asking()]
    for process in processes:
        begin(process)
    told = [json.loads(process.stdout.readline()) for process in processes]
    assert told == [[40, ["said: the same"]]] * 2
    assert provider.asked("gpt-4") == 1


def test_a_host_that_dies_while_it_asks_stops_no_other(asking, provider):
    first = threading.Event()

    def answer(question):
        if provider.asked("gpt-4") == 1:
            first.wait(60)
        return f"said: {question.text}"

    provider.models["gpt-4"] = answer
    dying, other = asking(1, 1), asking(4, 2)
    begin(dying)
    until(lambda: provider.asked("gpt-4") == 1)
    begin(other)
    time.sleep(0.5)
    assert provider.asked("gpt-4") == 1
    dying.kill()
    assert json.loads(other.stdout.readline()) == [8, ["said: the same"]]
    assert provider.asked("gpt-4") == 2
    first.set()


def test_what_one_ledger_finds_changed_is_old_for_every_host(provider, valkey, tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_SECRET", "the secret of all hosts")
    clients = [
        promptguard.wrap(
            OpenAI(base_url=provider.url, api_key="k"),
            cache=valkey.url,
            ledger=tmp_path / name,
            replay=replay,
        )
        for name, replay in (("here", promptguard.Replay(share=0)), ("there", None))
    ]
    here, there = clients
    cache = cache_of(here)
    assert cache is cache_of(there)  # two processes would have one each; the store is what is tested
    ask(there, "known")
    assert cache.flush(60.0)
    ask(here, "known"), ask(there, "known")
    assert provider.asked("gpt-4") == 1
    background = here._client._transport._promptguard_ports.background
    group = "(no template)"
    until(lambda: background.ledger.identity)
    background.state.epochs = {(group, "gpt-4"): 1}  # as an alarm does
    until(lambda: cache.epoch(group, "gpt-4") == 1)
    ask(there, "known")
    assert provider.asked("gpt-4") == 2
    ask(here, "known"), ask(there, "known")
    assert provider.asked("gpt-4") == 2


def test_the_command_line_looks_at_the_server_that_settings_name(
    provider, valkey, guarded, monkeypatch, capsys
):
    monkeypatch.setenv("PROMPTGUARD_CACHE", valkey.url)
    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), ledger=guarded)
    cache = cache_of(client)
    with promptguard.cache_tags("customer-1"):
        ask(client, "one")
    ask(client, "two")
    assert cache.flush(60.0)

    def run(*words):
        with pytest.raises(SystemExit) as done:
            main(["cache", *words, "--ledger", str(guarded)])
        told = capsys.readouterr()
        return done.value.code, told.out, told.err

    code, out, _ = run("stats", "--json")
    told = json.loads(out)["contents"]
    assert (code, told["entries"], told["tags"], told["models"]) == (0, 2, {"customer-1": 1}, {"gpt-4": 2})
    code, out, _ = run("clear", "--tag", "customer-1", "--json")
    assert (code, json.loads(out)["removed"]) == (0, 1)

    def asked_again():
        ask(client, "one")
        return provider.asked("gpt-4") == 3

    until(asked_again)
    monkeypatch.setenv("PROMPTGUARD_CACHE", f"redis://:{PASSWORD}@127.0.0.1:1/0")
    code, out, err = run("clear")
    assert (code, out) == (2, "")
    assert "the cache on redis://127.0.0.1:1/0 cannot be used now" in err
    assert PASSWORD not in err
