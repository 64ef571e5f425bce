from __future__ import annotations

import os
import stat
import threading

import pytest

from promptguard.cache.mackey import load_mac_key
from promptguard.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch):
    monkeypatch.delenv("PROMPTGUARD_CACHE_KEY", raising=False)


def test_a_file_is_made_once_with_mode_0600_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        key = load_mac_key(tmp_path / "new" / "state")
    finally:
        os.umask(before)
    path = tmp_path / "new" / "state" / "cache.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(key) == 32
    assert load_mac_key(path.parent) == key
    assert [each.name for each in path.parent.iterdir()] == ["cache.key"]
    assert load_mac_key(tmp_path / "other") != key


def test_a_race_has_one_winner(tmp_path):
    keys = set()
    threads = [threading.Thread(target=lambda: keys.add(load_mac_key(tmp_path))) for _ in range(16)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    assert len(keys) == 1


def test_the_environment_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("PROMPTGUARD_CACHE_KEY", "sixteen bytes ok")
    assert load_mac_key(tmp_path) == b"sixteen bytes ok"
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("PROMPTGUARD_CACHE_KEY", "too short")
    with pytest.raises(ConfigurationError, match=r"at least 16 bytes; make one with: python -c"):
        load_mac_key(tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o660, 0o604, 0o777])
def test_a_file_that_others_can_read_is_taken_from_them(tmp_path, mode):
    made = load_mac_key(tmp_path)
    (tmp_path / "cache.key").chmod(mode)  # as a volume with a group of its own does when it is mounted
    assert load_mac_key(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "cache.key").stat().st_mode) == 0o600


def test_an_empty_file_a_symlink_and_an_impossible_place_are_refused(tmp_path):
    path = tmp_path / "cache.key"
    path.touch(0o600)
    with pytest.raises(ConfigurationError, match="holds no secret"):
        load_mac_key(tmp_path)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ConfigurationError, match="cannot be kept here"):
        load_mac_key(tmp_path)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigurationError, match="not a regular file"):
        load_mac_key(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(
        ConfigurationError, match="choose a directory this user can write to, or set PROMPTGUARD_CACHE_KEY"
    ):
        load_mac_key(tmp_path / "file")
