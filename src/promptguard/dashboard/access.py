"""Who may look at the page: hosts, tokens, origins, and the headers that keep what models wrote from running.

The page shows prompts and answers, and a browser will send requests to a loopback address for any site it visits. So a
name that is not this machine's is refused (DNS rebinding), nothing but reading is answered, and beyond loopback a token
is asked for.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset(("localhost",))
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
"""Of every answer. No `unsafe-inline`: a script that came with an answer could not run even if it were not escaped."""
_SAFE = frozenset(("GET", "HEAD"))


@dataclass(frozen=True, slots=True)
class Access:
    """What is let in.

    Attributes:
        token: asked for when not empty: as `?token=` once, then a cookie, or as `Authorization: Bearer`
        names: names of this machine beside `localhost` that a Host header may have
        addresses: whether any IP address may stand there (bound beyond loopback); else loopback's alone. An address
            cannot be rebound by a name server
    """

    token: str = field(default="", repr=False)
    names: frozenset[str] = LOOPBACK_NAMES
    addresses: bool = False

    def knows_host(self, host: str) -> bool:
        """Whether a Host header names this machine; the port does not matter."""
        name = host_name(host)
        if name in self.names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.addresses or address.is_loopback

    def knows_token(self, given: str) -> bool:
        """Whether this is the token, in a time that does not tell how much of it is right."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())


def access_for(bound_to: str, token: str, names: Iterable[str] = ()) -> Access:
    """Return what is let in by a server that is bound to an address or a name."""
    own = {bound_to.lower(), *(name.lower() for name in names)}
    if is_loopback(bound_to):
        return Access(token, LOOPBACK_NAMES | own)
    own |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return Access(token, LOOPBACK_NAMES | own, addresses=True)


def is_loopback(host: str) -> bool:
    """Whether a server bound to this is reached from this machine alone."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def host_name(host: str) -> str:
    """Return the name or address of a Host header, without port; empty for what is none.

    >>> host_name("[::1]:7787"), host_name("Localhost:80"), host_name("localhost:80@evil.example")
    ('::1', 'localhost', '')
    """
    if not host or any(char in host for char in "@/\\?# \t,"):
        return ""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError for one that is no number
    except ValueError:
        return ""
    return (parts.hostname or "").rstrip(".")


class Guarded:
    """The application behind its checks (ASGI)."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it; every answer has the headers."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = "no-cache"
            await send(message)

        refused = self._refused(scope)
        await (self._app if refused is None else refused)(scope, receive, with_headers)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows_host(hosts[0]):
            return PlainTextResponse(
                "This is not a name of the machine that serves this page. "
                "If it should be, start it with --allow-host NAME.\n",
                421,
            )
        if scope["method"] not in _SAFE:
            origin = headers.get("origin", "")
            same = urlsplit(origin).netloc.lower() == hosts[0].lower() if origin else False
            text = "This page only shows; it changes nothing.\n" if same else "Another site asked for this.\n"
            return PlainTextResponse(text, 405 if same else 403, {"Allow": "GET, HEAD"})
        return self._without_token(scope, headers)

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Return what is answered to who has not shown the token yet; None for who has, or where none is asked for."""
        access = self._access
        if not access.token:
            return None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        name = f"promptguard_{scope['server'][1] if scope.get('server') else 0}"
        shown = [cookie_parser(headers.get("cookie", "")).get(name, "")]
        if scheme.lower() == "bearer":
            shown.append(bearer)
        if any(access.knows_token(each) for each in shown if each):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for key, value in query if key == "token"]
        if not given or not access.knows_token(given[0]):
            return PlainTextResponse("Open the address with ?token=... that the command printed.\n", 401)
        # Away from the address bar, the history and whoever looks over a shoulder.
        rest = urlencode([(key, value) for key, value in query if key != "token"])
        path = "/" + scope["path"].lstrip("/\\")
        answer = RedirectResponse(f"{path}?{rest}" if rest else path, 303)
        answer.set_cookie(name, access.token, httponly=True, samesite="strict", path="/")
        return answer
