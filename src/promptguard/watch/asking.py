"""The client that a watch asks with: from the user's factory, or made of settings."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from promptguard import sdks
from promptguard.core.key import MEANINGFUL_HEADERS
from promptguard.core.mistakes import listed, with_article
from promptguard.core.model import Headers
from promptguard.errors import ConfigurationError, MissingExtra
from promptguard.sdks.servers import KNOWN, Server, server_of

PROVIDERS: Mapping[str, tuple[str, str]] = {
    "openai": ("openai", "OpenAI"),
    "anthropic": ("anthropic", "Anthropic"),
    "groq": ("groq", "Groq"),
    "together": ("together", "Together"),
}
"""provider → the package and the class of its client"""
MOST_KEY_BYTES = 65_536


def from_factory(spec: str) -> object:
    """Return what `module:function` returns. Raises ConfigurationError, in one line, for whatever goes wrong."""
    module, colon, name = spec.partition(":")
    if not colon or not module or not name:
        raise ConfigurationError(
            f"--client {spec!r} is not known: write module:function, a function that returns a client"
        )
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as `python -m` has it
    try:
        found: Callable[[], object] | None = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a module of the user's may raise anything
        raise ConfigurationError(f"--client {spec}: {type(error).__name__}: {_line(error)}") from None
    finally:
        sys.path.pop(0)
    if not callable(found):
        raise ConfigurationError(f"--client {spec}: {module} has no function {name}")
    try:
        client = found()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the user's function
        raise ConfigurationError(f"--client {spec} raised {type(error).__name__}: {_line(error)}") from None
    if client is None:
        raise ConfigurationError(f"--client {spec} returned None: it must return a client")
    return client


def from_settings(provider: str, base_url: str | None, key_env: str | None, key_file: str | None) -> object:
    """Return a client of a provider's own SDK. The key is read from a variable or a file, and never shown.

    Raises ConfigurationError for an unknown provider, a missing or empty key, or an address that the SDK refuses, and
    MissingExtra where the SDK is not installed.
    """
    if provider not in PROVIDERS:
        raise ConfigurationError(
            f"--provider {provider!r} is not known: give {listed(list(PROVIDERS))}, or --client module:function"
        )
    if key_env and key_file:
        raise ConfigurationError("--key-env and --key-file both name a key: give one of them")
    package, kind = PROVIDERS[provider]
    key = _key(key_env, key_file)
    arguments = {
        name: value for name, value in (("api_key", key), ("base_url", base_url)) if value is not None
    }
    try:
        client: object = getattr(importlib.import_module(package), kind)(**arguments)
    except ImportError:
        raise MissingExtra(
            f"--provider {provider} needs its SDK; run: python -m pip install {package}"
        ) from None
    except Exception as error:  # noqa: BLE001 - an SDK may raise anything, and may repeat what it was given
        raise ConfigurationError(
            f"--provider {provider}: its client cannot be made ({type(error).__name__}); give --key-env or --key-file, "
            "and a --base-url that begins with http:// or https://"
        ) from None
    return client


def _key(key_env: str | None, key_file: str | None) -> str | None:
    if key_env:
        found = os.environ.get(key_env, "").strip()
        if not found:
            raise ConfigurationError(f"--key-env {key_env}: this variable is not set, or empty")
        return found
    if not key_file:
        return None
    try:
        with Path(key_file).open("rb") as file:
            found = file.read(MOST_KEY_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigurationError(f"--key-file {key_file}: cannot be read: {reason}") from None
    if not found:
        raise ConfigurationError(f"--key-file {key_file}: it is empty")
    return found


def server_asked(client: object) -> tuple[Server, Headers]:
    """Return whom a client asks, and the headers it authorizes itself with. Raises ConfigurationError where unknown."""
    family = sdks.family_of(client)
    server = None if family is None else server_of(family.NAME, client)
    if family is None or server is None:
        kind = f"{type(client).__module__}.{type(client).__qualname__}"
        raise ConfigurationError(
            f"a watch cannot ask with {with_article(kind)}: give a client of {listed(KNOWN)}"
        )
    own = ((name.encode("latin-1"), value.encode("latin-1")) for name, value in server.headers.items())
    return server, tuple(pair for pair in own if pair[0].decode("latin-1") not in MEANINGFUL_HEADERS)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
