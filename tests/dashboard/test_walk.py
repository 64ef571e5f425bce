"""Every page in a real browser: two widths, two colour schemes, axe-core's rules, keys, live update."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from promptguard.dashboard import render_report
from promptguard.ledger.store import Ledger
from promptguard.report.whole import read_whole
from tests.dashboard.conftest import Site, serving
from tests.marks import spread

LOOKS = [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")]
"""widths and colour schemes that pages are looked at in"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
pytestmark = [pytest.mark.browser, pytest.mark.sdk]


@pytest.fixture(scope="module")
def axe() -> str:
    pytest.importorskip("axe_playwright_python")
    return files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")


def pages(site: Site) -> list[str]:
    group = read_whole(site.ledger).prompts[0].group
    return [
        "/", f"/prompt?group={group}", "/pairs", f"/pairs?group={group}&show=all&order=newest", "/pair?id=70",
        "/identities",
        "/cost", "/unmeasured", "/actions", "/rollouts", "/nope", "/?q=nothing-so-called",
    ]  # fmt: skip


def violations(tab: Any, axe: str) -> list[str]:
    tab.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    tab.evaluate(axe)
    found = tab.evaluate("() => axe.run()")
    assert len(found["passes"]) > 10
    return [f"{each['id']}: {node['html'][:160]}" for each in found["violations"] for node in each["nodes"]]


@pytest.mark.parametrize(("width", "scheme"), spread(LOOKS, 2, several=True))
def test_every_page_fits_and_is_accessible(
    site: Site, browser: Any, axe: str, width: int, scheme: str
) -> None:
    said: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as opened:
        tab = opened.new_page()
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("console", lambda message: said.append(message.text) if "404" not in message.text else None)
        tab.on(
            "request", lambda asked: said.append(asked.url) if not asked.url.startswith(site.base) else None
        )
        for page in pages(site):
            tab.goto(site.base + page)
            assert tab.evaluate(OVERFLOW) <= 0, page
            assert violations(tab, axe) == [], page
            assert tab.evaluate(OVERFLOW) <= 0, f"{page}, unfolded"
            assert tab.locator("h1").count() == 1, page
    assert said == []


@pytest.mark.parametrize(("width", "scheme"), spread(LOOKS, 2, several=True))
def test_the_report_fits_and_is_accessible(
    recorded, browser: Any, axe: str, tmp_path: Path, width: int, scheme: str
) -> None:
    file = tmp_path / "report.html"
    file.write_text(render_report(read_whole(recorded.path)), encoding="utf-8")
    said: list[str] = []
    context = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    with browser.new_context(**context) as opened:
        tab = opened.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith("file:") else None)
        tab.goto(file.as_uri())
        assert violations(tab, axe) == []
        assert tab.evaluate(OVERFLOW) <= 0
        if width == 390:  # cells stand below each other, each with its heading
            assert tab.evaluate("getComputedStyle(document.querySelector('.stack td')).display") == "grid"
            assert (
                tab.evaluate("getComputedStyle(document.querySelector('.stack thead')).position")
                == "absolute"
            )
    assert said == []


def test_a_page_works_without_scripts(site: Site, browser: Any) -> None:
    with browser.new_context(java_script_enabled=False) as opened:
        tab = opened.new_page()
        tab.goto(site.base)
        tab.locator("[data-search]").fill("(")
        tab.get_by_role("button", name="Search").click()
        assert "?q=" in tab.url
        tab.goto(site.base)
        tab.get_by_text("What do I do now?").first.click()
        assert tab.get_by_text("Accept it as the new baseline").first.is_visible()
        tab.get_by_role("link", name="Compare the answers").first.click()
        assert tab.locator("ins").count() > 0


def test_keys_move_and_open(site: Site, browser: Any) -> None:
    with browser.new_context() as opened:
        tab = opened.new_page()
        tab.goto(site.base)
        tab.keyboard.press("/")
        assert tab.evaluate("document.activeElement.id") == "q"
        tab.keyboard.press("Escape")
        tab.keyboard.press("j")
        assert tab.locator("[data-row].at").count() == 1
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/prompt?**")
        tab.keyboard.press("g")
        tab.keyboard.press("c")
        tab.wait_for_url("**/cost")


def test_news_arrive_while_one_looks(recorded, browser: Any, tmp_path: Path) -> None:
    shutil.copytree(recorded.path, tmp_path / "ledger")
    with serving(tmp_path / "ledger") as site, browser.new_context() as opened:
        tab = opened.new_page()
        tab.goto(f"{site.base}/actions")
        assert tab.get_by_text("was acknowledged").count() == 0
        ledger = Ledger(tmp_path / "ledger")
        ledger.note(at=1.8e9, call=0, kind="acknowledge", stream="candidate", group="somebody's", detail={})
        ledger.close()
        tab.get_by_text("was acknowledged").wait_for(timeout=60_000)


def test_folds_stay_as_they_were_left(site: Site, browser: Any) -> None:
    with browser.new_context() as opened:
        tab = opened.new_page()
        tab.goto(site.base)
        tab.get_by_text("What do I do now?").first.click()
        tab.goto(f"{site.base}/cost")
        tab.goto(site.base)
        assert tab.evaluate("document.querySelector('.steps').open")
