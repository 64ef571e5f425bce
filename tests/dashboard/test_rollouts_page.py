"""The page of rollouts: where each stands, on what evidence, every step; hostile texts; small and large windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from promptguard.ledger.rollouts import Rollouts
from promptguard.ledger.store import Ledger
from promptguard.rollout.starting import MOST, TOLERANCE
from promptguard.templates.library import open_library
from tests.dashboard.conftest import Site, serving
from tests.dashboard.payloads import PAYLOADS
from tests.dashboard.test_walk import LOOKS, OVERFLOW, axe, violations
from tests.marks import spread

__all__ = ["axe"]
pytestmark = [pytest.mark.sdk]
NOW = 1_790_000_000.0
NOTHING = {"refused": None, "usd": None, "latency": None, "answer": None}


def detail(subject: str, before: str, to: str) -> Mapping[str, Any]:
    return {
        "subject": subject, "before": before, "to": to, "label": "production", "folder": "prompts", "steps": [5, 25, 100],
        "guards": ["usable", "latency", "cost"], "alpha": 0.05, "tolerance": dict(TOLERANCE), "most": dict(MOST),
        "least_pairs": 10, "patience": 1_000, "salt": "00" * 16,
    }  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("rollouts") / "ledger"
    ledger = Ledger(place)
    store = Rollouts(ledger)
    store.begin(at=NOW, by=PAYLOADS[0], why=PAYLOADS[1], detail=detail(PAYLOADS[2], PAYLOADS[3], PAYLOADS[4]))
    store.note(1, "abort", at=NOW + 9, by=PAYLOADS[5], why=PAYLOADS[6], detail={})
    store.begin(at=NOW + 10, by="ann", why="shorter", detail=detail("triage", "3", "4"))
    store.note(
        2, "advance", at=NOW + 60, by="promptguard", why="12 pairs at 5 %: on to 25 %", detail={"step": 1}
    )
    store.put([
        {"rollout": 2, "unit": bytes([number]) * 8, "step": 1, "treated": number % 2, "at": NOW + 60 + number, **NOTHING,
         "usable": int(number % 4 != 1), "latency": 1.0 + number % 2}
        for number in range(40)
    ])  # fmt: skip
    ledger.close()
    with serving(place) as site:
        yield site


def test_a_label_that_was_moved_by_hand_is_told(tmp_path: Path) -> None:
    for version in (2, 3, 4):
        path = tmp_path / "prompts" / "triage" / f"{version}.prompty"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("---\nname: triage\n---\nuser:\nSort it.\n")
    library = open_library(tmp_path / "prompts")
    library.label("triage@2", "production")
    ledger = Ledger(tmp_path / "ledger")
    begun = {**detail("triage", "3", "4"), "folder": library.place}
    Rollouts(ledger).begin(at=NOW, by="ann", why="shorter", detail=begun)
    ledger.close()
    with serving(tmp_path / "ledger") as site:
        assert "Label moved by hand to 2" in site.ask("/rollouts").text


def test_a_rollout_is_shown_with_its_evidence_and_steps(shown: Site) -> None:
    page = shown.ask("/rollouts")
    assert page.status == 200
    for words in (
        "2: triage, 3 to 4", "25 % of units have the new version", "20 units with the old version", "100 %", "50 %",
        "1 s", "2 s",
        "cost has no data", "12 pairs at 5 %: on to 25 %", "promptguard rollout abort 2", "aborted",
    ):  # fmt: skip
        assert words in page.text, words
    assert page.text.index("2: triage") < page.text.index("<h2>1: ")
    assert "00000000" not in page.text  # the salt would tell who gets what


def test_a_ledger_without_rollouts_says_how_to_begin_one(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger").open()
    with serving(tmp_path / "ledger") as site:
        page = site.ask("/rollouts").text
    assert "There is no rollout yet." in page
    assert "promptguard rollout start" in page


@pytest.mark.parametrize(("width", "scheme"), spread(LOOKS, 2, several=True))
def test_the_page_of_rollouts_fits_and_is_accessible(
    shown: Site, browser: Any, axe: str, width: int, scheme: str
) -> None:
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as opened:
        tab = opened.new_page()
        tab.goto(shown.base + "/rollouts")
        assert tab.evaluate(OVERFLOW) <= 0
        assert tab.evaluate("() => window.ran") is None
        assert violations(tab, axe) == []
