"""Prompts that a package carries, unpacked or in a zip file; and copies that several processes share."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import promptguard
from promptguard.errors import ConfigurationError, PromptChanged, PromptError
from promptguard.sources.mirror import Mirror, Snapshot, belongs
from promptguard.templates.library import PromptLibrary
from tests.sources.conftest import git, write


def test_a_package_that_is_unpacked_is_read_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "shop_a" / "prompts", "triage", "1")
    (tmp_path / "shop_a" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    library = promptguard.prompts("package:shop_a/prompts")
    assert library.get("triage").version == "1"
    assert library.directory == tmp_path / "shop_a" / "prompts"


def test_a_package_in_a_zip_file_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        archive.writestr("shop_b/__init__.py", "")
        archive.writestr(
            "shop_b/prompts/mail/reply/1.prompty", "---\nname: mail/reply\n---\nsystem:\nAnswer.\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path / "shop.zip"))
    library = promptguard.prompts("package:shop_b/prompts")
    assert library.names() == ["mail/reply"]
    assert library.get("mail/reply").render().messages[0]["content"] == "Answer."


def test_a_package_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no package 'nobody_has_this' is installed"):
        promptguard.prompts("package:nobody_has_this/prompts")
    with pytest.raises(ConfigurationError, match="has no folder 'none'"):
        promptguard.prompts("package:promptguard/none")


@pytest.mark.parametrize(
    "path", ["a/1.prompty", "a/b/1.2.prompty", "labels.jsonl", "lock.json", ".locked/sha256-ab12"]
)
def test_what_belongs_to_a_folder_is_copied(path: str) -> None:
    assert belongs(path)


@pytest.mark.parametrize(
    "path",
    [
        "1.prompty",
        "../a/1.prompty",
        "a/../1.prompty",
        "/a/1.prompty",
        "a/x.prompty",
        "A/1.prompty",
        ".locked/../x",
        "a/1.prompty.exe",
    ],
)
def test_nothing_else_is(path: str) -> None:
    assert not belongs(path)


def file(text: str) -> bytes:
    return f"---\nname: a\n---\nsystem:\n{text}\n".encode()


def test_a_version_that_a_source_edits_is_an_error_once_it_was_used(tmp_path: Path) -> None:
    states = [Snapshot("1", {"a/1.prompty": file("One.")}), Snapshot("2", {"a/1.prompty": file("Another.")})]
    mirror = Mirror("test", lambda _: states[0], None, tmp_path / "m")
    mirror.bring()
    PromptLibrary(mirror.directory).get("a@1").render()
    states.pop(0)
    mirror.bring()
    with pytest.raises(PromptChanged, match="a@1"):
        PromptLibrary(mirror.directory).get("a@1")


def test_what_a_source_has_no_more_goes(tmp_path: Path) -> None:
    states = [
        Snapshot("1", {"a/1.prompty": file("x"), "a/2.prompty": file("y")}),
        Snapshot("2", {"a/1.prompty": file("x")}),
    ]
    mirror = Mirror("test", lambda _: states[0], None, tmp_path / "m")
    mirror.bring()
    states.pop(0)
    mirror.bring()
    assert PromptLibrary(mirror.directory).versions("a") == ["1"]


def test_a_source_that_raises_anything_leaves_the_copy_good(tmp_path: Path) -> None:
    def away(_known: str | None) -> Snapshot | None:
        raise PromptError("away")

    first = Mirror("test", lambda _: Snapshot("1", {"a/1.prompty": file("x")}), 0.0, tmp_path / "m")
    first.bring()
    later = Mirror("test", away, 0.0, tmp_path / "m")
    later.open()
    later.look()
    assert later.trouble == "away"
    assert PromptLibrary(later.directory).versions("a") == ["1"]
    with pytest.raises(PromptError, match="away"):
        Mirror("test", away, 0.0, tmp_path / "other").open()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="needs modes of files")
def test_a_cache_directory_that_others_may_write_to_is_not_used(tmp_path: Path, cache_home: Path) -> None:
    write(tmp_path / "p", "a", "1")
    code = "import promptguard, sys; print(promptguard.prompts(sys.argv[1]).directory)"
    repository = tmp_path / "p"
    git(repository, "init", "-q")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "x")
    asked = [sys.executable, "-c", code, f"git:{repository}"]
    place = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    assert place.is_relative_to(cache_home)
    place.parent.chmod(0o777)
    other = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    assert not other.is_relative_to(cache_home)
