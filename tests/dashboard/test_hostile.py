"""Nothing that a model, a user or a request brought along runs: not even with the page's own policy switched off."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from promptguard.dashboard import render_report
from promptguard.report.whole import read_whole
from tests.dashboard.conftest import Site, serving
from tests.dashboard.hostile import hostile_ledger
from tests.dashboard.payloads import PAYLOADS

LISTS = (
    "/",
    "/?page=2",
    "/pairs",
    "/pairs?show=all",
    "/pairs?show=lost",
    "/prompts",
    "/rollouts",
    "/identities",
    "/cost",
    "/unmeasured",
    "/actions",
)
FOUND = """() => ({
  ran: window.ran,
  handlers: [...document.querySelectorAll('*')].flatMap((each) => [...each.attributes])
    .filter((each) => /^on/i.test(each.name)
      || (/^\\s*(javascript|data):/i.test(each.value) && /href|src|action/i.test(each.name))).length,
  foreign: [...document.querySelectorAll(
    'img, iframe, object, embed, base, math, video, audio, foreignObject, style, '
    + 'script:not([src^="/static/"]), link:not([href^="/static/"]), meta[http-equiv=refresh]',
  )].map((each) => each.outerHTML),
})"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    place = tmp_path_factory.mktemp("hostile") / "<img src=x onerror=xss()>"
    with serving(hostile_ledger(place)) as site:
        yield site


def targets(some: tuple[str, ...]) -> list[str]:
    pages = [
        page
        for payload in some
        for page in (f"/prompt?group={quote(payload)}", f"/pairs?group={quote(payload)}")
    ]
    ids = [f"/pair?id={2 * PAYLOADS.index(payload) + 1}" for payload in some]
    asked = [f"/?q={quote(payload)}" for payload in some]
    bent = [
        f"/pairs?stream={quote(p)}&show={quote(p)}&order={quote(p)}&before={quote(p)}&page={quote(p)}"
        for p in some
    ]
    return [*LISTS, *pages, *ids, *asked, *bent, *(f"/{quote(payload)}" for payload in some)]


def look(browser: Any, base: str, some: list[str], **context: Any) -> None:
    outside: list[str] = []
    with browser.new_context(**context) as opened:
        opened.add_init_script(
            "window.ran = []; for (const each of ['xss', 'alert']) window[each] = () => window.ran.push(each);"
        )
        tab = opened.new_page()
        tab.on("dialog", lambda dialog: outside.append(dialog.message))
        tab.on("request", lambda asked: outside.append(asked.url) if not asked.url.startswith(base) else None)
        for target in some:
            tab.goto(base + target if target.startswith("/") else target)
            found = tab.evaluate(FOUND)
            assert found == {"ran": [], "handlers": 0, "foreign": []}, target
    assert outside == []


def test_there_are_sixty() -> None:
    assert len(set(PAYLOADS)) == 60


def test_every_payload_is_on_the_pages_and_escaped(hostile: Site) -> None:
    """The pages that list them do list them: what is not shown proves nothing."""
    for target in (f"/pairs?group={quote(PAYLOADS[0])}", "/unmeasured", "/identities", "/actions"):
        text = hostile.ask(target).text
        assert "&lt;script&gt;xss()&lt;/script&gt;" in text, target
        assert not re.search(r"<script>|<img|<iframe|<svg on", text), target
    missing = [
        payload for payload in PAYLOADS if hostile.ask(f"/prompt?group={quote(payload)}").status != 200
    ]
    assert missing == []


@pytest.mark.parametrize(
    "header",
    ["User-Agent", "Referer", "Cookie", "Accept-Language", "X-Forwarded-Host", "X-Forwarded-For", "Origin"],
)
def test_nothing_of_a_request_header_comes_back(hostile: Site, header: str) -> None:
    for payload in PAYLOADS:
        sent = re.sub(r"[^\x20-\x7e]", "", payload)
        answer = hostile.ask("/nope", **{header.replace("-", "_"): sent})
        assert answer.status == 404
        assert "x-injected" not in answer.headers
        assert "xss" not in answer.text.replace(quote("xss"), "").partition("<main")[2]


def test_nothing_of_a_host_header_comes_back(hostile: Site) -> None:
    for payload in PAYLOADS:
        answer = hostile.ask("/", hosts=(re.sub(r"[^\x20-\x7e]", "", payload),))
        assert answer.status in {400, 421}
        assert "xss" not in answer.text


@pytest.mark.browser
def test_no_list_runs_anything(hostile: Site, browser: Any) -> None:
    look(browser, hostile.base, targets(PAYLOADS[::20]))
    look(browser, hostile.base, targets(PAYLOADS[7::30]), bypass_csp=True)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("bypass_csp", [False, True])
def test_no_page_of_any_payload_runs_anything(hostile: Site, browser: Any, bypass_csp: bool) -> None:
    look(browser, hostile.base, targets(PAYLOADS), bypass_csp=bypass_csp)


@pytest.mark.browser
def test_the_report_runs_nothing(hostile: Site, browser: Any, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    page = render_report(read_whole(hostile.ledger, application=PAYLOADS[0]))
    assert page.count("<style>") == 1
    file.write_text(page.replace("<style>", "<style hidden>"), encoding="utf-8")
    found: list[object] = []
    for bypass in (False, True):
        with browser.new_context(bypass_csp=bypass) as opened:
            opened.add_init_script("window.ran = []; window.xss = () => window.ran.push('xss');")
            tab = opened.new_page()
            tab.on(
                "request",
                lambda asked: found.append(asked.url) if not asked.url.startswith("file:") else None,
            )
            tab.goto(file.as_uri())
            told = tab.evaluate(FOUND.replace(", style, '", ", style:not([hidden]), '"))
            assert told == {"ran": [], "handlers": 0, "foreign": []}
    assert found == []
