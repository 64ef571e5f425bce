"""Serving the page: one process, one port, loopback unless told otherwise."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from promptguard.errors import ConfigurationError

if TYPE_CHECKING:
    import uvicorn

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 7787
NEEDED = "promptguard dashboard needs two more packages: pip install 'promptguard-shadow[dashboard]'"


def check_installed() -> None:
    """Raise ConfigurationError when the extra is not installed."""
    try:
        import starlette
        import uvicorn
    except ImportError as error:
        raise ConfigurationError(NEEDED) from error
    del starlette, uvicorn


def bound(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. Raises ConfigurationError, in one line, where there is none."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        raise ConfigurationError(
            f"--host {host!r} is no address of this machine: give 127.0.0.1, or 0.0.0.0 for all"
        ) from error
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigurationError(_unbound(host, port, error)) from error
    listening.set_inheritable(False)
    return listening


def _unbound(host: str, port: int, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code == errno.EADDRINUSE:
        return f"port {port} of {host} is taken: give another with --port, or --port 0 for any that is free"
    if code == errno.EACCES:
        return f"port {port} of {host} is not for this user: give one above 1023 with --port"
    if code == errno.EADDRNOTAVAIL:
        return f"--host {host!r} is no address of this machine: give 127.0.0.1, or 0.0.0.0 for all"
    return f"port {port} of {host} cannot be listened on ({getattr(error, 'strerror', error)}): give another with --port"


def checked_trace_url(given: str) -> str:
    """Return where traces are shown. Raises ConfigurationError for what is no address with a place for the trace."""
    if given and not (given.startswith(("http://", "https://")) and "{trace_id}" in given):
        raise ConfigurationError(
            f"--trace-url {given!r} is no address of traces: give one such as http://127.0.0.1:16686/trace/{{trace_id}}"
        )
    return given


def new_token() -> str:
    """Return a token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def server_of(
    ledger: str,
    *,
    host: str = DEFAULT_HOST,
    token: str = "",
    names: Sequence[str] = (),
    trace_url: str = "",
    prompts: str = "",
    when_ready: Callable[[], None] | None = None,
) -> uvicorn.Server:
    """Return a server that is ready to `run(sockets=[listening])`; `when_ready` is called once it answers.

    `host` is what the socket was bound to; with `token` it is asked for; `names` are further names of this machine;
    `trace_url` is where traces are shown; `prompts` is a folder of prompts.
    """
    import uvicorn

    from promptguard.dashboard.access import access_for
    from promptguard.dashboard.app import application

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if when_ready is not None:
                when_ready()

    return Server(
        uvicorn.Config(
            application(ledger, access_for(host, token, names), trace_url, prompts),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            h11_max_incomplete_event_size=32_768,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=1,
            ws="none",
        )
    )


def address_of(listening: socket.socket, host: str, token: str) -> str:
    """Return the address to open."""
    port = listening.getsockname()[1]
    everywhere = host in {"", "0.0.0.0", "::"}  # noqa: S104 - a name is looked for, nothing is bound
    name = socket.gethostname() if everywhere else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")
