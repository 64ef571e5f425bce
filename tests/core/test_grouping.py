"""Groups of calls without a template: what varies in a system prompt makes no group of its own, and there is a bound."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

import promptguard
from promptguard.core.canonical import digest
from promptguard.grouping import LONGEST, OTHER, REMEMBERED, Groups, groups_of


def said(text):
    return ({"role": "system", "content": text},)


ALIKE = {
    "customers": (
        "You help customer Bob Smith.",
        "You help customer alice.",
        "You help customer Zoë O'Neil-Ruiz.",
    ),
    "mixed": ("You help customer 17.", "You help customer ticket 17.", "You help customer a@b.de."),
    "numbered": ("You help customer no. 17.", "You help customer no. 4711."),
    "dates": ("Today is Wednesday, November 25, 2026.", "Today is Monday, March 2, 2026."),
    "iso dates": ("Now: 2026-11-25T10:00:00Z.", "Now: 2027-01-03T23:59:59+01:00."),
    "uuids": (
        "Session 7f3e2c1a-aaaa-4bbb-8ccc-1234567890ab.",
        "Session 00000000-0000-4000-8000-00000000000f.",
    ),
    "ids": ("Ticket cus_9s6XKzkNRiz8i3, be brief.", "Ticket cus_Ab12cD34eF, be brief."),
    "hex": ("Trace deadbeefcafe.", "Trace abcdefabcdef."),
    "mails": ("Write to jane.doe@example.com now.", "Write to x@y.co.uk now."),
    "urls": ("Read https://a.example/b?c=1 first.", "Read http://other.example/ first."),
    "letters": ("Dear Anna,\nthanks.", "Dear Jürgen Müller,\nthanks."),
    "labelled": ("User: Ada Lovelace\nPlan: gold", "User: bob\nPlan: gold"),
    "assistants": ("You are an assistant for Acme Corp.", "You are an assistant for Globex."),
    "money": ("Budget: $1,200.50", "Budget: $9"),
    "prices": ("At most €5 a day.", "At most €12.99 a day."),
}
APART = [
    ("You sort tickets.", "You write poems."),
    ("Answer in German.", "Answer in French."),
    ("You help customer Bob. Be brief.", "You help customer Bob. Be thorough."),
    ("Plan: gold", "Plan: silver"),
]


@pytest.mark.parametrize("kind", ALIKE)
def test_what_varies_makes_no_group_of_its_own(kind):
    groups = Groups(500)
    found = {groups.of_instructions(said(text)) for text in ALIKE[kind]}
    assert len(found) == 1, [groups.masked(said(text)) for text in ALIKE[kind]]
    assert all(group.startswith("system:") for group in found)


@pytest.mark.parametrize("texts", APART)
def test_what_a_prompt_is_about_tells_groups_apart(texts):
    groups = Groups(500)
    assert len({groups.of_instructions(said(text)) for text in texts}) == len(texts)


def test_tools_are_part_of_it_and_blocks_are_masked_too():
    groups = Groups(500)
    tool = [
        {
            "type": "function",
            "function": {"name": "f", "description": "As of 2026-11-25.", "parameters": {"n": 3}},
        }
    ]
    later = [
        {
            "type": "function",
            "function": {"name": "f", "description": "As of 2027-01-01.", "parameters": {"n": 3}},
        }
    ]
    other = [
        {
            "type": "function",
            "function": {"name": "g", "description": "As of 2026-11-25.", "parameters": {"n": 3}},
        }
    ]
    one = groups.of_instructions((*said("x"), tool))
    assert one == groups.of_instructions((*said("x"), later))
    assert one != groups.of_instructions((*said("x"), other))
    block = [{"type": "text", "text": "You help customer Bob."}]
    assert groups.of_instructions((block,)) == groups.of_instructions(
        ([{"type": "text", "text": "You help customer Eve."}],)
    )


def test_a_prompt_with_nothing_to_mask_has_the_group_it_always_had():
    """Ledgers of earlier versions go on under the same name."""
    instructions = said("You sort tickets. Answer briefly.")
    assert Groups(9).of_instructions(instructions) == "system:" + digest("instructions", instructions)[7:19]


@pytest.mark.parametrize(
    "instructions",
    [
        said("x" * (LONGEST + 1) + " 17"),
        said("\ud800 17 \x1f 4"),
        said(""),
        (float("nan"),),
        ({"role": "system", "content": [None, 1, {"a": []}]},),
        said("a" * 5000 + "@" * 5000 + "1" * 5000),
    ],
)
def test_any_instructions_have_a_group(instructions):
    group = Groups(9).of_instructions(instructions)
    assert group == OTHER or group.startswith("system:")


def test_groups_are_bounded_and_the_rest_is_told_once(caplog):
    groups = Groups(3)
    found = [groups.of_instructions(said(text)) for text in ("ab", "cd", "ef", "gh", "ij", "ab")]
    assert found[3:5] == [OTHER, OTHER]
    assert found[0] == found[5] != OTHER
    assert groups.admitted("named") == OTHER
    assert groups.admitted("triage@1", always=True) == "triage@1"
    assert [each.levelno for each in caplog.records] == [logging.WARNING]
    assert "max_groups" in caplog.text


def test_what_a_ledger_has_already_counts():
    groups = Groups(2)
    groups.known(["system:aaaaaaaaaaaa", "b", OTHER])
    assert groups.admitted("b") == "b"
    assert groups.admitted("c") == OTHER


def test_memory_of_instructions_is_bounded():
    groups = Groups(10)
    for number in range(REMEMBERED + 50):
        groups.of_instructions(said("".join(chr(97 + int(digit)) for digit in str(number))))
    assert len(groups._by_instructions) == REMEMBERED
    assert len(groups) == 10


def test_clients_of_one_ledger_share_its_groups(tmp_path):
    one = groups_of(tmp_path, 5)
    assert groups_of(tmp_path / ".", 7) is one
    assert one._most == 7
    assert groups_of(tmp_path / "other", 5) is not one


@pytest.mark.parametrize("name", ["", " x", "(other)", "system:abc", "a\nb", "x" * 101, 3, None, "a\x00"])
def test_a_wrong_name_is_told(name):
    with pytest.raises(promptguard.ConfigurationError, match="group"), promptguard.group(name):
        pass


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "9", 100_001])
def test_a_wrong_bound_is_told(most):
    with pytest.raises(promptguard.ConfigurationError, match="max_groups"):
        promptguard.Drift(max_groups=most)


def test_nothing_heavy_is_imported_for_it():
    program = "import sys, promptguard; print('re2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
