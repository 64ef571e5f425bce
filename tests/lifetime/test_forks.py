"""Forks: no SQLite connection is open at that moment, the child begins anew, and nothing waits for long."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from promptguard.ledger.engines.sqlite_file import locked
from promptguard.ledger.store import Ledger
from promptguard.lifetime import forks
from tests.files import asked_of
from tests.marks import spread

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),  # 3.12: the fork is the point
]


def in_child(work):
    """Run `work` in a forked child; returns its exit code, which is what `work` returns."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            code = int(work())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def files_open_below(directory):
    return sum(
        str(link.resolve()).startswith(f"{directory}/")
        for link in Path("/proc/self/fd").iterdir()
        if link.exists()
    )


def test_a_fork_waits_for_the_transaction_in_hand(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.open()
    inside = threading.Event()

    def transact():
        with ledger.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO counter VALUES ('a', 'b', 1)")
            inside.set()
            time.sleep(0.2)

    thread = threading.Thread(target=transact)
    thread.start()
    assert inside.wait(5)

    def child():
        if files_open_below(tmp_path) or forks.is_unsafe():
            return 1
        Ledger(tmp_path).count({("c", "d"): 1.0})
        return 0

    assert in_child(child) == 0
    thread.join()
    rows = asked_of(tmp_path / "ledger.sqlite3", "SELECT name FROM counter ORDER BY name")
    assert rows == [("a",), ("c",)]


def test_a_fork_that_cannot_wait_makes_a_child_that_leaves_the_ledger_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(forks, "FORK_WAIT", 0.1)
    ledger = Ledger(tmp_path)
    ledger.open()
    with ledger.transaction():
        before = time.monotonic()

        def child():
            from promptguard.ledger.trouble import LedgerUnavailable

            try:
                Ledger(tmp_path).count({("c", "d"): 1.0})
            except LedgerUnavailable:
                return 0 if forks.is_unsafe() else 1
            return 2

        assert in_child(child) == 0
        assert time.monotonic() - before < 5
    assert not forks.is_unsafe()


def test_nobody_opens_a_connection_while_another_thread_forks(tmp_path, monkeypatch):
    """Threads write all the time, while the process forks again and again; every child finds no file open."""
    monkeypatch.setattr(forks, "FORK_WAIT", 30.0)  # a busy disk may take its time
    ledger = Ledger(tmp_path)
    ledger.open()
    over, written = threading.Event(), []

    def write(number):
        while not over.is_set():
            ledger.count({("a", str(number)): 1.0})
            written.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    [thread.start() for thread in threads]
    try:
        codes = [in_child(lambda: files_open_below(tmp_path)) for _ in range(25)]
    finally:
        over.set()
        [thread.join() for thread in threads]
    assert codes == [0] * 25
    database = tmp_path / "ledger.sqlite3"
    assert asked_of(database, "SELECT sum(value) FROM counter") == [(len(written),)]
    assert asked_of(database, "PRAGMA integrity_check") == [("ok",)]


def test_a_fork_within_a_fork_and_a_failed_one_leave_the_gate_open(tmp_path):
    ledger = Ledger(tmp_path)

    def child():
        ledger.count({("child", ""): 1.0})
        return in_child(lambda: ledger.count({("grandchild", ""): 1.0}) or 0)

    assert in_child(child) == 0
    forks._before()  # what a fork that fails does: Python calls the parent's hook all the same
    forks._in_parent()
    ledger.count({("parent", ""): 1.0})
    names = asked_of(tmp_path / "ledger.sqlite3", "SELECT name FROM counter ORDER BY name")
    assert names == [("child",), ("grandchild",), ("parent",)]


CHILDREN = """
    import multiprocessing, sys
    import promptguard
    import promptguard.lifetime.shared
    from openai import OpenAI

    promptguard.lifetime.shared.EXIT_SECONDS = 30.0  # on a busy machine too, all that was taken is committed
    url, ledger, method = sys.argv[1:4]
    budget = promptguard.Budget(calls_per_minute=None)
    client = promptguard.wrap(
        OpenAI(base_url=url, api_key="k", max_retries=0), ledger=ledger, cache="disk",
        shadow=promptguard.Shadow(model="n", sample=1.0, repeat=0.0, budget=budget),
    )

    def ask(text):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])

    if __name__ == "__main__":
        context = multiprocessing.get_context(method)
        exits = []
        for number in range(int(sys.argv[4])):
            ask(f"parent {number}")  # its background work is under way when the next child begins
            client._client._transport._pool.close()  # a connection of the parent's is none of the child's
            child = context.Process(target=ask, args=(f"child {number}",))
            child.start()
            child.join(60)
            exits.append(child.exitcode)
        assert promptguard.flush(100.0)
        print(exits)
"""


@pytest.mark.sdk
@pytest.mark.parametrize(
    ("method", "children"), spread([("fork", 10), ("forkserver", 2), ("spawn", 2)], 2, several=True)
)
def test_children_of_multiprocessing_pair_what_they_ask_and_leave_in_order(tmp_path, method, children):
    """They end by `os._exit`, without what `atexit` holds: what they have asked is committed all the same."""
    from promptguard.testing import FakeProvider

    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(CHILDREN))
    with FakeProvider({"m": lambda _: "fine", "n": lambda _: "other"}) as provider:
        command = [sys.executable, program, provider.url, tmp_path / "ledger", method, str(children)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        asked = provider.asked("m")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str([0] * children)
    database = tmp_path / "ledger" / "ledger.sqlite3"
    assert asked_of(database, "PRAGMA integrity_check") == [("ok",)]
    assert asked_of(database, "SELECT count(*) FROM pair WHERE outcome = 'compared'") == [(asked,)]


def test_a_fork_waits_for_an_import_of_another_thread(tmp_path, monkeypatch):
    """The lock of a module that the parent was importing has no owner in the child: it would wait for ever."""
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.3)\nready = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    thread = threading.Thread(target=lambda: __import__("slow_to_import"))
    thread.start()
    time.sleep(0.1)

    def child():
        signal.alarm(10)
        return 0 if __import__("slow_to_import").ready else 1

    assert in_child(child) == 0
    thread.join()


def test_a_child_does_not_keep_the_lock_under_which_a_ledger_is_opened(tmp_path):
    """A worker that is forked at that moment would keep every other from opening the ledger, as long as it lives."""
    reading, writing = os.pipe()
    with locked(tmp_path):
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)  # lives until the parent has looked
            os._exit(0)
    try:
        with locked(tmp_path):  # raises after five seconds
            pass
    finally:
        os.close(writing)
        os.waitpid(pid, 0)
        os.close(reading)


@pytest.mark.sdk
def test_a_child_reads_what_is_known_at_once_and_judges_later_or_when_asked(tmp_path, monkeypatch):
    """A server forks its workers all at once: what a worker's first calls need not wait for is not done beside them."""
    from openai import OpenAI

    import promptguard
    from promptguard.background import evaluating
    from promptguard.background.engine import open_backgrounds
    from promptguard.testing import FakeProvider

    monkeypatch.setattr(evaluating, "FORK_SECONDS", (300.0, 300.0))

    def child(url):
        signal.alarm(100)
        client = OpenAI(base_url=url, api_key="k", max_retries=0)
        shadow = promptguard.Shadow(model="n", sample=1.0, repeat=0.0)
        promptguard.wrap(client, ledger=tmp_path / "ledger", shadow=shadow)
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        (background,) = open_backgrounds()
        if not background.wait_open(60.0):
            return 1
        time.sleep(0.5)
        if background.ledger.lease_is_held("evaluator", time.time()):
            return 2
        if not promptguard.flush(60.0):
            return 3
        return 0 if background.ledger.lease_is_held("evaluator", time.time()) else 4

    with FakeProvider({"m": lambda _: "fine", "n": lambda _: "other"}) as provider:
        assert in_child(lambda: child(provider.url)) == 0
