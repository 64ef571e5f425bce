"""Fixtures for tests that make calls: a provider on loopback, a ledger of their own, nothing left running."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import signal
import sys
import tempfile
import weakref
from pathlib import Path

import hypothesis
import pytest

# The same inputs every time, whatever the machine's speed: a suite's colour must not depend on luck. New inputs are
# tried with `--hypothesis-profile=default`.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores it, and so would every program that a test interrupts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# pytest-xdist gives it to its workers; where a line is broken would depend on how long the path of a test's folder is.
os.environ.pop("COLUMNS", None)


ONCE = frozenset(
    (
        "alerts",
        "certifying",
        "cli",
        "dashboard",
        "demo",
        "doctor",
        "fleet",
        "guides",
        "lifetime",
        "monitoring",
        "report",
        "rollout",
    )
)
"""Folders of tests for which it does not matter which major of an SDK makes the calls."""
ONCE_MODULES = frozenset(
    (
        "test_accepting",
        "test_ledger_trouble",
        "test_missing_provider",
        "test_notices",
        "test_odd_places",
        "test_placebo",
        "test_places",
        "test_places_in_a_ledger",
        "test_state",
        "test_stored_facts",
        "test_sweep",
    )
)


def pytest_collection_modifyitems(items):
    """Mark what the second environment need not repeat."""
    for item in items:
        if item.path.parent.name in ONCE or item.path.stem in ONCE_MODULES:
            item.add_marker("once")


def pytest_collection_finish():
    """Leave what the imports made out of every later collection: there are some hundred thousand objects."""
    gc.collect()
    gc.freeze()


_AUTHORITIES = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config):
    """Have clients trust one authority: to load all of certifi takes 20 ms a client, and no server here has TLS."""
    if hasattr(config, "workerinput"):  # xdist's: it has the environment of the process that started it
        return
    import certifi

    mark = "-----END CERTIFICATE-----"
    first, _, _ = Path(certifi.where()).read_text("ascii").partition(mark)
    config.stash[_AUTHORITIES] = place = tempfile.TemporaryDirectory(prefix="promptguard-tests-")
    Path(place.name).chmod(0o755)  # some tests are another user's
    path = Path(place.name) / "authority.pem"
    path.write_text(first + mark + "\n", "ascii")
    os.environ |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"), str(path))


def pytest_unconfigure(config):
    """Remove the file."""
    if _AUTHORITIES in config.stash:
        config.stash[_AUTHORITIES].cleanup()


_tests = itertools.count(1)


def pytest_runtest_setup():
    """Do so again now and then, between two tests: SDKs import most of themselves when they are used."""
    if next(_tests) % 40 == 0:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def _log_as_by_default():
    """A command may lower what is logged, for its process: the next test's is another."""
    yield
    logging.getLogger("promptguard").setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def nothing_rolled_out():
    """What a process has seen of rollouts it remembers for good; here each test is a process of its own."""
    yield
    rollouts = sys.modules.get("promptguard.core.rollouts")
    if rollouts is not None:
        rollouts.SEEN.staged = False


@pytest.fixture(autouse=True)
def _nothing_rendered():
    """A question that was rendered from a prompt is known by its text; here each test is a process of its own."""
    yield
    rendered = sys.modules.get("promptguard.templates.rendered")
    if rendered is not None:
        rendered.PROCESS.__init__()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """Close the clients of openai that a test made and left open: it is the application here.

    Their own finalizers close them. Where they lie in a cycle, the collector may come to the connections first, which
    then warn of being open; whether it does depends on when other threads made it run before.
    """
    module = sys.modules.get("openai._base_client")
    if module is None:
        yield
        return
    client_class, made = module.SyncHttpxClientWrapper, []
    plain = client_class.__init__

    def remembering(self, *arguments, **options):
        plain(self, *arguments, **options)
        if not _is_made_by_promptguard(sys._getframe(1)):
            made.append(weakref.ref(self))

    client_class.__init__ = remembering
    try:
        yield
    finally:
        client_class.__init__ = plain
        for each in made:
            client = each()
            if client is not None:
                client.close()


def _is_made_by_promptguard(frame):
    """Whether the library itself makes it, which is to close what it opens without our help."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("promptguard."):
            return True
        frame = frame.f_back
    return False


@pytest.fixture
def guarded(tmp_path):
    """The ledger directory of one test; its background work is closed when the test is done."""
    yield tmp_path / "ledger"
    close_backgrounds()


def close_backgrounds():
    engine = sys.modules.get("promptguard.background.engine")
    for background in engine.open_backgrounds() if engine else ():
        background.close(2.0)
    counting = sys.modules.get("promptguard.background.counting")
    for known in counting.open_countings() if counting else ():
        known.close()
    gc.collect()


@pytest.fixture(scope="session")
def _valkey(tmp_path_factory):
    from tests.servers import Valkey

    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.kill()


@pytest.fixture
def valkey(_valkey):
    """A server of Valkey that tests share, empty."""
    _valkey.client().flushall()
    return _valkey


@pytest.fixture
def own_valkey(tmp_path):
    """Start servers of Valkey that one test may harm: `own_valkey(**options)`."""
    from tests.servers import Valkey

    started = []

    def start(**options):
        started.append(Valkey(tmp_path / f"valkey{len(started)}", **options))
        return started[-1]

    yield start
    for server in started:
        server.kill()
