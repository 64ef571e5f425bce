"""How background work gets a client of its own: from the settings of the wrapped one, or from the user's factory.

Decided at `wrap()`, where the user can still read what is wrong; built when the first question is asked, in the background.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from promptguard import sdks
from promptguard.core.background_call import BackgroundClient, NoBackgroundClient, OtherServer
from promptguard.core.http_types import HttpClient
from promptguard.core.mistakes import with_article
from promptguard.core.options import Replay, Shadow
from promptguard.errors import ConfigurationError
from promptguard.sdks import SdkFamily
from promptguard.sdks.servers import KNOWN, Server, server_of
from promptguard.sdks.slots import Slot

log = logging.getLogger("promptguard")

Factory = Callable[[], object]
Maker = Callable[[], BackgroundClient]
OtherMaker = Callable[[], OtherServer | None]

_SAID_KEPT = 1000
_said: dict[tuple[str, str], None] = {}
"""What was said of which ledger: an application that makes a client a request is told once."""


class HttpSettings(Protocol):
    """What an HTTP client was made with: `http.owned_client` and `http.botocore_background` read it."""

    @property
    def obstacles(self) -> tuple[str, ...]:
        """What of it cannot be built again, and why."""

    @property
    def usable(self) -> bool:
        """Whether any call can be made with what can be built."""

    def build(self) -> object:
        """Return another client like it, for background work alone."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the user's options say about background clients."""

    option: str
    """whose `client=` is meant: Shadow or Replay"""
    factory: Factory | None
    connections: int
    """as many as there are threads that ask"""
    ledger: str
    own: Factory | None = None
    """of `Replay(client=)`: what asks the application's own server where the shadow's asks another one"""

    @classmethod
    def of(cls, shadow: Shadow | None, replay: Replay | None, ledger: str) -> Wish | None:
        """Read it; None when nothing is asked in the background. Where both give a factory, the shadow's serves both."""
        if shadow is not None and (shadow.client is not None or replay is None or replay.client is None):
            own = None if replay is None else replay.client
            return cls("Shadow", shadow.client, max(4, shadow.workers), ledger, own)
        return None if replay is None else cls("Replay", replay.client, 4, ledger)


def makers_for(
    client: object, family: SdkFamily, slots: Sequence[Slot], wish: Wish | None
) -> tuple[list[Maker], OtherMaker | None]:
    """Return, for each place of an HTTP client in an SDK client, what makes its background client.

    And what makes the other server, where `Shadow(client=)` returns clients of another provider, or of the same SDK with
    another address. Raises ConfigurationError for a factory that does not return a fresh client.
    """
    if wish is None:
        return [NoBackgroundClient for _ in slots], None
    if wish.factory is not None:
        factory = _FactoryClients(wish, lambda product: _check_sdk(product, client, family, wish))
        if not _is_elsewhere(factory.peek(), client, family, wish):
            return [_logged(partial(_from_factory, family, slot, factory)) for slot in slots], None
        own, _ = makers_for(client, family, slots, replace(wish, option="Replay", factory=wish.own))
        return own, _logged_server(partial(_other_server, factory))
    settings = [_settings(slot.http, wish.connections) for slot in slots]
    _tell(wish, family.NAME, [text for each in settings for text in each.obstacles])
    return [
        _logged(partial(_from_settings, family, slot, each)) if each.usable else NoBackgroundClient
        for slot, each in zip(slots, settings, strict=True)
    ], None


def _is_elsewhere(product: object, client: object, family: SdkFamily, wish: Wish) -> bool:
    """Whether a factory's client asks another server than the wrapped one does."""
    if wish.option != "Shadow":
        return False
    theirs, ours = _server(product), server_of(family.NAME, client)
    if theirs is None:
        return False
    return sdks.family_of(product) is not family or ours is None or theirs.base != ours.base


def _server(product: object) -> Server | None:
    family = sdks.family_of(product)
    return None if family is None else server_of(family.NAME, product)


def _other_server(factory: _FactoryClients) -> OtherServer:
    """Return the server that a factory's client asks, over that client's own HTTP client."""
    from promptguard.http.background_client import HttpBackgroundClient

    product = factory.take()
    family, server = sdks.family_of(product), _server(product)
    assert family is not None  # noqa: S101 - `_check_sdk` has looked
    assert server is not None  # noqa: S101
    asks = _over_slot(family, family.slots(product)[0], product)
    if isinstance(asks, HttpBackgroundClient):
        return OtherServer(
            server.protocol,
            server.origin,
            asks,
            lambda model: server.base + server.path(model),
            lambda model: urlsplit(server.base).path + server.path(model),
            server.headers,
        )
    # The SDK's own copy knows its address, and what it authorizes itself with.
    return OtherServer(
        server.protocol,
        server.origin,
        asks,
        server.path,
        lambda model: urlsplit(server.base).path + server.path(model),
        {},
    )


def _from_settings(family: SdkFamily, slot: Slot, settings: HttpSettings) -> BackgroundClient:
    return _over(family, slot.owner, settings.build())


def _from_factory(family: SdkFamily, slot: Slot, factory: _FactoryClients) -> BackgroundClient:
    product = factory.take()
    return _over_slot(family, _like(slot, product, family), product)


def maker_for_http(http: HttpClient, wish: Wish | None) -> Maker:
    """Return what makes the background client of an httpx or httpx2 client that is given to `guard()`.

    Raises ConfigurationError for a factory that does not return a fresh client of one of these.
    """
    from promptguard.http.background_client import HttpBackgroundClient
    from promptguard.http.owned_client import adopted, client_settings

    if wish is None:
        return NoBackgroundClient
    if wish.factory is not None:
        made = _FactoryClients(wish, lambda product: _check_http(product, [http], wish))
        return _logged(lambda: HttpBackgroundClient(adopted(_http_client(made.take()))))
    settings = client_settings(http, connections=wish.connections)
    _tell(wish, "the HTTP client", settings.obstacles)
    return _logged(lambda: HttpBackgroundClient(settings.build())) if settings.usable else NoBackgroundClient


def obstacles_of(http: object) -> tuple[str, ...]:
    """Return what of an HTTP client, guarded or not, cannot be built again for background calls, and why."""
    return _settings(http, connections=1).obstacles


def _settings(http: object, connections: int) -> HttpSettings:
    from promptguard.http import botocore_background, botocore_session, owned_client

    if botocore_session.is_client(http):
        return botocore_background.session_settings(http, connections=connections)
    return owned_client.client_settings(_http_client(http), connections=connections)


def _http_client(http: object) -> HttpClient:
    from promptguard.http.family import is_client

    assert is_client(http)  # noqa: S101 - `wrap()`, `guard()` and `_check_http` have looked
    return http


def _over(family: SdkFamily, owner: object, http: object, keeps: object = None) -> BackgroundClient:
    """Return what asks again through `http`: the SDK's own copy where that is needed, plain HTTP elsewhere.

    `keeps` lives as long as that: what `http` was taken from.
    """
    from promptguard.http.background_client import HttpBackgroundClient
    from promptguard.http.family import family_of

    made = family.background_client(owner, http, getattr(family_of(http), "Response", object))
    return HttpBackgroundClient(_http_client(http), keeps) if made is None else made


def _over_slot(family: SdkFamily, slot: Slot, product: object) -> BackgroundClient:
    """Return what asks again through the HTTP client of a factory's SDK client `product`, which is nobody else's."""
    from promptguard.http import botocore_background, botocore_session, owned_client
    from promptguard.http.transport import original_of

    http = original_of(slot.http) or slot.http
    if botocore_session.is_client(http):
        return _over(family, slot.owner, botocore_background.adopted(http), product)
    return _over(family, slot.owner, owned_client.adopted(_http_client(http)), product)


def _like(slot: Slot, product: object, family: SdkFamily) -> Slot:
    """Return the place in a factory's client that answers to `slot`: of the same kind, where there are two."""
    from promptguard.http.family import is_async

    places = family.slots(product)
    return next((each for each in places if is_async(each.http) == is_async(slot.http)), places[0])


_handed_out: weakref.WeakValueDictionary[int, object] = weakref.WeakValueDictionary()
"""Clients of all factories, by their ids"""


class _FactoryClients:
    """Clients of the user's factory: one made at once, so that its mistakes are told at `wrap()`, others when needed."""

    def __init__(self, wish: Wish, check: Callable[[object], None]) -> None:
        assert wish.factory is not None  # noqa: S101 - the caller has looked
        self._factory = wish.factory
        self._check = check
        self._option = wish.option
        try:
            first = self._factory()
        except (Exception, SystemExit) as error:
            raise ConfigurationError(
                f"{wish.option}(client=...) raised {type(error).__name__} when called: {error}"
            ) from error
        check(first)
        self._note(first)
        self._ready = [first]
        self._pid = os.getpid()

    def peek(self) -> object:
        """Return the client that was made at once, to look at."""
        return self._ready[0]

    def take(self) -> object:
        """Return a client that nobody has had."""
        if self._ready and self._pid == os.getpid():  # one made before a fork is the parent's
            return self._ready.pop()
        product = self._factory()
        self._check(product)
        self._note(product)
        return product

    def _note(self, product: object) -> None:
        """Raise ConfigurationError for a client that a factory has returned before: it is closed with its first user."""
        if _handed_out.get(id(product)) is product:
            raise ConfigurationError(
                f"{self._option}(client=...) returned a client that it, or another one, has returned before: it must make "
                "a new one each time, which is closed after its last background call"
            )
        with contextlib.suppress(TypeError):  # an SDK's client that cannot be referred to weakly
            _handed_out[id(product)] = product


def _check_sdk(product: object, client: object, family: SdkFamily, wish: Wish) -> None:
    """Raise ConfigurationError unless a factory's `product` is a fresh client: of the same SDK, or of another server."""
    theirs = sdks.family_of(product)
    # One whose server is not known is asked as the application's own: of the same kind of client alone.
    same = theirs is family and (
        _server(product) is not None or server_of(family.NAME, client) is None or wish.option != "Shadow"
    )
    if (
        theirs is None
        or not theirs.slots(product)
        or not (same or (wish.option == "Shadow" and _server(product)))
    ):
        others = f", or of another of {', '.join(KNOWN)}" if wish.option == "Shadow" else ""
        _refuse(product, f"a fresh client of {family.NAME}, as the one you wrap{others}", wish)
        return
    ours = [slot.http for slot in family.slots(client)]
    for slot in theirs.slots(product):
        _check_http(slot.http, ours, wish)


def _check_http(product: object, ours: list[object], wish: Wish) -> None:
    """Raise ConfigurationError unless `product` is an open HTTP client that shares nothing with those of `ours`."""
    from promptguard.http import botocore_session, transport

    if not (transport.is_client(product) or botocore_session.is_client(product)):
        _refuse(product, "a fresh httpx or httpx2 client, sync or async", wish)
    if getattr(product, "is_closed", False):
        raise ConfigurationError(
            f"{wish.option}(client=...) returned a closed client: it must return a fresh one"
        )
    mine = {id(part) for part in _parts(product)}
    if any(id(part) in mine for http in ours for part in _parts(http)):
        raise ConfigurationError(
            f"{wish.option}(client=...) returned the application's own client, or one that shares its transport: "
            "it must build a new one, which background work then owns and closes"
        )


def _parts(http: object) -> list[object]:
    """Return an HTTP client and what it sends through."""
    from promptguard.http.transport import original_of

    http = original_of(http) or http
    routes = [getattr(http, "_transport", None), *getattr(http, "_mounts", {}).values()]
    pools = [getattr(route, "_pool", None) for route in routes]
    return [http, *(part for part in (*routes, *pools) if part is not None)]


def _refuse(product: object, wanted: str, wish: Wish) -> None:
    kind = f"{type(product).__module__}.{type(product).__qualname__}"
    if inspect.isawaitable(product):
        if inspect.iscoroutine(product):
            product.close()
        kind = "coroutine: give a function without `async`"
    raise ConfigurationError(
        f"{wish.option}(client=...) must return {wanted}, and returned {with_article(kind)}"
    )


def _tell(wish: Wish, whose: str, obstacles: Iterable[str]) -> None:
    """Say once what cannot be built again, and the line that mends it."""
    text = "; ".join(dict.fromkeys(obstacles))
    if not text or (wish.ledger, text) in _said:
        return
    while len(_said) >= _SAID_KEPT:
        del _said[next(iter(_said))]
    _said[wish.ledger, text] = None
    log.warning(
        "no background client: %s talks through %s, which PromptGuard cannot build again and never shares. Sampled calls "
        "are not paired; everything else works. Add client= to promptguard.%s(...): a function without arguments that "
        "returns a fresh client",
        whose,
        text,
        wish.option,
    )


def _logged_server(make: Callable[[], OtherServer]) -> OtherMaker:
    """Return `make` for the background: what it raises is told, and costs the pairs of this client alone."""

    def made() -> OtherServer | None:
        try:
            return make()
        except BaseException as error:  # the user's factory or the SDK's own copy may raise anything
            _say_unbuilt(error)
            log.debug("the fault in full", exc_info=error)
            return None

    return made


def _say_unbuilt(error: BaseException) -> None:
    log.warning(
        "no background client: building one raised %s; sampled calls are not paired", type(error).__name__
    )


def _logged(make: Maker) -> Maker:
    """Return `make` for the background: what it raises is told, and costs the pairs of this client alone."""

    def made() -> BackgroundClient:
        try:
            return make()
        except BaseException as error:  # the user's factory or the SDK's own copy may raise anything
            _say_unbuilt(error)
            log.debug("the fault in full", exc_info=error)
            return NoBackgroundClient()

    return made
