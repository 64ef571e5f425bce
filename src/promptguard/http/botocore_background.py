"""The HTTP session of a boto3 client's background calls: its own small pool, and a bounded answer, as `background.py`."""

from __future__ import annotations

import time
from typing import Any

from promptguard.core.model import Headers
from promptguard.http.background import MAX_ANSWER, MAX_SECONDS, POOL
from promptguard.http.botocore_session import timeouts
from promptguard.http.transport import original_of


class UnboundedAnswerError(Exception):
    """An answer is longer, slower or otherwise encoded than a background call accepts."""


class TimeoutOfAllError(UnboundedAnswerError):
    """It took longer in all than a background call waits."""


def background_client(session: Any) -> BackgroundSession:
    """Return an unguarded session with `session`'s proxies, TLS settings and timeouts and a pool of its own.

    A session of the application's own making is shared, as it cannot be built again.
    """
    original = original_of(session) or session
    from botocore.httpsession import URLLib3Session

    if type(original) is not URLLib3Session:
        return BackgroundSession(original, owned=False)
    proxies = original._proxy_config
    connect, read = timeouts(original)
    own = URLLib3Session(
        verify=original._verify,
        proxies=proxies._proxies,
        timeout=(connect or MAX_SECONDS, read or MAX_SECONDS),
        max_pool_connections=POOL,
        socket_options=original._socket_options,
        client_cert=(original._cert_file, original._key_file) if original._cert_file else None,
        proxies_config=proxies._proxies_settings,
    )
    return BackgroundSession(own, owned=True)


class BackgroundSession:
    """Sends signed requests, one attempt each; what the application shares with us (not `owned`) is never closed by us."""

    def __init__(self, session: Any, *, owned: bool) -> None:
        self._session = session
        self._owned = owned

    def send(self, prepared: Any) -> tuple[int, bytes, Headers]:
        """Send a prepared request; returns status, body and headers.

        Raises what botocore raises, and UnboundedAnswerError.
        """
        until = time.monotonic() + MAX_SECONDS
        response = self._session.send(prepared)
        try:
            if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
                raise UnboundedAnswerError("the server encoded an answer that was asked for plain")
            chunks, size = [], 0
            for chunk in response.raw.stream():
                size += len(chunk)
                if size > MAX_ANSWER:
                    raise UnboundedAnswerError("the answer is longer than a background call accepts")
                if time.monotonic() > until:
                    raise TimeoutOfAllError("the answer took longer than a background call waits")
                chunks.append(chunk)
        except BaseException:
            response.raw.close()
            raise
        headers = tuple((k.encode("latin-1"), v.encode("latin-1")) for k, v in response.headers.items())
        return response.status_code, b"".join(chunks), headers

    def close(self) -> None:
        """Give its connections back."""
        if self._owned:
            self._session.close()
