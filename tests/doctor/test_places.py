"""What stands in the place of the ledger's small files is named, and never the sound ledger beside it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from promptguard.doctor.places import places
from promptguard.ledger.store import Ledger
from promptguard.ledger.trouble import LedgerUnavailable


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    with contextlib.closing(Ledger(tmp_path / "ledger")) as made:
        made.open()
    (tmp_path / "ledger" / "ledger.lock").unlink(missing_ok=True)
    return tmp_path / "ledger"


def broken(ledger: Path) -> list[str]:
    return [each.text for each in places(ledger) if each.level == "broken"]


def test_a_sound_ledger_has_nothing_broken(ledger: Path) -> None:
    assert broken(ledger) == []


@pytest.mark.parametrize("stands", ["directory", "loop"])
def test_trouble_with_the_lock_is_told_of_the_lock(ledger: Path, stands: str) -> None:
    lock = ledger / "ledger.lock"
    lock.mkdir() if stands == "directory" else lock.symlink_to("ledger.lock")
    assert broken(ledger) == [f"{lock} is no regular file, and is not used: move it away"]
    # a file that is there is opened without the lock: made anew, it needs it
    (ledger / "ledger.sqlite3").rename(ledger / "elsewhere")
    with contextlib.closing(Ledger(ledger)) as opened, pytest.raises(LedgerUnavailable) as told:
        opened.open()
    assert "ledger.lock" in str(told.value)
    assert "ledger.sqlite3" not in str(told.value)


def test_a_secret_that_is_too_short_is_broken(ledger: Path) -> None:
    key = ledger / "keys" / "cache.key"
    key.parent.mkdir(exist_ok=True)
    key.write_bytes(b"")
    key.chmod(0o600)
    (told,) = broken(ledger)
    assert told.startswith(f"{key} is too short for a secret")


def test_a_file_where_the_cache_should_be_is_broken(ledger: Path) -> None:
    (ledger / "cache").write_text("x")
    (told,) = broken(ledger)
    assert told.startswith(f"{ledger / 'cache'} is no directory")
