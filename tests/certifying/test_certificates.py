"""Certificates as a file: append-only, several writers at once, crashes, what a hand may write, age, withdrawal."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from promptguard import prompts
from promptguard.errors import PromptError, PromptSyntaxError
from promptguard.templates.certificates import Certificate
from promptguard.templates.library import PromptLibrary, open_library
from tests.certifying.conftest import SORT, run, write

DAY = 86_400


@pytest.fixture
def library(folder: Path) -> PromptLibrary:
    write(folder, "sort@2", SORT % "models: ['gpt-5.6*']\n")
    write(folder, "sort@3", SORT % "models: ['claude-*']\n")
    return open_library(folder)


def certificate(version: str = "1", model: str = "gpt-5.6", **more: object) -> Certificate:
    return Certificate("sort", version, model, "certified", **more)  # type: ignore[arg-type]


def stamp(seconds_ago: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds_ago))


def test_the_last_line_counts_and_all_are_kept(library: PromptLibrary) -> None:
    library.certify(certificate())
    library.certify(replace(certificate(), status="drifted", why="shorter"))
    assert library.certificate("sort", "1", "gpt-5.6").status == "drifted"
    assert [line.status for line in library.certificates("sort")] == ["certified", "drifted"]
    assert library.matrix("sort", ["gpt-5.1"])["1"]["gpt-5.1"].status == "untested"
    assert open_library(library.directory).matrix("sort")["1"]["gpt-5.6"].why == "shorter"


def test_it_is_found_by_the_name_that_answered(library: PromptLibrary) -> None:
    library.certify(certificate(served=("gpt-5.6-2026-11-01",)))
    assert library.certificate("sort", "1", "gpt-5.6-2026-11-01").status == "certified"
    assert library.certificate("sort", "1", "gpt-5.6-2026-12-01").status == "untested"


def test_it_expires_by_age(library: PromptLibrary) -> None:
    library.certify(certificate(at=stamp(91 * DAY)))
    library.certify(certificate("2", at=stamp(89 * DAY)))
    known = library.matrix("sort")
    assert (known["1"]["gpt-5.6"].status, known["2"]["gpt-5.6"].status) == ("expired", "certified")
    assert "91 days ago" in known["1"]["gpt-5.6"].why


def test_the_age_is_a_setting(library: PromptLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    library.certify(certificate(at=stamp(3 * DAY)))
    assert prompts(library.directory).certificate("sort", "1", "gpt-5.6").status == "certified"
    monkeypatch.setenv("PROMPTGUARD_CERTIFICATES_LAST", "2d")
    assert prompts(library.directory).certificate("sort", "1", "gpt-5.6").status == "expired"


def test_a_withdrawal_is_a_line_with_its_reason_and_is_made_once(library: PromptLibrary) -> None:
    library.certify(certificate(served=("gpt-5.6-2026-11-01",)))
    (line,) = library.withdraw("sort@1", "gpt-5.6-2026-11-01", why="drift", by="ann")
    assert (line.status, line.model, line.why, line.by) == ("withdrawn", "gpt-5.6", "drift", "ann")
    assert library.withdraw("sort@1", "gpt-5.6", why="again") == ()
    assert library.withdraw("sort@2", "gpt-5.6", why="nothing stands") == ()
    assert library.certificate("sort", "1", "gpt-5.6").status == "withdrawn"


def test_the_command_withdraws_and_says_where_nothing_stands(
    library: PromptLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    library.certify(certificate())
    assert run("withdraw", "sort@1", "--on", "gpt-5.6", "--why", "a bad day") == 0
    assert run("withdraw", "sort@1", "--on", "gpt-5.6") == 2
    assert "nothing certifies sort@1 on gpt-5.6" in capsys.readouterr().err


def test_a_line_may_be_written_by_hand(library: PromptLibrary) -> None:
    path = library.directory / "certificates.jsonl"
    path.write_text('{"name": "sort", "version": 1, "model": "m", "status": "certified"}')
    assert library.certificate("sort", "1", "m").status == "certified"
    library.certify(certificate())
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "line",
    ["{}", "[]", '{"name": "sort", "version": "1", "model": "m", "status": "fine"}', ('{"name": ["x"], "version": "1",'
     ' "model": "m", "status": "certified"}'), '{"name": "sort", "version": "1", "model": "m", "status": "expired"}'],
)  # fmt: skip
def test_a_line_that_is_none_is_named(library: PromptLibrary, line: str) -> None:
    (library.directory / "certificates.jsonl").write_text(f"{line}\n")
    with pytest.raises(PromptSyntaxError, match=r"certificates\.jsonl:1: not a certificate"):
        library.certificates()


def test_a_line_that_a_crash_left_half_written_was_not_written(library: PromptLibrary) -> None:
    library.certify(certificate())
    path = library.directory / "certificates.jsonl"
    with path.open("a") as stream:
        stream.write('{"name": "sort", "ver')
    assert len(open_library(library.directory).certificates()) == 1
    library.certify(certificate("2"))
    assert [line.version for line in open_library(library.directory).certificates()] == ["1", "2"]


def test_a_folder_that_cannot_be_written_says_so(library: PromptLibrary) -> None:
    (library.directory / "certificates.jsonl").mkdir()
    with pytest.raises(PromptError, match=r"certificates\.jsonl"):
        library.certify(certificate())


def test_eight_writers_at_once_lose_no_line(library: PromptLibrary) -> None:
    code = (
        "import sys\nfrom promptguard.templates.library import open_library\n"
        "from promptguard.templates.certificates import Certificate\n"
        "library = open_library(sys.argv[1])\n"
        "for number in range(10):\n"
        "    library.certify(Certificate('sort', '1', f'm{sys.argv[2]}-{number}', 'certified'))\n"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(library.directory), str(each)]) for each in range(8)
    ]
    assert [each.wait(60) for each in started] == [0] * 8
    models = {line.model for line in library.certificates()}
    assert models == {f"m{writer}-{number}" for writer in range(8) for number in range(10)}


# -- which version is rendered


def test_the_variant_that_is_certified_for_the_model_is_rendered(
    library: PromptLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    library.label("sort@1", "production")
    library.certify(certificate("1", "gpt-5.1"))
    library.certify(certificate("2", "gpt-5.6"))
    assert library.render("sort@production", "gpt-5.1", ticket="T").version == "sort@1"
    assert library.render("sort@production", model="gpt-5.6", ticket="T").version == "sort@2"
    assert caplog.records == []


def test_where_none_is_certified_it_says_so_once(
    library: PromptLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    library.label("sort@1", "production")
    with caplog.at_level(logging.WARNING, "promptguard"):
        for _ in range(3):
            assert library.render("sort@production", model="house-1", ticket="T").version == "sort@1"
    assert len(caplog.records) == 1
    assert "sort@1 is untested on house-1" in caplog.text
    assert "promptguard prompts certify sort@1 --on house-1" in caplog.text


def test_a_version_written_out_is_never_exchanged(
    library: PromptLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    library.certify(certificate("2", "gpt-5.6"))
    with caplog.at_level(logging.WARNING, "promptguard"):
        assert library.render("sort@1", model="gpt-5.6", ticket="T").version == "sort@1"
    assert "sort@1 is untested on gpt-5.6" in caplog.text


def test_a_version_that_does_not_name_the_model_never_takes_a_labels_place(library: PromptLibrary) -> None:
    write(library.directory, "sort@4", SORT % "")
    library.label("sort@1", "production")
    library.certify(certificate("4", "gpt-5.6"))
    assert library.render("sort@production", model="gpt-5.6", ticket="T").version == "sort@1"
    # of variants that are for the model the uncertified one is used only where the version meant is for another
    assert library.render("sort@3", model="gpt-5.6", ticket="T").version == "sort@3"
    library.label("sort@3", "production")
    assert library.render("sort@production", model="gpt-5.6", ticket="T").version == "sort@2"


def test_without_a_model_nothing_is_chosen_and_nothing_said(
    library: PromptLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    assert library.render("sort", ticket="T").version == "sort@3"
    assert caplog.records == []


def test_a_certificate_of_another_text_counts_for_nothing(
    library: PromptLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    library.certify(certificate("1", "gpt-5.7", digest="sha256:other"))
    with caplog.at_level(logging.WARNING, "promptguard"):
        library.render("sort@1", model="gpt-5.7", ticket="T")
    assert "sort@1 is" in caplog.text


def test_lines_are_plain_json_with_all_keys(library: PromptLibrary) -> None:
    written = library.certify(certificate(served=("a",), cases=(1, 2)))
    (line,) = (library.directory / "certificates.jsonl").read_text().splitlines()
    assert json.loads(line) == written.to_dict()
