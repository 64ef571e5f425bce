"""The response cache under the real SDK: what a hit is, who shares one, what is kept, how it is emptied."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from openai import AsyncOpenAI, AzureOpenAI, OpenAI

import promptguard
from promptguard.cli import main
from promptguard.ledger.store import Ledger
from promptguard.testing import Served
from tests.cache.replies import until
from tests.sdk.conftest import http_family

pytestmark = pytest.mark.sdk
ASK = [{"role": "user", "content": "hello there"}]


@pytest.fixture
def client_of(provider, guarded):
    """Make wrapped clients of the provider, closed when the test is done."""
    made = []

    def make(kind=OpenAI, ledger=guarded, **options):
        client = promptguard.wrap(kind(base_url=provider.url, api_key="k"), ledger=ledger, **options)
        made.append(client)
        return client

    yield make
    for client in made:
        ports = client._client._transport._promptguard_ports
        if ports.cache is not None:
            ports.cache.close()
        if ports.counting is not None:
            ports.counting.close()
        if isinstance(client, OpenAI):
            client.close()


def ask(client, text="hello there", **more):
    answer = client.chat.completions.create(
        model="gpt-4", messages=[{"role": "user", "content": text}], **more
    )
    return answer.choices[0].message.content


def opened(client):
    """Wait until a cache on disk has been opened in the background."""
    cache = client._client._transport._promptguard_ports.cache
    until(lambda: cache._reading is not None)
    return cache


def looks(guarded):
    """What the ledger counted of the cache."""
    ledger = Ledger(guarded)
    counts = {k[1]: v for k, v in counters(ledger).items() if k[0] == "cache"}
    ledger.close()
    return counts


def counters(ledger):
    from sqlalchemy import select

    from promptguard.ledger import schema

    with ledger.engine.sql.connect() as connection:
        return {(row.name, row.label): row.value for row in connection.execute(select(schema.counter))}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("gzip", [False, True])
def test_a_hit_is_the_same_bytes_in_the_same_chunks_and_is_marked(provider, guarded, streamed, gzip):
    provider.models["gpt-4"] = lambda question: Served(f"You asked {question.text} " * 30, gzip=gzip)
    family = http_family()
    http = promptguard.guard(family.Client(), ledger=guarded, cache="memory")
    question = {"model": "gpt-4", "messages": ASK, "stream": streamed}
    seen = []
    for _ in range(2):
        with http.stream("POST", f"{provider.url}/chat/completions", json=question) as response:
            chunks = list(response.iter_raw())
        headers = {k: v for k, v in response.headers.items() if k not in {"date", "transfer-encoding"}}
        mark = headers.pop("x-promptguard-cache", None)
        seen.append((chunks, response.status_code, headers, response.http_version, mark))
    http.close()
    assert [each[4] for each in seen] == [None, "hit"]
    assert seen[0][:4] == (seen[1][0], seen[1][1], seen[1][2] | {"server": seen[0][2]["server"]}, seen[1][3])
    assert len(seen[0][0]) > (3 if streamed else 0)
    assert provider.asked("gpt-4") == 1


async def test_a_hit_is_the_same_for_tasks(provider, guarded):
    http = promptguard.guard(http_family().AsyncClient(), ledger=guarded, cache="memory")
    question = {"model": "gpt-4", "messages": ASK, "stream": True}
    seen = []
    for _ in range(2):
        async with http.stream("POST", f"{provider.url}/chat/completions", json=question) as response:
            seen.append([chunk async for chunk in response.aiter_raw()])
    await http.aclose()
    assert seen[0] == seen[1]
    assert provider.asked("gpt-4") == 1


def test_accessors_work_on_a_hit(client_of, provider):
    client = client_of(cache="memory")
    question = {"model": "gpt-4", "messages": ASK}
    first, hit = (client.chat.completions.with_raw_response.create(**question) for _ in range(2))
    assert (first.headers.get("x-promptguard-cache"), hit.headers["x-promptguard-cache"]) == (None, "hit")
    assert first.content == hit.content
    assert (hit.status_code, hit.http_version, hit.retries_taken) == (200, first.http_version, 0)
    assert hit.request_id == first.request_id == hit.headers["x-request-id"]
    assert hit.elapsed.total_seconds() >= 0
    parsed = hit.parse()
    assert parsed.usage == first.parse().usage
    assert parsed.usage.total_tokens > 0
    assert parsed._request_id == first.request_id
    with client.chat.completions.with_streaming_response.create(**question) as response:
        assert response.headers["x-promptguard-cache"] == "hit"
        assert b"".join(response.iter_bytes()) == hit.content
    streamed = {**question, "stream": True, "stream_options": {"include_usage": True}}
    usages = [list(client.chat.completions.create(**streamed))[-1].usage for _ in range(2)]
    assert usages[0] == usages[1]
    assert usages[0].total_tokens > 0
    assert provider.asked("gpt-4") == 2


def test_equal_calls_of_threads_share_one(client_of, provider):
    provider.models["gpt-4"] = lambda _: Served("slow", delay=0.4)
    client, told = client_of(cache="memory"), []
    threads = [threading.Thread(target=lambda: told.append(ask(client))) for _ in range(20)]
    [thread.start() for thread in threads]
    [thread.join(20) for thread in threads]
    assert told == ["slow"] * 20
    assert provider.asked("gpt-4") == 1


async def test_followers_survive_a_leader_that_is_cancelled(client_of, provider):
    provider.models["gpt-4"] = lambda _: Served("slow", delay=0.4)
    client = client_of(AsyncOpenAI, cache="memory")

    async def one():
        answer = await client.chat.completions.create(model="gpt-4", messages=ASK)
        return answer.choices[0].message.content

    leader = asyncio.create_task(one())
    while not provider.received:
        await asyncio.sleep(0.01)
    followers = [asyncio.create_task(one()) for _ in range(10)]
    await asyncio.sleep(0.1)
    leader.cancel()
    assert await asyncio.wait_for(asyncio.gather(*followers), 20) == ["slow"] * 10
    assert provider.asked("gpt-4") == 2
    with pytest.raises(asyncio.CancelledError):
        await leader
    await client.close()


async def test_a_leader_that_has_not_read_its_answer_does_not_wait_for_itself(client_of, provider):
    client = client_of(AsyncOpenAI, cache="memory")
    asked = {"url": f"{provider.url}/chat/completions", "json": {"model": "gpt-4", "messages": ASK}}
    async with client._client.stream("POST", **asked):
        assert (await client._client.post(**asked)).json()["choices"]
    assert provider.asked("gpt-4") == 2
    await client.close()


def test_variety_is_collected_and_not_frozen(client_of, provider):
    numbers = iter(range(100))
    provider.models["gpt-4"] = lambda _: f"answer {next(numbers)}"
    hot = {"temperature": 1.0}
    client = client_of(cache=promptguard.Cache(sampled=True, variants=3))
    assert [ask(client, **hot) for _ in range(8)] == [f"answer {n % 3}" for n in range(8)]
    drawn = client_of(cache=promptguard.Cache(sampled=True, variants=3, draw="random"), seed=5)
    told = [ask(drawn, **hot) for _ in range(30)]
    assert set(told[3:]) == set(told[:3])
    assert told[3:12] != [told[n % 3] for n in range(9)]
    plain = client_of(cache="memory")
    assert ask(plain, **hot) != ask(plain, **hot)


def test_a_renewed_token_needs_a_tenant(provider, guarded):
    def azure(tenant=""):
        tokens = iter(f"token{n}" for n in range(9))
        client = AzureOpenAI(
            azure_endpoint=provider.url[:-3], api_version="v", azure_ad_token_provider=lambda: next(tokens)
        )
        return promptguard.wrap(
            client, ledger=guarded, cache=promptguard.Cache(tenant=tenant), on_drift=promptguard.Warn()
        )

    for tenant, more in (("", 2), ("customer", 1)):
        client, before = azure(tenant), provider.asked("gpt-4")
        assert ask(client) == ask(client)
        assert provider.asked("gpt-4") - before == more
        client.close()


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_tagged_entries_are_cleared_alone(client_of, provider, kind):
    client = client_of(cache=promptguard.Cache(kind, tags=("all",)))
    if kind == "disk":
        opened(client)
    with promptguard.cache_tags("customer-1"):
        ask(client, "one")
    ask(client, "two")
    promptguard.clear_cache(client, "customer-1")
    if kind == "disk":
        cache = opened(client)
        assert cache.flush(60.0)
    ask(client, "one"), ask(client, "two")
    assert provider.asked("gpt-4") == 3
    promptguard.clear_cache(client, "all")
    if kind == "disk":
        assert cache.flush(60.0)
    ask(client, "two")
    assert provider.asked("gpt-4") == 4


def run_cli(capsys, *arguments):
    with pytest.raises(SystemExit) as done:
        main(list(arguments))
    told = capsys.readouterr()
    return done.value.code, told.out, told.err


def test_the_command_line_tells_and_empties_it(client_of, provider, guarded, capsys):
    client = client_of(cache=promptguard.Cache("disk"))
    cache = opened(client)
    with promptguard.cache_tags("customer-1"):
        ask(client, "one"), ask(client, "one")
    ask(client, "two")
    ask(client, "two", temperature=1)
    assert cache.flush(60.0)
    assert client._client._transport._promptguard_ports.counting.flush(60.0)

    code, out, _ = run_cli(capsys, "cache", "stats", "--ledger", str(guarded), "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["hits"], told["misses"], told["bypassed"]) == (1, 2, {"temperature above 0": 1.0})
    assert (told["contents"]["entries"], told["contents"]["unreadable"]) == (2, 0)
    assert told["contents"]["tags"] == {"customer-1": 1}
    assert told["contents"]["models"] == {"gpt-4": 2}
    code, out, _ = run_cli(capsys, "cache", "stats", "--ledger", str(guarded))
    assert (code, "passed by: temperature above 0" in out) == (0, True)

    code, out, _ = run_cli(
        capsys, "cache", "clear", "--tag", "customer-1", "--ledger", str(guarded), "--json"
    )
    assert (code, json.loads(out)) == (0, {"removed": 1, "tag": "customer-1"})

    def asked_again():  # what this process kept in memory is gone as well, within seconds
        ask(client, "one")
        return provider.asked("gpt-4") == 4

    until(asked_again)
    ask(client, "two")
    assert provider.asked("gpt-4") == 4
    assert cache.flush(60.0)
    code, out, _ = run_cli(capsys, "cache", "clear", "--ledger", str(guarded), "--json")
    assert (code, json.loads(out)["removed"]) == (0, 2)


def test_the_command_line_tells_what_caches_in_memory_counted(client_of, guarded, capsys):
    client = client_of(cache="memory", replay=promptguard.Replay(share=0))
    ask(client), ask(client), ask(client, temperature=1)
    assert promptguard.flush(60.0)
    code, out, _ = run_cli(capsys, "cache", "stats", "--ledger", str(guarded), "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["hits"], told["misses"], told["bypassed"]) == (1, 1, {"temperature above 0": 1.0})
    assert told["contents"]["entries"] == 0
    code, _, err = run_cli(capsys, "cache", "clear", "--ledger", str(guarded))
    assert (code, 'cache="disk" makes one' in err) == (2, True)


@pytest.mark.parametrize("tag", ["", 3, "x" * 201])
def test_a_tag_that_no_entry_can_have_clears_nothing_and_is_told(client_of, provider, guarded, capsys, tag):
    client = client_of(cache=promptguard.Cache("disk", tags=("all",)))
    cache = opened(client)
    ask(client)
    with pytest.raises(promptguard.ConfigurationError, match="1 to 200 characters"):
        promptguard.clear_cache(client, tag)
    assert cache.flush(60.0)
    code, _, err = run_cli(capsys, "cache", "clear", "--tag", "", "--ledger", str(guarded))
    assert (code, "1 to 200 characters" in err) == (2, True)
    code, out, _ = run_cli(capsys, "cache", "stats", "--ledger", str(guarded), "--json")
    assert json.loads(out)["contents"]["entries"] == 1


def test_the_command_line_says_what_is_missing(tmp_path, capsys):
    for command in ("stats", "clear"):
        code, _, err = run_cli(capsys, "cache", command, "--ledger", str(tmp_path / "none"))
        assert code == 2
        assert "there is no cache" in err
    assert not (tmp_path / "none").exists()


def test_what_was_saved_last_is_there_after_the_process_has_ended(provider, guarded):
    program = f"""
import promptguard
from openai import OpenAI
client = promptguard.wrap(OpenAI(base_url={provider.url!r}, api_key="k"), ledger={str(guarded)!r}, cache="disk")
cache = client._client._transport._promptguard_ports.cache
for n in range(5):
    client.chat.completions.create(model="gpt-4", messages=[{{"role": "user", "content": str(n)}}])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert looks(guarded)["miss"] == 5
    client = promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), ledger=guarded, cache="disk")
    cache = opened(client)
    for number in range(5):
        ask(client, str(number))
    assert provider.asked("gpt-4") == 5
    cache.close(), client._client._transport._promptguard_ports.counting.close(), client.close()


def test_what_happens_to_the_store_is_counted(client_of, guarded):
    client = client_of(cache="disk")
    cache, ports = opened(client), client._client._transport._promptguard_ports
    cache._reading._con.close()  # as on a vanished disk
    assert [cache.get("nothing") for _ in range(4)] == [None] * 4
    assert ask(client)
    assert ports.faults.counts["cache error:CacheTrouble"] == 3
    assert ports.faults.counts["cache unavailable:CacheTrouble"] == 1
    assert ports.counting.flush(60.0)
    ledger = Ledger(guarded)
    stored = {k[1]: v for k, v in counters(ledger).items() if k[0] == "cache store"}
    ledger.close()
    assert stored["cache_unavailable: read: ProgrammingError"] == 1


def test_hits_asked_afresh_are_pairs_of_the_replay_stream(client_of, provider, guarded):
    provider.models["gpt-4"] = lambda question: f"[No] {question.text}"
    cache = promptguard.Cache(reask=1.0)
    client = client_of(
        cache=cache,
        replay=promptguard.Replay(share=0.0),
        drift=promptguard.Drift(mode="gate", split={"replay": 1.0}),
    )
    for number in range(30):
        ask(client, str(number))
    provider.models["gpt-4"] = lambda question: f"[Yes] it is so, and at some length: {question.text}"
    for number in range(30):
        assert ask(client, str(number)).startswith("[Yes]")  # asked afresh, so the caller gets the new answer
    for number in range(30):
        ask(client, str(number))  # each stored answer has been in a pair: replaced, not paired again
    assert promptguard.flush(100.0)
    ledger = Ledger(guarded)
    pairs = ledger.pairs_after(0)
    ledger.close()
    assert [(row.stream, row.outcome) for row in pairs] == [("replay", "compared")] * 30
    assert {row.control_model for row in pairs} == {"gpt-4"}
    (verdict,) = promptguard.verdicts(guarded)
    assert (verdict.stream, verdict.status) == ("replay", "drift")


def test_asking_afresh_needs_the_replay_stream(provider, guarded):
    for cache in (promptguard.Cache(reask=0.1), promptguard.Cache(on_drift="reask")):
        with pytest.raises(promptguard.ConfigurationError, match="add replay="):
            promptguard.wrap(OpenAI(base_url=provider.url, api_key="k"), ledger=guarded, cache=cache)


def test_entries_of_a_name_that_moved_are_passed_over(client_of, provider):
    served = "gpt-4-0314"
    provider.models["gpt-4"] = lambda question: Served(f"{served}: {question.text}", model=served)
    client = client_of(cache="memory")
    assert ask(client, "kept") == ask(client, "kept") == "gpt-4-0314: kept"
    served = "gpt-4-0613"
    for number in range(10):
        assert ask(client, "kept").startswith("gpt-4-0314")
        ask(client, str(number))
    assert ask(client, "kept") == "gpt-4-0613: kept"
    assert ask(client, "kept") == "gpt-4-0613: kept"
    assert provider.asked("gpt-4") == 12


def test_a_hit_is_fast_even_while_another_process_holds_the_disk(client_of, guarded):
    import sqlite3

    client = client_of(cache="disk")
    opened(client)
    ask(client)
    other = sqlite3.connect(guarded / "cache" / "cache.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    began = time.perf_counter()
    for number in range(10):
        ask(client, str(number))
    assert time.perf_counter() - began < 2.0
    other.execute("ROLLBACK")
    other.close()


def test_answers_collected_before_they_are_read_do_not_wait_for_each_other(client_of, provider):
    client = client_of(cache="memory").with_options(timeout=5.0)
    answers = client.chat.completions.with_streaming_response

    def collect(_):
        return answers.create(model="gpt-4", messages=ASK).__enter__()

    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        collected = list(pool.map(collect, range(2)))
    assert time.monotonic() - began < 4.0
    first, second = (answer.parse().choices[0].message.content for answer in collected)
    assert first == second
    assert provider.asked("gpt-4") == 2
    for answer in collected:
        answer.close()
