"""The machine's state is no mistake of configuration: damaged, locked, full, unreadable, deleted, foreign ledgers."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from openai import OpenAI

import promptguard
from promptguard.cli import _run
from promptguard.ledger import door
from promptguard.ledger.engines import sqlite
from promptguard.ledger.engines.sqlite_errors import HEADER
from promptguard.testing import FakeProvider
from tests.conftest import close_backgrounds
from tests.faults.ledgers import (
    FILE,
    HARMLESS,
    PAGE,
    UNREADABLE,
    _overwritten,
    as_nobody,
    copy_of,
    locked,
    sound_ledger,
)

NEVER_READ_BY = {
    "plan": {
        "verdict page", "document no JSON", "document too deep", "document a list", "document of nothing",
        "document cut off", "detail no JSON", "detail a number", "stream not UTF-8", "kind not UTF-8",
    },
    "status": {"detail no JSON", "detail a number"},
}  # fmt: skip
"""Damage to rows that have no part in what a command tells."""
WAITED_FOR = {
    "newer", "foreign", "directory", "dangling link", "pipe", "journal a pipe", "wal a directory", "shm a link",
}  # fmt: skip
"""Somebody else's, or in the way: left alone until it is moved away. All other damage is set aside."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sound") / "ledger"
    sound_ledger(directory)
    return directory


@pytest.fixture
def provider():
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as running:
        yield running


@pytest.fixture
def impatient(monkeypatch):
    """Look at a ledger in trouble again soon, so that a test need not wait."""
    monkeypatch.setattr(door, "FIRST_REST", 0.1)
    monkeypatch.setattr(door, "LONGEST_REST", 0.2)
    monkeypatch.setattr(sqlite, "LOCK_WAIT", 0.5)


MOUNT, UMOUNT = shutil.which("mount") or "mount", shutil.which("umount") or "umount"
COMMANDS = {
    "status": ("status",),
    "status --json": ("status", "--json"),
    "report": ("report", "-o", "page.html"),
    "report --json": ("report", "--json"),
    "plan": ("plan",),
    "acknowledge": ("acknowledge", "--all"),
}


def run(command: str, ledger: Path, capsys) -> tuple[int, str]:
    capsys.readouterr()
    code = _run([*COMMANDS[command], "--ledger", str(ledger)])
    return code, capsys.readouterr().err


@pytest.mark.parametrize("kind", UNREADABLE)
def test_every_command_says_in_one_line_what_is_wrong(kind, sound, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, command in enumerate(COMMANDS):
        if kind in NEVER_READ_BY.get(command, ()):
            continue
        directory = tmp_path / str(number)
        UNREADABLE[kind](copy_of(sound, directory))
        code, err = run(command, directory, capsys)
        assert code == 2, (command, err)
        assert err.count("\n") == 1, (command, err)
        assert str(directory) in err
        assert "internal error" not in err
        assert not list(tmp_path.glob("**/*.damaged-*")), "a command sets nothing aside"


@pytest.mark.parametrize("kind", HARMLESS)
def test_files_that_sqlite_knows_are_not_its_own_change_nothing(kind, sound, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number, command in enumerate(COMMANDS):
        directory = tmp_path / str(number)
        HARMLESS[kind](copy_of(sound, directory))
        assert (
            run(command, directory, capsys)[0] == run(command, sound_copy(sound, tmp_path, number), capsys)[0]
        )


def sound_copy(sound, tmp_path, number):
    directory = tmp_path / f"sound-{number}"
    copy_of(sound, directory)
    return directory


@pytest.mark.slow
def test_any_page_overwritten_is_told_or_not_needed(sound, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pages = (sound / FILE).stat().st_size // PAGE
    expected = {
        command: run(command, sound_copy(sound, tmp_path, command), capsys)[0]
        for command in COMMANDS
        if command != "acknowledge"
    }
    told = 0
    for page in range(1, pages + 1):
        directory = tmp_path / str(page)
        _overwritten(copy_of(sound, directory), page)
        for command in ("status --json", "report --json", "plan"):
            code, err = run(command, directory, capsys)
            assert code in {2, expected[command]}, (page, command, err)
            assert err.count("\n") == (code == 2), (page, command, err)
            assert "internal error" not in err, (page, command, err)
            told += code == 2
        shutil.rmtree(directory)
    assert told > 3


@pytest.mark.parametrize("command", COMMANDS)
def test_a_ledger_that_may_not_be_read_is_told(command, sound, open_place, capsys, monkeypatch):
    monkeypatch.chdir(open_place)
    for number, lock in enumerate((lambda d: (d / FILE).chmod(0), lambda d: d.chmod(0))):
        directory = open_place / str(number)
        copy_of(sound, directory)
        directory.chmod(0o755)
        lock(directory)
        with as_nobody():
            code, err = run(command, directory, capsys)
        directory.chmod(0o700)
        assert (code, err.count("\n")) == (2, 1), err
        assert "denied" in err
        assert str(directory) in err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_ledger_that_is_held_exclusively_is_told(command, sound, tmp_path, capsys, monkeypatch):
    from promptguard.ledger import reading

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "BUSY_SECONDS", 0.2)
    path = copy_of(sound, tmp_path / "l")
    with locked(path):
        code, err = run(command, path.parent, capsys)
    assert (code, err.count("\n")) == (2, 1)
    assert "locked" in err


# A running application


def warnings_of(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def wrapped(provider, ledger):
    return promptguard.wrap(
        OpenAI(base_url=provider.url, api_key="k", max_retries=0),
        ledger=ledger,
        cache="disk",
        shadow=promptguard.Shadow(model="other", sample=1.0, repeat=0.0),
        replay=promptguard.Replay(after="1h"),
    )


_numbers = iter(range(10**9))


def ask(client, times=1):
    for _ in range(times):
        messages = [{"role": "user", "content": f"question {next(_numbers)}"}]
        assert (
            client.chat.completions.create(model="gpt-4", messages=messages).choices[0].message.content
            == "fine"
        )


def pairs_in(ledger: Path) -> int:
    try:
        with contextlib.closing(sqlite3.connect(f"file:{ledger / FILE}?mode=ro", uri=True)) as connection:
            query = "SELECT count(*) FROM pair WHERE outcome = 'compared' AND at > 1000"
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.Error:
        return 0


def pairs_again(client, ledger: Path, seconds=60.0) -> bool:
    """Ask until a pair of a call that is made now has been committed and judged."""
    before, until = pairs_in(ledger), time.monotonic() + seconds
    while time.monotonic() < until:
        ask(client)
        if promptguard.flush(5.0) and pairs_in(ledger) > before:
            return True
        time.sleep(0.05)
    return False


def kinds_told(caplog, ledger) -> list[str]:
    """Return the kind of each warning about the ledger's file, or one beside it."""
    found = (
        re.match(rf"{re.escape(str(ledger / FILE))}(?:-\w+)?: ([\w-]+)", told) for told in warnings_of(caplog)
    )
    return [each[1] for each in found if each is not None]


@pytest.mark.sdk
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "kind", [kind for kind in (*UNREADABLE, *HARMLESS) if not kind.startswith("document")]
)
def test_an_application_starts_and_runs_and_the_watch_resumes(kind, sound, guarded, provider, caplog):
    path = copy_of(sound, guarded)
    {**UNREADABLE, **HARMLESS}[kind](path)
    kept = path.read_bytes() if path.is_file() else b""
    client = wrapped(provider, guarded)
    ask(client, 3)
    if kind in WAITED_FOR:
        promptguard.flush(0.3)
        assert kinds_told(caplog, guarded) == ["newer" if kind == "newer" else "foreign"]
        # The database first: a link beside it that went first would leave a sound ledger to open, and to lose.
        for part in sorted(guarded.glob(f"{FILE}*")):
            # What lies beside it SQLite removes itself, with the last connection.
            with contextlib.suppress(FileNotFoundError):
                part.rename(guarded / f"moved-away-{part.name}")
    assert pairs_again(client, guarded)
    assert len(warnings_of(caplog)) <= 1, "told once"
    aside = [
        found for found in guarded.glob(f"{FILE}.damaged-*") if not found.name.endswith(("-wal", "-shm"))
    ]
    if aside:
        assert len(aside) == 1
        # What SQLite could open at first may have been written to until the damage was met.
        assert aside[0].stat().st_size if kept.startswith(HEADER) else aside[0].read_bytes() == kept
        assert kinds_told(caplog, guarded) == ["damaged"]
    client.close()


@pytest.mark.sdk
@pytest.mark.usefixtures("impatient")
def test_a_ledger_that_is_locked_is_waited_for(sound, guarded, provider, caplog):
    path = copy_of(sound, guarded)
    with locked(path):
        began = time.monotonic()
        client = wrapped(provider, guarded)
        assert time.monotonic() - began < 3.0
        ask(client, 3)
        until = time.monotonic() + 10
        while not kinds_told(caplog, guarded) and time.monotonic() < until:
            time.sleep(0.05)
        ask(client, 3)
    assert pairs_again(client, guarded)
    assert kinds_told(caplog, guarded) == ["locked"]
    assert len([told for told in warnings_of(caplog) if "ledger" in told.split(":")[0]]) == 1
    client.close()


@pytest.mark.sdk
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("what", ["file", "directory", "damaged", "emptied", "replaced", "table"])
def test_a_ledger_that_goes_while_it_is_used_comes_back(what, sound, guarded, provider, caplog):
    client = wrapped(provider, guarded)
    assert pairs_again(client, guarded)
    path = guarded / FILE
    if what == "file":
        path.unlink()
    elif what == "directory":
        shutil.rmtree(guarded)
    elif what == "damaged":
        for page in range(1, path.stat().st_size // PAGE + 1):
            _overwritten(path, page)
    elif what == "emptied":
        path.write_bytes(b"")
    elif what == "replaced":
        shutil.copyfile(sound / FILE, guarded / "other")
        (guarded / "other").replace(path)
    else:
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as connection, connection:
            connection.execute("DROP TABLE pair")
    ask(client, 3)
    assert pairs_again(client, guarded)
    # What was known went with the file, and somebody has to hear of it.
    assert kinds_told(caplog, guarded) == [
        "missing" if what in {"file", "directory", "emptied", "replaced"} else "damaged"
    ]
    client.close()


@pytest.fixture
def open_place(tmp_path_factory):
    """A directory that every user may enter: pytest's own are for its user alone."""
    import tempfile

    place = Path(tempfile.mkdtemp())
    place.chmod(0o777)
    yield place
    close_backgrounds()
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def small_disk(tmp_path_factory):
    """A disk of two megabytes, nearly half of it taken by a file that can be removed."""
    place = tmp_path_factory.mktemp("disk")
    made = subprocess.run(
        [MOUNT, "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    close_backgrounds()
    subprocess.run([UMOUNT, "--lazy", place], check=True)


@pytest.mark.sdk
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_full_disk_is_waited_for(from_the_start, small_disk, provider, caplog, capsys):
    ledger, ballast = small_disk / "ledger", small_disk / "ballast"

    def fill():
        with contextlib.suppress(OSError), ballast.open("ab") as file:
            while True:
                file.write(bytes(512))
                file.flush()

    if from_the_start:
        fill()
    client = wrapped(provider, ledger)
    if not from_the_start:
        assert pairs_again(client, ledger)
        fill()
    ask(client, 40)
    until = time.monotonic() + 10
    while not any("full" in told for told in warnings_of(caplog)) and time.monotonic() < until:
        ask(client)
        time.sleep(0.02)
    assert any("full" in told for told in warnings_of(caplog)), warnings_of(caplog)
    if not from_the_start:
        assert _run(["status", "--ledger", str(ledger)]) in {0, 3}, "reading needs no room"
    ballast.unlink()
    assert pairs_again(client, ledger)
    client.close()


@pytest.mark.sdk
def test_flush_is_not_true_where_the_database_refused_a_pair(sound, guarded, provider):
    path = copy_of(sound, guarded)
    refuse = "CREATE TRIGGER refuse BEFORE INSERT ON pair BEGIN SELECT RAISE(ABORT, 'no'); END"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(refuse)
    client = wrapped(provider, guarded)
    ask(client, 2)
    assert promptguard.flush(60.0) is False
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER refuse")
    ask(client, 2)
    assert promptguard.flush(60.0) is True
    client.close()
