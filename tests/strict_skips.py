"""`--no-skips`: on the CI machine everything a test needs is installed, so a skipped test is a failure.

But for tests marked `packages`, which run where `make frameworks` has installed what they need.

`--old-versions`: what is deprecated is no failure, because old packages use newer ones as they always did.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail when a test was skipped")
    parser.addoption("--old-versions", action="store_true", help="ignore what is deprecated")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(
        "--old-versions"
    ):  # an option, and not -W, because pytest-xdist hands it to its workers
        config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if (
        session.config.getoption("--no-skips")
        and session.config.stash.get(_SKIPPED, 0)
        and not session.exitstatus
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


_SKIPPED = pytest.StashKey[int]()


def pytest_report_teststatus(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    if (
        report.skipped
        and not hasattr(report, "wasxfail")
        and "packages" not in getattr(report, "keywords", ())
    ):
        config.stash[_SKIPPED] = config.stash.get(_SKIPPED, 0) + 1
