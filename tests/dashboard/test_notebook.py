"""Verdicts as the last line of a notebook's cell: headline and rows, whose style and names stay within the cell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import promptguard
from tests.dashboard.hostile import hostile_ledger

pytestmark = pytest.mark.sdk


def test_verdicts_show_what_the_page_shows(recorded) -> None:
    found = promptguard.verdicts(recorded.path)
    shown: str = found._repr_html_()  # type: ignore[attr-defined]
    assert "The model behind gpt-4 changed" in re.sub("<[^>]+>", "", shown)
    assert 'class="badge drift"' in shown
    assert "<script" not in shown
    assert "href" not in shown
    assert {verdict.stream for verdict in found} == {"candidate", "repeat"}  # and are still an iterator


def test_hostile_names_are_text(tmp_path: Path) -> None:
    shown: str = promptguard.verdicts(hostile_ledger(tmp_path / "ledger"))._repr_html_()  # type: ignore[attr-defined]
    assert not re.search(r"<(?:script|img|iframe|svg on)", shown)


@pytest.mark.browser
def test_its_style_stays_within_the_cell(recorded, browser: Any, tmp_path: Path) -> None:
    shown: str = promptguard.verdicts(recorded.path)._repr_html_()  # type: ignore[attr-defined]
    (tmp_path / "notebook.html").write_text(f"<body><h1 id=own>Mine</h1><div>{shown}</div>", encoding="utf-8")
    look = "(id) => getComputedStyle(document.querySelector(id)).letterSpacing"
    tab = browser.new_page()
    tab.goto((tmp_path / "notebook.html").as_uri())
    assert tab.evaluate(look, "#own") == "normal"
    assert tab.evaluate(look, ".promptguard-cell h1") != "normal"
    colour = tab.evaluate("getComputedStyle(document.querySelector('.badge.drift')).color")
    assert colour != "rgb(0, 0, 0)"
    tab.close()
