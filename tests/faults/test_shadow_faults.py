"""A second model that hangs, refuses, floods or talks nonsense costs the application nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from openai import OpenAI

import promptguard
from promptguard.ledger.store import Ledger
from promptguard.testing import FakeProvider, Fault, Served
from tests.cache.replies import until

pytestmark = pytest.mark.sdk
ASK = [{"role": "user", "content": "hi"}]
BAD = {
    "hang": Fault("hang", seconds=4.0),
    "refuse": Fault("refuse"),
    "cut": Fault("cut"),
    "garbage": Fault("garbage"),
    "no choices": Fault("garbage", body=b'{"choices": [], "model": ["x"], "usage": {"prompt_tokens": -1}}'),
    "lone surrogate": Fault(
        "garbage",
        body=b'{"model":"\\ud800","choices":[{"message":{"content":"\\ud800"},"finish_reason":"stop"}]}',
    ),
    "huge": Fault("garbage", body=b"x" * 20_000_000),
    "busy": Fault("status", 429),
    "bomb": Served("a" * 1_000_000, gzip=True),
}


def raw(client):
    return client.chat.completions.with_raw_response.create(model="gpt-4", messages=ASK).content


@pytest.mark.parametrize("kind", BAD)
def test_the_applications_answers_are_byte_identical(kind, guarded):
    with FakeProvider({"gpt-4": lambda _: "fine", "bad": lambda _: BAD[kind]}) as provider:
        provider.next_id = lambda: "fixed"
        bare = OpenAI(base_url=provider.url, api_key="k")
        client = OpenAI(base_url=provider.url, api_key="k")
        promptguard.wrap(
            client, ledger=guarded, shadow=promptguard.Shadow(model="bad", sample=1.0, repeat=0.0)
        )
        began = time.monotonic()
        answers = [raw(client) for _ in range(3)]
        assert time.monotonic() - began < 3.0  # one that waited for the second model would take four
        assert {a.split(b'"created"')[0] for a in answers} == {raw(bare).split(b'"created"')[0]}
        if kind != "hang":
            assert promptguard.flush(60.0)  # every pair has an outcome, and no row holds up the rest
            from promptguard.background.engine import open_backgrounds

            rows = open_backgrounds()[0].ledger.pairs_after(0)
            assert [row.outcome for row in rows] == [
                "compared" if kind == "lone surrogate" else "candidate_error"
            ] * 3
        client.close()
        bare.close()


def run(code, timeout=100):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=env,
        check=False,
    )


@pytest.mark.parametrize("kind", ["OpenAI", "AsyncOpenAI"])
def test_16_a_hanging_shadow_does_not_hold_up_the_exit(kind, guarded):
    with FakeProvider({"gpt-4": lambda _: "fine", "bad": lambda _: Fault("hang")}) as provider:
        done = run(f"""
            import asyncio, inspect, time, promptguard
            from openai import {kind}
            client = {kind}(base_url={provider.url!r}, api_key="k")
            promptguard.wrap(client, ledger={str(guarded)!r}, shadow=promptguard.Shadow(model="bad", sample=1.0))
            async def main():
                for _ in range(4):
                    answer = client.chat.completions.create(model="gpt-4", messages={ASK!r})
                    if inspect.isawaitable(answer):
                        await answer
                await asyncio.sleep(0.3)
            asyncio.run(main())
            print(time.time(), flush=True)
        """)
        ended = time.time()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert (
        ended - float(done.stdout) < 8.0
    )  # a second, on a machine with nothing else to do; for ever, if it held it up


def test_18_what_flush_returned_for_survives_a_process_that_is_ended_at_once(guarded):
    """Serverless platforms end a process, or freeze it for good, once the invocation has been answered."""
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: Served("fine", delay=0.3)}) as provider:
        done = run(f"""
            import os, signal, promptguard
            from openai import OpenAI
            client = OpenAI(base_url={provider.url!r}, api_key="k")
            shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
            promptguard.wrap(client, ledger={str(guarded)!r}, shadow=shadow)
            client.chat.completions.create(model="gpt-4", messages={ASK!r})
            print(promptguard.flush(60.0), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """)
    assert done.stdout.split() == ["True"], done.stderr
    assert done.returncode == -signal.SIGKILL
    ledger = Ledger(guarded)
    assert [row.outcome for row in ledger.pairs_after(0)] == ["compared"]
    ledger.close()


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs SIGSTOP")
def test_18_a_process_that_is_frozen_amid_a_background_call_goes_on_when_thawed(guarded):
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: Served("fine", delay=0.4)}) as provider:
        code = f"""
            import sys, promptguard
            from openai import OpenAI
            client = OpenAI(base_url={provider.url!r}, api_key="k")
            shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
            promptguard.wrap(client, ledger={str(guarded)!r}, shadow=shadow)
            for _ in range(2):
                client.chat.completions.create(model="gpt-4", messages={ASK!r})
                print("answered", flush=True)
                sys.stdin.readline()
            print(promptguard.flush(60.0), flush=True)
        """
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": env}
        with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], **pipes) as child:
            assert child.stdout.readline() == "answered\n"
            until(lambda: provider.asked("other") == 1)
            child.send_signal(signal.SIGSTOP)
            time.sleep(0.8)  # longer than the other model takes
            child.send_signal(signal.SIGCONT)
            told, _ = child.communicate("go\ngo\n", timeout=20)
        assert told.split() == ["answered", "True"]
    ledger = Ledger(guarded)
    assert [row.outcome for row in ledger.pairs_after(0)] == ["compared"] * 2
    ledger.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_17_a_forked_child_answers_pairs_and_exits(guarded):
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as provider:
        done = run(f"""
            import os, sys, promptguard
            from openai import OpenAI
            client = OpenAI(base_url={provider.url!r}, api_key="k")
            shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
            promptguard.wrap(client, ledger={str(guarded)!r}, shadow=shadow, cache="memory")
            ask = lambda n: client.chat.completions.create(model="gpt-4", messages=[{{"role": "user", "content": n}}])
            ask("parent"), ask("parent 2"), promptguard.flush(60.0)
            child = os.fork()
            if child == 0:
                ask("child")
                sys.exit(0 if promptguard.flush(60.0) else 3)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), promptguard.flush(60.0))
        """)
        assert done.stdout.split() == ["0", "True"], done.stderr
        assert provider.asked("other") == 3
