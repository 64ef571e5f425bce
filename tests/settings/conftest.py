"""A working directory of its own with the pyproject.toml that a test writes, and no variable of the machine's."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("PROMPTGUARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def project(place):
    def write(text):
        (place / "pyproject.toml").write_text(text, "utf-8")
        return place

    return write
