"""A cache on a server of Redis or Valkey that hosts share, with redis-py (the extra `[redis]`).

Every use of the server ends within `BUDGET_S`, whatever it does: looking up a name, connecting, bytes that come one by one.
So a caller's look-ups run in spare threads, which are left behind when they take longer. Nothing that the server says is
believed without the MAC (`entry.py`), and none of its commands takes a script from it.

Keys, of which NAME stands for the cache's secret, so that caches with other secrets never meet::

    promptguard:1:NAME:e:KEY       an entry
    promptguard:1:NAME:c:KEY       who asks for it at this moment, with an expiry
    promptguard:1:{NAME}:cleared   changes when somebody clears the cache
    promptguard:1:{NAME}:epochs    a hash: "g" + digest of (group, model) → how often it changed; what each ledger told
    promptguard:1:{NAME}:changes   counts changes of that hash, so that it is read only then
"""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Callable, Hashable, Iterator, Mapping
from hashlib import blake2b
from importlib.util import find_spec
from typing import TYPE_CHECKING, TypeVar

from promptguard.cache.contract import NotKept, OnEvent
from promptguard.cache.entry import MAX_ENTRY_BYTES, BadEntry
from promptguard.core.options import Cache, seconds
from promptguard.errors import MissingExtra
from promptguard.runtime.lost import CallLost
from promptguard.runtime.spare_threads import call_within

if TYPE_CHECKING:
    from redis import Redis
    from redis.cluster import RedisCluster

    Client = Redis | RedisCluster

log = logging.getLogger("promptguard")
T = TypeVar("T")

BUDGET_S = 0.05
"""What one use of the server may take a caller."""
WRITE_S = 0.5
"""What one answer of the server may take the background thread."""
RHYTHM_S = 0.5
"""How often it is looked what other processes did: what one of them says is known to all within two of these."""
OPEN_S = 2.0
"""What opening may take the background thread."""
LONGEST_S = 30 * 86_400.0
"""How long an entry is kept at most: those of a cache that nobody uses any more go, whatever the server's policy."""
BATCH = 200
NEAR = ("localhost", "127.0.0.1", "[::1]")
SPACE = "promptguard:1:"
_SCHEMES = {"valkey": "redis", "valkeys": "rediss"}

_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
_TELL = """
local told = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') or 0
local count = tonumber(ARGV[3])
if count > told then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
  redis.call('HINCRBY', KEYS[1], ARGV[2], count - told)
  redis.call('INCR', KEYS[2])
end
return 0
"""


def check_installed() -> None:
    """Raise MissingExtra without redis-py."""
    if find_spec("redis") is None:
        raise MissingExtra(
            "a cache on Redis or Valkey needs redis-py; run: python -m pip install 'promptguard-shadow[redis]'"
        )


class Server:
    """A server of Redis or Valkey as a `Backend`; `option` has its address, `secret` says which keys are this cache's."""

    many_readers = True
    meets = True
    rhythm_s = RHYTHM_S

    def __init__(self, option: Cache, secret: bytes) -> None:
        check_installed()
        self.place: Hashable = option.server
        self._url, self._shown = option.server, option.shown
        self._names = Names(secret)
        self._writing: Entries | None = None
        self._mark = b""
        self._is_told = False
        self.keep_ms = 0
        self.use(option)

    def __repr__(self) -> str:
        """Return it without what its address keeps secret."""
        return f"the cache on {self._shown}"

    @property
    def is_near(self) -> bool:
        """Whether it is on this machine, so that other hosts cannot be meant."""
        place = self._shown.partition("://")[2].partition("/")[0]
        return not place or place in NEAR or place.rpartition(":")[0] in NEAR

    def use(self, option: Cache) -> None:
        """Take another time that entries are kept."""
        ttl = LONGEST_S if option.ttl is None else min(seconds(option.ttl, "ttl"), LONGEST_S)
        self.keep_ms = max(1, int(1000 * ttl))

    def open(self, *, check: bool, on_event: OnEvent) -> tuple[Entries, Entries]:  # noqa: ARG002
        """Connect twice; says once why that does not work."""
        import redis.cluster  # noqa: F401 - which takes its time, and none of the server's

        try:
            writing, reading = within(OPEN_S, self._connected)
        except Exception as error:
            if not self._is_told and not _is_loading(error):
                self._is_told = True
                log.warning("%s %s; calls go on without it", self, why(error))
            raise
        self._is_told = False
        self._writing = writing
        return writing, reading

    def is_busy(self, error: Exception) -> bool:
        """Whether the server is only reading its data, or slow."""
        return _is_loading(error) or isinstance(error, TimeoutError)

    def clear_mark(self) -> bytes:
        """Return what the last clear left; as it was last known while the server cannot be asked."""
        if self._writing is not None:
            with contextlib.suppress(Exception):
                self._mark = self._writing.mark()
        return self._mark

    def set_clear_mark(self) -> bytes:
        """Leave a new mark, and return it."""
        if self._writing is None:
            raise ConnectionError("not open")
        self._mark = secrets.token_hex(16).encode()
        self._writing.set_mark(self._mark)
        return self._mark

    def _connected(self) -> tuple[Entries, Entries]:
        made: list[Entries] = []
        try:
            for limit in (WRITE_S, BUDGET_S):
                made.append(Entries(connect(self._url, limit), self._names, self, limit))
                made[-1].look()
        except BaseException:
            for each in made:
                each.close()
            raise
        writing, reading = made
        return writing, reading


class Names:
    """The names of keys of one cache."""

    def __init__(self, secret: bytes) -> None:
        name = blake2b(secret[:64], digest_size=12, person=b"promptguard-name").hexdigest()
        self.entry = f"{SPACE}{name}:e:"
        self.claim = f"{SPACE}{name}:c:"
        self.cleared, self.epochs, self.changes = (
            f"{SPACE}{{{name}}}:{each}" for each in ("cleared", "epochs", "changes")
        )


class Entries:
    """A connection: a `Meeting`. Each use ends within twice `limit_s`, and raises what redis-py raises."""

    def __init__(self, client: Client, names: Names, server: Server, limit_s: float) -> None:
        self._client = client
        self._names = names
        self._server = server
        self._limit_s = limit_s
        self._changes: bytes | None = None
        self._may_claim = True

    def look(self) -> None:
        """Raise unless it can be used. Raises ClusterNeeded for a part of a cluster that was named as one server."""
        from redis.exceptions import MovedError, ResponseError

        try:
            self._ask("GETRANGE", f"{self._names.entry}-", 0, 0)
        except MovedError:
            raise ClusterNeeded from None
        try:
            self._ask("EVAL", _RENEW, 1, f"{self._names.claim}-", "-", "1")
        except ResponseError:  # without scripts no claim could be given up
            self._may_claim = False

    def get(self, key: str) -> bytes | None:
        """Return the entry under `key`; of one that is too large no more than shows that it is."""
        from redis.exceptions import ResponseError

        try:
            found = self._ask("GETRANGE", self._names.entry + key, 0, MAX_ENTRY_BYTES)
        except ResponseError as error:
            if str(error).startswith("WRONGTYPE"):
                raise BadEntry("no string") from None
            raise
        return found if isinstance(found, bytes) and found else None

    def set(self, key: str, blob: bytes) -> object:
        """Keep `blob`. Raises NotKept where the server answers that it does not."""
        from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

        try:
            return self._ask("SET", self._names.entry + key, blob, "PX", self._server.keep_ms)
        except OutOfMemoryError:
            raise NotKept("store_full") from None
        except ReadOnlyError:
            raise NotKept("store_read_only") from None
        except ResponseError:
            raise NotKept("store_refuses") from None

    def delete(self, key: str) -> object:
        """Remove an entry."""
        return self._ask("DEL", self._names.entry + key)

    def clear(self) -> int:
        """Remove every entry, some hundred at a time."""
        return sum(self._removed(keys) for keys in self._keys())

    def each(self) -> Iterator[tuple[str, bytes]]:
        """Yield every entry; what is no string is passed over."""
        for keys in self._keys():
            reading = self._client.pipeline(transaction=False)
            for key in keys:
                reading.execute_command("GETRANGE", key, 0, MAX_ENTRY_BYTES)
            for key, found in zip(keys, reading.execute(raise_on_error=False), strict=True):
                if isinstance(found, bytes) and found:
                    yield key.decode("utf-8", "replace").removeprefix(self._names.entry), found

    def claim(self, key: str, token: str, seconds: float) -> str:
        """Claim `key`; "" where the server answers that it keeps no claims."""
        from redis.exceptions import ResponseError

        name = self._names.claim + key
        try:
            if not self._may_claim:
                return ""
            if self._ask("SET", name, token, "NX", "PX", int(1000 * seconds)):
                return token
            return _text(self._ask("GET", name)) or self.claim_once_more(name, token, seconds)
        except ResponseError:
            return ""

    def claim_once_more(self, name: str, token: str, seconds: float) -> str:
        """Claim what was given up between two questions; "" where somebody was quicker again."""
        return token if self._ask("SET", name, token, "NX", "PX", int(1000 * seconds)) else ""

    def renew(self, key: str, token: str, seconds: float) -> object:
        """Hold a claim that is still held."""
        return self._ask("EVAL", _RENEW, 1, self._names.claim + key, token, int(1000 * seconds))

    def release(self, key: str, token: str, left: str, seconds: float) -> object:
        """Give up a claim that is still held."""
        return self._ask("EVAL", _RELEASE, 1, self._names.claim + key, token, left, int(1000 * seconds))

    def epochs(self) -> Mapping[str, int] | None:
        """Return how often each digest was found changed, if that is news."""
        changes = self._ask("GET", self._names.changes)
        found = changes if isinstance(changes, bytes) else b""
        if found == self._changes:
            return None
        told = self._ask("HGETALL", self._names.epochs)
        self._changes = found
        pairs = told.items() if isinstance(told, dict) else ()
        return {_text(name)[1:]: _number(count) for name, count in pairs if _text(name).startswith("g")}

    def tell_epochs(self, source: str, epochs: Mapping[str, int]) -> None:
        """Add what a ledger found; nothing where the server takes no writes."""
        from redis.exceptions import ResponseError

        names = self._names
        with contextlib.suppress(ResponseError):
            for digest, count in epochs.items():
                self._ask(
                    "EVAL", _TELL, 2, names.epochs, names.changes, f"t{source}{digest}", f"g{digest}", count
                )

    def mark(self) -> bytes:
        """Return what the last clear left."""
        found = self._ask("GET", self._names.cleared)
        return found[:64] if isinstance(found, bytes) else b""

    def set_mark(self, mark: bytes) -> None:
        """Leave something else there."""
        self._ask("SET", self._names.cleared, mark)

    def close(self) -> None:
        """Close all connections."""
        with contextlib.suppress(Exception):
            self._client.close()

    def _ask(self, *command: str | bytes | int) -> object:
        run: Callable[..., object] = self._client.execute_command
        return within(self._limit_s, lambda: run(*command))

    def _keys(self) -> Iterator[list[bytes]]:
        found: list[bytes] = []
        for key in self._client.scan_iter(match=f"{self._names.entry}*", count=BATCH):
            found.append(key)
            if len(found) == BATCH:
                yield found
                found = []
        yield found

    def _removed(self, keys: list[bytes]) -> int:
        removing = self._client.pipeline(transaction=False)
        for key in keys:
            removing.delete(key)
        return sum(map(_number, removing.execute())) if keys else 0


class ClusterNeeded(Exception):  # noqa: N818 - a state of the server
    """The server is part of a cluster."""


def connect(url: str, limit_s: float) -> Client:
    """Return a client of the server or cluster at `url`, which tries nothing twice. Raises what redis-py raises."""
    import redis
    from redis.backoff import NoBackoff
    from redis.cluster import RedisCluster
    from redis.retry import Retry

    scheme, _, rest = url.partition("://")
    is_cluster = scheme.endswith("+cluster")
    address = f"{_SCHEMES.get(scheme, scheme.removesuffix('+cluster'))}://{rest}"
    limits = {"socket_timeout": limit_s, "socket_connect_timeout": limit_s, "protocol": 2}
    if is_cluster:
        return RedisCluster.from_url(address, retry=Retry(NoBackoff(), 1), **limits)
    return redis.Redis.from_url(address, retry=Retry(NoBackoff(), 0), **limits)


def within(limit_s: float, call: Callable[[], T]) -> T:
    """Return what `call` returns. Raises what it raises, TimeoutError where it, or a socket of its, takes longer."""
    try:
        return call_within(limit_s, call)
    except CallLost as lost:
        if type(lost.cause).__name__ == "TimeoutError":  # redis-py has one of its own
            raise TimeoutError from None
        raise lost.cause from None


def why(error: Exception) -> str:
    """Say why a server cannot be used, without a word of what it or redis-py said: that may hold what is secret."""
    from redis import exceptions as known

    if isinstance(error, ClusterNeeded):
        return "is part of a cluster: write redis+cluster://"
    if isinstance(error, known.AuthenticationError) or "NOAUTH" in str(error):
        return "refuses user and password, or asks for one"
    if isinstance(error, (TimeoutError, known.TimeoutError)):
        return "does not answer in time"
    if isinstance(error, known.NoPermissionError):
        return "does not let this user read"
    if isinstance(error, (OSError, known.ConnectionError)):
        return "cannot be reached"
    return f"cannot be used ({type(error).__name__})"


def _is_loading(error: Exception) -> bool:
    return type(error).__name__ == "BusyLoadingError"


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def _number(value: object) -> int:
    try:
        return int(value) if isinstance(value, (int, bytes)) else 0
    except ValueError:
        return 0
