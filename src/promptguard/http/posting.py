"""One POST to an address that somebody wrote into a setting: the peer is checked, and nothing can hold it up.

Server-side request forgery is what is guarded against (OWASP; CVE-2026-64849 is the same hole in a peer): a host's
addresses are looked up once, each is checked, and the connection is made to the very one that was checked, so that a name
which resolves anew to another place changes nothing. Redirects are not followed, proxies of the environment are not used,
the answer's body is never read, and lookups aside everything together takes at most `timeout` seconds.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping

LONGEST_SECONDS = 10.0


class PostFailed(Exception):  # noqa: N818 - what happened
    """It was not accepted; the message says why in a few words and holds neither address, answer nor secret."""


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allow_private: bool = False,
    timeout: float = LONGEST_SECONDS,
) -> None:
    """Post `body` to `url` within `timeout` seconds and return when a status of 2xx says that it was taken.

    `allow_private` lets the peer be of a private network, or this machine. Raises PostFailed.
    """
    import httpcore
    import httpx

    from promptguard.http.checked_network import CheckedNetwork, Deadline, RefusedPeer

    # Reading the authorities takes 20 ms: only where they are asked.
    certificates = httpx.create_ssl_context() if url.lower().startswith("https") else None
    network = CheckedNetwork(Deadline(time.monotonic() + timeout), allow_private=allow_private)
    limits = dict.fromkeys(("connect", "read", "write", "pool"), timeout)
    sent: dict[bytes | str, bytes | str] = {"user-agent": "promptguard", **dict(headers.items())}
    try:
        with (
            httpcore.ConnectionPool(
                ssl_context=certificates,
                network_backend=network,
                retries=0,
                http1=True,
                http2=False,
            ) as pool,
            pool.stream(
                "POST",
                url,
                headers=sent,
                content=body,
                extensions={"timeout": limits},
            ) as response,
        ):
            status = response.status
    except RefusedPeer as error:
        raise PostFailed(str(error)) from None
    except (httpcore.TimeoutException, TimeoutError):
        raise PostFailed(f"no answer within {timeout:g} s") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError, OSError, ValueError) as error:
        raise PostFailed(_told(error)) from None
    if 300 <= status < 400:
        raise PostFailed(f"status {status}: redirects are not followed")
    if not 200 <= status < 300:
        raise PostFailed(f"status {status}")


def _told(error: Exception) -> str:
    """Return what went wrong, without what the peer said: an answer may hold anything."""
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, ssl.SSLCertVerificationError):
            return f"TLS: {known.verify_message}"
        if isinstance(known, ConnectionRefusedError):
            return "connection refused"
        if isinstance(known, socket.gaierror):
            return "the host's name is not known"
        known = known.__cause__ or known.__context__
    return f"no connection ({type(error).__name__})"
