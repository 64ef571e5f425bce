"""Prompts in a ledger: pushed, read by other processes, labelled there, pulled; nothing is lost and nothing changes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import promptguard
from promptguard.errors import PromptChanged, PromptError, UnknownPrompt
from promptguard.sources.in_ledger import pull, push
from promptguard.templates.library import PromptLibrary
from tests.sources.conftest import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "prompts"
    write(place, "triage", "1", "Sort the ticket.")
    write(place, "triage", "2", "Sort the ticket well.")
    write(place, "mail/reply", "1", "Answer the mail.")
    PromptLibrary(place).label("triage@1", "production", why="first", by="ana")
    return place


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger")


def pushed(folder: Path, ledger: str) -> list[tuple[str, str, str]]:
    return [(each.name, each.what, each.done) for each in push(PromptLibrary(folder), ledger, [], by="ana")]


def system_of(library: PromptLibrary, reference: str) -> str:
    text = library.get(reference).render().messages[0]["content"]
    assert isinstance(text, str)
    return text


def test_what_was_pushed_is_read_as_a_folder_is(folder: Path, ledger: str) -> None:
    assert pushed(folder, ledger) == [
        ("mail/reply", "1", "new"), ("triage", "1", "new"), ("triage", "2", "new"), ("triage", "label production", "new"),
    ]  # fmt: skip
    assert {done for *_, done in pushed(folder, ledger)} == {"there"}
    library = promptguard.prompts(f"ledger:{ledger}")
    assert library.names() == ["mail/reply", "triage"]
    assert system_of(library, "triage") == "Sort the ticket well."
    assert system_of(library, "triage@production") == "Sort the ticket."
    assert [(move.by, move.why) for move in library.history("triage")] == [("ana", "first")]
    with pytest.raises(UnknownPrompt, match="triage"):
        library.get("triag")


def test_a_label_moved_by_another_process_is_there_within_two_seconds(folder: Path, ledger: str) -> None:
    pushed(folder, ledger)
    library = promptguard.prompts(f"ledger:{ledger}")
    assert library.get("triage@production").version == "1"
    command = [sys.executable, "-m", "promptguard", "prompts", "label", "triage@2", "production", "--why", "better",
               "--prompts", f"ledger:{ledger}", "--json"]  # fmt: skip
    told = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert (told["from"], told["to"], told["why"]) == ("1", "2", "better")
    patience = time.monotonic() + 60
    while library.get("triage@production").version == "1":
        assert time.monotonic() < patience
        time.sleep(0.05)
    assert library.rollback("triage", why="worse", by="ben").version == "1"
    assert library.get("triage@production").version == "1"
    with pytest.raises(UnknownPrompt, match="stood on no version '2'"):
        library.rollback("triage", to="2")


def test_a_version_that_was_pushed_never_changes(folder: Path, ledger: str, tmp_path: Path) -> None:
    pushed(folder, ledger)
    other = tmp_path / "other"
    write(other, "triage", "2", "Sort the ticket badly.")
    with pytest.raises(PromptChanged, match=r"triage@2 has another text .*\{\+badly\+\}"):
        push(PromptLibrary(other), ledger, [], by="ben")
    assert system_of(promptguard.prompts(f"ledger:{ledger}"), "triage@2") == "Sort the ticket well."
    with pytest.raises(PromptChanged, match="triage@2 has another text"):
        pull(ledger, other, ["triage"])


def test_a_label_in_a_ledger_moves_only_from_where_it_is_said_to_stand(folder: Path, ledger: str) -> None:
    pushed(folder, ledger)
    with pytest.raises(PromptError, match="stands on version 1, not on 3"):
        promptguard.prompts(f"ledger:{ledger}").label("triage@2", "production", only_from="3")
    assert promptguard.prompts(f"ledger:{ledger}").labels("triage")["production"] == "1"
    promptguard.prompts(f"ledger:{ledger}").label("triage@2", "production", only_from="1")
    assert promptguard.prompts(f"ledger:{ledger}").labels("triage")["production"] == "2"


def test_moves_made_in_both_places_are_told_and_none_is_lost(folder: Path, ledger: str) -> None:
    pushed(folder, ledger)
    promptguard.prompts(f"ledger:{ledger}").label("triage@2", "production", why="in the ledger", by="ben")
    PromptLibrary(folder).label("triage@2", "production", why="in the folder", by="ana")
    with pytest.raises(PromptError, match=r"moved in the ledger as well .*by ben"):
        pushed(folder, ledger)
    pull(ledger, folder, [])
    whys = [move.why for move in PromptLibrary(folder).history("triage")]
    assert whys == ["first", "in the folder", "in the ledger"]
    PromptLibrary(folder).label("triage@1", "production", why="again", by="ana")
    pushed(folder, ledger)
    assert [move.why for move in promptguard.prompts(f"ledger:{ledger}").history("triage")] == [
        "first", "in the ledger", "again",
    ]  # fmt: skip


def test_pull_makes_a_folder_and_keeps_what_only_it_has(folder: Path, ledger: str, tmp_path: Path) -> None:
    pushed(folder, ledger)
    there = tmp_path / "new" / "prompts"
    assert {each.done for each in pull(ledger, there, ["triage"])} == {"new"}
    library = PromptLibrary(there)
    assert library.names() == ["triage"]
    assert library.get("triage@production").version == "1"
    write(there, "own", "1")
    assert {each.done for each in pull(ledger, there, ["triage"])} == {"there"}
    assert PromptLibrary(there).names() == ["own", "triage"]
    with pytest.raises(PromptError, match="has no prompt 'nobody'; it has: mail/reply, triage"):
        pull(ledger, there, ["nobody"])


def test_the_last_good_copy_is_used_while_the_ledger_is_away(
    folder: Path, ledger: str, caplog: pytest.LogCaptureFixture
) -> None:
    pushed(folder, ledger)
    assert system_of(promptguard.prompts(f"ledger:{ledger}"), "triage@production") == "Sort the ticket."
    Path(ledger).rename(f"{ledger}-away")
    library = promptguard.prompts(f"ledger:{ledger}")
    assert system_of(library, "triage@production") == "Sort the ticket."
    assert "no ledger here" in (getattr(library, "trouble", "") or "")
    assert [record for record in caplog.records if "as they were last read" in record.getMessage()]
    with pytest.raises(PromptError):
        library.label("triage@2", "production")


def test_without_a_ledger_and_without_a_copy_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="no ledger here"):
        promptguard.prompts(f"ledger:{tmp_path / 'none'}")
