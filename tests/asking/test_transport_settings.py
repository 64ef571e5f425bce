"""What a stock transport was made with is read and used again; what cannot be known is named."""

from __future__ import annotations

import socket
import ssl

import pytest

from promptguard.http.transport_settings import TransportSettings, UnknownTransport, transport_settings

SETTINGS = (
    "_ssl_context", "_keepalive_expiry", "_http1", "_http2", "_retries", "_local_address", "_uds", "_socket_options",
    "_proxy_url", "_proxy_headers", "_proxy_ssl_context", "_proxy_auth",
)  # fmt: skip


def kinds(family):
    context = ssl.create_default_context()
    limits = family.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=7.0)
    nodelay = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
    proxy = family.Proxy("http://user:secret@proxy:3128", headers={"x-team": "a"})
    return {
        "nothing said": {},
        "tls context": {"verify": context},
        "unverified": {"verify": False},
        "limits": {"limits": limits},
        "http2": {"http2": True, "http1": False},
        "socket file": {"uds": "/run/llm.sock"},
        "address": {"local_address": "127.0.0.1", "retries": 3},
        "socket options": {"socket_options": nodelay},
        "proxy": {"proxy": proxy, "verify": context, "limits": limits},
        "tls proxy": {"proxy": family.Proxy("https://proxy", ssl_context=context)},
    }


def pool_of(transport):
    return transport._pool


def test_every_setting_is_carried_over_and_nothing_else(family, stock, is_async):
    for kind, options in kinds(family).items():
        theirs = stock(**options)
        read = transport_settings(theirs)
        assert isinstance(read, TransportSettings), kind
        ours = read.build(is_async=is_async)
        assert type(ours) is stock
        assert type(pool_of(ours)) is type(pool_of(theirs))
        for name in SETTINGS:
            assert getattr(pool_of(ours), name, None) == getattr(pool_of(theirs), name, None), (kind, name)
        held = {id(value) for value in vars(pool_of(theirs)).values() if isinstance(value, (list, dict))}
        assert not held & {id(value) for value in vars(pool_of(ours)).values()}, kind
        assert pool_of(ours)._network_backend is not pool_of(theirs)._network_backend
        assert pool_of(ours)._optional_thread_lock is not pool_of(theirs)._optional_thread_lock


@pytest.mark.parametrize(("theirs", "ours"), [(None, 4), (100, 4), (3, 3), (1, 1)])
def test_its_pool_is_small_and_never_larger_than_the_applications(theirs, ours, family, stock, is_async):
    read = transport_settings(stock(limits=family.Limits(max_connections=theirs)))
    assert pool_of(read.build(is_async=is_async))._max_connections == ours


def test_threads_that_ask_have_a_connection_each(stock, is_async):
    read = transport_settings(stock(), connections=16)
    assert pool_of(read.build(is_async=is_async))._max_connections == 16


def test_a_subclass_with_settings_alone_is_a_stock_one(stock, is_async):
    class Configured(stock):
        def __init__(self):
            super().__init__(retries=2)

        def __repr__(self):
            return "ours"

    ours = transport_settings(Configured()).build(is_async=is_async)
    assert type(ours) is stock
    assert pool_of(ours)._retries == 2


@pytest.mark.parametrize(
    "method", ["handle_request", "handle_async_request", "close", "aclose", "__getattr__"]
)
def test_a_subclass_with_behaviour_is_unknown(method, stock):
    own = type("Own", (type("Between", (stock,), {method: lambda *_: None}),), {})
    found = transport_settings(own())
    assert isinstance(found, UnknownTransport)
    assert found.name.endswith("Own")
    assert method in found.why


def test_a_method_put_on_the_object_is_behaviour_unless_it_only_watches(stock):
    patched = stock()
    patched.handle_request = lambda _: None
    assert isinstance(transport_settings(patched), UnknownTransport)
    watched = stock()
    wrapper = type("BoundFunctionWrapper", (), {"__module__": "wrapt.wrappers"})
    watched.handle_async_request = wrapper()
    assert isinstance(transport_settings(watched), TransportSettings)


def test_what_is_no_network_transport_is_unknown(family, is_async, stock):
    class Foreign:
        pass

    for transport in (
        family.MockTransport(lambda _: family.Response(200)),
        family.WSGITransport(lambda *_: []),
        family.ASGITransport(lambda *_: None),
        type("Own", (family.BaseTransport,), {})(),
        Foreign(),
    ):
        found = transport_settings(transport)
        assert isinstance(found, UnknownTransport), transport
        assert type(transport).__qualname__ in str(found)


def test_a_pool_or_a_backend_of_the_applications_own_is_unknown(stock):
    transport = stock()
    transport._pool = type("OwnPool", (type(transport._pool),), {})()
    assert "OwnPool" in transport_settings(transport).why
    transport = stock()
    transport._pool._network_backend = type("OwnBackend", (), {})()
    assert "OwnBackend" in transport_settings(transport).why
    transport = stock()
    del transport._pool._retries
    assert "_retries" in transport_settings(transport).why
