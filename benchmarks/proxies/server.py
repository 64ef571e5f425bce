"""The provider and the proxy, in a process of their own, so that their work is not measured as the library's."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

from tests.conformance.routes import HOST

from promptguard.testing import FakeProvider, Fault, ForwardProxy, Served

SECONDS = 0.02
"""how long the model takes"""
MODELS = {
    "m": lambda _: Served("You said hello.", delay=SECONDS),
    "fine": lambda _: Served("Something else.", delay=SECONDS),
    "hanging": lambda _: Fault("hang", seconds=60.0),
    "refusing": lambda _: Fault("refuse"),
}

if __name__ == "__main__":
    with FakeProvider(MODELS) as provider:
        address = urlsplit(provider.origin)
        with ForwardProxy({HOST: ("127.0.0.1", address.port or 0)}) as proxy:
            print(proxy.url, flush=True)
            sys.stdin.read()
