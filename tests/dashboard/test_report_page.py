"""The page: hostile answers stay text, nothing is fetched, and it fits screens."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from promptguard.dashboard import render_report
from promptguard.dashboard.rendering import shown
from promptguard.ledger.store import Ledger
from promptguard.report.actions import read_actions
from promptguard.report.whole import read_whole
from tests.report.conftest import Recorded

pytestmark = pytest.mark.sdk


@pytest.fixture(scope="module")
def page(recorded: Recorded) -> str:
    extra = [("Usable answers", [("when", "usable"), ("before", "100 %"), ("<b>after</b>", "3 %")])]
    return render_report(read_whole(recorded.path), extra=extra, true_switch=recorded.switch)


def test_answers_are_text(page: str) -> None:
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;b&gt;after" in page


def test_control_characters_are_shown_not_sent(page: str) -> None:
    assert "⟨U+001B⟩" in page
    assert "⟨U+202E⟩" in page
    assert "\x1b" not in page
    assert "\u202e" not in page
    assert shown("\ud800a\nb") == "⟨U+D800⟩a\nb"


def test_nothing_is_fetched(page: str) -> None:
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page
    assert not re.search(r"<[^>]*\b(?:src|href|action|srcset)\s*=", page)
    assert "url(" not in page
    assert "@import" not in page


def test_it_says_what_happened(page: str, recorded: Recorded) -> None:
    alarm = read_whole(recorded.path).prompts[0].standing[0].alarm
    assert alarm is not None
    assert f"call {alarm.call:,}" in page
    assert "calls for gpt-4 go to gpt-4-0314" in page
    assert f"<dd>call {recorded.switch}</dd>" in page
    assert 'class="badge drift"' in page
    assert "What do I do now?" in page
    assert "promptguard acknowledge" in page


def test_what_is_done_beside_routes_is_told(recorded: Recorded, tmp_path: Path) -> None:
    copy = shutil.copytree(recorded.path, tmp_path / "ledger")
    (route,) = read_actions(copy).in_force
    with contextlib.closing(Ledger(copy)) as ledger:
        place = {"at": route.at + 1.0, "call": 0, "stream": route.stream, "group": route.group}
        ledger.note(**place, kind="undo_route", detail={"action": route.id})
        assert "Nothing was done about it but to warn" in render_report(read_whole(copy))
        ledger.note(**place, kind="bypass", detail={"asked": "gpt-4"})
    page = render_report(read_whole(copy))
    assert "Nothing was done about it" not in page
    assert "calls for gpt-4 pass the cache by" in page


def test_a_quiet_ledger_has_a_page(quiet: Recorded) -> None:
    page = render_report(read_whole(quiet.path))
    assert "No alarm rang" in page
    assert "True switch" not in page
    assert "What do I do now?" not in page


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_screen(page: str, browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    said: list[str] = []
    tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.on("console", lambda message: said.append(message.text))
    tab.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith("file:") else None)
    tab.goto(file.as_uri())
    overflow = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    tab.close()
    assert overflow <= 0
    assert said == []


def test_what_stands_no_more_stays_on_record(page: str) -> None:
    assert "<h2>Other epochs</h2>" in page
    assert "candidate, epoch 2<small>since the route</small>" in page
