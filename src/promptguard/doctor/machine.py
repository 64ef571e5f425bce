"""The interpreter, the packages, and what else the environment says."""

from __future__ import annotations

import importlib.metadata
import multiprocessing
import os
import platform
import re
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

from promptguard._version import __version__
from promptguard.doctor.findings import Finding
from promptguard.errors import ConfigurationError

SDKS = (
    "openai", "anthropic", "google-genai", "mistralai", "cohere", "groq", "together", "ollama", "langchain-openai", "boto3",
)  # fmt: skip
"""Packages whose clients wrap() knows."""
BESIDE = (
    "httpx", "httpx2", "pydantic", "pydantic-settings", "sqlalchemy", "opentelemetry-api", "opentelemetry-sdk",
    "genai-prices",
)  # fmt: skip
INSTRUMENTS = re.compile(
    r"opentelemetry-instrumentation-(openai|anthropic|google|bedrock|botocore|cohere|mistral|groq|ollama|together|langchain).*"
    r"|openinference-instrumentation-.*|traceloop-sdk|langfuse|langsmith|logfire|ddtrace|weave|mlflow|arize.*|helicone.*"
    r"|opik|braintrust|sentry-sdk"
)
"""Packages that trace calls of SDKs, where they are switched on."""
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_FACTORIES = {
    "OTEL_PYTHON_TRACER_PROVIDER": "opentelemetry_tracer_provider",
    "OTEL_PYTHON_METER_PROVIDER": "opentelemetry_meter_provider",
    "OTEL_PYTHON_CONTEXT": "opentelemetry_context",
}
"""OpenTelemetry's variables that name a plugin → the group of entry points that it must be in."""
OLDEST_PYTHON = (3, 11)
OLDEST_SQLITE = (3, 35, 0)
"""The first with RETURNING, which the ledger uses."""


def settings() -> Iterator[Finding]:
    """Look at the settings outside code."""
    from promptguard.settings import current, origins
    from promptguard.settings.reading import project_file

    try:
        current()
    except ConfigurationError as error:
        yield Finding("settings", "broken", str(error))
        return
    written = len(origins())
    file = project_file()
    yield Finding(
        "settings",
        "ok",
        f"{written} written outside code (promptguard config show --sources); nearest file: {file or 'none'}",
    )


def environment() -> Iterator[Finding]:
    """Look at the interpreter and the platform."""
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    text = (
        f"promptguard {__version__}, {platform.python_implementation()} {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, processes start by {method}"
    )
    if sys.version_info < OLDEST_PYTHON:
        yield Finding("environment", "broken", f"{text}: Python 3.11 or newer is needed")
    elif not hasattr(os, "register_at_fork") and hasattr(os, "fork"):
        yield Finding(
            "environment", "warning", f"{text}: forks cannot be prepared for; start processes by spawn"
        )
    else:
        yield Finding("environment", "ok", text)


def packages() -> Iterator[Finding]:
    """Look at the SDKs that can be wrapped, and at what PromptGuard stands on."""
    found = {name: _version(name) for name in SDKS}
    there = [f"{name} {version}" for name, version in found.items() if version is not None]
    if there:
        yield Finding("packages", "ok", f"clients that can be wrapped: {', '.join(there)}")
    else:
        yield Finding("packages", "warning", f"no SDK is installed that wrap() knows: {', '.join(SDKS)}")
    beside = [f"{name} {version}" for name in BESIDE if (version := _version(name)) is not None]
    yield Finding("packages", "ok", f"beside: {', '.join(beside)}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def sqlite() -> Iterator[Finding]:
    """Look at the version of SQLite that the interpreter brings."""
    from promptguard.ledger.engines.sqlite_errors import sqlite_version

    version = sqlite_version()
    text = f"SQLite {'.'.join(map(str, version))}"
    if version < OLDEST_SQLITE:
        yield Finding("sqlite", "broken", f"{text} is too old for the ledger: 3.35 or newer is needed")
    elif has_wal_reset_bug(version):
        yield Finding(
            "sqlite",
            "warning",
            f"{text} can, very rarely, damage a database that several connections write and checkpoint at one moment "
            "(sqlite.org/wal.html#walresetbug); fixed in 3.51.3, 3.50.7 and 3.44.6. A damaged ledger is set aside, and a "
            "new one begins. What mends it: a Python that was built with one of these, or a ledger on PostgreSQL",
        )
    else:
        yield Finding("sqlite", "ok", text)


def has_wal_reset_bug(version: tuple[int, ...]) -> bool:
    """Whether a version of SQLite has the WAL-reset bug: 3.7.0 to 3.51.2, but for the branches it was mended in."""
    mended = {(3, 44): (3, 44, 6), (3, 50): (3, 50, 7)}
    return (3, 7, 0) <= version < mended.get((version[0], version[1]), (3, 51, 3))


def proxies() -> Iterator[Finding]:
    """Look at proxies that the environment names; their credentials are never shown."""
    named = {name: os.environ.get(name) or os.environ.get(name.lower()) for name in _PROXIES}
    found = [
        f"{name}={value if name == 'NO_PROXY' else address(value)}" for name, value in named.items() if value
    ]
    if not found:
        yield Finding("proxies", "ok", "none named by the environment")
        return
    yield Finding(
        "proxies", "ok", f"{', '.join(found)}: background calls go the same way as the application's"
    )


def address(url: str) -> str:
    """Return scheme, host and port of a URL: never who is named before the @."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        return "(unreadable)"


def instrumentation() -> Iterator[Finding]:
    """Look for packages that trace calls of SDKs as well."""
    names = {each.name.lower().replace("_", "-") for each in importlib.metadata.distributions() if each.name}
    found = sorted(name for name in names if INSTRUMENTS.fullmatch(name))
    if not found:
        yield Finding("instrumentation", "ok", "nothing else that traces calls of SDKs is installed")
        return
    yield Finding(
        "instrumentation",
        "ok",
        f"installed: {', '.join(found)}; where one traces a call, PromptGuard's part lies on its span",
    )


def opentelemetry() -> Iterator[Finding]:
    """Look at what OpenTelemetry's variables name, and whether it is installed."""
    missing = []
    for variable, group in _FACTORIES.items():
        name = os.environ.get(variable)
        if name and not importlib.metadata.entry_points(group=group, name=name):
            missing.append(f"{variable} names {name!r}, which is not installed")
    if missing:
        text = f"{'; '.join(missing)}: wrap() works, without spans and metrics; install it, or unset the variable"
        yield Finding("opentelemetry", "warning", text)
    elif _version("opentelemetry-sdk") is None:
        yield Finding(
            "opentelemetry", "ok", "no SDK is installed: spans and metrics go nowhere, which costs nothing"
        )
    else:
        yield Finding("opentelemetry", "ok", f"SDK {_version('opentelemetry-sdk')}")
