"""A fork from C, as uWSGI makes its workers: Python hears of it in the child alone, and has not been asked before."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from promptguard.testing import FakeProvider

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.skipif(sys.platform != "linux", reason="fork by ctypes"),
    pytest.mark.skipif(
        sys.version_info >= (3, 13),
        reason="Python 3.13 ends a child whose fork it was not asked about before",
    ),
]

PREFORK = textwrap.dedent(
    """
    import ctypes, os, sys, time
    import promptguard
    from openai import OpenAI
    from promptguard.lifetime import forks

    url, ledger, how = sys.argv[1:]

    def wrapped():
        shadow = promptguard.Shadow("other", sample=1.0, repeat=0.0)
        client = OpenAI(base_url=url, api_key="k", max_retries=0)
        return promptguard.wrap(client, ledger=ledger, cache="disk", shadow=shadow)

    def ask(client, number):
        messages = [{"role": "user", "content": f"{os.getpid()} {number}"}]
        client.chat.completions.create(model="gpt-4", messages=messages)

    client = wrapped()
    assert promptguard.flush(100.0)
    if how == "amid a transaction":
        from promptguard.ledger.store import Ledger
        held = Ledger(ledger).transaction()
        held.__enter__()
    if not ctypes.PyDLL(None).fork():
        ctypes.pythonapi.PyOS_AfterFork_Child()
        for each in (client, wrapped()):
            ask(each, 1)
            ask(each, 2)
        flushed = promptguard.flush(20.0 if how == "quiet" else 0.5)
        os._exit(0 if (flushed, forks.is_unsafe()) == ((how == "quiet"), (how != "quiet")) else 1)
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    """
)


@pytest.mark.parametrize(("how", "pairs"), [("quiet", 4), ("amid a transaction", 0)])
def test_its_child_pairs_unless_a_connection_was_open(tmp_path, how, pairs):
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as provider:
        command = [sys.executable, "-c", PREFORK, provider.url, str(tmp_path / "ledger"), how]
        ended = subprocess.run(command, timeout=120, check=False, capture_output=True, text=True)
    assert ended.returncode == os.EX_OK, ended.stderr
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger" / "ledger.sqlite3")) as connection:
        found = connection.execute("SELECT count(*) FROM pair WHERE outcome = 'compared'").fetchone()[0]
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert found == pairs
