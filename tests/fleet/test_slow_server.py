"""A database that accepts and does not answer, answers late, ends connections or fails over: nothing is lost or doubled."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.ledger.spool import spool_directory
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable
from promptguard.ledger.writer import Writer
from tests.conftest import close_backgrounds
from tests.fleet.gate import Gate
from tests.fleet.pairs import pair
from tests.fleet.test_delivery import calls, writer
from tests.fleet.test_one_ledger import name_of
from tests.fleet.waiting import until

postgres_connections = pytest.importorskip("promptguard.ledger.engines.postgres_connections")


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_LOCAL", str(tmp_path / "local"))


@pytest.fixture
def gate(server):
    with Gate(server.socket, server.port) as found:
        yield found
        found.open()
        close_backgrounds()


@pytest.fixture
def behind(gate, server, database):
    """The address of the database with the gate before it."""
    return gate.address(server.url(name_of(database)))


@pytest.fixture
def impatient(monkeypatch):
    """A server that hangs is given up soon."""
    monkeypatch.setattr(postgres_connections, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(postgres_connections, "CONNECT_SECONDS", 2)


def waiting_files(ledger):
    return list(spool_directory(ledger.place).glob("*.pairs"))


@pytest.mark.usefixtures("impatient")
def test_a_server_that_hangs_is_away_and_pairs_wait(gate, behind, database):
    ledger, faults = Ledger(behind), []
    ledger.open()
    writing = writer(ledger, faults)
    for number in range(100):
        writing.put_pair(pair(number))
    assert writing.flush(30)
    gate.close()
    for number in range(100, 200):
        writing.put_pair(pair(number))
    until(lambda: waiting_files(ledger))
    assert not writing.flush(0.2)
    assert calls(Ledger(database)) == list(range(100))
    assert {each.trouble.kind for each in faults if isinstance(each, LedgerUnavailable)} <= {"away"}
    gate.open()
    assert writing.flush(60)
    assert calls(Ledger(database)) == list(range(200))
    writing.close(5)
    assert not waiting_files(ledger)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("asked", [b"COMMIT", b"COPY", b"PGCOPY", b"writer"])
def test_what_was_committed_and_not_acknowledged_is_there_once(gate, behind, database, asked):
    ledger = Ledger(behind)
    ledger.open()
    writing = writer(ledger)
    gate.close_after(b"yes" if asked == b"PGCOPY" else asked)
    for number in range(50):
        writing.put_pair(pair(number, reason="yes"))
    until(lambda: waiting_files(ledger))
    assert gate.is_closed
    if asked == b"COMMIT":
        until(lambda: len(calls(Ledger(database))) == 50)
    gate.open()
    assert writing.flush(60)
    writing.close(5)
    assert calls(Ledger(database)) == list(range(50))


def test_answers_that_take_their_time_are_waited_for(gate, behind, database):
    ledger = Ledger(behind)
    ledger.open()
    gate.delay = 0.1
    writing = writer(ledger)
    for number in range(100):
        writing.put_pair(pair(number))
    assert writing.flush(60)
    assert not waiting_files(ledger)
    assert calls(Ledger(database)) == list(range(100))
    writing.close(5)


@pytest.mark.slow
def test_answers_that_take_five_seconds_each_are_waited_for_or_the_pairs_wait(gate, behind, database):
    ledger = Ledger(behind)
    ledger.open()
    gate.delay = 5.0
    writing = writer(ledger)
    for number in range(100):
        writing.put_pair(pair(number))
    writing.flush(60)
    gate.delay = 0.0
    assert writing.flush(60)
    assert calls(Ledger(database)) == list(range(100))
    writing.close(5)


def wrapped(provider, address, **more):
    budget = promptguard.Budget(calls_per_minute=None)
    return promptguard.wrap(
        OpenAI(base_url=provider.url, api_key="k", max_retries=0),
        ledger=address,
        shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0, budget=budget),
        **more,
    )


def ask(client, numbers):
    for number in numbers:
        answer = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": f"ask {number}"}]
        )
        assert answer.choices[0].message.content == "Yes."


def test_calls_do_not_wait_for_a_server_that_hangs(gate, behind, database, provider, monkeypatch):
    monkeypatch.setattr(
        postgres_connections, "ANSWER_SECONDS", 3600.0
    )  # so that who waits for it waits for ever
    client = wrapped(provider, behind)
    ask(client, range(20))
    assert promptguard.flush(60)
    gate.close()
    ask(client, range(20, 60))
    assert not promptguard.flush(0.2)
    gate.open()
    assert promptguard.flush(60)
    found = Ledger(database).pairs_after(0)
    compared = [row.call for row in found if row.outcome == "compared"]
    assert len(found) == 60
    assert len(compared) == len(set(compared)) >= 20


@pytest.mark.usefixtures("impatient")
def test_a_process_that_starts_while_it_hangs_calls_and_pairs_later(gate, behind, database, provider):
    gate.close()
    client = wrapped(provider, behind)
    ask(client, range(5))
    gate.open()
    numbers = iter(range(100, 10_000))

    def paired():
        ask(client, [next(numbers)])
        promptguard.flush(1)
        try:
            return len(Ledger(database).pairs_after(0)) > 0
        except LedgerUnavailable:
            return False

    until(paired, 60)


PROGRAM = """
import sys
import promptguard
from openai import OpenAI
url, address = sys.argv[1:]
shadow = promptguard.Shadow(model="n", sample=1.0, repeat=0.0)
client = promptguard.wrap(OpenAI(base_url=url, api_key="k"), ledger=address, shadow=shadow)
print("ready", flush=True)
sys.stdin.readline()
for number in range(5):
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": str(number)}])
print("asked", flush=True)
"""


def test_a_process_ends_while_it_hangs(gate, behind, provider):
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, provider.url, behind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"ready\n"
    gate.close()
    process.stdin.write(b"\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"asked\n"
    began = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert time.monotonic() - began < postgres_connections.ANSWER_SECONDS
    (file,) = waiting_files(Ledger(behind))
    assert len(file.read_bytes().splitlines()) == 5, "each call is counted, though nobody could judge it"


@pytest.mark.parametrize("breaks", [False, True], ids=["it answers after all", "it breaks"])
def test_what_is_not_acknowledged_as_a_process_ends_waits_and_is_there_once(
    gate, behind, database, server, breaks
):
    ledger = Ledger(behind)
    writing = writer(ledger)
    for number in range(50):
        writing.put_pair(pair(number))
    assert writing.flush(60)
    gate.close_after(b"COPY" if breaks else b"COMMIT")  # it is committed, and that is not said for long
    for number in range(50, 100):
        writing.put_pair(pair(number))
    until(lambda: gate.is_closed)
    for number in range(100, 150):
        writing.put_pair(pair(number))
    assert not writing.flush_pairs(0.1)
    began = time.monotonic()
    writing.stop()
    writing.join(began + 0.5)
    writing.leave()
    assert time.monotonic() - began < postgres_connections.ANSWER_SECONDS / 2
    (file,) = waiting_files(ledger)
    assert len(file.read_bytes().splitlines()) == 100
    if breaks:
        server.stop("immediate")
    gate.open()
    writing.join(time.monotonic() + 60)
    if breaks:
        assert len(file.read_bytes().splitlines()) == 100, "what lies there is not put there again"
        server.start()
    following = writer(Ledger(behind))
    until(lambda: following.flush(1) and not waiting_files(ledger))
    assert sorted(calls(Ledger(database))) == list(range(150))
    following.close(5)


def test_who_judges_nothing_flushes_into_a_file_while_it_is_away(server, database, provider):
    client = wrapped(provider, database, drift=promptguard.Drift(evaluate="never"))
    ask(client, range(5))
    assert promptguard.flush(60)
    background = client._client._transport._promptguard_ports.background
    server.stop("immediate")
    try:
        background.writer.put_pair(pair(1000))
        until(lambda: promptguard.flush(5))
        assert waiting_files(background.ledger)
    finally:
        server.start()
    until(lambda: 1000 in calls(Ledger(database)))


def test_connections_that_are_ended_amid_transactions_lose_and_double_nothing(server, database):
    Ledger(database).open()
    writers = [Writer(Ledger(database), lambda: None, lambda where, error: None) for _ in range(3)]
    stop, ended = threading.Event(), []

    def end():
        while not stop.is_set():
            ended.extend(
                server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
            )
            time.sleep(0.02)

    ending = threading.Thread(target=end)
    ending.start()
    try:
        for number in range(2000):
            for place, each in enumerate(writers):
                each.put_pair(pair(10_000 * place + number))
            if number % 100 == 0:
                time.sleep(0.05)
    finally:
        until(lambda: len(ended) > 5)
        stop.set()
        ending.join(30)
    for each in writers:
        assert until(lambda each=each: each.flush(10))
        each.close(5)
        assert not each.dropped
    found = calls(Ledger(database))
    assert sorted(found) == [10_000 * place + number for place in range(3) for number in range(2000)]
    for place in range(3):
        own = [call for call in found if call // 10_000 == place]
        assert own == sorted(own), "the order of one process is kept"


def test_another_server_takes_over_from_the_same_data(server, gate, behind):
    ledger, faults = Ledger(behind), []
    writing = writer(ledger, faults)
    for number in range(200):
        writing.put_pair(pair(number))
        if number == 99:
            assert writing.flush(30)
    gate.close()
    server.stop("immediate")
    other = server.copy()
    try:
        for number in range(200, 300):
            writing.put_pair(pair(number))
        gate.lead_to(other.socket, server.port)
        gate.open()
        assert until(lambda: writing.flush(5), 60)
        for number in range(300, 310):
            writing.put_pair(pair(number))
        assert writing.flush(30)
        assert calls(ledger) == list(range(310))
    finally:
        writing.close(5)
        close_backgrounds()
        other.close()
        server.start()
