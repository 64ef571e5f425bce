"""`prompts compare`: which versions and remedies restore the old behaviour, on recorded answers and asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptguard.testing import FakeProvider, Question, Served
from tests.certifying.conftest import SORT, recorded, run, told, write

LEETCODE = (
    "compare", "leetcode", "--on", "gpt-4-0613", "--against", "leetcode@1/gpt-4-0314", "--recorded", recorded("leetcode"),
)  # fmt: skip


def by_name(found: dict) -> dict[str, dict]:
    return {f"{row['reference']} {row['remedy']}".strip(): row for row in found["rows"]}


def test_the_fence_stripped_is_named_as_leetcodes_remedy(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, *LEETCODE, "--epsilon", "0.2")
    rows = by_name(found)
    assert found["code"] == 0
    assert found["rows"][0]["remedy"] == "strip-fence"
    assert rows["leetcode@1 strip-fence"]["outcome"] == "restores"
    assert rows["leetcode@1 strip-fence"]["bound"] <= 0.2
    assert rows["leetcode@1"]["outcome"] == "differs"
    assert rows["leetcode@1"]["changes"][0].startswith("answers with a code fence 0 % ->")
    assert found["sentence"].startswith("leetcode@1 with the code fence stripped restores the old behaviour")
    assert not (folder / "certificates.jsonl").exists()


def test_too_few_answers_for_the_default_tolerance_name_it_as_the_closest_and_promise_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, *LEETCODE)
    assert found["code"] == 3
    assert (found["rows"][0]["remedy"], found["rows"][0]["outcome"]) == ("strip-fence", "open")
    assert found["rows"][0]["pairs"] == 50
    assert "closest is leetcode@1 with the code fence stripped" in found["sentence"]
    assert found["ended"] == "no more questions"


def test_costs_are_by_list_price_and_say_what_they_are_of(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, *LEETCODE)
    assert {row["is_of_answers"] for row in found["rows"]} == {True}
    # gpt-4: 60 USD per million tokens of answers, of some 118 tokens each
    assert 4.0 < found["rows"][0]["usd_per_thousand"] < 12.0
    assert run(*LEETCODE) == 3
    assert "* answers alone" in capsys.readouterr().out


def test_a_remedy_that_changes_nothing_is_not_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(
        capsys, "compare", "prime", "--on", "gpt-4-0613", "--against", "prime@1/gpt-4-0314", "--recorded", recorded("prime")
    )  # fmt: skip
    assert found["code"] == 1
    assert [row["remedy"] for row in found["rows"]] == [""]
    assert found["sentence"].startswith("none restores the old behaviour")


def test_each_has_its_share_of_alpha(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [
        told(capsys, *LEETCODE, "--epsilon", "0.2", *remedies)["rows"][0]["pairs"]
        for remedies in (["--remedy", "strip-fence"], [])
    ]
    assert pairs[0] < pairs[1] or pairs == [50, 50]


CASES = "cases:\n" + "".join(f"  - {{ticket: Ticket {number} burns}}\n" for number in range(90))


def changed(question: Question) -> Served:
    """A model that has become chatty, unless it is told not to be."""
    says_so = "one word" in str(question.messages[0]["content"])
    return Served("bug" if says_so else "Certainly! I would say that it is a **bug**.", output_tokens=3)


def test_a_version_that_mends_it_is_found_by_asking(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "sort@2", SORT % CASES)
    write(folder, "sort@3", (SORT % CASES).replace("Sort the ticket.", "Sort the ticket in one word."))
    write(folder, "sort@4", SORT % f"models: ['other-*']\n{CASES}")
    with FakeProvider({"old": lambda question: Served("bug", output_tokens=1), "new": changed}) as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        found = told(
            capsys, "compare", "sort", "--on", "new", "--against", "sort@2/old", "--versions", "2,3", "--remedy",
            "strip-fence", "--budget", "2usd", "--price", "1,4",
        )  # fmt: skip
    rows = by_name(found)
    assert found["code"] == 0
    assert list(rows) == ["sort@3", "sort@2"]
    assert (rows["sort@3"]["outcome"], rows["sort@2"]["outcome"]) == ("restores", "differs")
    assert rows["sort@2"]["pairs"] < rows["sort@3"]["pairs"]
    assert found["calls"] == len(provider.received)
    assert {each.model for each in provider.received} == {"old", "new"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["leetcode", "--on", "m"], "there is no reference"),
        (["leetcode", "--on", "m", "--against", "leetcode@1/gpt-4-0314"], "there is no budget"),
        (["leetcode@1", *LEETCODE[2:]], "compare takes a name: write leetcode --versions 1"),
        (["nothing", *LEETCODE[2:]], "there is no prompt 'nothing'"),
        ([*LEETCODE[1:], "--remedy", "magic"], "--remedy magic: give one of strip-fence"),
        ([*LEETCODE[1:], "--versions", "7"], "has no version or label '7'"),
        (
            ["leetcode", "--on", "gpt-9", *LEETCODE[4:]],
            "no version of leetcode is for gpt-9, or was recorded on it",
        ),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run("compare", *arguments) == 2
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1
