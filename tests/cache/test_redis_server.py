"""A cache on a server that fails in every way that servers do: callers lose hits, and nothing else."""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from openai import OpenAI
from replies import SECRET, reply, until
from test_tiered import Clock
from tests.servers import Proxy, Valkey

import promptguard
from promptguard.cache import redis_server
from promptguard.cache.contract import Backend, Meeting, Store
from promptguard.cache.redis_server import Names, Server
from promptguard.core.options import Cache
from promptguard.errors import ConfigurationError
from promptguard.shared_secret import shared_secret

PASSWORD = "correct-horse-battery"
NAMES = Names(SECRET)


def test_a_server_is_a_backend_and_its_connections_are_meetings(valkey, monkeypatch):
    monkeypatch.setattr(redis_server, "OPEN_S", 20.0)
    backend: Backend = Server(Cache("redis", url=valkey.url), SECRET)
    stores: tuple[Store, Store] = backend.open(check=False, on_event=print)
    assert all(isinstance(store, Meeting) for store in stores)
    for store in stores:
        store.close(), store.close()


def kept(cache, key="key"):
    cache.put(key, reply())
    assert cache.flush(60.0)
    return cache.get(key) == reply()


def test_a_killed_server_costs_hits_and_comes_back(own_valkey, make_redis, caplog):
    server = own_valkey()
    cache = make_redis(server.url, clock=(clock := Clock()))
    assert kept(cache)
    server.kill()
    assert [cache.get("key") for _ in range(3)] == [None] * 3
    assert "cache_unavailable" in [name for name, _ in cache.events]
    assert not kept(cache, "other")
    assert ("cache_dropped", "store_unavailable") in cache.events
    server.start()
    clock.now += 31
    assert cache.get("key") is None  # the probe runs in the background
    until(lambda: cache.events[-1][0] == "cache_recovered")
    assert kept(cache)


def test_a_server_that_hangs_is_waited_for_once_a_second_and_then_left_alone(own_valkey, make_redis):
    server = own_valkey()
    cache = make_redis(server.url, limit_s=0.05, clock=(clock := Clock()))
    until(lambda: cache._reading is not None)
    server.signal(signal.SIGSTOP)
    began = time.perf_counter()
    for number in range(50):
        assert cache.get(f"key{number}") is None
        assert cache.claim(f"key{number}") == (False, "")
    assert time.perf_counter() - began < 2.5  # a hundred uses, each of which waited, would take 5 s
    for _ in range(3):
        clock.now += 1.5
        cache.get("key")
    assert not cache._circuit.closed
    server.signal(signal.SIGCONT)


def test_a_server_whose_bytes_come_one_by_one_is_not_waited_for(valkey, make_redis):
    proxy = Proxy(valkey.port)
    cache = make_redis(f"redis://127.0.0.1:{proxy.port}", limit_s=2.0, clock=Clock())
    assert make_redis(valkey.url) is not None
    cache.put("key", reply(b"x" * 1_000))
    assert cache.flush(60.0)
    assert cache.get("key") is not None
    proxy.drip = 0.05  # each byte in time, and all of them in a minute
    began = time.perf_counter()
    assert cache.get("key") is None
    assert time.perf_counter() - began < 20.0
    assert cache.events[-1][0] == "cache_error"
    proxy.close()


def test_a_connection_that_the_server_closed_is_opened_again(valkey, make_redis):
    cache = make_redis(valkey.url)
    assert kept(cache)
    valkey.client().client_kill_filter(skipme=True, _type="normal")
    until(lambda: cache.get("key") == reply())
    assert cache.stats.errors <= 2


def test_a_full_server_takes_nothing_and_goes_on_answering(own_valkey, make_redis):
    server = own_valkey()
    cache = make_redis(server.url)
    assert kept(cache)
    server.client().config_set("maxmemory", 1)
    for number in range(10):
        cache.put(f"more{number}", reply())
    assert cache.flush(60.0)
    assert cache.events == [("cache_dropped", "store_full")] * 10
    assert cache.get("key") == reply()  # though ten writes were refused


def test_a_replica_that_is_only_read_answers_and_keeps_nothing(own_valkey, make_redis):
    first = own_valkey()
    copy = own_valkey(replicaof=f"127.0.0.1 {first.port}")
    assert kept(make_redis(first.url))
    cache = make_redis(copy.url)
    until(lambda: cache.get("key") == reply())
    assert not kept(cache, "other")
    assert ("cache_dropped", "store_read_only") in cache.events
    assert cache.claim("key") == (False, "")
    assert cache._circuit.closed


@pytest.mark.parametrize("address", ["redis://127.0.0.1:{}", "redis://:wrong-secret@127.0.0.1:{}/0"])
def test_a_wrong_password_is_told_once_and_never_shown(own_valkey, make_redis, caplog, address):
    server = own_valkey(requirepass=PASSWORD)
    url = address.format(server.port)
    cache = make_redis(url, clock=(clock := Clock()))
    clock.now += 31
    cache.get("key")
    assert cache.flush(60.0)
    assert not kept(cache)
    told = [record.getMessage() for record in caplog.records]
    words = "refuses user and password, or asks for one; calls go on without it"
    assert told == [f"the cache on redis://127.0.0.1:{server.port}{'/0' if 'wrong' in url else ''} {words}"]
    assert "wrong-secret" not in caplog.text
    assert kept(make_redis(f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"))


def test_a_user_without_rights_is_told(own_valkey, make_redis, caplog):
    server = own_valkey(requirepass=PASSWORD)
    admin = server.client(password=PASSWORD)
    admin.execute_command("ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "~*", "+@read", "+ping")
    cache = make_redis(f"redis://reader:{PASSWORD}@127.0.0.1:{server.port}/0")
    assert not kept(cache)
    assert cache.events == [("cache_dropped", "store_refuses")]
    assert cache.claim("key") == (False, "")  # it may run no script, so it could not be given up
    admin.execute_command("ACL", "SETUSER", "nobody", "on", f">{PASSWORD}", "+ping")
    make_redis(f"redis://nobody:{PASSWORD}@127.0.0.1:{server.port}/0")
    assert "does not let this user read" in caplog.text
    assert PASSWORD not in caplog.text


def test_the_rights_that_the_page_names_are_enough(own_valkey, make_redis):
    server = own_valkey()
    page = Path("docs/reference/cache.md").read_text("utf-8")
    words = re.search(r"`ACL SETUSER promptguard on >\.\.\. ([^`]*)`", page)[1].split()
    server.client().execute_command("ACL", "SETUSER", "promptguard", "on", f">{PASSWORD}", *words)
    address = f"redis://promptguard:{PASSWORD}@127.0.0.1:{server.port}"
    cache, other = make_redis(address), make_redis(address)
    assert kept(cache)
    ours, token = cache.claim("key")
    assert ours
    cache.release("key", token, unshared=True)
    until(lambda: other.claim("key")[1] == "-")
    cache.follow("here", lambda: (b"id", {("g", "m"): 1}))
    until(lambda: other.epoch("g", "m") == 1)
    assert cache.clear(timeout_s=60.0)
    assert not [event for event in cache.events + other.events if event[0] != "cache_dropped"]


def test_what_is_no_string_and_no_entry_is_never_served(valkey, make_redis):
    client, cache = valkey.client(), make_redis(valkey.url)
    assert kept(cache, "good")
    good = client.get(NAMES.entry + "good")
    client.rpush(NAMES.entry + "list", "a")
    client.hset(NAMES.entry + "hash", "a", "b")
    client.set(NAMES.entry + "moved", good)
    client.set(NAMES.entry + "flipped", good[:-1] + bytes([good[-1] ^ 1]))
    client.set(NAMES.entry + "huge", b"x" * (17 * 2**20))
    for number, key in enumerate(("list", "hash", "moved", "flipped", "huge"), start=1):
        assert cache.get(key) is None
        assert cache.stats.tampered == number
    client.set(NAMES.entry + "empty", b"")
    assert cache.get("empty") is None
    assert cache.get("good") == reply()
    assert cache._circuit.closed
    assert cache.clear(timeout_s=60.0)
    assert client.keys(NAMES.entry + "*") == []


def test_what_others_left_where_processes_meet_harms_nobody(valkey, make_redis):
    client, cache = valkey.client(), make_redis(valkey.url)
    client.rpush(NAMES.claim + "key", "a")
    assert cache.claim("key") == (False, "")
    client.hset(NAMES.epochs, mapping={"gabc": "many", "": "1", "t": "x", b"g\xff": b"\xff"})
    client.set(NAMES.changes, "x" * 1000)
    epochs = {("g", "m"): 3}
    cache.follow("here", lambda: (b"id", epochs))
    until(lambda: cache._epochs._known)
    client.delete(NAMES.epochs, NAMES.changes)
    epochs = {("g", "m"): 4}
    until(lambda: cache.epoch("g", "m") == 4)
    client.delete(NAMES.epochs)
    client.set(NAMES.epochs, "no hash")
    assert kept(cache)


def test_entries_go_when_their_time_is_over(valkey, make_redis):
    assert kept(make_redis(valkey.url, ttl="15m"))
    assert 890_000 < valkey.client().pttl(NAMES.entry + "key") <= 900_000
    assert kept(
        make_redis(valkey.url), "for ever"
    )  # that is a month, so that no server fills up with what nobody wants
    assert 29 * 86_400_000 < valkey.client().pttl(NAMES.entry + "for ever") <= 30 * 86_400_000


def test_a_socket_in_the_file_system(own_valkey, make_redis, tmp_path):
    own_valkey(unixsocket=tmp_path / "s")
    assert kept(make_redis(f"unix://{tmp_path / 's'}?db=1"))


def test_tls_with_a_certificate_that_is_checked(valkey, make_redis, tmp_path):
    import ssl

    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = subprocess.run(
        ["/usr/bin/openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        capture_output=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    proxy = Proxy(valkey.port, context=context)
    assert kept(make_redis(f"rediss://127.0.0.1:{proxy.port}/0?ssl_ca_certs={certificate}"))
    unknown = make_redis(f"rediss://127.0.0.1:{proxy.port}/0")
    assert not kept(unknown)
    assert unknown.events[0][0] == "cache_error"
    proxy.close()


def test_a_cluster(own_valkey, make_redis, caplog):
    server = own_valkey(cluster_enabled="yes")
    client = server.client()
    client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    until(lambda: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO", NEVER_DECODE=True)
          if isinstance(client.execute_command("CLUSTER", "INFO"), bytes)
          else client.cluster("INFO")["cluster_state"] == "ok")  # fmt: skip
    address = f"redis+cluster://127.0.0.1:{server.port}"
    cache, other = make_redis(address), make_redis(address)
    for number in range(300):
        cache.put(f"key{number}", reply(tags=("a",) if number % 3 else ()))
    assert cache.flush(60.0)
    assert all(other.get(f"key{number}") for number in range(300))
    ours, token = cache.claim("key")
    assert ours
    assert other.claim("key") == (False, token)
    cache.release("key", token, unshared=False)
    until(lambda: other.claim("key")[0])
    epochs = {("g", "m"): 1}
    cache.follow("here", lambda: (b"id", epochs))
    until(lambda: other.epoch("g", "m") == 1)
    assert cache.clear("a", timeout_s=60.0)
    assert sum(other.get(f"key{number}") is not None for number in range(300)) == 100
    assert cache.clear(timeout_s=60.0)
    assert [other.get(f"key{number}") for number in range(300)] == [None] * 300


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"redis://:{PASSWORD}@", "address"),
        (f"http://user:{PASSWORD}@host/", "its scheme is none of redis"),
        (f"redis://:{PASSWORD}@host:99999/0", "give an address such as"),
        (f"redis://:{PASSWORD}@host/name", "number of a database"),
        (f"redis+cluster://:{PASSWORD}@host/1", "no numbered databases"),
        (f"redis://host/?socket_timeout=60&password={PASSWORD}", "'socket_timeout' behind the question mark"),
        (f"unix://?password={PASSWORD}", "path of a socket is missing"),
        (f"redis:/{PASSWORD}@host", "host is missing"),
        (f"user:{PASSWORD}@host:6379", "address"),
        (f"redis://a b:{PASSWORD}@host", "give an address such as"),
        (f"redis://host:0/?password={PASSWORD}", "port 0"),
    ],
)
def test_a_wrong_address_is_told_in_one_line_and_not_repeated(url, words, monkeypatch, guarded):
    for given in (lambda: promptguard.wrap(OpenAI(api_key="k"), cache=url, ledger=guarded),
                  lambda: Cache("redis", url=url)):  # fmt: skip
        with pytest.raises(ConfigurationError) as error:
            given()
        assert words in str(error.value)
        assert PASSWORD not in str(error.value)
        assert "\n" not in str(error.value)
    for name in ("PROMPTGUARD_CACHE", "PROMPTGUARD_CACHE__URL"):
        with monkeypatch.context() as patch:
            patch.setenv(name, url)
            with pytest.raises(ConfigurationError) as error:
                promptguard.wrap(OpenAI(api_key="k"), ledger=guarded)
            assert name in str(error.value)
            assert PASSWORD not in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "redis"}, 'add url="redis://..."'),
        ({"url": "redis://host"}, 'kind="redis" alone'),
        ({"kind": "redis", "url": "redis://host", "max_bytes": 5}, "maxmemory"),
    ],
)
def test_options_that_cannot_go_together(arguments, words):
    with pytest.raises(ConfigurationError, match=words):
        Cache(**arguments)


def test_the_address_is_shown_without_what_is_secret(monkeypatch, capsys):
    from promptguard.cli import main

    url = f"redis://user:{PASSWORD}@host:6380/2?ssl_ca_certs=/ca"
    option = Cache("redis", url=url)
    assert PASSWORD not in f"{option} {option!r} {Server(option, SECRET)!r}"
    assert option.shown == "redis://host:6380/2"
    assert option.model_copy(update={"ttl": 5}) == Cache("redis", ttl=5, url=url)
    monkeypatch.setenv("PROMPTGUARD_CACHE", url)
    with pytest.raises(SystemExit):
        main(["config", "show", "--json"])
    shown = capsys.readouterr().out
    assert "redis://host:6380/2" in shown
    assert PASSWORD not in shown


def test_without_redis_py_the_command_is_named():
    program = """
import sys
sys.modules["redis"] = None
import promptguard
from openai import OpenAI
try: promptguard.wrap(OpenAI(api_key="k"), cache="redis://127.0.0.1")
except promptguard.PromptGuardError as error: print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingExtra")
    assert "pip install 'promptguard-shadow[redis]'" in done.stdout
    assert done.stdout.count("\n") == 1


def test_the_secret_of_hosts_is_given_by_variable_or_file(monkeypatch, tmp_path):
    from promptguard.cache.mackey import is_shared, load_mac_key

    assert shared_secret() is None
    own = load_mac_key(tmp_path / "keys")
    assert not is_shared()
    monkeypatch.setenv("PROMPTGUARD_SECRET", "of sixteen bytes or more")
    assert load_mac_key(tmp_path / "keys") == b"of sixteen bytes or more" != own
    (tmp_path / "secret").write_text("of sixteen bytes or more\n")
    monkeypatch.setenv("PROMPTGUARD_SECRET_FILE", str(tmp_path / "secret"))
    with pytest.raises(ConfigurationError, match="both set"):
        shared_secret()
    monkeypatch.delenv("PROMPTGUARD_SECRET")
    assert shared_secret() == b"of sixteen bytes or more"
    monkeypatch.setenv("PROMPTGUARD_SECRET_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="none cannot be read: No such file"):
        shared_secret()
    monkeypatch.delenv("PROMPTGUARD_SECRET_FILE")
    monkeypatch.setenv("PROMPTGUARD_SECRET", "short")
    with pytest.raises(ConfigurationError, match="at least 16 bytes") as error:
        shared_secret()
    assert "short" not in str(error.value).replace("too short", "")


def test_no_content_is_logged(valkey, make_redis, caplog):
    caplog.set_level(logging.DEBUG)
    cache = make_redis(valkey.url)
    cache.put("key", reply(b"a canary of an answer"))
    assert cache.flush(60.0)
    assert cache.get("key") is not None
    assert "canary" not in caplog.text


def test_valkey_that_cannot_be_started_is_a_skip_that_says_why(tmp_path):
    with pytest.raises(
        pytest.skip.Exception, match=r"Valkey cannot be started here: [\s\S]*no-such-directive"
    ):
        Valkey(tmp_path, no_such_directive=1)
