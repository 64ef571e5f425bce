"""Prompts at a git reference: read without a checkout, followed as it moves, kept while the repository is away."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

import promptguard
from promptguard.errors import ConfigurationError, PromptError
from promptguard.sources.address import InGit, address_of, without_password
from promptguard.sources.git import GitSource
from tests.sources.conftest import git, write

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="the command git is not installed")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    place = tmp_path / "repo@home"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    write(place / "app" / "prompts", "triage", "1", "One.")
    (place / "app" / "secret.txt").write_text("not a prompt")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "one")
    git(place, "tag", "-a", "v1", "-m", "v1")
    write(place / "app" / "prompts", "triage", "2", "Two.")
    git(place, "add", "-A")
    git(place, "commit", "-qm", "two")
    return place


def text(library: object, reference: str) -> object:
    return library.get(reference).render().messages[0]["content"]  # type: ignore[attr-defined]


def test_a_tag_stays_and_a_branch_is_followed(repository: Path) -> None:
    tagged = promptguard.prompts(f"git:{repository}@v1#app/prompts")
    branch = promptguard.prompts(f"git:{repository}@main#app/prompts", refresh=0.05)
    assert tagged.versions("triage") == ["1"]
    assert text(branch, "triage") == "Two."
    write(repository / "app" / "prompts", "triage", "3", "Three.")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "three")
    patience = time.monotonic() + 60
    while text(branch, "triage") != "Three.":
        assert time.monotonic() < patience
        time.sleep(0.02)
    assert tagged.versions("triage") == ["1"]
    with pytest.raises(PromptError, match="is read, not written"):
        branch.label("triage@3", "production")


def test_only_prompts_are_copied(repository: Path, cache_home: Path) -> None:
    promptguard.prompts(f"git:{repository}@main#app")
    assert not list(cache_home.rglob("secret.txt"))


def test_a_repository_elsewhere_is_fetched_by_its_commit(repository: Path, tmp_path: Path) -> None:
    url = f"file://{repository}"
    source = GitSource(InGit(url, "v1", "app/prompts"), tmp_path / "bare")
    found = source(None)
    assert found is not None
    assert set(found.files) == {"triage/1.prompty"}
    assert source(found.state) is None
    library = promptguard.prompts(f"git:{url}@main#app/prompts")
    assert library.versions("triage") == ["1", "2"]


def test_the_last_good_copy_is_used_while_the_repository_is_away(repository: Path) -> None:
    source = f"git:{repository}@main#app/prompts"
    promptguard.prompts(source)
    shutil.rmtree(repository / ".git")
    assert text(promptguard.prompts(source), "triage") == "Two."


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("git:{repo}@nowhere#app/prompts", "git:.*@nowhere: "),
        ("git:{repo}@main#none", "git:.*@main: "),
        ("git:ext::sh -c whoami@main", "git:ext::sh.*@main: "),
    ],
)
def test_what_cannot_be_read_is_told_in_a_line(repository: Path, source: str, said: str) -> None:
    with pytest.raises(PromptError, match=said) as told:
        promptguard.prompts(source.replace("{repo}", str(repository)))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "source",
    ["git:", "git:--upload-pack=x@main", "git:x@--output=y", "git:x@main#../y", "ledger:", "package:a b"],
)
def test_an_address_that_cannot_be_is_refused(source: str) -> None:
    with pytest.raises(ConfigurationError):
        promptguard.prompts(source)


def test_addresses_are_read_as_people_write_them(tmp_path: Path) -> None:
    assert address_of("git:git@github.com:org/repo.git") == InGit("git@github.com:org/repo.git", "HEAD", "")
    assert address_of("git:git@github.com:org/repo.git@v1#p") == InGit(
        "git@github.com:org/repo.git", "v1", "p"
    )
    assert address_of("git:https://host/r.git@feature/x#a/b/") == InGit(
        "https://host/r.git", "feature/x", "a/b"
    )
    assert address_of("prompts/triage") is None
    assert address_of("C:\\prompts") is None
    with pytest.raises(ConfigurationError, match="did you mean 'git:'"):
        address_of("gti:repo@main")


def test_passwords_are_not_told() -> None:
    assert without_password("git:https://me:secret@host/r.git@main") == "git:https://host/r.git@main"
    with pytest.raises(PromptError) as told:
        promptguard.prompts("git:http://me:hunter2@127.0.0.1:9/r.git@main")
    assert "hunter2" not in str(told.value)
