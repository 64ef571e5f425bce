"""What the tests of this folder share, where they do not bring their own."""

from __future__ import annotations

import pytest

from promptguard.testing import FakeProvider


@pytest.fixture
def provider():
    with FakeProvider({"m": lambda _: "fine"}) as running:
        yield running
