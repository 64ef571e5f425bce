"""A provider that answers alike every time, and the table of what was found."""

from __future__ import annotations

import importlib.util
import itertools
import json
import re
import zlib
from pathlib import Path

import pytest

from promptguard.testing import FakeProvider, Fault, Served
from tests.conformance.adapters import ADAPTERS
from tests.conformance.features import DIFFERENTIAL

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Kiel"}'}}
TEXT = "You said hello. Ünïcödé \u2028 and more words, to make several chunks of a stream."
TABLE = pytest.StashKey[dict]()


def _is_installed(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of a package that it is in
        return False


class Provider(FakeProvider):
    """Gives every answer one id and one moment, so that two runs can be compared."""

    def __init__(self):
        super().__init__({})
        self.prepare()

    def next_id(self):
        return "0" * 24

    def now(self):
        return 1_700_000_000

    def prepare(self):
        """Begin anew: nothing received, models that fail in every way from their first call on."""
        busy = itertools.chain([429, 503], itertools.repeat(None))

        def busy_twice(_):
            status = next(busy)
            return TEXT if status is None else Fault("status", status, headers={"retry-after-ms": "5"})

        self.models = {
            "m": lambda _: TEXT,
            "other": lambda _: "Something else.",
            "tool": lambda _: Served("", finish_reason="tool_calls", tool_calls=(CALL,)),
            "json": lambda _: '{"city": "Kiel"}',
            "gzip": lambda _: Served(TEXT, gzip=True),
            "slow": lambda _: Served(TEXT * 20, chunk_delay=0.02),
            "hang": lambda _: Fault("hang", seconds=1.0),
            "busy": busy_twice,
            **{kind: lambda _, kind=kind: Fault(kind) for kind in ("cut", "refuse", "garbage")},
            **{
                f"status-{s}": lambda _, s=s: Fault("status", s)
                for s in (400, 401, 403, 404, 422, 429, 500, 503)
            },
        }
        self.received.clear()

    def arrived(self, but="other"):
        """What arrived for every model but one, less what is new for every call."""
        return [(r.path, sorted(constant(r.headers).items()), r.raw) for r in self.received if r.model != but]


_VOLATILE = {
    "x-amzn-trace-id", "idempotency-key", "traceparent",
    "x-amz-date",  # the second in which AWS's signature was made
    "amz-sdk-invocation-id",  # a UUID of botocore's for every call
}  # fmt: skip
_SIGNATURE = re.compile(r"/\d{8}/|Signature=[0-9a-f]{64}")
"""The day and the digest over that second; access key, region, service and the list of signed headers stay."""
_TTL = re.compile(r"ttl=\w+; ")
"""When botocore gives a retried call up, by the server's clock."""


def constant(headers):
    """Return headers less what is new for every call; how AWS's signatures begin is not."""
    kept = {k: v for k, v in headers.items() if k not in _VOLATILE}
    return {
        k: _SIGNATURE.sub("", v) if k == "authorization" else _TTL.sub("", v) if k == "amz-sdk-request" else v
        for k, v in kept.items()
    }


@pytest.fixture
def provider():
    with Provider() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch):
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "OLLAMA_HOST",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_PROFILE",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def pytest_generate_tests(metafunc):
    """Every cell that can run here, so that nothing is skipped: the table says what cannot run, and why."""
    if "adapter" not in metafunc.fixturenames:
        return
    chosen = getattr(metafunc.module, "SDKS", None)
    installed = [
        adapter
        for adapter in ADAPTERS
        if adapter.missing() is None and (chosen is None or adapter.name in chosen)
    ]
    if "feature" in metafunc.fixturenames:
        cells = [
            pytest.param(adapter, feature, id=f"{adapter.name}-{feature.__name__}")
            for adapter in installed
            for feature in DIFFERENTIAL
            if feature.__name__ not in adapter.lacks
        ]
        metafunc.parametrize(("adapter", "feature"), cells)
    else:
        name = metafunc.function.__name__.removeprefix("test_")
        rows = [pytest.param(adapter, id=adapter.name) for adapter in installed if name not in adapter.lacks]
        metafunc.parametrize("adapter", rows)


def pytest_collection_modifyitems(items):
    """Try each cell of the matrix in one of its variants in every run, in all of them in `make sdks` and `make soak`.

    The variant is drawn by the cell's name, so that it stays the same where cells come and go.
    """
    for item in items:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        if not {"adapter", "feature", "variant"} <= params.keys():
            continue
        adapter, feature, variant = params["adapter"], params["feature"], params["variant"]
        variants = item.module.VARIANTS
        drawn = zlib.crc32(f"{adapter.name} {feature.__name__}".encode()) % len(variants)
        if variant != variants[drawn]:
            item.add_marker(pytest.mark.slow)


def pytest_addoption(parser):
    parser.addoption("--sdk-table", help="write what was found as JSON, for docs/reference/sdks.md")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    spec = getattr(item, "callspec", None)
    if spec is None or "adapter" not in spec.params or (report.when != "call" and not report.failed):
        return
    found, feature = spec.params["adapter"], item.function.__name__.removeprefix("test_")
    feature = getattr(spec.params.get("feature"), "__name__", feature)
    row = item.config.stash.setdefault(TABLE, {}).setdefault(found.name, _row(found))
    cell = row["cells"].setdefault(feature, {"passed": 0, "failed": 0})
    cell["passed"] += report.passed
    cell["failed"] += report.failed


def _row(adapter):
    return {"version": adapter.version(), "lacks": dict(adapter.lacks), "cells": {}}


def pytest_sessionfinish(session):
    path = session.config.getoption("--sdk-table", default=None)
    if path:
        table = session.config.stash.get(TABLE, {})
        missing = {adapter.name: reason for adapter in ADAPTERS if (reason := adapter.missing())}
        Path(path).write_text(json.dumps({"found": table, "missing": missing}, indent=1), "utf-8")


collect_ignore = [
    name
    for name, packages in (
        ("test_google.py", ["google.genai"]),
        ("test_anthropic.py", ["anthropic"]),
        ("test_anthropic_clouds.py", ["anthropic", "boto3"]),
        ("test_boto3.py", ["boto3"]),
        ("test_boto3_background.py", ["boto3"]),
    )
    if not all(map(_is_installed, packages))
]
