"""HTTP sessions of botocore's that belong to background work, as `owned_client` has them for httpx."""

from __future__ import annotations

from dataclasses import dataclass

from promptguard.core.background_call import ANSWER_SECONDS, MAX_ANSWER_BYTES
from promptguard.core.model import Headers
from promptguard.http.botocore_session import Prepared, Session, timeouts
from promptguard.http.transport import original_of
from promptguard.http.transport_settings import CONNECTIONS
from promptguard.runtime.spare_threads import seconds_left

_BEHAVIOUR = frozenset(("send", "close", "__getattribute__", "__getattr__"))


class UnboundedAnswerError(Exception):
    """An answer is longer, slower or otherwise encoded than a background call accepts."""


class TimeoutOfAllError(UnboundedAnswerError):
    """It took longer in all than a background call waits."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a botocore session was made with; `build` makes another."""

    session: Session
    """only read: its proxies, TLS settings and timeouts"""
    connections: int
    obstacles: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether another can be built."""
        return not self.obstacles

    def build(self) -> BackgroundSession:
        """Return a session for background calls, and for nobody else."""
        from botocore.httpsession import URLLib3Session

        original = self.session
        proxies = original._proxy_config
        connect, read = timeouts(original)
        own = URLLib3Session(
            verify=original._verify,
            proxies=proxies._proxies,
            timeout=(
                min(connect or ANSWER_SECONDS, ANSWER_SECONDS),
                min(read or ANSWER_SECONDS, ANSWER_SECONDS),
            ),
            max_pool_connections=min(self.connections, original._max_pool_connections),
            socket_options=original._socket_options,
            client_cert=(original._cert_file, original._key_file) if original._cert_file else None,
            proxies_config=proxies._proxies_settings,
        )
        return BackgroundSession(own)


def session_settings(session: Session, *, connections: int = CONNECTIONS) -> SessionSettings:
    """Read the settings of the application's `session`, guarded or not."""
    original = original_of(session) or session
    changed = _changed(original)
    name = f"{type(original).__module__}.{type(original).__qualname__}"
    obstacles = () if changed is None else (f"{name} (it has a {changed}() of its own)",)
    return SessionSettings(original, connections, obstacles)


def _changed(session: object) -> str | None:
    """Return the name of a method that is not botocore's, in a subclass or on the object itself, or None."""
    for base in type(session).__mro__:
        if base.__module__ == "botocore.httpsession":
            break
        found = _BEHAVIOUR.intersection(vars(base))
        if found:
            return min(found)
    return min(_BEHAVIOUR.intersection(vars(session)), default=None)


def adopted(session: Session) -> BackgroundSession:
    """Return `session`, which is background work's alone, with its answers bounded."""
    return BackgroundSession(session)


class BackgroundSession:
    """Sends signed requests, one attempt each, through a session that is background work's alone."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def send(self, prepared: Prepared) -> tuple[int, bytes, Headers]:
        """Send a prepared request; returns status, body and headers.

        Raises what botocore raises, and UnboundedAnswerError.
        """
        response = self._session.send(prepared)
        try:
            if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
                raise UnboundedAnswerError("the server encoded an answer that was asked for plain")
            chunks, size = [], 0
            for chunk in response.raw.stream():
                size += len(chunk)
                if size > MAX_ANSWER_BYTES:
                    raise UnboundedAnswerError("the answer is longer than a background call accepts")
                if seconds_left() <= 0:
                    raise TimeoutOfAllError("the answer took longer than a background call waits")
                chunks.append(chunk)
        except BaseException:
            response.raw.close()
            raise
        headers = tuple((k.encode("latin-1"), v.encode("latin-1")) for k, v in response.headers.items())
        return response.status_code, b"".join(chunks), headers

    def close(self) -> None:
        """Give its connections back."""
        self._session.close()
