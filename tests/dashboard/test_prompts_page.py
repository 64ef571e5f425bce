"""The page of prompts: versions, labels, the matrix, differences; hostile texts; what is wrong with a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import promptguard
from promptguard.dashboard.app import link
from promptguard.sources.in_ledger import push
from promptguard.templates.certificates import Certificate
from promptguard.templates.library import open_library
from promptguard.testing import FakeProvider
from tests.cache.replies import until
from tests.conftest import close_backgrounds
from tests.dashboard.conftest import Site, serving
from tests.dashboard.payloads import PAYLOADS
from tests.dashboard.test_walk import LOOKS, OVERFLOW, axe, violations
from tests.marks import spread

__all__ = ["axe"]
pytestmark = [pytest.mark.sdk]
TEXT = "---\nname: triage\nmodels: [gpt-5.1]\n---\nsystem:\nSort the ticket.\n\nuser:\n{{ ticket }}\n"
PAGES = (
    "/prompts",
    "/prompts?prompt=triage",
    "/prompts?prompt=triage&from=1&to=3",
    "/prompts?prompt=mail/reply",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    prompts = tmp_path_factory.mktemp("page") / "prompts"
    for name, version, text in (
        ("triage", "1", TEXT),
        ("triage", "2", TEXT.replace("Sort the", "Rank every")),
        ("triage", "3", TEXT.replace("Sort the", "Rank each <b>new</b>")),
        ("triage", "4", "---\nname: triage\n"),
        ("mail/reply", "1", TEXT.replace("triage", "mail/reply")),
    ):
        path = prompts / name / f"{version}.prompty"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    library = open_library(prompts)
    library.label("triage@1", "production", by="ann", why="the first one")
    library.label("triage@2", "production", by="bob", why="<script>xss()</script>")
    known = {
        "against": "triage@1",
        "against_model": "gpt-5.1",
        "tolerance": 0.1,
        "alpha": 0.05,
        "by": "ann",
        "bound": 0.08,
    }
    for version, model, status, why in (
        ("1", "gpt-5.1", "certified", ""),
        ("2", "gpt-5.6", "certified", ""),
        ("3", "gpt-5.6", "drifted", PAYLOADS[2]),
        ("2", "claude-opus-4-7-20261101-with-a-long-name", "untested", "the budget is spent after 30 pairs"),
    ):
        library.certify(
            Certificate(
                "triage", version, model, status, why=why, pairs=42, served=(f"{model}-2026",), **known
            )  # type: ignore[arg-type]
        )
    library.withdraw("triage@1", "gpt-5.1", why="drift in the replay stream after 31 pairs", by="promptguard")
    return prompts


@pytest.fixture(scope="module")
def with_prompts(recorded, folder: Path) -> Iterator[Site]:
    with serving(recorded.path, prompts=str(folder)) as found:
        yield found


def test_all_prompts_are_listed_with_labels_and_what_is_known(with_prompts: Site) -> None:
    text = with_prompts.ask("/prompts").text
    assert 'href="/prompts?prompt=triage"' in text
    assert 'href="/prompts?prompt=mail%2Freply"' in text
    assert "production = 2" in text
    assert '2 on <span class="nobr">gpt-5.6</span>' in text


def test_one_prompt_shows_the_matrix_the_difference_and_both_histories(with_prompts: Site) -> None:
    text = with_prompts.ask("/prompts?prompt=triage&from=1&to=2").text
    for said in (
        "certified",
        "drifted",
        "untested",
        "withdrawn",
        "shift at most 0.08",
        "the first one",
        "ann",
    ):
        assert said in text, said
    assert "<del>Sort</del><ins>Rank</ins> <del>the</del><ins>every</ins> ticket." in text
    assert "triage@1 to triage@2" in text
    assert "drift in the replay stream after 31 pairs" in text
    assert "gpt-5.6-2026" in text
    assert "front matter has no closing line" in text  # of version 4


def test_by_default_the_newest_is_compared_with_the_one_before(with_prompts: Site) -> None:
    text = with_prompts.ask("/prompts?prompt=triage&to=3").text
    assert "triage@2 to triage@3" in text
    assert "There is one version." in with_prompts.ask("/prompts?prompt=mail/reply").text


def test_what_cannot_be_read_is_not_compared(with_prompts: Site) -> None:
    text = with_prompts.ask("/prompts?prompt=triage").text
    assert "triage@3 to triage@4" not in text
    assert "front matter has no closing line" in text
    assert "<del>" not in text


def test_what_the_ledger_measured_of_a_version_stands_beside_it(folder: Path, tmp_path: Path) -> None:
    openai = pytest.importorskip("openai")
    library = open_library(folder)
    with FakeProvider({"gpt-4": lambda _: "yes", "gpt-5": lambda _: "no"}) as provider:
        shadow = promptguard.Shadow(model="gpt-5", sample=1.0)
        bare = openai.OpenAI(base_url=provider.url, api_key="k")
        client = promptguard.wrap(bare, ledger=tmp_path, cache=None, shadow=shadow)
        for number in range(3):
            call = library.get("triage@2").render(ticket=f"ticket {number}")
            client.chat.completions.create(model="gpt-4", messages=call.messages)
        assert promptguard.flush(60.0)
        promptguard.unwrap(client)
        client.close()
        close_backgrounds()
    with serving(tmp_path, prompts=str(folder)) as site:
        text = site.ask("/prompts?prompt=triage").text
        assert "candidate stream, 3 pairs" in text
        assert link("prompt", group="triage@2") in text
        assert site.ask(link("prompt", group="triage@2")).status == 200


def test_prompts_of_a_ledger_are_shown_and_followed(
    recorded, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shared = tmp_path / "shared"
    push(open_library(folder), str(shared), ["mail/reply"], by="ann")
    address = f"ledger:{shared}"
    with serving(recorded.path, prompts=address) as site:
        assert "1 version in" in site.ask("/prompts?prompt=mail/reply").text
        promptguard.prompts(address).label("mail/reply@1", "staging", by="ann", why="to be tried")
        until(lambda: "to be tried" in site.ask("/prompts?prompt=mail/reply").text)


def test_nothing_that_a_file_says_is_markup(with_prompts: Site) -> None:
    text = with_prompts.ask("/prompts?prompt=triage&from=2&to=3").text
    assert "<b>new" not in text
    assert "<script>xss" not in text
    assert "&lt;script&gt;xss()" in text
    for hostile in PAYLOADS[:20]:
        answer = with_prompts.ask(link("prompts", prompt=hostile, **{"from": hostile, "to": hostile}))
        assert answer.status == 404
        assert "<script>xss" not in answer.text
        assert (
            with_prompts.ask(link("prompts", prompt="triage", **{"from": hostile, "to": hostile})).status
            == 200
        )


@pytest.mark.parametrize("name", ["../triage", "/etc", "..", "triage/..", "lock.json", "\0", "%2e%2e"])
def test_a_name_never_leads_out_of_the_folder(with_prompts: Site, name: str) -> None:
    assert with_prompts.ask(link("prompts", prompt=name)).status == 404


def test_the_page_has_the_same_policy_and_asks_for_the_same_token(recorded, folder: Path) -> None:
    with serving(recorded.path, token="secret-token", prompts=str(folder)) as site:
        assert site.ask("/prompts").status == 401
        answer = site.ask("/prompts?prompt=triage", Authorization="Bearer secret-token")
        assert answer.status == 200
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "style=" not in answer.text
        assert site.ask("/prompts", hosts=("evil.example",)).status == 421


def test_without_a_folder_it_says_how_to_name_one(site: Site) -> None:
    assert "--prompts" in site.ask("/prompts").text
    assert site.ask("/prompts?prompt=triage").status == 200


def test_a_folder_that_is_gone_or_damaged_is_said(recorded, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    (prompts / "triage").mkdir(parents=True)
    (prompts / "triage" / "1.prompty").write_text(TEXT)
    with serving(recorded.path, prompts=str(prompts)) as site:
        (prompts / "certificates.jsonl").write_text("{}\n")
        for page in ("/prompts", "/prompts?prompt=triage"):
            answer = site.ask(page)
            assert answer.status == 200
            assert "certificates.jsonl:1: not a certificate" in answer.text
        prompts.rename(tmp_path / "elsewhere")
        assert "is no directory of prompts" in site.ask("/prompts").text


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), spread(LOOKS, 2, several=True))
def test_it_fits_and_is_accessible(
    with_prompts: Site,
    browser: Any,
    axe: str,
    width: int,
    scheme: str,
) -> None:
    said: list[str] = []
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as opened:
        tab = opened.new_page()
        tab.on("console", lambda message: said.append(message.text) if "404" not in message.text else None)
        tab.on("pageerror", lambda error: said.append(str(error)))
        for page in PAGES:
            answer = tab.goto(with_prompts.base + page)
            assert answer.status == 200, page
            assert tab.evaluate(OVERFLOW) <= 0, page
            assert violations(tab, axe) == [], page
            assert tab.evaluate(OVERFLOW) <= 0, f"{page}, unfolded"
            assert tab.locator("h1").count() == 1, page
            shots = os.environ.get("PROMPTS_PAGE_SHOTS")
            if shots:
                name = page.strip("/").replace("?", "-").replace("/", "-")
                tab.screenshot(path=f"{shots}/{name}-{width}-{scheme}.png", full_page=True)
    assert said == []


@pytest.mark.browser
def test_two_versions_are_chosen_without_scripts(with_prompts: Site, browser: Any) -> None:
    with browser.new_context(java_script_enabled=False) as opened:
        tab = opened.new_page()
        tab.goto(f"{with_prompts.base}/prompts")
        tab.get_by_role("link", name="triage", exact=True).click()
        tab.get_by_label("From").select_option("1")
        tab.get_by_label("To").select_option("3")
        tab.get_by_role("button", name="Compare").click()
        assert tab.get_by_role("heading", name="triage@1 to triage@3").is_visible()
        assert tab.locator("ins").count() > 0
