"""Labels of deployment: moves, their history, going back, several writers at once, crashes amid a write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from promptguard.errors import (
    ConfigurationError,
    PromptChanged,
    PromptError,
    PromptSyntaxError,
    UnknownPrompt,
)
from promptguard.templates.library import PromptLibrary, open_library

TEXT = "---\nname: triage\n---\nuser:\nSort {{ ticket }}, version %d of this text.\n"


@pytest.fixture
def library(tmp_path: Path) -> PromptLibrary:
    for version in (1, 2, 3):
        path = tmp_path / "triage" / f"{version}.prompty"
        path.parent.mkdir(exist_ok=True)
        path.write_text(TEXT % version, "utf-8")
    return open_library(tmp_path)


def stands(library: PromptLibrary, label: str = "production") -> str:
    return open_library(library.directory).get(f"triage@{label}").version


def test_a_label_moves_and_every_move_is_kept(library: PromptLibrary) -> None:
    first = library.label("triage@1", "production", why="the first one", by="ann")
    second = library.label("triage@2", "production", why="shorter", by="bob")
    assert stands(library) == "2"
    assert (first.version, first.before, second.version, second.before) == ("1", None, "2", "1")
    assert [(move.by, move.why) for move in library.history("triage")] == [
        ("ann", "the first one"), ("bob", "shorter"),
    ]  # fmt: skip
    assert all(move.at.endswith("Z") for move in library.history())


def test_a_label_that_stands_there_already_is_not_moved(library: PromptLibrary) -> None:
    library.label("triage@1", "production", by="ann")
    assert library.label("triage@1", "production", by="bob").by == "ann"
    assert len(library.history()) == 1


def test_a_label_moves_only_from_where_it_is_said_to_stand(library: PromptLibrary) -> None:
    library.label("triage@1", "production", only_from="3")  # it stood nowhere
    library.label("triage@2", "production", only_from="1")
    with pytest.raises(PromptError, match="triage@production stands on version 2, not on 1: it stays there"):
        library.label("triage@3", "production", only_from="1")
    assert library.label("triage@2", "production", only_from="1").before == "1"  # it stands there already
    assert (stands(library), len(library.history())) == ("2", 2)


def test_a_label_can_follow_another_one(library: PromptLibrary) -> None:
    library.label("triage@2", "staging")
    library.label("triage@staging", "production")
    library.label("triage@3", "staging")
    assert (stands(library), stands(library, "staging")) == ("2", "3")


def test_each_rollback_goes_one_move_further_back(library: PromptLibrary) -> None:
    for version in (1, 2, 3):
        library.label(f"triage@{version}", "production")
    library.label("triage@1", "staging")
    assert library.rollback("triage", why="it got worse").version == "2"
    assert library.rollback("triage").version == "1"
    with pytest.raises(UnknownPrompt, match="has always stood on version 1"):
        library.rollback("triage")
    library.label("triage@3", "production")
    assert library.rollback("triage").version == "1"
    assert stands(library, "staging") == "1"
    assert [move.taken_back for move in library.history()] == [False] * 4 + [True] * 2 + [False, True]


def test_a_rollback_may_name_a_version_of_the_labels_own_history(library: PromptLibrary) -> None:
    for version in (1, 2, 3):
        library.label(f"triage@{version}", "production")
    assert library.rollback("triage", to="1").version == "1"
    with pytest.raises(UnknownPrompt, match="earlier ones, oldest first: none"):
        library.rollback("triage", to="3")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda it: it.label("triage@9", "production"), "versions: 1, 2, 3"),
        (lambda it: it.label("triag@1", "production"), "did you mean 'triage'"),
        (lambda it: it.label("triage@1", "Production"), "cannot be a label"),
        (lambda it: it.label("triage@1", "3"), "cannot be a label"),
        (lambda it: it.label("triage@1", "production", why="x" * 3000), "why= must be text"),
        (lambda it: it.rollback("triage", "producton"), "its labels: none"),
        (lambda it: it.rollback("other"), "there is no prompt 'other'"),
        (lambda it: it.history("other"), "there is no prompt 'other'"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    library: PromptLibrary, wrong, words: str
) -> None:
    with pytest.raises(PromptError, match=words):
        wrong(library)
    assert not (library.directory / "labels.jsonl").exists()


def test_a_mistyped_label_gets_the_nearest_one(library: PromptLibrary) -> None:
    library.label("triage@1", "production")
    with pytest.raises(UnknownPrompt, match="did you mean 'production'"):
        library.rollback("triage", "producton")


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_a_crash_left_half_written_never_was(library: PromptLibrary, cut: int) -> None:
    library.label("triage@1", "production")
    library.label("triage@2", "production")
    path = library.directory / "labels.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: -1 - cut])
    assert stands(library) == "1"
    open_library(library.directory).label("triage@3", "production")
    lines = path.read_text("utf-8").splitlines()
    assert [json.loads(line)["to"] for line in lines] == ["1", "3"]


def test_a_last_line_without_its_end_counts_where_it_is_whole(library: PromptLibrary) -> None:
    path = library.directory / "labels.jsonl"
    path.write_text('{"name": "triage", "label": "production", "to": 2}', "utf-8")
    assert stands(library) == "2"
    library.label("triage@3", "staging")
    assert (stands(library), stands(library, "staging")) == ("2", "3")


def test_eight_processes_at_once_lose_no_line(library: PromptLibrary) -> None:
    program = (
        "import sys\n"
        "from promptguard.templates.library import open_library\n"
        "library = open_library(sys.argv[1])\n"
        "for turn in range(25):\n"
        "    library.label(f'triage@{turn % 3 + 1}', 'l' + sys.argv[2], by=f'{sys.argv[2]} {turn}')\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(library.directory), str(number)])
        for number in range(8)
    ]
    assert [each.wait(timeout=60) for each in writers] == [0] * 8
    said = [move.by for move in open_library(library.directory).history()]
    assert sorted(said) == sorted(f"{number} {turn}" for number in range(8) for turn in range(25))


def test_another_process_sees_a_move_at_its_next_get(library: PromptLibrary) -> None:
    library.label("triage@1", "production")
    program = (
        "import sys\n"
        "from promptguard.templates.library import open_library\n"
        "library = open_library(sys.argv[1])\n"
        "for _ in sys.stdin:\n"
        "    print(library.get('triage@production').version, flush=True)\n"
    )
    asked = subprocess.Popen(
        [sys.executable, "-c", program, str(library.directory)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert asked.stdin is not None
    assert asked.stdout is not None
    for version in (1, 3, 2):
        library.label(f"triage@{version}", "production")
        asked.stdin.write("?\n")
        asked.stdin.flush()
        assert asked.stdout.readline().strip() == str(version)
    asked.communicate(timeout=60)


def test_an_edited_locked_version_is_told_with_the_words_that_changed(library: PromptLibrary) -> None:
    library.get("triage@1").render(ticket="x")
    path = library.directory / "triage" / "1.prompty"
    path.write_text(path.read_text("utf-8").replace("Sort", "Rank"), "utf-8")
    with pytest.raises(PromptChanged, match=r"What changed: .*\[-Sort-\]\{\+Rank\+\}"):
        open_library(library.directory).get("triage@1")
    with pytest.raises(PromptChanged):
        open_library(library.directory).label("triage@1", "production")


def test_eight_processes_that_use_versions_first_lock_them_all(library: PromptLibrary) -> None:
    program = (
        "import sys\n"
        "from promptguard.templates.library import open_library\n"
        "open_library(sys.argv[1]).get('triage@' + sys.argv[2]).render(ticket='x')\n"
    )
    for version in range(4, 9):
        (library.directory / "triage" / f"{version}.prompty").write_text(TEXT % version, "utf-8")
    users = [
        subprocess.Popen([sys.executable, "-c", program, str(library.directory), str(version)])
        for version in range(1, 9)
    ]
    assert [each.wait(timeout=60) for each in users] == [0] * 8
    stored = json.loads((library.directory / "lock.json").read_text("utf-8"))["prompts"]
    assert sorted(stored) == [f"triage@{version}" for version in range(1, 9)]
    assert open_library(library.directory).locked_text("triage@3") == TEXT % 3


def test_a_label_in_a_folder_that_is_not_there_anymore_is_one_line(
    library: PromptLibrary, tmp_path: Path
) -> None:
    path = library.directory / "labels.jsonl"
    path.mkdir()
    with pytest.raises(PromptSyntaxError, match="the labels cannot be read"):
        library.labels("triage")
    with pytest.raises(PromptError, match="cannot be written"):
        library.label("triage@1", "production")


def test_a_label_that_is_no_text_is_wrong_use(library: PromptLibrary) -> None:
    with pytest.raises((PromptError, ConfigurationError)):
        library.label("triage@1", 3)  # type: ignore[arg-type]


def test_a_version_that_is_gone_or_was_edited_is_not_rolled_back_to(library: PromptLibrary) -> None:
    library.label("triage@1", "production")
    library.label("triage@2", "production")
    (library.directory / "triage" / "1.prompty").unlink()
    with pytest.raises(UnknownPrompt, match="has no version or label '1'"):
        library.rollback("triage")
    assert stands(library) == "2"


def test_a_label_that_stands_there_already_is_not_rolled_back_to(library: PromptLibrary) -> None:
    for version in (1, 2, 1):
        library.label(f"triage@{version}", "production")
    with pytest.raises(UnknownPrompt, match="stands on version 1 already"):
        library.rollback("triage", to="1")
    assert library.rollback("triage").version == "2"


def test_a_line_written_twice_by_hand_is_one_move(library: PromptLibrary) -> None:
    line = '{"name": "triage", "label": "production", "to": %d, "rollback": %s}\n'
    path = library.directory / "labels.jsonl"
    path.write_text(
        "".join(line % each for each in ((1, "false"), (2, "false"), (2, "true"), (2, "true"))), "utf-8"
    )
    assert library.rollback("triage").version == "1"


def test_a_folder_that_another_process_holds_delays_the_first_rendering_by_little(
    library: PromptLibrary,
) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (library.directory / "held").open("w"):
        handle = os.open(library.directory, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        began = time.monotonic()
        assert library.get("triage@1").render(ticket="x").version == "triage@1"
        assert library.get("triage@1").render(ticket="y").version == "triage@1"
        assert time.monotonic() - began < 5.0  # and not the ten seconds that a writer waits
        os.close(handle)
