"""Addresses of Redis and Valkey, which may hold a password: checked here, and never repeated, in no message or `repr`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import PlainValidator, SecretStr, ValidationError
from pydantic_core import Url

from promptguard.core.mistakes import listed
from promptguard.core.options.accepting import Accepts
from promptguard.errors import ConfigurationError

SCHEMES = ("redis", "rediss", "valkey", "valkeys", "redis+cluster", "rediss+cluster", "unix")
PARTS = (
    "db", "username", "password", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname",
)  # fmt: skip
"""What may stand behind the question mark. Time limits may not: no call waits for them."""
WORDS = 'an address such as "redis://user:password@host:6379/0", "rediss://..." or "unix:///path"'


def is_address(value: str) -> bool:
    """Whether a text was meant as an address, so that it may hold a password."""
    return any(sign in value for sign in ":@/")


def shown_address(url: SecretStr) -> str:
    """Return the part of an address that may be shown: without user, password and all behind a question mark."""
    found = Url(url.get_secret_value())
    port = f":{found.port}" if found.port is not None else ""
    return f"{found.scheme}://{found.host or ''}{port}{found.path or ''}"


def _server(value: object) -> SecretStr | None:
    if value is None:
        return None
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not isinstance(text, str) or not text.isprintable() or " " in text.strip():
        raise ValueError("no address")
    try:
        url = Url(text.strip())  # not pydantic's AnyUrl, which refuses an address without a host in 2.10
        port = url.port
    except (ValidationError, ValueError):
        raise ValueError("no address") from None
    wrong = _wrong_place(url, port) or next(
        (f"{name[:40]!r} behind the question mark is not known: there are {listed(PARTS, 'and')}"
         for name, _ in url.query_params() if name not in PARTS), None,
    )  # fmt: skip
    if wrong is not None:
        raise ConfigurationError(f"{{option}}(url=...) is no address of Redis or Valkey: {wrong}")
    return SecretStr(text.strip())


def _wrong_place(url: Url, port: int | None) -> str | None:
    path = url.path or ""
    if url.scheme not in SCHEMES:
        return f"its scheme is none of {listed(SCHEMES)}"
    if url.scheme == "unix":
        return "the path of a socket is missing: write unix:///path/to/socket" if len(path) < 2 else None
    if not url.host or port == 0:
        return "port 0 is none" if url.host else "the host is missing"
    if url.scheme.endswith("+cluster") and path not in ("", "/"):
        return "a cluster has no numbered databases: leave out what follows the port"
    if not re.fullmatch(r"/?|/\d{1,4}", path):
        return "what follows the port must be the number of a database, such as /0"
    return None


Server = Annotated[SecretStr | str | None, PlainValidator(_server), Accepts(f"{WORDS}, or None", secret=True)]
