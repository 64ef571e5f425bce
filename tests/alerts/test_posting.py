"""What is posted reaches the peer that was meant, and no peer holds it up or sends it elsewhere."""

from __future__ import annotations

import socket
import ssl
import time
from pathlib import Path

import pytest

from promptguard.core.addresses import is_public
from promptguard.http.posting import PostFailed, post
from tests.alerts.receiver import Receiver, with_status

TLS = Path(__file__).parents[1] / "asking" / "tls"
NOT_PUBLIC = [
    "127.0.0.1",
    "127.8.9.1",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",  # noqa: S104
    "255.255.255.255",
    "224.0.0.1",
    "240.0.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "203.0.113.9",
    "::1",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::",
    "nonsense",
    "127.1",
    "0x7f.1",
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_addresses_that_are_not_of_the_public_internet(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_addresses_that_are(address):
    assert is_public(address)


HOSTS = [
    "127.0.0.1",
    "localhost",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "0.0.0.0",  # noqa: S104
    "169.254.169.254",
    "10.0.0.1",
    "192.168.0.1",
    "[fe80::1]",
    "[fd00::1]",
]


@pytest.mark.parametrize("host", HOSTS)
def test_a_private_peer_is_refused_before_a_connection(host):
    with Receiver() as receiver:
        with pytest.raises(PostFailed, match="not on the public internet"):
            post(f"http://{host}:{receiver.port}/", b"{}", {}, timeout=5.0)
        assert not receiver.got


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch):
    """A name that is public when looked at, and loopback a moment later (DNS rebinding)."""
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])
    real = socket.getaddrinfo

    def rebinding(host, port, *args, **kwargs):
        if host != "rebinding.example":
            return real(host, port, *args, **kwargs)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    with Receiver() as receiver:
        with pytest.raises(PostFailed):
            post(f"http://rebinding.example:{receiver.port}/", b"{}", {}, timeout=0.5)
        assert not receiver.got
        with pytest.raises(PostFailed, match=r"rebinding.example is 127.0.0.1, not on the public internet"):
            post(f"http://rebinding.example:{receiver.port}/", b"{}", {}, timeout=0.5)


def test_one_private_address_among_several_is_refused(monkeypatch):
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
        for address in ("93.184.216.34", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: found)
    with pytest.raises(PostFailed, match=r"10\.0\.0\.1"):
        post("http://both.example/", b"{}", {}, timeout=5.0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status):
    with Receiver() as other, Receiver(with_status(status, location=other.url)) as receiver:
        with pytest.raises(PostFailed, match="redirects are not followed"):
            post(receiver.url, b"{}", {}, allow_private=True)
        assert len(receiver.got) == 1
        assert not other.got


@pytest.mark.parametrize("status", [400, 401, 404, 410, 413, 429, 500, 503])
def test_anything_but_success_is_a_failure(status):
    with Receiver(with_status(status)) as receiver, pytest.raises(PostFailed, match=f"status {status}"):
        post(receiver.url, b"{}", {}, allow_private=True)


def test_an_answer_of_100_mb_is_not_read():
    sent = []

    def huge(handler):
        handler.send_response(200)
        handler.send_header("content-length", str(100 << 20))
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b"x" * (1 << 20))
            sent.append(1)

    with Receiver(huge) as receiver:
        post(receiver.url, b"{}", {}, allow_private=True)
        assert len(receiver.got) == 1
    assert len(sent) < 50, "what the sockets hold, no more"


@pytest.mark.parametrize("part", ["status", "headers"])
def test_a_byte_a_moment_does_not_hold_it(part):
    def drip(handler):
        if part == "headers":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for number in range(400):
            handler.wfile.write(b"H" if part == "status" else b"x-%d: y\r\n" % number)
            handler.wfile.flush()
            time.sleep(0.05)

    with Receiver(drip) as receiver:
        began = time.monotonic()
        with pytest.raises(PostFailed, match=r"no answer within 0\.6 s|no connection"):
            post(receiver.url, b"{}", {}, allow_private=True, timeout=0.6)
        assert time.monotonic() - began < 8.0, "20 s, if each byte began the wait anew"


def test_a_peer_that_says_nothing_or_hangs_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(PostFailed, match=r"no answer within 0\.3 s"):
            post(f"http://127.0.0.1:{silent.getsockname()[1]}/", b"{}", {}, allow_private=True, timeout=0.3)
        port = silent.getsockname()[1]
    with pytest.raises(PostFailed, match="connection refused"):
        post(f"http://127.0.0.1:{port}/", b"{}", {}, allow_private=True)
    nonsense = Receiver(lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"))
    with nonsense as receiver, pytest.raises(PostFailed, match="no connection"):
        post(receiver.url, b"{}", {}, allow_private=True)


def test_certificates_are_verified_by_the_name_that_was_given(monkeypatch):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "server.pem", TLS / "server.key")
    with Receiver(tls=context) as receiver:
        with pytest.raises(PostFailed, match="TLS: self-signed certificate"):
            post(f"https://127.0.0.1:{receiver.port}/", b"{}", {}, allow_private=True)
        monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "server.pem"))
        post(f"https://127.0.0.1:{receiver.port}/", b"{}", {}, allow_private=True)
        with pytest.raises(PostFailed, match="TLS: Hostname mismatch"):
            post(f"https://localhost:{receiver.port}/", b"{}", {}, allow_private=True)
        assert len(receiver.got) == 1


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    with Receiver() as proxy, Receiver() as receiver:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.port}")
        post(receiver.url, b"{}", {}, allow_private=True)
        assert len(receiver.got) == 1
        assert not proxy.got
