"""A background client has the settings of the application's, and none of its objects."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from promptguard.core.background_call import NoBackgroundClientError
from promptguard.http.owned_client import client_settings

TLS = Path(__file__).parent / "tls"
ENVIRONMENTS = {
    "none": {},
    "http alone": {"HTTP_PROXY": "http://p:1"},
    "both": {"HTTP_PROXY": "http://p:1", "HTTPS_PROXY": "http://user:pass@q:2"},
    "all, but for one": {"ALL_PROXY": "http://p:1", "NO_PROXY": "localhost,.internal,10.0.0.1"},
    "lower case": {"https_proxy": "http://p:1", "no_proxy": "*"},
}


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def routes(client):
    """What each address pattern leads to, by the proxy's address."""
    return {
        pattern.pattern: None if each is None else getattr(each._pool, "_proxy_url", "direct")
        for pattern, each in client._mounts.items()
    }


def unbounded(transport):
    return transport._inner


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_proxies_of_the_environment_are_the_same(environment, client_class, monkeypatch):
    for name, value in ENVIRONMENTS[environment].items():
        monkeypatch.setenv(name, value)
    theirs = client_class()
    settings = client_settings(theirs)
    for name in ENVIRONMENTS[environment]:
        monkeypatch.delenv(name)  # read once, when the client was wrapped
    ours = settings.build()
    for client in (ours,):
        client._mounts = {k: v and unbounded(v) for k, v in client._mounts.items()}
    assert routes(ours) == routes(theirs)
    assert settings.obstacles == ()


def test_headers_redirects_cookies_and_plain_authentication_are_copied(family, client_class):
    theirs = client_class(
        headers={"x-team": "a", "authorization": "Bearer k"},
        cookies={"session": "1"},
        auth=("user", "pass"),
        follow_redirects=True,
        max_redirects=3,
    )
    ours = client_settings(theirs).build()
    assert (ours.headers["x-team"], ours.headers["authorization"]) == ("a", "Bearer k")
    assert ours.headers["accept-encoding"] == "identity"
    assert (ours.follow_redirects, ours.max_redirects) == (True, 3)
    assert isinstance(ours.auth, family.BasicAuth)
    assert dict(ours.cookies) == {"session": "1"}
    assert ours.cookies.jar is not theirs.cookies.jar
    theirs.cookies.set("later", "2")
    assert "later" not in ours.cookies


def test_nothing_of_the_applications_is_reachable(family, client_class, stock):
    def hook(_):
        raise AssertionError

    theirs = client_class(
        transport=stock(), mounts={"http://a": stock()}, event_hooks={"request": [hook], "response": [hook]}
    )
    ours = client_settings(theirs).build()
    assert not any(ours.event_hooks.values())
    theirs_parts = {id(each) for each in (theirs._transport, *theirs._mounts.values())}
    theirs_parts |= {id(each._pool) for each in (theirs._transport, *theirs._mounts.values())}
    for each in (ours._transport, *ours._mounts.values()):
        assert not theirs_parts & {id(unbounded(each)), id(unbounded(each)._pool)}


def test_digest_authentication_counts_for_itself(family, client_class):
    theirs = client_class(auth=family.DigestAuth("user", "pass"))
    ours = client_settings(theirs).build()
    assert isinstance(ours.auth, family.DigestAuth)
    assert ours.auth is not theirs.auth


def test_authentication_of_the_applications_own_stands_against_every_call(family, client_class):
    class Signing(family.Auth):
        def auth_flow(self, request):
            yield request

    settings = client_settings(client_class(auth=Signing()))
    assert "Signing" in settings.obstacles[0]
    ours = settings.build()
    with pytest.raises(NoBackgroundClientError):
        unbounded(ours._transport).handle_request(None)


def test_one_mount_that_cannot_be_built_does_not_stand_against_the_others(family, stock):
    mock = family.MockTransport(lambda _: family.Response(200))
    settings = client_settings(family.Client(mounts={"http://elsewhere": mock}))
    assert len(settings.obstacles) == 1
    assert "MockTransport" in settings.obstacles[0]
    ours = settings.build()
    assert type(unbounded(ours._transport)) is family.HTTPTransport
    with pytest.raises(NoBackgroundClientError):
        ours.get("http://elsewhere/")


def test_a_client_certificate_is_in_the_tls_context(family, client_class):
    context = ssl.create_default_context(cafile=TLS / "server.pem")
    context.load_cert_chain(TLS / "client.pem", TLS / "client.key")
    ours = client_settings(client_class(verify=context)).build()
    assert unbounded(ours._transport)._pool._ssl_context is context
