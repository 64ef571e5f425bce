"""Whatever goes wrong on our side, the caller gets the reply; nobody gets another's; nothing heavy is imported."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import subprocess
import sys
import threading
import time
from functools import partial

import httpx
import pytest
from openai import OpenAI

import promptguard
import promptguard.drift
import promptguard.testing
from promptguard.core.effects import Body
from promptguard.http.streams import _HELD, Recorder, recorded_stream_class
from promptguard.ledger.store import Ledger
from promptguard.runtime.finishing import finish_abandoned
from promptguard.shadow.budget import BudgetLimiter, list_price
from promptguard.shadow.reorder import ReorderBuffer
from promptguard.shadow.worker import Worker
from promptguard.testing import FakeProvider

ASK = [{"role": "user", "content": "hi"}]


@pytest.fixture
def provider():
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as running:
        running.next_id = lambda: "fixed"
        yield running


def broken(*_, **__):
    raise RuntimeError("injected")


FAULTS = [
    "promptguard.cache.memory.MemoryCache.get",
    "promptguard.cache.memory.MemoryCache.put",
    "promptguard.ledger.store.Ledger.write_pairs",
    "promptguard.ledger.store.Ledger.reserve",
    "promptguard.telemetry.otel.Telemetry.record",
    "promptguard.templates.rendered.recognise",
    "promptguard.guarding.Interceptor.begin",
    "promptguard.guarding.attempt",
    "promptguard.core.caching.cache_key",
    "promptguard.core.flow.answered",
    "promptguard.core.flow.keep",
    "promptguard.core.recent.RecentModels.saw",
    "promptguard.core.recent.RecentModels.moved",
    "promptguard.cache.single_flight.SingleFlight.join",
    "promptguard.cache.single_flight.SingleFlight.complete",
    "promptguard.core.flow._settle",
    "promptguard.wire.openai_chat.read_request",
    "promptguard.wire.openai_chat.read_reply",
    "promptguard.background.engine.Background.take_places",
    "promptguard.background.engine.Background.offer",
    "promptguard.http.transport._to_ours",
    "promptguard.http.transport._rebuilt",
    "promptguard.http.transport.recorded_stream_class",
    "promptguard.shadow.worker.Worker.offer",
]


@pytest.mark.sdk
@pytest.mark.parametrize("target", FAULTS)
def test_7_the_caller_gets_the_same_bytes_when_we_fail(target, provider, guarded, monkeypatch):
    client = OpenAI(base_url=provider.url, api_key="k")
    bare = client.chat.completions.with_raw_response.create(model="gpt-4", messages=ASK).content
    shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
    promptguard.wrap(client, ledger=guarded, cache="memory", shadow=shadow)
    monkeypatch.setattr(target, broken)
    for _ in range(3):
        got = client.chat.completions.with_raw_response.create(model="gpt-4", messages=ASK).content
        assert got.split(b'"created"')[0] == bare.split(b'"created"')[0]
        assert [
            c.choices[0].delta.content
            for c in client.chat.completions.create(model="gpt-4", messages=ASK, stream=True)
        ]
    client.close()


@pytest.mark.sdk
def test_an_answer_is_kept_though_who_gave_it_cannot_be_noted(provider, guarded, monkeypatch):
    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), ledger=guarded, cache="disk")
    monkeypatch.setattr("promptguard.guarding.who_of", broken)
    ports = client._client._transport._promptguard_ports
    answers = []
    for _ in range(2):
        answers.append(client.chat.completions.create(model="gpt-4", messages=ASK))
        assert ports.cache.flush(60.0)
    assert answers[0] == answers[1]
    assert provider.asked("gpt-4") == 1
    assert [kind for kind in ports.faults.counts if kind.startswith("identity:")]
    client.close()


@pytest.mark.sdk
def test_no_answer_of_another_key_server_or_parameter_is_served(provider, guarded):
    with FakeProvider({"gpt-4": lambda _: "elsewhere"}) as second:

        def ask(key="k", url=provider.url, **more):
            client = promptguard.wrap(OpenAI(base_url=url, api_key=key), ledger=guarded, cache="disk")
            client.chat.completions.create(**{"model": "gpt-4", "messages": ASK, **more})
            time.sleep(0.05)
            client.close()

        ask()
        before = len(provider.received) + len(second.received)
        others = [
            {"key": "k2"}, {"url": second.url}, {"max_tokens": 5}, {"seed": 1}, {"model": "other"}, {"user": "u"},
            {"extra_headers": {"OpenAI-Project": "p"}}, {"extra_query": {"v": "1"}}, {"extra_body": {"new": 0}},
            {"messages": [*ASK, *ASK]}, {"tools": []}, {"response_format": {"type": "text"}},
        ]  # fmt: skip
        for other in others:
            ask(**other)
        assert len(provider.received) + len(second.received) == before + len(others)


@pytest.mark.sdk
def test_a_tampered_row_is_a_miss(provider, guarded):
    def ask():
        client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), ledger=guarded, cache="disk")
        cache = client._client._transport._promptguard_ports.cache
        until = time.monotonic() + 60.0
        while cache._reading is None and time.monotonic() < until:  # opened in the background
            time.sleep(0.01)
        answer = client.chat.completions.create(model="gpt-4", messages=ASK).choices[0].message.content
        assert cache.flush(60.0)  # closing waits for a moment alone
        cache.close(), client.close()
        return answer

    assert (ask(), ask(), provider.asked("gpt-4")) == ("fine", "fine", 1)
    database = sqlite3.connect(guarded / "cache" / "cache.db")
    with database:
        assert database.execute(
            "UPDATE Cache SET value = CAST(replace(hex(value), '66696E65', '6576696C') AS BLOB)"
        ).rowcount
    database.close()
    assert (ask(), provider.asked("gpt-4")) == ("fine", 2)


@pytest.mark.parametrize(
    ("cap", "allowed"),
    [({"calls_per_day": 37}, 37), ({"usd_per_day": 0.01}, 10), ({"calls_per_minute": 25}, 25)],
)
def test_caps_hold_with_many_threads(cap, allowed, tmp_path):
    price = promptguard.Price(input=0.0, output=10.0)  # 100 tokens: a tenth of a cent
    budget = promptguard.Budget(**{"calls_per_minute": None, "price": price, **cap})
    limiter = BudgetLimiter(budget, Ledger(tmp_path), "shadow", lambda: 1e9, clock=lambda: 0.0)
    booked = []

    def work():
        booked.extend(limiter.reserve("m", 10, 100) for _ in range(25))

    threads = [threading.Thread(target=work) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(booked) == 200
    assert sum(not isinstance(each, str) for each in booked) == allowed


def test_a_cap_a_minute_holds_in_any_sixty_seconds(tmp_path):
    now, allowed = [0.0], []
    budget = promptguard.Budget(calls_per_minute=20)
    limiter = BudgetLimiter(budget, Ledger(tmp_path), "shadow", lambda: 1e9, clock=lambda: now[0])
    for _ in range(2_000):
        now[0] += 0.1
        if not isinstance(limiter.reserve("m", 10, 100), str):
            allowed.append(now[0])
    assert len(allowed) == 80, "all that the cap lets through in 200 seconds"
    assert all(later - earlier >= 60.0 for earlier, later in zip(allowed, allowed[20:], strict=False))
    assert limiter.room() == sum(now[0] - at >= 60.0 for at in allowed[-20:])


@pytest.mark.parametrize(
    ("model", "price"),
    [
        ("gpt-4-0613", promptguard.Price(30.0, 60.0)),
        ("amazon.nova-pro-v1:0", promptguard.Price(0.8, 3.2)),
        ("arn:aws:bedrock:eu-1::foundation-model/amazon.nova-pro-v1:0", promptguard.Price(0.8, 3.2)),
        ("claude-sonnet-4-5@20250929", promptguard.Price(3.0, 15.0)),  # twice as much for long questions
        ("my-deployment", None),
    ],
)
def test_list_prices_of_names_as_each_protocol_has_them(model, price):
    assert list_price(model) == price


def test_a_model_without_a_price_is_not_asked_under_a_cap_in_usd(tmp_path):
    limiter = BudgetLimiter(promptguard.Budget(usd_per_day=5), Ledger(tmp_path), "shadow", time.time)
    assert limiter.reserve("no-such-model-anywhere", 10, 10) == "price_unknown"


def test_outcomes_are_released_in_slot_order():
    released = []
    order = ReorderBuffer(released.append, time.monotonic, lambda *_: 0)
    slots = [order.open("g") for _ in range(400)]
    parts = [slots[n::8][::-1] for n in range(8)]
    threads = [
        threading.Thread(target=lambda part=part: [order.complete(t, t) for t in part]) for part in parts
    ]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert released == slots
    assert order.pending == 0


def test_a_full_queue_refuses_and_says_so():
    go = threading.Event()
    worker = Worker(
        lambda _: go.wait(10), lambda *_: None, size=2, threads=1, max_bytes=100, weigh=lambda task: task
    )
    assert worker.offer(101) == "queue_bytes"
    answers = [worker.offer(1) for _ in range(10)]
    assert answers.count("queue_full") >= 7
    go.set()
    assert worker.flush(60.0)
    worker.stop()
    assert worker.offer(1) == "closed"


def test_a_dropped_stream_is_finished_later_and_never_where_it_is_collected():
    told: list[Body] = []
    stream = recorded_stream_class(httpx)(httpx.ByteStream(b"abc"), Recorder(told.append))
    next(iter(stream))
    del stream
    gc.collect()
    assert not told
    finish_abandoned()
    assert [(body.chunks, body.end) for body in told] == [((b"abc",), "closed")]


def test_a_dropped_stream_within_a_reference_cycle_is_told_to_the_flow_that_waits():
    told: list[Body] = []

    def flow():
        told.append((yield))

    waiting = flow()
    next(waiting)

    class Cycle:
        pass

    cycle = Cycle()
    cycle.stream = recorded_stream_class(httpx)(httpx.ByteStream(b"abc"), Recorder(partial(send, waiting)))
    cycle.itself = cycle
    next(iter(cycle.stream))
    del cycle, waiting
    gc.collect()
    finish_abandoned()
    assert [(body.chunks, body.end) for body in told] == [((b"abc",), "closed")]
    assert not _HELD


def send(generator, value):
    with contextlib.suppress(StopIteration):
        generator.send(value)


def _imported_by(statement: str, among: str) -> str:
    code = f"{statement}\nprint(*(m for m in {among.split()!r} if m in sys.modules))"
    paths = [p for p in sys.path if p]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_importing_loads_nothing_heavy():
    heavy = (
        "openai httpx httpx2 pydantic pydantic_settings numpy typer rich sqlalchemy jinja2 diskcache boto3 botocore "
        "urllib3"
    )
    assert _imported_by("import promptguard", heavy) == ""


def test_a_ledger_in_a_directory_loads_no_other_dialect(tmp_path):
    use = f"from promptguard.ledger.store import Ledger\nfrom pathlib import Path\nLedger(Path({str(tmp_path)!r}))"
    dialects = "sqlalchemy.dialects.sqlite sqlalchemy.dialects.postgresql"
    assert _imported_by(use, dialects) == "sqlalchemy.dialects.sqlite"


def test_what_prices_need_is_imported_before_any_call():
    looked_up = """
from promptguard import Budget
from promptguard.shadow.budget import BudgetLimiter, list_price
BudgetLimiter(Budget(calls_per_minute=2), None, "shadow", lambda: 0.0, note=lambda *_: None)
before = set(sys.modules)
assert list_price("gpt-4o-mini") is not None
sys.modules = dict.fromkeys(set(sys.modules) - before)
"""
    names = "genai_prices genai_prices.data genai_prices.data_units genai_prices.validation genai_prices.decompose"
    assert _imported_by(looked_up, names) == ""


def test_public_names_are_these():
    assert sorted(promptguard.__all__) == [
        "Alarm", "Alertmanager", "Apprise", "Budget", "BypassCache", "Cache", "Compat", "ConfigurationError",
        "Drift", "DriftDetected", "Price", "PromptGuardError", "PromptGuardSettings", "Raise", "Replay", "RollBack",
        "Route", "Shadow", "Slack", "Warn", "Webhook", "__version__", "acknowledge", "bypass", "cache_status", "cache_tags",
        "clear_cache", "cluster", "flush", "group", "guard", "is_wrapped", "prompts", "purge", "subject", "undo", "unit",
        "unwrap", "verdicts", "wrap",
    ]  # fmt: skip
    assert all(hasattr(promptguard, name) for name in promptguard.__all__)
    assert {"Answer", "PairMonitor", "Verdict"} <= set(promptguard.drift.__all__)
    assert sorted(promptguard.testing.__all__) == [
        "FakeClock",
        "FakeProvider",
        "Fault",
        "ForwardProxy",
        "Question",
        "Received",
        "Served",
    ]
