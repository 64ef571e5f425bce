"""The guide to certificates, run as it stands on the recorded answers that are shipped."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import pytest

from tests.guides.pages import blocks, check


def test_the_guide_to_certificates_prints_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("data", "prompts"):
        shutil.copytree(str(resources.files("promptguard.demo").joinpath(folder)), folder)
    commands = [
        each for block in blocks("certify.md") if block.language == "console" for each in block.commands
    ]
    assert len(commands) == 4
    for command, shown in commands:
        assert shown
        check(command, shown)
