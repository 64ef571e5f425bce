"""The ways an application's calls go out: through proxies, pools of one connection, transports of its own.

Each is a function of an HTTP library, a proxy and a kind (sync or async) that returns an HTTP client. `REBUILT` are those
whose settings tell everything; the others need a factory.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

from promptguard.testing import ForwardProxy

HOST = "llm.internal"
"""Nobody's name: whoever reaches it went through the proxy."""
TIMEOUT = 5.0


def _client(family: ModuleType, is_async: bool, **options: Any) -> Any:
    return (family.AsyncClient if is_async else family.Client)(timeout=TIMEOUT, **options)


def _stock(family: ModuleType, is_async: bool) -> Any:
    return family.AsyncHTTPTransport if is_async else family.HTTPTransport


def env_proxy(family: ModuleType, proxy: ForwardProxy, is_async: bool) -> Any:
    """The test sets HTTP_PROXY; nothing else is custom."""
    return _client(family, is_async)


def mounts(family: ModuleType, proxy: ForwardProxy, is_async: bool) -> Any:
    return _client(family, is_async, mounts={"http://": _stock(family, is_async)(proxy=proxy.url)})


def one_connection(family: ModuleType, proxy: ForwardProxy, is_async: bool) -> Any:
    return _client(family, is_async, proxy=proxy.url, limits=family.Limits(max_connections=1))


def configured(family: ModuleType, proxy: ForwardProxy, is_async: bool) -> Any:
    """A subclass that only has settings of its own."""
    stock = _stock(family, is_async)

    class Configured(stock):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            super().__init__(proxy=proxy.url, retries=1, limits=family.Limits(max_connections=2))

    return _client(family, is_async, transport=Configured())


def subclassed(family: ModuleType, proxy: ForwardProxy, is_async: bool) -> Any:
    stock = _stock(family, is_async)

    class Stamped(stock):  # type: ignore[misc,valid-type]
        def handle_request(self, request: Any) -> Any:
            request.headers["x-stamp"] = "1"
            return super().handle_request(request)

        async def handle_async_request(self, request: Any) -> Any:
            request.headers["x-stamp"] = "1"
            return await super().handle_async_request(request)

    limits = family.Limits(max_connections=1)
    return _client(family, is_async, transport=Stamped(proxy=proxy.url, limits=limits))


def delegating(family: ModuleType, proxy: ForwardProxy, is_async: bool) -> Any:
    return _client(family, is_async, transport=_delegating(family, proxy, is_async, attempts=1))


def retrying(family: ModuleType, proxy: ForwardProxy, is_async: bool) -> Any:
    return _client(family, is_async, transport=_delegating(family, proxy, is_async, attempts=3))


def _delegating(family: ModuleType, proxy: ForwardProxy, is_async: bool, attempts: int) -> Any:  # noqa: C901
    class Delegating(family.BaseTransport, family.AsyncBaseTransport):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            limits = family.Limits(max_connections=1)
            self._inner = _stock(family, is_async)(proxy=proxy.url, limits=limits)

        def handle_request(self, request: Any) -> Any:
            for left in reversed(range(attempts)):
                try:
                    return self._inner.handle_request(request)
                except family.TransportError:
                    if not left:
                        raise
            return None

        async def handle_async_request(self, request: Any) -> Any:
            for left in reversed(range(attempts)):
                try:
                    return await self._inner.handle_async_request(request)
                except family.TransportError:
                    if not left:
                        raise
            return None

        def close(self) -> None:
            self._inner.close()

        async def aclose(self) -> None:
            await self._inner.aclose()

    return Delegating()


def aiohttp(family: ModuleType, proxy: ForwardProxy, is_async: bool) -> Any:
    """An HTTP client whose connections are another library's, as openai's and anthropic's DefaultAioHttpClient."""
    import aiohttp as library

    class AiohttpTransport(family.AsyncBaseTransport):  # type: ignore[name-defined,misc]
        _session: Any = None

        async def handle_async_request(self, request: Any) -> Any:
            if self._session is None:
                self._session = library.ClientSession(connector=library.TCPConnector(limit=1))
            content = await request.aread()
            async with self._session.post(
                str(request.url), data=content, headers=dict(request.headers), proxy=proxy.url
            ) as got:
                plain = {k: v for k, v in got.headers.items() if k.lower() != "content-encoding"}
                return family.Response(got.status, headers=plain, content=await got.read())

        async def aclose(self) -> None:
            if self._session is not None:
                await self._session.close()

    return _client(family, is_async, transport=AiohttpTransport())


Route = Callable[[ModuleType, ForwardProxy, bool], Any]
REBUILT: tuple[Route, ...] = (env_proxy, mounts, one_connection, configured)
NEED_A_FACTORY: tuple[Route, ...] = (subclassed, delegating, retrying)
ASYNC_ALONE: tuple[Route, ...] = (aiohttp,) if importlib.util.find_spec("aiohttp") else ()


def routes(is_async: bool) -> tuple[Route, ...]:
    return REBUILT + NEED_A_FACTORY + (ASYNC_ALONE if is_async else ())
