"""Where a ledger may lie: volumes of another user or group, any umask, read-only, linked, oddly named; and where not."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from openai import OpenAI

import promptguard
from promptguard.cache.outside import outside
from promptguard.cli import _run
from promptguard.ledger import door
from promptguard.testing import FakeProvider
from tests.conftest import close_backgrounds
from tests.faults.ledgers import FILE, NOBODY, as_nobody, copy_of, sound_ledger
from tests.files import asked_of

OTHER = 1000
"""a user who is neither root nor the one the tests run as"""
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away"
)
MOUNT, UMOUNT = shutil.which("mount") or "mount", shutil.which("umount") or "umount"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sound") / "ledger"
    sound_ledger(directory)
    return directory


@pytest.fixture
def place():
    """A directory that every user may enter: pytest's own are for its user alone."""
    made = Path(tempfile.mkdtemp())
    made.chmod(0o777)
    yield made
    close_backgrounds()
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def provider(monkeypatch):
    monkeypatch.setattr(door, "FIRST_REST", 0.1)
    with FakeProvider({"gpt-4": lambda _: "fine", "other": lambda _: "fine"}) as running:
        yield running


_numbers = iter(range(10**9))


def start(provider, ledger, cache="disk", counts=True, seconds=10.0) -> tuple[bool, int]:
    """Run an application for a moment: returns whether everything was judged, and the pairs in the ledger."""
    shadow = promptguard.Shadow(model="other", sample=1.0, repeat=0.0)
    bare = OpenAI(base_url=provider.url, api_key="k", max_retries=0)
    client = promptguard.wrap(bare, ledger=ledger, cache=cache, shadow=shadow)
    for _ in range(3):
        messages = [{"role": "user", "content": f"question {next(_numbers)}"}]
        assert (
            client.chat.completions.create(model="gpt-4", messages=messages).choices[0].message.content
            == "fine"
        )
    done = promptguard.flush(seconds)
    client.close()
    close_backgrounds()
    outside.close_all(time.monotonic() + 5.0)
    return done, pairs_in(Path(ledger).expanduser()) if counts else 0


def pairs_in(ledger: Path) -> int:
    if not (ledger / FILE).exists():
        return 0
    with contextlib.closing(sqlite3.connect(ledger / FILE)) as connection:
        return int(connection.execute("SELECT count(*) FROM pair WHERE outcome = 'compared'").fetchone()[0])


def everything(ledger: Path) -> list[Path]:
    return [ledger, *ledger.rglob("*")]


@pytest.mark.sdk
@pytest.mark.parametrize("modes", [(0o2770, 0o660), (0o2775, 0o664), (0o777, 0o666), (0o750, 0o640)])
def test_modes_that_a_volume_gives_its_files_are_tightened(modes, provider, place):
    ledger = place / "ledger"
    assert start(provider, ledger) == (True, 3)
    for path in everything(ledger):
        path.chmod(modes[0] if path.is_dir() else modes[1])
    assert start(provider, ledger) == (True, 6)
    for path in (ledger / FILE, ledger / "keys" / "cache.key", ledger / "cache" / "cache.db"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@as_root
@pytest.mark.sdk
@pytest.mark.parametrize("what", ["all", "directory", "file"])
def test_a_volume_of_another_user_is_used_and_told(what, provider, place, caplog):
    ledger = place / "ledger"
    assert start(provider, ledger) == (True, 3)
    chosen = {"all": everything(ledger), "directory": [ledger], "file": [ledger / FILE]}[what]
    for path in chosen:
        os.chown(path, OTHER, OTHER)
    assert start(provider, ledger) == (True, 6)


@as_root
@pytest.mark.sdk
def test_a_user_without_rights_works_in_a_group_s_volume(provider, place):
    """Kubernetes: the volume is root's, its group is ours (fsGroup), directories have the group's bit."""
    ledger = place / "ledger"
    assert start(provider, ledger) == (True, 3)
    for path in everything(ledger):
        os.chown(path, 0, NOBODY)
        path.chmod(0o2770 if path.is_dir() else 0o660)
    with as_nobody():
        done, pairs = start(provider, ledger)
    assert (done, pairs) == (True, 6), asked_of(ledger / FILE, "SELECT outcome, reason FROM pair")


@pytest.mark.sdk
@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_files_are_private_whatever_the_umask(umask, provider, place):
    ledger = place / "new" / "ledger"
    before = os.umask(umask)
    try:
        done, pairs = start(provider, ledger)
    finally:
        os.umask(before)
    assert (done, pairs) == (True, 3)
    open_to_others = [path for path in everything(ledger) if path.lstat().st_mode & 0o077]
    assert open_to_others == []


@pytest.mark.sdk
@pytest.mark.parametrize(
    "name", ["with space", "ü", "a b ü", "it's?", "50%", "#1", "new\nline", "~x", "$HOME"]
)
def test_a_directory_may_have_any_name(name, provider, place):
    assert start(provider, place / name) == (True, 3)
    assert _run(["status", "--ledger", str(place / name)]) in {0, 3}


@pytest.mark.sdk
def test_the_home_directory_is_written_as_a_tilde(provider, place, monkeypatch):
    monkeypatch.setenv("HOME", str(place))
    assert start(provider, "~/ledger") == (True, 3)
    assert (place / "ledger" / FILE).is_file()
    for command in ("status", "plan"):
        assert _run([command, "--ledger", "~/ledger"]) in {0, 3}


@pytest.mark.sdk
def test_a_ledger_may_lie_below_a_link(provider, place):
    (place / "real").mkdir()
    (place / "link").symlink_to(place / "real", target_is_directory=True)
    assert start(provider, place / "link" / "ledger") == (True, 3)
    assert pairs_in(place / "real" / "ledger") == 3
    assert _run(["status", "--ledger", str(place / "link" / "ledger")]) in {0, 3}


@pytest.mark.sdk
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_nothing_is_written_through_a_link_in_a_files_place(suffix, provider, place, caplog):
    ledger, aim = place / "ledger", place / "precious"
    ledger.mkdir()
    aim.write_bytes(b"mine")
    (ledger / f"{FILE}{suffix}").symlink_to(aim)
    assert not start(provider, ledger, cache="memory", counts=False, seconds=0.7)[0]
    assert aim.read_bytes() == b"mine"
    assert "foreign" in caplog.text


@as_root
@pytest.mark.sdk
def test_a_directory_of_another_user_that_anybody_may_write_to_is_refused(provider, place, caplog):
    ledger = place / "ledger"
    ledger.mkdir()
    os.chown(ledger, OTHER, OTHER)
    ledger.chmod(0o777)
    done, pairs = start(provider, ledger, seconds=0.7)
    assert (done, pairs) == (False, 0)
    assert "anybody may write to it" in caplog.text
    assert not (ledger / FILE).exists()


@as_root
@pytest.mark.sdk
def test_a_directory_that_may_not_be_written_is_told_and_calls_go_on(provider, place, caplog):
    ledger = place / "ledger"
    ledger.mkdir(mode=0o755)
    with as_nobody():
        done, pairs = start(provider, ledger, seconds=0.7)
    assert (done, pairs) == (False, 0)
    assert "denied" in caplog.text


READING = (("status", "--json"), ("report", "--json"), ("plan", "--json"))


def timeless(told):
    """Return what a command told without the moment at which it did."""
    return re.sub(r'"(at|last_pair_age_seconds)": [^,]+,', "", told)


@pytest.mark.parametrize("command", READING)
def test_a_ledger_that_was_closed_cleanly_is_read_where_nothing_may_be_written(command, sound, place, capsys):
    copy_of(sound, place / "ledger")
    arguments = [*command, "--ledger", str(place / "ledger")]
    expected = _run(arguments), timeless(capsys.readouterr().out)
    for path in everything(place / "ledger"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    with as_nobody():
        assert (_run(arguments), timeless(capsys.readouterr().out)) == expected
    assert expected[0] in {0, 1}


@as_root
def test_a_read_only_volume_is_read_and_acknowledging_there_is_told(sound, place, capsys):
    volume = place / "volume"
    copy_of(sound, volume)
    bound = subprocess.run([MOUNT, "--bind", volume, volume], capture_output=True, check=False)
    if bound.returncode:
        pytest.skip("no file system may be mounted here")
    try:
        subprocess.run([MOUNT, "-o", "remount,ro,bind", volume], check=True)
        for command in READING:
            assert _run([*command, "--ledger", str(volume)]) in {0, 1}, capsys.readouterr().err
        capsys.readouterr()
        assert _run(["acknowledge", "--all", "--ledger", str(volume)]) == 2
        err = capsys.readouterr().err
        assert "read-only" in err
        assert err.count("\n") == 1
    finally:
        subprocess.run([UMOUNT, volume], check=True)


@pytest.mark.sdk
@pytest.mark.parametrize("what", ["deleted", "emptied", "short"])
def test_a_secret_that_is_gone_costs_the_cache_and_nothing_else(what, provider, place):
    ledger = place / "ledger"
    assert start(provider, ledger) == (True, 3)
    key = ledger / "keys" / "cache.key"
    if what == "deleted":
        key.unlink()
    else:
        key.write_bytes(b"" if what == "emptied" else b"short")
    assert start(provider, ledger) == (True, 6)
